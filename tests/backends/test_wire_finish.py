"""Finish reasons in every provider's form, over a real socket."""

from __future__ import annotations

import json

import pytest
from server import CUT, HANG, Answer, chunk, frames, usage

from mixmagic.backends import wire
from mixmagic.backends.http import backend
from mixmagic.core.money import Usage
from mixmagic.errors import IdleTimedOut, RateLimited, StreamBroken, Unavailable
from mixmagic.layers import retry
from mixmagic.sessions import Session


def body(message, finish="stop", status=200, **more):
    """An answer that is not streamed."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    raw = json.dumps({"choices": [choice], **usage(9, 5), **more}).encode()
    return Answer([raw], status=status, type="application/json")


@pytest.fixture
def soon(monkeypatch):
    """Shorten the wait after the end of an answer."""
    monkeypatch.setattr(backend, "_AFTER_FINISH", 0.1)


@pytest.mark.parametrize("word", ["stop", "length", "STOP", "eos"])
def test_a_finish_reason_on_each_piece_does_not_truncate_the_answer(session, together, soon, word):
    """The pauses between pieces are longer than the wait after an end."""
    pieces = [step for n in range(4) for step in (frames(chunk(f"w{n} ", word), done=False), 0.3)]
    together.plan = [Answer([*pieces, frames(chunk("END", word), {"choices": [], **usage(9, 50)})])]
    answer = session.ask("Hello")
    assert (answer.text, answer.usage) == ("w0 w1 w2 w3 END", Usage(9, 50))


@pytest.mark.parametrize("field", ["content", "reasoning"])
@pytest.mark.parametrize("done", [True, False])
def test_a_finish_reason_on_the_role_s_piece_does_not_end_the_answer(
    session, together, soon, field, done
):
    pieces = [{"choices": [{"delta": {field: word}}]} for word in ("a", "b", "c")]
    steps = [frames(chunk("", "stop"), done=False), 0.3]
    for each in pieces:
        steps += [frames(each, done=False), 0.3]
    together.plan = [Answer([*steps, frames(chunk("!", "stop"), done=done)])]
    answer = session.ask("Hello")
    assert (answer.reasoning + answer.text, answer.finish) == ("abc!", "stop")


@pytest.mark.parametrize("word", ["null", "None", "NONE", "unspecified", "undefined",
                                  "FINISH_REASON_UNSPECIFIED", "in_progress", " "])  # fmt: skip
def test_a_word_for_nothing_is_not_a_finish_reason(session, together, soon, word):
    pieces = [step for n in range(3) for step in (frames(chunk(f"w{n} ", word), done=False), 0.3)]
    together.plan = [Answer([*pieces, frames(chunk("END", word))]), Answer([*pieces, CUT])]
    answer = session.ask("Hello")
    assert (answer.text, answer.finish) == ("w0 w1 w2 END", "stop")
    assert word.strip() not in answer.footer().split(" · ")
    with pytest.raises(StreamBroken) as caught:
        session.ask("Hello")
    assert caught.value.partial.text == "w0 w1 w2 "


@pytest.mark.parametrize("end", [CUT, HANG])
def test_a_finish_reason_after_a_false_one_is_not_believed_if_the_connection_breaks(
    session, together, monkeypatch, end
):
    session.settings.idle_timeout  # noqa: B018  # it is made
    together.plan = [Answer([frames(chunk("a", "stop"), chunk("b", "stop"), done=False), end])]
    monkeypatch.setattr(backend, "_AFTER_FINISH", 0.1)
    object.__setattr__(session.settings, "idle_timeout", 0.5)
    with pytest.raises((StreamBroken, IdleTimedOut)) as caught:
        session.ask("Hello")
    assert caught.value.partial.text == "ab"


def test_a_response_that_stays_open_is_not_waited_for_and_noted(session, together, soon):
    together.plan = [Answer([frames(chunk("a"), chunk("", "stop"), done=False), HANG])]
    answer = session.ask("Hello")
    assert (answer.text, answer.finish) == ("a", "stop")
    assert "did not end the response" in answer.footer()


def test_a_count_before_more_text_is_not_final(session, together):
    together.plan = [Answer([frames(chunk("a", "stop", **usage(9, 1)), *[chunk("b ")] * 50)])]
    assert session.ask("Hello").usage.completion_tokens >= 50


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("STOP", "stop"), ("eos_token", "stop"), ("stop_sequence", "stop"), ("COMPLETE", "stop"),
        ("FinishReason.STOP", "stop"), ("FINISH_REASON_STOP", "stop"), ("end-turn", "stop"),
        ("MAX_TOKENS", "length"), ("max_output_tokens", "length"), ("Length", "length"),
        ("SAFETY", "content_filter"), ("sensitive", "content_filter"), ("tool_use", "tool_calls"),
        ("insufficient_system_resource", "error"), ("abort", "error"), ("network_error", "error"),
        ("Model_Error", "error"), ("something new", "something new"),
        ("", ""), (None, ""), (5, ""), (["stop"], ""),
    ],
)  # fmt: skip
def test_words_for_the_same_finish_reason(said, meant):
    assert wire.finish_reason(said)[0] == meant


@pytest.mark.parametrize("word", ["abort", "network_error", "insufficient_system_resource",
                                  "ERROR", "model_error", "timeout", "cancelled"])  # fmt: skip
@pytest.mark.parametrize("streamed", [True, False])
def test_a_failed_answer_is_an_error_with_the_text_received(session, together, word, streamed):
    """Text next to the finish reason is kept, too, in one body or in the last piece."""
    streams = Answer([frames(chunk("half "), chunk("of it", word))])
    together.plan = [streams if streamed else body({"content": "half of it"}, word)]
    with pytest.raises(StreamBroken, match=word) as caught:
        session.ask("Hello", stream=streamed)
    assert caught.value.partial.text == "half of it"
    assert len(together.received) == 1


@pytest.mark.parametrize("finish", [None, "", "null", ...])
@pytest.mark.parametrize("status", [200, 201, 202, 206])
def test_a_json_body_without_a_finish_reason_is_complete(session, together, finish, status):
    choice = {"index": 0, "message": {"content": "42."}}
    choice |= {} if finish is ... else {"finish_reason": finish}
    raw = json.dumps({"choices": [choice], **usage(9, 5)}).encode()
    together.plan = [Answer([raw], status=status, type="application/json")]
    answer = session.ask("Hello", stream=False)
    assert (answer.text, answer.finish, answer.usage) == ("42.", "stop", Usage(9, 5))


@pytest.mark.parametrize("status", [201, 202, 203, 206, 299])
def test_an_answer_is_read_under_every_success_status(session, together, status):
    together.plan = [Answer([frames(chunk("Hi"), chunk("", "stop", **usage(9, 5)))], status=status)]
    answer = session.ask("Hello")
    assert (answer.text, answer.usage) == ("Hi", Usage(9, 5))


@pytest.mark.parametrize("status", [201, 206])
@pytest.mark.parametrize("raw", [b"", b"{}", b"created"])
def test_a_success_without_an_answer_is_an_error(session, together, status, raw):
    together.plan = [Answer([raw] if raw else [], status=status, type="application/json")]
    with pytest.raises(StreamBroken):
        session.ask("Hello")


def refused(delta):
    """A piece of a refusal."""
    return {"choices": [{"index": 0, "delta": {"content": None, **delta}, "finish_reason": None}]}


@pytest.mark.parametrize(
    "answer",
    [
        Answer([frames(refused({"refusal": "I can't "}), refused({"refusal": "help."}),
                       chunk("", "stop"))]),
        body({"content": None, "refusal": "I can't help."}),
        body({"content": [{"type": "refusal", "refusal": "I can't help."}]}),
        body({"content": "I can't help."}, "refusal"),
    ],
)  # fmt: skip
def test_a_refusal_is_shown_and_named(session, together, answer):
    together.plan = [answer]
    found = session.ask("Hello", stream=answer.type != "application/json")
    assert (found.text, found.finish) == ("I can't help.", "refusal")
    assert "the model refused" in found.footer()


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "PROHIBITED_CONTENT"),
        ({"choices": [], "prompt_feedback": {"block_reason": "SAFETY"}}, "SAFETY"),
        (chunk("", "RECITATION"), "RECITATION"),
        ({"choices": [{"delta": {}, "finish_reason": "content_filter", "content_filter_results":
            {"violence": {"filtered": True}, "hate": {"filtered": False}}}]}, "violence"),
    ],
)  # fmt: skip
def test_a_filter_s_reason_is_named(session, together, frame, reason):
    together.plan = [Answer([frames(frame)])]
    answer = session.ask("Hello")
    assert answer.finish == "content_filter"
    assert f"content_filter · the provider's reason: {reason}" in answer.footer()


def test_a_call_to_a_tool_is_named(session, together):
    call = {"tool_calls": [{"index": 0, "function": {"name": "get_weather", "arguments": "{}"}}]}
    together.plan = [
        Answer([frames({"choices": [{"delta": call}]}, chunk("", "tool_calls"))]),
        body({"content": None, **call}, None),
    ]
    for streamed in (True, False):
        answer = session.ask("Hello", stream=streamed)
        assert "it calls get_weather: tools are not run" in answer.footer()
        assert "empty" not in answer.footer()


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer_is_reported(session, together, text):
    together.plan = [Answer([frames(chunk(text, "stop", **usage(9, 0)))]), body({"content": text})]
    for streamed in (True, False):
        assert "the answer is empty" in session.ask("Hello", stream=streamed).footer()


def numbered(*indexes):
    """Pieces of a stream with these indexes, one word each."""
    return [
        {"choices": [{"index": index, "delta": {"content": f"w{at} "}, "finish_reason": None}]}
        for at, index in enumerate(indexes)
    ]


@pytest.mark.parametrize(
    "indexes", [range(6), range(1, 7), [7] * 6, [0, 0, 1, 1, 2, 2], [5, 4, 3, 2, 1, 0]]
)
@pytest.mark.parametrize("end", [0, 6])
def test_a_stream_is_one_answer_unless_several_are_asked_for(session, together, indexes, end):
    last = {"choices": [{"index": end, "delta": {}, "finish_reason": "stop"}]}
    together.plan = [Answer([frames(*numbered(*indexes), last)])]
    answer = session.ask("Hello")
    assert (answer.text, answer.others) == ("w0 w1 w2 w3 w4 w5 ", ())
    assert answer.finish == "stop"


def test_there_are_no_more_answers_than_requested(session, together):
    ends = [{"choices": [{"index": n, "delta": {}, "finish_reason": "stop"}]} for n in (1, 2)]
    together.plan = [Answer([frames(*numbered(1, 2, 1, 2), *ends)])]
    answer = session.ask("Hello", n=2)
    assert sorted([answer.text, *answer.others]) == ["w0 w2 ", "w1 w3 "]


def test_a_body_s_only_answer_is_read_under_any_index(session, together):
    choice = {"index": 1, "message": {"content": "Hi"}, "finish_reason": "stop"}
    raw = json.dumps({"choices": [choice]}).encode()
    together.plan = [Answer([raw], type="application/json")]
    answer = session.ask("Hello", stream=False)
    assert (answer.text, answer.others) == ("Hi", ())


LIMITED = [
    {"error": {"message": "slow", "code": "rate_limit_exceeded"}},
    {"error": {"message": "slow", "type": "RateLimitError", "code": "rate_limited"}},
    {"error": {"error": {"message": "slow", "code": 429}}},
    {"error": {"message": "slow", "status": "RESOURCE_EXHAUSTED"}},
    {"object": "error", "message": "slow", "type": "rate_limited", "code": "1300"},
]


@pytest.fixture
def patient(home, monkeypatch):
    """A session that retries after a short wait."""
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "2")
    monkeypatch.setattr(retry, "_FIRST", 0.01)
    made = Session()
    yield made
    made.close()


@pytest.mark.parametrize("frame", LIMITED)
@pytest.mark.parametrize("event", [b"", b"event: error\n"])
def test_a_rate_limit_before_any_text_is_a_rate_limit(patient, together, frame, event):
    limited = Answer([event + frames(frame)])
    together.plan = [limited, Answer([frames(chunk("Hi", "stop", **usage(9, 5)))])]
    answer = patient.ask("Hello")
    assert answer.text == "Hi"
    assert len(together.received) == 2
    together.plan = [limited] * 9
    with pytest.raises(RateLimited, match="slow"):
        patient.ask("Hello")


@pytest.mark.parametrize("frame", LIMITED[:4])
def test_a_rate_limit_after_text_breaks_off_the_answer(patient, together, frame):
    together.plan = [Answer([frames(chunk("Hi"), frame)])]
    with pytest.raises((StreamBroken, RateLimited), match="slow") as caught:
        patient.ask("Hello")
    assert caught.value.partial.text == "Hi"
    assert len(together.received) == 1


def test_a_call_to_an_overloaded_server_is_retried(patient, together):
    frame = {"error": {"message": "busy", "type": "overloaded_error"}}
    together.plan = [Answer([frames(frame)]), Answer([frames(chunk("Hi", "stop"))])]
    assert patient.ask("Hello").text == "Hi"
    together.plan = [Answer([frames(frame)])] * 9
    with pytest.raises(Unavailable, match="busy"):
        patient.ask("Hello")


@pytest.mark.parametrize(
    "said",
    [
        {"base_resp": {"status_code": 1008, "status_msg": "no money here"}},
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no money here"}},
        {"code": 1008, "msg": "no money here"},
        {"detail": "no money here"},
        {"errors": [{"message": "no money here"}]},
        {"success": False, "errors": ["no money here"], "choices": []},
        {"error_msg": "no money here"},
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_a_message_instead_of_an_answer_is_quoted(session, together, said, streamed):
    raw = frames(said) if streamed else json.dumps(said).encode()
    together.plan = [Answer([raw], type="text/event-stream" if streamed else "application/json")]
    with pytest.raises(StreamBroken, match="no money here"):
        session.ask("Hello", stream=streamed)

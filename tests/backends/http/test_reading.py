"""The end of a response, and its token counts, over a real socket."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from server import CUT, HANG, Answer, chunk, frames, refusal, usage

from mixmagic.backends.http import backend
from mixmagic.backends.http.reading import RepeatedEvent, ResponseReader
from mixmagic.core.money import Usage
from mixmagic.errors import MixmagicError, ProviderError, RateLimited, StreamBroken, Unavailable

TOLD = {"prompt_tokens": 10, "completion_tokens": 390, "total_tokens": 400}
COUNT = {"choices": [], "usage": TOLD}


def of(index, text=None, finish=None, **more):
    """A piece of one of several answers."""
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "finish_reason": finish, **more}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def body(*choices, **more):
    """Answers that are not streamed."""
    return Answer([json.dumps({"choices": choices, **more}).encode()], type="application/json")


def message(index, text, **more):
    return {"index": index, "message": {"content": text}, "finish_reason": "stop", **more}


@pytest.mark.parametrize(
    "late",
    [
        [frames(COUNT, done=False)],
        [frames({**COUNT, "choices": None}, COUNT)],
        [b"data: why not JSON\n\n", frames({"error": "why"}, COUNT, done=False)],
        [frames({**chunk("more"), "usage": TOLD}, done=False)],
        [frames(COUNT, done=False).rstrip(), CUT],
        [frames(COUNT, done=False), HANG],
    ],
)
def test_a_count_right_after_the_end_is_read(session, together, late):
    together.plan = [Answer([frames(chunk("Hi"), chunk("", "stop")), *late])]
    answer = session.ask("Hello")
    assert (answer.text, answer.usage) == ("Hi", Usage(10, 390))


def test_a_count_long_after_the_end_is_not_waited_for(session, together):
    together.plan = [Answer([frames(chunk("Hi"), chunk("", "stop")), 60.0, frames(COUNT)])]
    assert session.ask("Hello").usage.estimated


@pytest.fixture
def soon(monkeypatch):
    """Shorten the wait after the end of an answer."""
    monkeypatch.setattr(backend, "_AFTER_FINISH", 0.1)


ASKED = [
    {"n": 3},
    {"extra_body": {"n": 3}},
    {"extra_body": {"n": "3"}},
    {"extra_body": {"n": 3.0}},
    {"extra_body": {"best_of": 3}},
    {"n": 2, "extra_body": {"n": 3}},
    {"extra_body": {"n": 2, "best_of": 3}},
]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("done", [True, False])
def test_every_possible_answer_is_waited_for(session, together, soon, asked, done):
    """One after another, as llama.cpp sends them, with a pause that is longer than the wait."""
    steps = []
    for index in range(3):
        steps += [frames(of(index, f"A{index}"), of(index, None, "stop"), done=False), 0.3]
    together.plan = [Answer([*steps[:-1], frames(COUNT, done=done)])]
    answer = session.ask("Hello", **asked)
    assert (answer.text, *answer.others) == ("A0", "A1", "A2")
    assert answer.usage == Usage(10, 390)


def test_the_best_of_several_may_be_the_only_one(session, together):
    together.plan = [Answer([frames(of(0, "A0"), of(0, None, "stop"), COUNT, done=False)])]
    assert session.ask("Hello", extra_body={"best_of": 3}).text == "A0"
    with pytest.raises(StreamBroken):
        session.ask("Hello", n=3)


EACH = [Usage(10, 5), Usage(10, 7), Usage(10, 6)]
OWN = [usage(10, each.completion_tokens)["usage"] for each in EACH]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            Answer([frames(*(of(n, "A") for n in range(3)),
                           *({**of(n, None, "stop"), "usage": OWN[n]} for n in range(3)))]),
            id="on each end",
        ),
        pytest.param(
            Answer([frames(*(of(n, "A") for n in range(3)),
                           *(of(n, None, "stop", usage=OWN[n]) for n in (2, 0, 1)))]),
            id="in each choice",
        ),
        pytest.param(
            Answer([frames(*(each for n in range(3) for each in (
                of(n, "A"), of(n, None, "stop"), {"choices": [], "usage": OWN[n]})))]),
            id="behind each end",
        ),
        pytest.param(
            Answer([frames(*({**of(n, "A"), "usage": usage(10, size)["usage"]}
                             for size in range(1, 6) for n in range(3)),
                           *({**of(n, None, "stop"), "usage": OWN[n]} for n in range(3)))]),
            id="growing",
        ),
        pytest.param(body(*(message(n, "A", usage=OWN[n]) for n in range(3))), id="in one body"),
        pytest.param(
            body(*(message(n, "A", usage=OWN[n]) for n in range(3)), **usage(10, 18)),
            id="in one body, and in all",
        ),
        pytest.param(body(*(message(n, "A") for n in range(3)), **usage(10, 18)), id="in all"),
    ],
)  # fmt: skip
def test_counts_of_several_answers_are_added_once(session, together, answer):
    together.plan = [answer]
    found = session.ask("Hello", n=3, stream=answer.type != "application/json")
    assert (found.usage, len(found.others)) == (Usage(10, 18), 2)
    assert found.cost == Decimal("28e-6") * Decimal("0.6")


STATUSES = {400: ProviderError, 429: RateLimited, 500: Unavailable, 504: Unavailable}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": "why"}, "usage": {**TOLD, "cost": "0.5"}},
        {"error": {"message": "why", "usage": {**TOLD, "cost": 0.5}}},
        {"error": {"message": "why", "metadata": {"usage": {**TOLD, "cost": 0.5}}}},
        [{"error": {"message": "why"}, "usage": {**TOLD, "cost_in_usd_ticks": 5_000_000_000}}],
    ],
)
def test_a_refusal_has_the_usage_in_its_body(session, together, status, said):
    together.plan = [refusal(status, said)]
    with pytest.raises(STATUSES[status], match="why") as caught:
        session.ask("Hello")
    assert caught.value.usage == Usage(10, 390, charge=Decimal("0.5"))


@pytest.mark.parametrize(
    "said", [{"error": {"message": "why"}}, {"error": "why", "usage": {}}, b"why", b"<p>why", b""]
)
def test_a_refusal_without_usage_in_its_body_has_none(session, together, said):
    together.plan = [refusal(500, said)]
    with pytest.raises(Unavailable) as caught:
        session.ask("Hello")
    assert caught.value.usage is None


@pytest.mark.parametrize(
    "frame",
    [
        {"error": {"message": "why", "code": 502}, "usage": TOLD},
        {"error": {"message": "why"}, "usage": TOLD},
        {"error": {"message": "why", "usage": TOLD}},
        {"error": {"message": "maximum context length"}, "usage": TOLD},
        {"object": "error", "message": "why", "usage": TOLD},
        {"choices": [{"delta": {}, "finish_reason": "error", "usage": TOLD}]},
        {**chunk("", "error"), "usage": TOLD},
        {**chunk(), "x_groq": {"error": "why", "usage": TOLD}},
    ],
    ids=str,
)
@pytest.mark.parametrize("begun", [True, False])
def test_an_error_in_a_stream_has_its_usage(session, together, frame, begun):
    together.plan = [Answer([frames(*[chunk("Hi")] * begun, frame)])]
    with pytest.raises(MixmagicError) as caught:
        session.ask("Hello")
    assert caught.value.usage == Usage(10, 390)


def test_an_error_event_has_its_usage(session, together):
    event = b"event: error\n" + frames({"message": "why", "usage": TOLD})
    together.plan = [Answer([event])]
    with pytest.raises(StreamBroken, match="why") as caught:
        session.ask("Hello")
    assert caught.value.usage == Usage(10, 390)


def test_an_answer_without_content_has_its_usage(session, together):
    together.plan = [body(usage=TOLD)]
    with pytest.raises(StreamBroken, match="without content") as caught:
        session.ask("Hello", stream=False)
    assert caught.value.usage == Usage(10, 390)


CONTENTS = [" word", "", " \u00e9\u4e2d", '"', "\\", "a\\nb", "\n", "\t", "\x7f", "\u2028",
            "\u200d", "\U0001f600", '","content":"', "data: ", "0", " " * 300]  # fmt: skip


@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_event_that_repeats_another_one_is_read_like_its_json(ascii_only):
    """The result is the text in its JSON, or None, which means that it must be parsed."""

    def event(text: str) -> bytes:
        frame = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}
        return f"data: {json.dumps(frame, ensure_ascii=ascii_only)}\n\n".encode()

    for first in CONTENTS:
        repeated = RepeatedEvent()
        repeated.learn(event(first), first)
        for second in CONTENTS:
            assert repeated.text(event(second)) in (None, second)


@pytest.mark.parametrize(
    "other",
    [b'data: {"content":"Hi" ,"x":1}\n\n', b'data: {"content":"Hi","x":2}\n\n', b'data: {"content"',
     b'data: {"content":"Hi","content":"Ho","x":1}\n\n', b'data: {"content":"a\rb","x":1}\n\n',
     b'data: {"content":"","x":1}\n\n', b'data: {"content":"Hi","x":1}\n\ndata: {"x":1}\n\n',
     b'data: {"content":"a\n\ndata: b","x":1}\n\n', b"data: [DONE]\n\n"],
)  # fmt: skip
def test_an_event_that_differs_is_left_to_the_parser(other):
    repeated = RepeatedEvent()
    repeated.learn(b'data: {"content":" Hi","x":1}\n\n', " Hi")
    assert repeated.text(b'data: {"content":" there","x":1}\n\n') == " there"
    assert repeated.text(other) is None


def test_learning_stops_if_events_never_repeat():
    repeated = RepeatedEvent()
    for number in range(100):
        repeated.learn(b'data: {"content":"Hi","x":%d}\n\n' % number, "Hi")
    assert repeated.text(b'data: {"content":"Ho","x":99}\n\n') is None


def test_repeated_events_give_the_same_deltas_in_any_chunking(session):
    """The key is redacted in them, too, and data after the end is not text."""
    key = "canary-key-4711"
    words = ["It", " is", " canary", "-key", "-47", "11", " now", "!", "\n", "So", " on", "."]
    steps = [frames(chunk(word), done=False) for word in words]
    steps += [frames(chunk("", "stop"), done=False), frames(chunk("late")), b": ping\n\n"]

    def read(chunks) -> tuple[str, list]:
        reader = ResponseReader(session.request("Hi", model="local"), access)
        deltas = []
        for data in chunks:
            delta = reader.feed_text(data)
            deltas += [delta] if delta is not None else reader.feed(data)
        deltas += reader.close()
        return "".join(delta.text for delta in deltas), [d.finish for d in deltas if d.finish]

    access = session.backends.access
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOGETHER_API_KEY", key)
        whole = b"".join(steps)
        assert read(steps) == read([whole]) == read([whole[i : i + 1] for i in range(len(whole))])
        assert read(steps)[0].startswith("It is [key] now!")


def test_text_after_the_end_is_not_part_of_an_answer_without_a_finish_reason(session):
    """It is ignored whether or not it is an event like the ones before."""
    reader = ResponseReader(session.request("Hi", model="local"), session.backends.access)
    event = frames(chunk(" Hi"), done=False)
    assert [*reader.feed(event)]
    assert reader.feed_text(event)
    assert not [*reader.feed(b"data: [DONE]\n\n")]
    assert reader.feed_text(event) is None
    assert not [*reader.feed(event)]
    assert not [*reader.close()]


def test_an_event_within_a_line_that_has_begun_is_part_of_that_line(session):
    reader = ResponseReader(session.request("Hi", model="local"), session.backends.access)
    event = frames(chunk(" Hi"), done=False)
    assert [*reader.feed(event)]
    assert reader.feed_text(event)
    assert not [*reader.feed(b"data: ")]
    assert reader.feed_text(event) is None
    with pytest.raises(StreamBroken, match="invalid JSON"):
        list(reader.feed(event))

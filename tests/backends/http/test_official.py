"""The official `together` and `openai` packages and ours, with the same server."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import cycle, product

import httpx
import pytest
from official import ERRORS, HELLO, MODEL, NAMES, Said, read, send
from server import Answer, chunk, frames, refusal, usage

from mixmagic.errors import (
    MissingKey,
    MixmagicError,
    RateLimited,
    StreamBroken,
    Unavailable,
    UnknownModel,
)
from mixmagic.sessions import Session

pytestmark = pytest.mark.usefixtures("both")

# The packages' word, and ours for the same.
WORDS = {"eos": "stop"}


def ours(session, name: str, *, stream: bool) -> Said:
    """Our reading of the answer."""
    answer = session.ask(HELLO, model=f"{name}:{MODEL}", stream=stream)
    counts = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    return Said(
        answer.text, answer.reasoning, answer.finish, None if answer.usage.estimated else counts
    )


def theirs(name: str, *, stream: bool) -> Said:
    """The official package's reading of it, with our finish reason."""
    said = read(send(name, stream=True) if stream else send(name))
    return said._replace(finish=WORDS.get(said.finish, said.finish or "stop"))


def delta(finish: str | None = None, **fields) -> dict:
    """A chunk whose delta has these fields."""
    return {**chunk(), "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def cut(raw: bytes, size: int) -> list[bytes]:
    """Bytes in pieces of `size`."""
    return [raw[at : at + size] for at in range(0, len(raw), size)]


CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
HI, BYE = chunk("Hel"), chunk("lo", "stop")
COUNT = {"id": "1", "object": "chat.completion.chunk", "choices": [], **usage(9, 2)}
LINE = b"data: " + json.dumps(chunk("Grüße, 世界 🌍"), ensure_ascii=False).encode() + b"\n\n"

STREAMS = {
    "together: usage on the finish": [frames(HI, chunk("lo", "stop", **usage(9, 2)))],
    "openai: usage behind, without choices": [frames(HI, BYE, COUNT)],
    "usage null until the end": [
        frames(chunk("Hel", usage=None), chunk("lo", "stop", usage=None), COUNT)
    ],
    "usage on every chunk": [
        frames(chunk("Hel", **usage(9, 1)), chunk("lo", "stop", **usage(9, 2)))
    ],
    "usage as decimal numbers": [frames(HI, BYE, {**COUNT, **usage(9.0, 2.0)})],
    "usage, and a later one": [frames(HI, BYE, {**COUNT, **usage(1, 1)}, COUNT)],
    "usage, and then null": [frames(HI, {**BYE, **usage(9, 2)}, {**COUNT, "usage": None})],
    "no usage": [frames(HI, BYE)],
    "thoughts within the answer": [
        frames(HI, BYE, {**COUNT, "usage": {**COUNT["usage"],
               "completion_tokens_details": {"reasoning_tokens": 2}}})
    ],
    "a cost beside the counts": [
        frames(HI, BYE, {**COUNT, "usage": {**COUNT["usage"], "cost": 0.5, "is_byok": False}})
    ],
    "counts on the end and in timings": [
        frames(HI, {**BYE, **usage(9, 2), "timings": {"prompt_n": 1, "predicted_n": 2}})
    ],
    "error null": [frames({**HI, "error": None}, {**BYE, "error": {}}, COUNT)],
    "null content first": [
        frames(delta(role="assistant", content=None), HI, BYE, delta("stop"), COUNT)
    ],
    "empty content first": [frames(delta(role="assistant", content=""), HI, BYE, COUNT)],
    "eos": [frames(HI, chunk("lo", "eos", **usage(9, 2)))],
    "length": [frames(HI, chunk("lo", "length", **usage(9, 2)))],
    "content_filter": [frames(HI, chunk("", "content_filter", **usage(9, 2)))],
    "reasoning": [frames(delta(reasoning="hm"), delta(reasoning="!"), HI, BYE, COUNT)],
    "reasoning_content": [
        frames(delta(content=None, reasoning_content="hm"), delta(content="Hi"), delta("stop"))
    ],
    "reasoning and text in one": [frames(delta(content="Hi", reasoning="hm"), delta("stop"))],
    "tool calls": [
        frames(
            delta(role="assistant", content=None, tool_calls=[CALL]),
            delta("tool_calls", tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]),
            COUNT,
        )
    ],
    "logprobs and token ids": [
        frames(
            {
                **HI,
                "choices": [
                    {**HI["choices"][0], "logprobs": -0.5, "seed": 7, "text": "Hel"},
                ],
            },
            delta("stop", content="lo", token_id=42),
            COUNT,
        )
    ],
    "unknown fields": [
        frames(
            {**HI, "x_new": {"a": [1]}, "timings": {"n": 1.5}, "system_fingerprint": None},
            delta("stop", content="lo", refusal=None, audio={"id": "x"}, citations=[]),
            {**COUNT, "warnings": [{"message": "w"}], "service_tier": "default"},
        )
    ],
    "CRLF": [frames(HI, BYE, COUNT, end=b"\r\n\r\n")],
    "CR": [frames(HI, BYE, COUNT, end=b"\r\r")],
    "comments and pings": [
        b": ping\n\n", b":\n\n", frames(HI, done=False), b": OPENROUTER PROCESSING\n\n",
        frames(BYE, COUNT), b": late\n\n",
    ],
    "[DONE] without its blank line": [frames(HI, BYE, COUNT, done=False), b"data: [DONE]"],
    "[DONE] with one line end": [frames(HI, BYE, COUNT, done=False), b"data: [DONE]\n"],
    "[DONE] and a blank": [frames(HI, BYE, COUNT, done=False), b"data: [DONE] \n\n"],
    "no [DONE]": [frames(HI, BYE, COUNT, done=False)],
    "no finish reason": [frames(HI, chunk("lo"), COUNT)],
    "no blank behind the colon": [frames(HI, BYE, COUNT).replace(b"data: ", b"data:")],
    "data behind [DONE]": [frames(HI, BYE, COUNT), frames(chunk("more"))],
    "named events and ids": [b"id: 1\nretry: 5\n", frames(HI, done=False), frames(BYE, COUNT)],
    "JSON over two lines": [
        b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "Hi"}}]}\n\n',
        frames(delta("stop"), COUNT),
    ],
    "JSON over two lines and CRLF in pieces": cut(
        b'data: {"choices": [{"index": 0,\r\ndata: "delta": {"content": "Hi"}}]}\r\n\r\n'
        + frames(delta("stop"), COUNT, end=b"\r\n\r\n"),
        1,
    ),
    "characters in pieces": cut(LINE + frames(BYE, COUNT), 1),
    "characters in twos": cut(LINE + frames(BYE, COUNT), 2),
    "characters and CRLF in pieces": cut(LINE + frames(BYE, COUNT, end=b"\r\n\r\n"), 1),
    "line separators in the text": [
        b"data: " + json.dumps(chunk("a\u2028b\u0085c"), ensure_ascii=False).encode() + b"\n\n",
        frames(BYE),
    ],
    "escapes": [frames(chunk('\\ "\n\t\x00 \U0001f30d'), BYE)],
    "nothing but an end": [frames(chunk("", "stop"), COUNT)],
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", STREAMS)
def test_we_read_a_stream_as_they_do(session, server, name, case):
    server.plan = [Answer(STREAMS[case])]
    made = theirs(name, stream=True)
    assert made.text or made.usage, "they make nothing of it"
    assert ours(session, name, stream=True) == made
    assert len(server.received) == 2


def whole(finish: str | None = "stop", more: dict | None = None, **message) -> dict:
    """An answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"object": "chat.completion", "choices": [choice], **usage(9, 2), **(more or {})}


WHOLE = {
    "plain": whole(content="Hello"),
    "eos": whole("eos", content="Hello"),
    "length": whole("length", content="Hello"),
    "no usage": whole(content="Hello", more={"usage": None}),
    "reasoning": whole(content="Hello", reasoning="hm"),
    "reasoning_content": whole(content="Hello", reasoning_content="hm"),
    "only reasoning": whole("length", content=None, reasoning="hm"),
    "empty": whole(content=""),
    "tool calls": whole("tool_calls", content=None, tool_calls=[CALL]),
    "unknown fields": whole(content="Grüße 🌍", refusal=None, more={"x": [1], "prompt": []}),
    "two answers": {**whole(content="Hello"), "choices": [
        *whole(content="Hello")["choices"], *whole("length", content="Bye")["choices"],
    ]},
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", WHOLE)
def test_we_read_a_whole_answer_as_they_do(session, server, name, case):
    raw = json.dumps(WHOLE[case], ensure_ascii=False).encode()
    server.plan = [Answer(cut(raw, 7), type="application/json")]
    assert ours(session, name, stream=False) == theirs(name, stream=False)


DETAILS = [
    {"cached_tokens": 6},
    {"cached_tokens": 6, "audio_tokens": 0},
    {"cached_tokens": 0, "cache_write_tokens": 7},
    {"cached_tokens": 6, "cache_write_tokens": 3},
    {"cached_tokens": None},
]


@pytest.mark.parametrize("details", DETAILS, ids=str)
@pytest.mark.parametrize("stream", [True, False])
def test_we_read_a_prompt_s_token_details_as_openai_s_package_does(
    session, server, details, stream
):
    counts = {**usage(9, 2)["usage"], "prompt_tokens_details": details}
    if stream:
        server.plan = [Answer([frames(HI, BYE, {**COUNT, "usage": counts})])]
        theirs = send("openai", stream=True)[-1].usage
    else:
        body = whole(content="Hi", more={"usage": counts})
        server.plan = [Answer([json.dumps(body).encode()], type="application/json")]
        theirs = send("openai").usage
    found = session.ask(HELLO, model=f"openai:{MODEL}", stream=stream).usage
    assert found.cached_tokens == (theirs.prompt_tokens_details.cached_tokens or 0)
    assert found.cache_write_tokens == (theirs.prompt_tokens_details.cache_write_tokens or 0)
    assert found.total_tokens == theirs.total_tokens


BROKEN = {
    "an error object": [frames(HI, {"error": {"message": "broke", "type": "server_error"}})],
    "an error text": [frames(HI, {"error": "broke"})],
    "an error beside choices": [frames(HI, {**BYE, "error": {"code": 502, "message": "broke"}})],
    "an error first": [frames({"error": {"message": "broke", "code": None}})],
    "no JSON": [frames(HI, done=False), b"data: oops\n\n"],
    "half a JSON": [frames(HI, done=False), b'data: {"choices": [\n\n'],
    "a connection that ends early": [frames(HI, done=False), "cut"],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", BROKEN)
def test_a_stream_that_is_an_error_to_them_is_one_to_us(session, server, name, case):
    server.plan = [Answer(BROKEN[case])]
    # Not all that they raise is theirs: bad JSON and broken connections come as they are.
    with pytest.raises((*ERRORS, ValueError, httpx.TransportError)):
        send(name, stream=True)
    with pytest.raises(MixmagicError):
        ours(session, name, stream=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_that_only_stops_is_complete_to_them_and_broken_to_us(session, server, name):
    """Neither a finish reason nor `[DONE]`: a proxy that gave up looks like that."""
    server.plan = [Answer([frames(HI, done=False)])]
    assert theirs(name, stream=True).text == "Hel"
    with pytest.raises(StreamBroken) as caught:
        ours(session, name, stream=True)
    assert caught.value.partial.text == "Hel"


BODIES = {
    "openai": {"error": {"message": "refused so", "type": "t", "param": None, "code": "c"}},
    "text": {"error": "refused so"},
    "flat": {"object": "error", "message": "refused so", "type": "t", "code": 1300},
    "html": b"<html>refused so</html>",
    "nothing": b"",
}
STATUSES = (400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 418, 422, 429, 499,
            500, 501, 502, 503, 504, 520, 524, 529)  # fmt: skip
KINDS = {
    "AuthenticationError": MissingKey,
    "PermissionDeniedError": MixmagicError,  # a 403 is not always about the key
    "NotFoundError": UnknownModel,
    "RateLimitError": RateLimited,
    "InternalServerError": Unavailable,
    "ConflictError": Unavailable,
}


# Every status with one of the bodies, the commonest with all of them.
REFUSALS = sorted(
    {*zip(STATUSES, cycle(BODIES)), *product((400, 401, 429, 503), BODIES)},
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("status", "body"), REFUSALS)
def test_statuses_are_errors_of_the_same_kind_to_both(session, server, name, status, body):
    server.plan = [refusal(status, BODIES[body])]
    stream = status % 2 == 0
    with pytest.raises(ERRORS) as told:
        send(name, stream=stream)
    with pytest.raises(MixmagicError) as caught:
        ours(session, name, stream=stream)
    assert isinstance(caught.value, KINDS.get(type(told.value).__name__, MixmagicError))
    assert getattr(caught.value, "status", status) == told.value.status_code == status
    if body not in ("html", "nothing"):  # a gateway's page is not a message
        assert "refused so" in caught.value.message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("status", "told"), [*((status, "") for status in STATUSES), (429, "false"), (503, "false")]
)
def test_we_retry_the_statuses_that_they_retry(server, monkeypatch, name, status, told):
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "1")
    headers = {"retry_after_ms": "1"} | ({"x_should_retry": told} if told else {})
    server.plan = [refusal(status, BODIES["openai"], **headers)]
    with pytest.raises(ERRORS):
        send(name, retries=1)
    tried = len(server.received)
    with closing(Session()) as session, pytest.raises(MixmagicError):
        ours(session, name, stream=True)
    assert len(server.received) - tried == tried

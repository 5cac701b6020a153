"""Refusals, broken answers and unreachable servers, over a real socket."""

from __future__ import annotations

import socket
import traceback

import pytest
from server import CUT, Answer, chunk, frames, refusal, usage, whole

from mixmagic.errors import (
    BadArguments,
    ContextTooLong,
    KeyRejected,
    MixmagicError,
    ProviderError,
    RateLimited,
    StreamBroken,
    Unavailable,
    UnknownModel,
)

KEY = "canary-key-4711"
HTML = b"<html><body>Bad\nGateway</body></html>"


@pytest.fixture
def fails(session, together):
    """Ask a server that answers as planned; return the error and the text before it."""

    def fails(kind: type[MixmagicError], *plan, model="8x7b", **params):
        together.plan = list(plan) or together.plan
        pieces = []
        deltas = session.stream(session.request("Hello", model=model, **params))
        with pytest.raises(MixmagicError) as caught:
            pieces.extend(delta.text for delta in deltas)
        error = caught.value
        assert type(error) is kind, error
        reads_well(error)
        hides_the_key(error)
        return error, "".join(pieces)

    return fails


def reads_well(error):
    lines = error._render_traceback_()
    assert len(lines) == 2
    assert not any("\n" in line for line in lines)
    assert len(error.message) > 10
    assert len(error.hint) > 10


def hides_the_key(error):
    """Check that no way to show the error shows even the beginning of the key."""
    shown = [str(error), repr(error), *error.args, *error._render_traceback_(), *error.__notes__]
    shown += traceback.format_exception(error)
    assert "canary" not in "".join(map(str, shown))


def streamed(*steps: bytes | str) -> Answer:
    return Answer(steps)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderError),
        (401, KeyRejected),
        (402, ProviderError),
        (403, ProviderError),
        (404, UnknownModel),
        (422, ProviderError),
        (429, RateLimited),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
@pytest.mark.parametrize("body", [{"error": {"message": "why"}}, HTML, b""])
def test_statuses(fails, status, kind, body):
    kind = KeyRejected if (status, body) == (403, b"") else kind
    error, text = fails(kind, refusal(status, body))
    assert f"Together AI answered {status}" in error.message
    assert text == ""


def test_a_model_off_the_serverless_list(fails):
    words = "Unable to access non-serverless model. Please create a dedicated endpoint."
    error, _ = fails(UnknownModel, refusal(400, {"error": {"message": words}}))
    for way_out in ("Start a dedicated endpoint", "another provider's row", "--live`"):
        assert way_out in error.hint


def test_a_prompt_too_long(fails):
    words = "This model's maximum context length is 32768 tokens"
    error, _ = fails(ContextTooLong, refusal(400, {"error": {"message": words}}))
    assert "32,768" in error.message


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry_after": "2"}, 2.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "1500", "retry_after": "2"}, 1.5),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "nan"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize(("status", "kind"), [(429, RateLimited), (503, Unavailable)])
def test_how_long_to_wait(fails, status, kind, headers, wait):
    error, _ = fails(kind, refusal(status, {"error": {"message": "slow"}}, **headers))
    assert (error.status, error.retry_after) == (status, wait)


HI = frames(chunk("Hi"), done=False)
CODE = {"error": {"code": 502, "message": "why", "metadata": {"error_type": "x"}}}


@pytest.mark.parametrize("size", [1, 17, 100_000])
@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (frames({**chunk("", "error"), **CODE}, done=False), Unavailable),
        (frames({"choices": [], **CODE}), Unavailable),
        (frames(chunk("", "error", error={"message": "why"})), StreamBroken),
        (frames({**chunk(), "x_groq": {"id": "1", "error": "why"}}), StreamBroken),
        (frames({"error": {"message": "why", "type": "server", "code": 500}}), Unavailable),
        (frames({"error": {"message": "why", "code": None}}), StreamBroken),
        (frames({"error": "why"}), StreamBroken),
        (b'error: {"code": 500, "message": "why"}\n\n', Unavailable),
        (b'error: {"error": {"message": "why"}}', StreamBroken),
        (b'event: error\ndata: {"message": "why"}\n\n', StreamBroken),
        (frames({"object": "error", "message": "why", "code": "1300"}), StreamBroken),
        (b"data: why not JSON\n\ndata: [DONE]\n\n", StreamBroken),
        (b"data: why, NaN or {\n\n", StreamBroken),
    ],
    ids=["OpenRouter finish", "OpenRouter", "finish", "Groq", "vLLM", "Ollama", "text",
         "llama.cpp", "llama.cpp unfinished", "event", "Mistral", "LiteLLM", "garbage"],
)  # fmt: skip
def test_errors_under_status_200(fails, raw, kind, size):
    raw = HI + raw
    error, text = fails(kind, streamed(*(raw[i : i + size] for i in range(0, len(raw), size))))
    assert "why" in error.message
    assert text == "Hi"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (streamed(HI, CUT), "Hi"),
        (streamed(CUT), ""),
        (streamed(HI), "Hi"),
        (streamed(HI, b'data: {"choices": [{"del'), "Hi"),
        (streamed(b""), ""),
        (streamed(b": ping\n\n"), ""),
        (streamed(frames({"choices": [], **usage(9, 0)}, done=False)), ""),
        (Answer([b""], type="application/json"), ""),
        (Answer([b"{}"], type="application/json"), ""),
        (Answer([b"[]"], type="application/json"), ""),
        (Answer([b'{"choices": [{"mess'], type="application/json"), ""),
        (Answer([HTML], type="text/html"), ""),
        (whole(""), None),
    ],
    ids=["cut in the middle", "cut before the head", "clean end", "end inside an event",
         "LM Studio", "only pings", "only usage", "nothing", "empty object", "list", "half",
         "a login page", "empty text is an answer"],
)  # fmt: skip
def test_incomplete_answers(session, fails, together, answer, text):
    if text is None:
        together.plan = [answer]
        assert session.ask("Hello", model="8x7b").text == ""
        return
    error, came = fails(StreamBroken, answer)
    assert "Together AI" in error.message
    assert came == text


@pytest.mark.parametrize(
    ("kind", "echo"),
    [
        (KeyRejected, refusal(401, {"error": {"message": f"Incorrect API key provided: {KEY}."}})),
        (KeyRejected, refusal(401, f"Bearer {KEY}".encode())),
        (KeyRejected, refusal(403, {"detail": [{"msg": KEY}]})),
        (UnknownModel, refusal(404, {"error": KEY})),
        (RateLimited, refusal(429, {"error": {"message": f"{KEY} {KEY}"}})),
        (Unavailable, refusal(500, f"{'x' * 290} {KEY}".encode())),
        (ContextTooLong, refusal(400, {"error": f"maximum context length {'x' * 270}{KEY}"})),
        (StreamBroken, streamed(frames({"error": {"message": KEY}}))),
        (StreamBroken, streamed(frames({"error": {"message": f"{'x' * 290}{KEY}"}}))),
        (StreamBroken, streamed(frames(f"{'x' * 70}{KEY}"))),
        (StreamBroken, streamed(f"data: {'x' * 72}{KEY}\n\n".encode())),
        (StreamBroken, Answer([KEY.encode()], type="application/json")),
        (StreamBroken, Answer([b"x" * 72 + KEY.encode()], type="application/json")),
    ],
)
def test_an_echoed_key_is_not_shown(fails, kind, echo):
    """Neither the whole key nor a part of it, if a long message is truncated within it."""
    fails(kind, echo)


def test_an_echoed_key_is_not_shown_if_json_has_escaped_it(fails, monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", "canary/4711")
    fails(KeyRejected, refusal(401, b'{"error": "no such key: canary\\/4711"}'))
    fails(StreamBroken, streamed(b'data: {"error": "no such key: canary\\u002f4711"}\n\n'))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_no_server_listens(fails, monkeypatch):
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("TOGETHER_BASE_URL", url)
    error, _ = fails(Unavailable)
    assert url in error.message
    assert "TOGETHER_BASE_URL" in error.hint
    assert "%mixmagic use local" in error.hint
    monkeypatch.setenv("OLLAMA_HOST", url)
    error, _ = fails(Unavailable, model="ollama:8x7b")
    assert "ollama serve" in error.hint


@pytest.mark.parametrize(
    "url",
    ["ftp://host/v1", "://host", "http://host:port/v1",
     "http://ho\tst/v1", f"http://{'a' * 64}.example/v1", "http://a..b/v1"],
)  # fmt: skip
def test_an_invalid_url(fails, monkeypatch, url):
    monkeypatch.setenv("TOGETHER_BASE_URL", url)
    error, _ = fails(BadArguments)
    assert "TOGETHER_BASE_URL" in error.hint


def test_an_event_without_end(fails, monkeypatch):
    monkeypatch.setattr("mixmagic.backends.http.sse.MAX_EVENT", 1000)
    error, text = fails(StreamBroken, streamed(HI, b"data: " + b"x" * 2000))
    assert "an event of over 1,000 bytes" in error.message
    assert text == "Hi"


def test_the_server_sees_its_connection_close_after_a_broken_answer(fails, together):
    """It does not wait for data after an error."""
    fails(StreamBroken, streamed(HI, b"data: garbage\n\n", "hang"))
    together.wait(lambda: together.received[0].closed_at)


def test_after_every_error_the_client_works(session, fails, together):
    for kind, plan in (
        (StreamBroken, streamed(HI, CUT)),
        (StreamBroken, streamed(HI)),
        (Unavailable, refusal(500, {"error": {"message": "no"}})),
    ):
        fails(kind, plan)
        together.plan = [whole("Hi")]
        assert session.ask("Hello", model="8x7b").text == "Hi"

"""A real llama.cpp HTTP server that is loading, slow, or killed."""

from __future__ import annotations

from contextlib import closing

import httpx
import pytest
from llama_server import ENDLESS, KEY, MODEL, Llama, begun, drain

from mixmagic.errors import FirstByteTimedOut, StreamBroken, Unavailable
from mixmagic.sessions import Session

pytestmark = pytest.mark.embedded


def test_a_server_that_is_killed_in_the_middle_leaves_a_broken_answer(monkeypatch, session):
    with Llama() as server:
        server.is_openai(monkeypatch)
        request = session.request("Count.", model=MODEL, max_tokens=600, extra_body=ENDLESS)
        with closing(session.stream(request)) as deltas:
            begun(deltas)
            server.process.kill()
            with pytest.raises(StreamBroken) as caught:
                list(deltas)
        assert caught.value.partial.text
        server.process.wait(timeout=60)
        with pytest.raises(Unavailable, match="cannot be reached"):
            session.ask("Hi", model=MODEL)


def test_pings_are_not_an_answer(monkeypatch):
    """While it reads a long prompt, it sends the head, and a ping a second."""
    prompt = "word " * 8000
    body = {"messages": [{"role": "user", "content": prompt}], "stream": True}
    key = {"Authorization": f"Bearer {KEY}"}
    monkeypatch.setenv("MIXMAGIC_FIRST_BYTE_TIMEOUT", "4")
    with Llama(context=8192) as server, closing(Session()) as session:
        server.is_openai(monkeypatch)
        url = f"{server.url}/chat/completions"
        with httpx.stream("POST", url, json=body, headers=key, timeout=60) as raw:
            assert next(raw.iter_lines()) == ":"
        with pytest.raises(FirstByteTimedOut):
            session.ask(prompt, model=MODEL)


def loading(monkeypatch, ask):
    """Return the result of `ask(session)` with a server that listens, and is still loading.

    Loading takes half a second; if the call is too late, start another server.
    """
    for _ in range(5):
        with Llama(loaded=False) as server, closing(Session()) as session:
            server.is_openai(monkeypatch)
            if (found := ask(session)) is not None:
                return found
    pytest.fail("no server was met while it loaded")


def test_a_server_that_is_loading_its_model_is_reported(monkeypatch):
    def ask(session):
        try:
            session.ask("Hi", model=MODEL, max_tokens=2)
        except Unavailable as error:
            return error
        return None

    error = loading(monkeypatch, ask)
    assert (error.status, error.retryable) == (503, True)
    assert "Loading model" in error.message


def test_a_call_is_retried_while_the_server_loads_its_model(monkeypatch):
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "50")

    def ask(session):
        deltas = drain(session, session.request("Hi", model=MODEL, max_tokens=2))
        return deltas if any(delta.progress for delta in deltas) else None

    deltas = loading(monkeypatch, ask)
    progress = [delta.progress for delta in deltas if delta.progress]
    assert all(said.startswith("OpenAI answered 503: next try in") for said in progress)
    (note,) = [delta.note for delta in deltas if delta.note]
    assert note.startswith("after ")
    assert deltas[-1].usage.completion_tokens == 2

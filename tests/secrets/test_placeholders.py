"""Placeholder keys of local servers and real keys, in errors, answers and listings."""

from __future__ import annotations

import re

import pytest
from server import Answer, chunk, frames, refusal, whole
from shapes import PLACEHOLDERS, SECRETS

from mixmagic.errors import MixmagicError, Unavailable
from mixmagic.keys.placeholders import SHORTEST

SENTENCES = (
    "model 'x' is nonexistent; none of the latest models is local, test or test-local.",
    'client = OpenAI(base_url="http://localhost:1234/v1", api_key="{key}")',
    "try `ollama pull llama3`, then set OPENAI_API_KEY=not-needed. {key}! {KEY}, {Key}s",
)


@pytest.fixture
def openai(server, monkeypatch):
    """The scripted server as a local one: vLLM, LM Studio, llama.cpp."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    return server


def texts(key: str) -> list[str]:
    forms = {"key": key, "KEY": key.upper(), "Key": key.capitalize()}
    return [re.sub(r"\{(\w+)\}", lambda name: forms[name[1]], text) for text in SENTENCES]


@pytest.mark.parametrize("key", PLACEHOLDERS)
def test_a_placeholder_is_not_redacted_from_a_text(session, openai, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    for text in texts(key):
        openai.plan = [Answer([frames(*map(chunk, text), chunk("", "stop"))])]
        assert session.ask("Hello", model="openai:m").text == text
        openai.plan = [whole(text)]
        assert session.ask("Hello", model="openai:m", stream=False).text == text
        openai.plan = [refusal(500, {"error": text})]
        with pytest.raises(Unavailable) as caught:
            session.ask("Hello", model="openai:m")
        assert caught.value.message == f"OpenAI answered 500: {text}"
    if key.isascii() and " " not in key:
        assert openai.received[0].headers["authorization"] == f"Bearer {key}", "it is sent"


@pytest.mark.parametrize("key", ["local", "localhost", "openai", "127.0.0.1", "refused"])
def test_a_placeholder_is_not_redacted_from_our_messages(session, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    with pytest.raises(MixmagicError, match=r"at http://localhost:1/v1: ") as caught:
        session.ask("Hello", model="openai:m")
    assert "[key]" not in " ".join(caught.value._render_traceback_())
    assert "[key]" not in " ".join(check.detail for check in session.doctor())


@pytest.mark.parametrize("shape", SECRETS)
def test_a_key_of_any_form_is_redacted(session, openai, monkeypatch, shape):
    key = SECRETS[shape]
    monkeypatch.setenv("OPENAI_API_KEY", key)
    text = f"You sent {key}, and Bearer {key}."
    shown = "You sent [key], and Bearer [key]."
    for stream in (True, False):
        openai.plan = [
            Answer([frames(*map(chunk, text), chunk("", "stop"))]) if stream else whole(text)
        ]
        assert session.ask("Hello", model="openai:m", stream=stream).text == shown
    openai.plan = [refusal(500, {"error": text})]
    with pytest.raises(Unavailable, match=re.escape(shown)):
        session.ask("Hello", model="openai:m")


@pytest.mark.parametrize("shape", SECRETS)
def test_an_unused_key_in_the_environment_is_redacted(session, together, monkeypatch, shape):
    monkeypatch.setenv("MISTRAL_API_KEY", SECRETS[shape])
    together.plan = [whole(f"It is {SECRETS[shape]}.")]
    assert session.ask("Hello", model="together:8x7b").text == "It is [key]."


@pytest.mark.parametrize("key", ["hb3dkfg", "Zq8Wn3R"])
def test_a_key_of_fewer_characters_than_eight_is_not_searched_for(
    session, openai, monkeypatch, key
):
    assert len(key) < SHORTEST
    monkeypatch.setenv("OPENAI_API_KEY", key)
    openai.plan = [whole(key)]
    assert session.ask("Hello", model="openai:m").text == key

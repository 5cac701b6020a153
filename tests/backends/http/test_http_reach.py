"""Calling a provider: URLs, keys and connections."""

from __future__ import annotations

import httpx
import pytest
from server import Answer, refusal, whole
from server import together as as_together

from mixmagic.catalog import Catalog
from mixmagic.errors import MissingKey, ProviderError
from mixmagic.keys.urls import base_url

KEY = "canary-key-4711"


def ask(session, name):
    return session.ask("Hello", model=name)


@pytest.mark.parametrize(
    ("given", "starts"),
    [
        ("https://api.example/v1", "https://api.example/v1"),
        ("https://api.example/v1/", "https://api.example/v1"),
        ("https://api.example", "https://api.example/v1"),
        ("https://api.example/", "https://api.example/v1"),
        ("https://api.example//", "https://api.example/v1"),
        ("  https://api.example/v1 ", "https://api.example/v1"),
        ("https://api.example/inference/v1", "https://api.example/inference/v1"),
        ("https://api.example/api/v3", "https://api.example/api/v3"),
        ("https://api.example/v1beta/", "https://api.example/v1beta"),
        ("https://api.example/v1beta/openai/", "https://api.example/v1beta/openai"),
        ("127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("localhost:11434/", "http://localhost:11434/v1"),
        ("", "https://api.openai.com/v1"),
        (" ", "https://api.openai.com/v1"),
    ],
)
def test_base_urls(monkeypatch, given, starts):
    monkeypatch.setenv("OPENAI_BASE_URL", given)
    assert base_url(Catalog().providers["openai"]) == starts


@pytest.mark.parametrize(
    ("given", "starts"),
    [
        ("localhost", "http://localhost/v1"),
        ("LocalHost:8000", "http://LocalHost:8000/v1"),
        ("localhost:8000/api/v3", "http://localhost:8000/api/v3"),
        ("someone@localhost:8000", "http://someone@localhost:8000/v1"),
        ("127.0.0.1", "http://127.0.0.1/v1"),
        ("127.8.9.1:8000", "http://127.8.9.1:8000/v1"),
        ("0.0.0.0:8000", "http://0.0.0.0:8000/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("localhost.evil.example:8000", "https://localhost.evil.example:8000/v1"),
        ("localhost@evil.example", "https://localhost@evil.example/v1"),
        ("127.evil.example", "https://127.evil.example/v1"),
        ("127.0.0.1.evil.example", "https://127.0.0.1.evil.example/v1"),
        ("0.0.0.0.evil.example", "https://0.0.0.0.evil.example/v1"),
        ("192.168.0.1:8000", "https://192.168.0.1:8000/v1"),
        ("[::2]:8000", "https://[::2]:8000/v1"),
        ("[::1", "https://[::1/v1"),
    ],
)
def test_a_key_is_sent_without_tls_only_to_this_machine(monkeypatch, given, starts):
    """If the URL has no scheme. A host that only begins like this machine is another one."""
    monkeypatch.setenv("TOGETHER_BASE_URL", given)
    assert base_url(Catalog().providers["together"]) == starts


@pytest.mark.parametrize(
    ("host", "exposed"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("192.168.0.1", True),
     ("localhost.evil.example", True), ("127.evil.example", True), ("::2", True)],
)  # fmt: skip
def test_a_key_is_exposed_to_every_host_but_this_one(session, together, host, exposed):
    """The host as httpx gives it: an IPv6 address has no brackets."""
    assert httpx.URL(f"http://{f'[{host}]' if ':' in host else host}/").host == host
    warning = session.backends.access.exposure(session.catalog.resolve("8x7b"), host)
    assert warning == (f"the key travels unencrypted to {host}" if exposed else "")


@pytest.mark.parametrize("shape", ["{0}/v1", "{0}/v1/", "{0}", "{0}/"])
def test_base_urls_reach_the_server(session, together, monkeypatch, shape):
    monkeypatch.setenv("TOGETHER_BASE_URL", shape.format(together.url.removesuffix("/v1")))
    together.plan = [whole("Hi")]
    assert ask(session, "8x7b").text == "Hi"
    assert together.received[0].path == "/v1/chat/completions"


def test_ollama_s_host_and_port(session, server, monkeypatch):
    """No scheme, no version, no key: as Ollama itself reads the variable."""
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://").removesuffix("/v1"))
    server.plan = [whole("Hi")]
    answer = ask(session, "ollama:8x7b")
    assert (answer.text, answer.cost) == ("Hi", 0)
    assert "authorization" not in server.received[0].headers


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_nothing_is_sent(session, together, monkeypatch, key):
    if key is None:
        monkeypatch.delenv("TOGETHER_API_KEY")
    else:
        monkeypatch.setenv("TOGETHER_API_KEY", key)
    with pytest.raises(MissingKey, match="TOGETHER_API_KEY is not set"):
        ask(session, "8x7b")
    assert together.received == []


@pytest.mark.parametrize("key", ["ca nary", "canary\u2026", "canary\nx", "canary\x7f"])
def test_a_key_that_is_not_valid_in_a_header_is_refused_and_not_shown(
    session, together, monkeypatch, key
):
    monkeypatch.setenv("TOGETHER_API_KEY", key)
    with pytest.raises(MissingKey, match="characters that are not valid in a key") as caught:
        ask(session, "8x7b")
    assert "nary" not in "".join(caught.value._render_traceback_())
    assert together.received == []


def test_a_key_may_end_with_a_newline(session, together, monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", f" {KEY}\n")
    together.plan = [whole("Hi")]
    ask(session, "8x7b")
    assert together.received[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_key_is_read_when_a_call_is_sent(session, together, monkeypatch):
    together.plan = [whole("Hi")]
    ask(session, "8x7b")
    monkeypatch.setenv("TOGETHER_API_KEY", "another")
    ask(session, "8x7b")
    assert together.received[1].headers["authorization"] == "Bearer another"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_connections_are_reused(session, scheme, request):
    """After a streamed answer, a whole one, and an error."""
    server = request.getfixturevalue("together" if scheme == "http" else "together_tls")
    server.plan = [
        Answer(as_together("Hi")),
        refusal(400, {"error": {"message": "no"}}),
        whole("Hi"),
        Answer(as_together("Hi")),
    ]
    ask(session, "8x7b")
    with pytest.raises(ProviderError):
        ask(session, "8x7b")
    ask(session, "8x7b")
    ask(session, "8x7b")
    [connection] = session.backends._made["http"].transport.connections
    assert "Request Count: 4" in connection.info()


def test_redirects_are_not_followed_with_the_key(session, together):
    """The key is sent only to the provider."""
    together.plan = [Answer([b""], 307, {"location": together.url + "/elsewhere"}), whole("Hi")]
    with pytest.raises(ProviderError, match="answered 307"):
        ask(session, "8x7b")
    assert len(together.received) == 1


def test_a_closed_session_can_be_used_again(session, together):
    together.plan = [whole("Hi")]
    ask(session, "8x7b")
    session.close()
    assert ask(session, "8x7b").text == "Hi"

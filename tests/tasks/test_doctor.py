"""Checks of what an answer needs: the default that cannot answer, providers that are not set up."""

from __future__ import annotations

import pytest
from server import Answer

from mixmagic.sessions import Session

KEY = "canary-key-4711"


def found(session) -> dict:
    return {check.name: check for check in session.doctor()}


def test_a_default_that_cannot_answer_is_marked_with_the_way_out(home, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    monkeypatch.setenv("GROQ_BASE_URL", "http://127.0.0.1:9/v1")
    check = found(Session())["model"]
    assert check.ok is False
    assert "Use -m groq:gpt-oss-20b or -m local" in check.detail


@pytest.mark.parametrize("model", ["disco", "together:8x7b", "gpt-9", "nonsense"])
def test_so_is_a_chosen_one(home, model):
    session = Session()
    session.model = model
    assert found(session)["model"].ok is False


def test_a_default_that_can_answer_is_fine(server, home, monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    monkeypatch.setenv("OPENROUTER_BASE_URL", server.url)
    server.plan = [Answer([b'{"data": [{"id": "a"}]}'], type="application/json")]
    checks = found(Session())
    assert checks["model"].detail.startswith("openrouter:8x7b at OpenRouter")
    assert checks["OpenRouter"].detail.endswith(" ms, 1 model")


def test_what_is_not_set_up_is_one_line_without_jargon(home):
    checks = found(Session())
    assert "Anthropic (ANTHROPIC_API_KEY), Azure OpenAI" in checks["not set up"].detail
    assert "Ollama (OLLAMA_HOST)" in checks["not set up"].detail
    assert not [name for name in checks if name.startswith("key: ")]
    assert "Errno" not in " ".join(check.detail for check in checks.values())


def test_a_server_that_is_named_and_does_not_answer_is_told(home, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    session = Session()
    assert found(session)["Ollama"].ok is False, "it serves the default"
    session.model = "local"
    check = found(session)["Ollama"]
    assert check.ok is None
    assert "cannot be reached" in check.detail
    assert "Errno" not in check.detail


def test_azure_without_its_url_is_told(home, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    check = found(Session())["Azure OpenAI"]
    assert check.ok is False
    assert check.detail.startswith("AZURE_OPENAI_ENDPOINT not set: Set AZURE_OPENAI_ENDPOINT to")


def test_a_settings_file_is_named_as_such_only_if_it_is_there(home):
    assert found(Session())["settings"].ok is None
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "config.toml").write_text('model = "local"')
    check = found(Session())["settings"]
    assert (check.ok, check.detail) == (True, str(home / "config" / "config.toml"))

"""What leaves this machine for each provider of the catalog, if every parameter is set."""

from __future__ import annotations

import pytest
from server import Answer, refusal, together

from mixmagic.backends import wire
from mixmagic.catalog import Catalog
from mixmagic.core.values import Message, Request
from mixmagic.errors import KeyRejected, MissingKey
from mixmagic.sessions import Session

KEY = "canary-key-4711"
CATALOG = Catalog()
HOSTED = [p for p in CATALOG.providers.values() if p.backend == "http"]
EVERYTHING = {
    "temperature": 1.8,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.1,
    "seed": 7,
    "stop": ["END"],
    "max_tokens": 50,
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.1,
}
FORM = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {}}},
}
# Of each provider: what is left out, what is lowered, and what has another name.
DIALECTS = {
    "anthropic": (
        {"response_format", "seed", "presence_penalty", "frequency_penalty", "logprobs"}
        | {"top_logprobs", "min_p", "repetition_penalty"},
        {"temperature": 1, "n": 1},
        {},
    ),
    "azure": (set(), {}, {}),
    "deepseek": ({"temperature", "presence_penalty", "frequency_penalty"}, {}, {}),
    "fireworks": (set(), {}, {}),
    "google": (
        {"seed", "frequency_penalty", "top_k", "min_p", "repetition_penalty"},
        {},
        {},
    ),
    "groq": ({"logprobs", "top_logprobs"}, {"n": 1}, {}),
    "lmstudio": (set(), {}, {}),
    "mistral": (
        {"top_k", "min_p", "repetition_penalty", "logprobs", "top_logprobs"},
        {"temperature": 1.5},
        {"seed": "random_seed"},
    ),
    "ollama": (set(), {}, {}),
    "openai": (set(), {}, {}),
    "openrouter": (set(), {}, {}),
    "together": ({"logprobs"}, {}, {"top_logprobs": "logprobs"}),
    "vllm": (set(), {}, {}),
}


@pytest.fixture
def sent(server, monkeypatch, home):
    """Ask a provider's model at the loopback server; return the answer and what was received."""

    def ask(provider, model="some-model", **options):
        monkeypatch.setenv(provider.url_env, server.url)
        monkeypatch.setenv(provider.key_env, KEY)
        server.plan = [Answer(together("Hi"))]
        answer = Session().ask("Hello", model=f"{provider.name}:{model}", **options)
        return answer, server.received[-1]

    return ask


def test_every_provider_has_its_dialect_here():
    assert {provider.name for provider in HOSTED} == set(DIALECTS)


@pytest.mark.parametrize("provider", HOSTED, ids=lambda each: each.name)
def test_what_a_provider_refuses_ignores_or_caps_is_not_sent_and_a_note_says_so(sent, provider):
    answer, received = sent(provider, system="Be brief.", response_format=FORM, **EVERYTHING)
    left_out, lowered, renamed = DIALECTS[provider.name]
    expected = {**EVERYTHING, "response_format": FORM, **lowered}
    expected = {name: value for name, value in expected.items() if name not in left_out}
    expected = {renamed.get(name, name): value for name, value in expected.items()}
    body = received.body
    asked = {*EVERYTHING, *renamed.values(), "response_format"}
    assert {name: body[name] for name in asked & body.keys()} == expected
    notes = " ".join(answer.notes)
    for name in left_out - {"response_format", *renamed.values()}:
        assert f"sent without {renamed.get(name, name)}, which {answer.model.name}" in notes
    for name, value in lowered.items():
        assert f"sent with {name} {value}, the most that {answer.model.name} accepts" in notes
    if "response_format" in left_out:
        assert "JSON Schema" in body["messages"][0]["content"]


@pytest.mark.parametrize("provider", HOSTED, ids=lambda each: each.name)
def test_what_a_provider_accepts_is_sent_without_a_note(sent, provider):
    answer, received = sent(provider, max_tokens=50, top_p=0.9, stop="END")
    assert (received.body["max_tokens"], received.body["stop"]) == (50, ["END"])
    assert not [note for note in answer.notes if note.startswith("sent ")]


@pytest.mark.parametrize("provider", HOSTED, ids=lambda each: each.name)
def test_a_key_is_sent_in_the_header_that_the_provider_takes(sent, provider):
    headers = sent(provider)[1].headers
    if provider.name == "azure":
        assert (headers["api-key"], headers.get("authorization")) == (KEY, None)
    else:
        assert headers["authorization"] == f"Bearer {KEY}"
    if provider.name == "anthropic":
        assert headers["anthropic-version"] == "2023-06-01"


def test_anthropic_s_list_of_models_takes_the_key_in_another_header(server, monkeypatch, home):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    server.plan = [Answer([b'{"data": [{"id": "claude-haiku-5-5"}]}'], type="application/json")]
    assert [row.context for row in Session().live_models("anthropic")] == [1_000_000]
    headers = server.received[-1].headers
    assert (headers["x-api-key"], headers.get("authorization")) == (KEY, None)


@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_google_s_key_may_be_in_either_of_two_variables(server, monkeypatch, home, name):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
    monkeypatch.setenv(name, KEY)
    server.plan = [Answer(together("Hi"))]
    session = Session()
    assert session.available(session.catalog.providers["google"])
    assert session.ask("Hello", model="gemini-3.8-flash").text == "Hi"
    assert server.received[-1].headers["authorization"] == f"Bearer {KEY}"


def test_the_first_of_two_variables_is_used(server, monkeypatch, home):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
    monkeypatch.setenv("GOOGLE_API_KEY", "canary-key-0000")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    server.plan = [Answer(together("Hi"))]
    Session().ask("Hello", model="gemini-3.8-flash")
    assert server.received[-1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("", "/openai/v1/chat/completions"),
        ("/", "/openai/v1/chat/completions"),
        ("/openai/v1/", "/openai/v1/chat/completions"),
        (
            "/openai/deployments/x?api-version=1",
            "/openai/deployments/x/chat/completions?api-version=1",
        ),
    ],
)
def test_azure_s_url_is_that_of_a_resource(server, monkeypatch, home, url, path):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url.removesuffix("/v1") + url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    server.plan = [Answer(together("Hi"))]
    Session().ask("Hello", model="azure:our-gpt")
    assert server.received[-1].path == path
    assert server.received[-1].body["model"] == "our-gpt"


def test_azure_without_its_url_is_not_set_up(monkeypatch, home):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    session = Session()
    assert not session.available(session.catalog.providers["azure"])
    with pytest.raises(MissingKey, match="AZURE_OPENAI_ENDPOINT is not set") as error:
        session.ask("Hello", model="azure:our-gpt")
    assert "https://RESOURCE.openai.azure.com" in error.value.hint
    assert KEY not in error.value.hint


def test_openai_needs_a_key_but_a_server_in_its_place_does_not(server, monkeypatch, home):
    with pytest.raises(MissingKey, match="OPENAI_API_KEY is not set"):
        Session().ask("Hello", model="openai:gpt-6-luna")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    server.plan = [Answer(together("Hi"))]
    answer = Session().ask("Hello", model="openai:gpt-6-luna", max_tokens=5)
    assert answer.text == "Hi"
    assert answer.model.price is None, "it is OpenAI's"
    assert "authorization" not in server.received[-1].headers
    assert server.received[-1].body["max_tokens"] == 5, "as other servers take it"


@pytest.mark.parametrize("name", ["gpt-6-luna", "gpt-6.1-sol", "gpt-5.4-mini"])
def test_openai_s_newer_models_take_the_limit_under_its_newer_name(name):
    model = CATALOG.resolve(name)
    body = wire.encode(Request(model, (Message("user", "Hi"),), {"max_tokens": 5}))
    assert (body["max_completion_tokens"], body.get("max_tokens")) == (5, None)


def test_a_model_may_refuse_more_than_its_provider(sent):
    answer, received = sent(CATALOG.providers["anthropic"], "claude-sonnet-5-5", temperature=0.5)
    assert "temperature" not in received.body
    assert "sent without temperature" in " ".join(answer.notes)
    _, received = sent(CATALOG.providers["anthropic"], "claude-haiku-4-5", temperature=0.5)
    assert received.body["temperature"] == 0.5


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_key_is_not_a_missing_one(server, monkeypatch, home, status):
    monkeypatch.setenv("GROQ_BASE_URL", server.url)
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    server.plan = [refusal(status, {"error": {"message": "Invalid API Key"}})]
    with pytest.raises(KeyRejected, match="GROQ_API_KEY is set in the environment") as error:
        Session().ask("Hello", model="groq:gpt-oss-20b")
    assert "not set" not in error.value.message
    assert isinstance(error.value, MissingKey), "one `except` catches both"
    assert KEY not in f"{error.value.message} {error.value.hint}"

"""Models that can be used with the keys that are set, and errors that name them."""

from __future__ import annotations

import pytest
from server import Answer, together

from mixmagic.catalog import Catalog
from mixmagic.catalog.selection import elsewhere, refusal, select, served_today, usable
from mixmagic.errors import MissingKey, UnknownModel
from mixmagic.sessions import Session

KEY = "canary-key-4711"
CATALOG = Catalog()
HOSTED = [p for p in CATALOG.providers.values() if p.key_required and p.name != "azure"]


def at(*names: str):
    return lambda provider: provider.name in names


@pytest.mark.parametrize("provider", HOSTED, ids=lambda each: each.name)
def test_with_any_one_key_the_first_cell_names_a_model_that_works(
    provider, server, monkeypatch, home
):
    """Or it is answered, by a provider that serves Mixtral."""
    monkeypatch.setenv(provider.key_env, KEY)
    session = Session()
    (name, local) = usable(session.catalog, session.available)
    assert local == "local"
    assert session.catalog.resolve(name).provider.name == provider.name
    monkeypatch.setenv(provider.url_env, server.url)
    server.plan = [Answer(together("Hi"))]
    if provider.name == "openrouter":
        assert session.ask("Hi").model.name == "openrouter:8x7b"
        return
    monkeypatch.delenv(provider.url_env)
    with pytest.raises(MissingKey) as error:
        session.ask("Hi")
    assert error.value.message.startswith("8x7b, the default model, is served at present by")
    assert error.value.hint.startswith(f"Use -m {name} or -m local (`%mixmagic use MODEL` for all")
    assert server.received == []
    assert session.ledger.spent() == [], "no call was made"
    monkeypatch.setenv(provider.url_env, server.url)
    named = name if provider.name != "openai" else "openai:some-model"
    assert session.ask("Hi", model=named).text == "Hi"


def test_without_any_key_the_first_cell_names_local(home):
    with pytest.raises(MissingKey) as error:
        Session().ask("Hi")
    assert error.value.hint.startswith("Use -m local (`%mixmagic use MODEL` for all cells), or set")


def test_each_key_that_is_set_has_its_model_in_the_hint(home, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    with pytest.raises(MissingKey) as error:
        Session().ask("Hi", task="analysis")
    assert "-m google:gemini-3.8-flash or -m groq:gpt-oss-20b or -m local" in error.value.hint
    assert KEY not in error.value.hint


@pytest.mark.parametrize("name", ["8x7b", "MIXTRAL", "8x22b"])
def test_a_key_for_what_is_dedicated_does_not_make_it_answer(home, monkeypatch, name):
    for variable in ("TOGETHER_API_KEY", "FIREWORKS_API_KEY", "MISTRAL_API_KEY"):
        monkeypatch.setenv(variable, KEY)
    with pytest.raises(MissingKey, match="OPENROUTER_API_KEY is not set") as error:
        Session().ask("Hi", model=name)
    assert "-m together:gpt-oss-120b or -m fireworks:gpt-oss-20b" in error.value.hint


def test_what_nobody_serves_is_refused_but_not_with_its_provider_s_name(home, monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    with pytest.raises(UnknownModel, match="disco is served by nobody at present") as error:
        Session().ask("Hi", model="disco")
    assert error.value.hint.startswith("Use -m together:gpt-oss-120b or -m local; -m together:END")
    model = select("together:disco", CATALOG, at("together")).model
    assert refusal("together:disco", model, CATALOG, at("together")) is None


def test_a_model_s_own_provider_without_a_key_gives_way_to_a_router(home, monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    with pytest.raises(MissingKey, match="OPENAI_API_KEY is not set") as error:
        Session().ask("Hi", model="gpt-99")
    assert error.value.hint == (
        "Use -m openrouter:openai/gpt-99 or -m local, or run `%mixmagic login openai`."
    )


@pytest.mark.parametrize("name", [None, *sorted({row.name for row in CATALOG.models}), "gpt-99"])
@pytest.mark.parametrize("keys", [(), HOSTED[:1], HOSTED], ids=["no key", "one key", "all keys"])
def test_a_hint_about_a_key_is_short_and_says_nothing_twice(home, monkeypatch, name, keys):
    for provider in keys:
        if name is None or not name.startswith(provider.name):
            monkeypatch.setenv(provider.key_env, KEY)
    session = Session()
    hint = "-m local"
    try:
        session.answering(name)
    except (MissingKey, UnknownModel) as error:
        hint = error.hint
    assert len(hint) <= 160
    assert hint.count("-m local") == 1
    assert "use local" not in hint


def test_a_server_in_place_of_a_provider_s_own_is_meant_by_its_user(home, monkeypatch):
    """Not a router that has a price, to which the prompt would go instead."""
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert Session().select("gpt-6-luna").model.name == "openai:gpt-6-luna"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert Session().select("gpt-6-luna").model.name == "openrouter:gpt-6-luna"


@pytest.mark.parametrize(
    ("name", "routed"),
    [
        ("openai:gpt-9", "openrouter:openai/gpt-9"),
        ("claude-haiku-4-5", "openrouter:anthropic/claude-haiku-4.5"),
        ("claude-sonnet-4-20250514", "openrouter:anthropic/claude-sonnet-4-20250514"),
        ("gemini-2.5-pro", "openrouter:google/gemini-2.5-pro"),
        ("mistral-large-9", "openrouter:mistralai/mistral-large-9"),
        ("groq:x", ""),
    ],
)
def test_a_router_has_a_model_under_its_vendor_s_name(name, routed):
    assert elsewhere(CATALOG.resolve(name), CATALOG, at("openrouter")) == routed
    assert elsewhere(CATALOG.resolve(name), CATALOG, at()) == ""


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("gpt-99", "openai:gpt-99"),
        ("GPT-4o", "openai:gpt-4o"),
        ("o3", "openai:o3"),
        ("o4-mini", "openai:o4-mini"),
        ("chatgpt-4o-latest", "openai:chatgpt-4o-latest"),
        ("claude-opus-9", "anthropic:claude-opus-9"),
        ("gemini-9-flash", "google:gemini-9-flash"),
        ("mistral-large-latest", "mistral:mistral-large-latest"),
        ("open-mistral-nemo", "mistral:open-mistral-nemo"),
        ("deepseek-chat", "deepseek:deepseek-chat"),
        ("gpt-oss-120b", "together:gpt-oss-120b"),
        ("llama-3.3-70b", "openrouter:llama-3.3-70b"),
        ("models/gemini-2.5-pro", "google:gemini-2.5-pro"),
        ("models/gemini-9-nova", "google:gemini-9-nova"),
        ("google:models/gemini-2.5-pro", "google:gemini-2.5-pro"),
        ("GOOGLE:models/gemma-9", "google:gemma-9"),
        ("local:models/gemini-2.gguf", "local:models/gemini-2.gguf"),
    ],
)
def test_a_name_of_a_known_form_needs_no_provider(name, means):
    assert CATALOG.resolve(name).name == means


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpt4", "Did you mean gpt-4o"),
        ("claude", "Did you mean claude-"),
        ("gemini", "Did you mean gemini-"),
        ("llama-3.1-8b", "Did you mean llama-3.3-70b?"),
        ("anthropic/claude-9", "-m openrouter:anthropic/claude-9 or -m anthropic:claude-9?"),
        ("x-ai/grok-9", "Did you mean -m openrouter:x-ai/grok-9?"),
        ("models/gemma-9", "Did you mean -m google:gemma-9?"),
        ("ollama/llama9:3b", "Did you mean -m ollama:llama9:3b?"),
        ("groq/llama-9", "Did you mean -m groq:llama-9?"),
        ("Google/gemini-9", "-m openrouter:Google/gemini-9 or -m google:gemini-9?"),
        ("llama3.2:3b", "Did you mean -m ollama:llama3.2:3b?"),
        ("qwen9:latest", "Did you mean -m ollama:qwen9:latest?"),
        ("opnai:gpt-9", "Did you mean openai:gpt-"),
        ("models/file.gguf", "Did you mean -m local:models/file.gguf?"),
        ("hf:some/repo/file.gguf", "Did you mean -m local:hf/some/repo/file.gguf?"),
        ("HF/some/repo/sub/file.GGUF", "Did you mean -m local:hf/some/repo/sub/file.GGUF?"),
        ("some/repo/file.gguf", "Did you mean -m local:hf/some/repo/file.gguf?"),
        ("/models/file.gguf", "Did you mean -m local:/models/file.gguf?"),
        ("~/models/file.gguf", "Did you mean -m local:~/models/file.gguf?"),
        ("o3xyz", "`%mixmagic models` lists all"),
        ("gpt-", "Did you mean gpt-"),
        ("mixtral-8x7b", "Did you mean 8x7b?"),
        ("Mixtral 8x22B Instruct", "Did you mean 8x22b?"),
        ("together", "Add a model: -m together:MODEL, such as together:gpt-oss-120b."),
        ("OpenAI:", "Add a model: -m openai:MODEL, such as openai:gpt-6-luna."),
    ],
)
def test_other_names_get_the_exact_ones_that_they_may_stand_for(name, hint):
    with pytest.raises(UnknownModel) as error:
        CATALOG.resolve(name)
    assert hint in error.value.hint


def test_servers_on_this_machine_are_named_with_a_place_for_the_model():
    assert usable(CATALOG, at("ollama", "vllm")) == ["ollama:MODEL", "vllm:MODEL", "local"]


def test_who_serves_mixtral_today_is_one_line():
    assert served_today(CATALOG) == (
        "at present 8x7b and 8x22b are served by OpenRouter, by Ollama on your machine;"
        " disco is served by nobody"
    )

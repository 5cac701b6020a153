"""The list of models: what can answer, who serves Mixtral, what the keys can use."""

from __future__ import annotations

import pytest
from command_lines import shown

from mixmagic.catalog import Catalog
from mixmagic.errors import BadArguments


def names(table) -> list[str]:
    return [row[1] for row in table.rows]


def test_models_that_nobody_serves_are_hidden_and_counted(session):
    (table,) = shown(session, "models")
    assert "together:gpt-oss-120b" in names(table)
    assert not {"together:8x7b", "together:disco", "mistral:8x7b"} & set(names(table))
    hidden = len(Catalog().models) - len(table.rows)
    assert f"{hidden} more, not served at present: --all" in table.caption
    (everything,) = shown(session, "models", "--all")
    assert len(everything.rows) == len(Catalog().models)
    assert "--all" not in everything.caption


def test_who_serves_mixtral_is_said_once_and_what_can_be_used(session, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "canary-key-4711")
    (table,) = shown(session, "models")
    assert table.caption.count("8x7b and 8x22b are served by OpenRouter") == 1
    assert "usable now: groq:gpt-oss-20b, local" in table.caption
    (table,) = shown(session, "models", "groq")
    assert "served by OpenRouter" not in table.caption


def test_models_that_can_be_used_now_come_first(session, monkeypatch):
    assert names(shown(session, "models")[0])[0] == "local"
    for key in ("OPENAI_API_KEY", "GROQ_API_KEY"):
        monkeypatch.setenv(key, "canary-key-4711")
    (table,) = shown(session, "models")
    first = [row for row in names(table) if row.partition(":")[0] in ("openai", "groq", "local")]
    assert names(table)[: len(first)] == first
    assert len(table.rows) > 2 * len(first)
    assert "first those that need no more setup" in table.caption
    (table,) = shown(session, "models", "anthropic", "groq")
    assert names(table)[0].startswith("anthropic:")


@pytest.mark.parametrize("name", ["ollama", "lmstudio", "vllm", "azure"])
def test_a_server_of_the_users_is_named_with_a_place_for_its_models(session, name):
    (table,) = shown(session, "models", name)
    provider = session.catalog.provider(name)
    assert f"{provider.label}: {provider.note}" in table.caption
    assert f"-m {name}:" in table.caption
    (everything,) = shown(session, "models")
    assert f"-m {name}:NAME" in everything.caption
    assert provider.note not in everything.caption
    (suited,) = shown(session, "models", "groq")
    assert "NAME" not in suited.caption


def test_both_columns_of_prices_have_the_same_decimals(session):
    (table,) = shown(session, "models")
    cells = [cell for row in table.rows for cell in row[4:6] if cell[:1].isdigit()]
    assert len({len(cell.partition(".")[2]) for cell in cells}) == 1


def test_several_providers_at_once(session):
    (table,) = shown(session, "models", "groq", "fireworks")
    assert {name.partition(":")[0] for name in names(table)} == {"groq", "fireworks"}
    assert "2 more, not served at present: --all" in table.caption


def test_a_legend_stands_only_with_its_sign(session, monkeypatch):
    assert not [row for row in shown(session, "models")[0].rows if row[0]]
    assert "→" not in shown(session, "models")[0].caption
    monkeypatch.setenv("OPENROUTER_API_KEY", "canary-key-4711")
    (table,) = shown(session, "models")
    assert [row[1] for row in table.rows if row[0]] == ["openrouter:8x7b"]
    assert "→ used by default" in table.caption


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("togehter", "There is no provider 'togehter'."),
        ("gemini", "There is no provider 'gemini'."),
        ("sk-proj-4711", "There is no such provider."),
        ("abcdefghijklmnopqrstuvwxyz", "There is no such provider."),
    ],
)
def test_login_names_a_provider_that_is_unknown_but_never_what_may_be_a_key(
    session, typed, message
):
    with pytest.raises(BadArguments) as error:
        shown(session, "login", typed)
    assert error.value.message == message
    assert "together" in error.value.hint

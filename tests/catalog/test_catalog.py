"""The package's own files: which models there are, and how they are named."""

from __future__ import annotations

import doctest
import re
import tomllib
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from mixmagic import catalog as module
from mixmagic.catalog import FREE, Catalog
from mixmagic.core.money import Price
from mixmagic.errors import UnknownModel

CATALOG = Catalog()
ROWS = CATALOG._index.rows  # as the files have them
FILES = sorted(Path(module.__file__).parent.glob("*.toml"))


@pytest.mark.parametrize(
    ("aliases", "identity", "price", "context"),
    [
        (["8x7b", "mixtral"], "mistralai/Mixtral-8x7B-Instruct-v0.1", "0.60", 32_768),
        (["8x22b"], "mistralai/Mixtral-8x22B-Instruct-v0.1", "1.20", 65_536),
        (["disco"], "DiscoResearch/DiscoLM-mixtral-8x7b-v2", "0.60", 32_768),
    ],
)
def test_the_three_authoritative_models(aliases, identity, price, context):
    names = [*aliases, identity, *(f"together:{name}" for name in [*aliases, identity])]
    for name in names:
        model = CATALOG.resolve(name)
        assert (model.id, model.provider.name) == (identity, "together")
    assert model.aliases == tuple(aliases)
    assert model.price == Price(Decimal(price), Decimal(price), batch=Decimal("0.5"))
    assert model.context == context


@pytest.mark.parametrize(
    ("name", "identity", "price"),
    [
        ("fireworks:8x7b", "accounts/fireworks/models/mixtral-8x7b-instruct", ("0.40", "1.60")),
        ("fireworks:8x22b", "accounts/fireworks/models/mixtral-8x22b-instruct", ("1.20", "1.20")),
        ("mistral:8x7b", "open-mixtral-8x7b", ("0.60", "1.80")),
        ("mistral:8x22b", "open-mixtral-8x22b", ("2", "6")),
        ("ollama:8x7b", "mixtral:8x7b", ("0", "0")),
        ("mixtral:8x7b", "mixtral:8x7b", ("0", "0")),
        ("local", "SmolLM2-135M-Instruct", ("0", "0")),
    ],
)
def test_the_same_model_at_other_providers(name, identity, price):
    model = CATALOG.resolve(name)
    assert model.id == identity
    assert (model.price.input, model.price.output) == tuple(map(Decimal, price))


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        (" 8x7b ", "together:8x7b"),
        ("8X7B", "together:8x7b"),
        ("Together:8X22B", "together:8x22b"),
        ("DISCO", "together:disco"),
        ("smollm2", "local"),
        ("local:local", "local"),
    ],
)
def test_aliases_ignore_case_and_blanks(name, resolved):
    assert CATALOG.resolve(name).name == resolved


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.name)
def test_every_row_is_found_by_its_name_and_carries_its_facts(model):
    for name in (model.name, f"{model.provider.name}:{model.id}"):
        found = CATALOG.resolve(name)
        assert found == replace(model, price=found.price, checked=found.checked)
        assert model.price in (None, found.price)
        assert found in CATALOG.models
    assert model.context > 0
    assert date(2026, 1, 1) < model.checked <= date.today()  # noqa: DTZ011
    assert model.source
    if model.total_params is not None:
        assert model.tokenizer
        assert model.strengths
        assert 0 < model.active_params <= model.total_params
    assert model.status in ("available", "dedicated", "retired")
    assert all(re.fullmatch("[a-z]{2}", language) for language in model.languages)
    assert (model.price == FREE) is model.provider.free
    assert model.price is None or model.price.source


def test_prices_say_where_they_come_from_and_no_more_than_is_known():
    """No source gives the days on which these prices began."""
    priced = {model.name: model.price for model in ROWS if model.price}
    assert {price.since for price in priced.values()} == {None}
    for name in ("together:8x7b", "together:8x22b", "together:disco"):
        assert priced[name].source.startswith("mixmagic's price table")
    # A provider's own list has the discount for one of the three; that it goes is on a newer one.
    assert "batch: assumed" in priced["together:8x22b"].source
    assert "batch: assumed" in priced["together:disco"].source
    assert priced["fireworks:8x22b"].source == "litellm 1.109.1's price list"
    assert FREE.source == priced["local"].source == "free by declaration"


def test_an_api_string_in_other_letters_is_the_same_one():
    """Else it would escape its row's price, and get somebody else's wrong one."""
    model = CATALOG.resolve("together:mistralai/mixtral-8x7b-INSTRUCT-v0.1")
    assert model == CATALOG.resolve("8x7b")
    assert CATALOG.resolve("mistralai/Mixtral-8x7B-Instruct").provider.name == "openrouter"


@pytest.mark.parametrize("provider", CATALOG.providers.values(), ids=lambda p: p.name)
def test_every_provider_says_how_to_reach_it(provider):
    assert provider.label
    assert provider.note or provider.hint
    if provider.backend == "http":
        url = provider.base_url or f"https://host/{provider.url_path}"
        assert re.fullmatch(r"https?://[^/]+(/\w+)*", url)
        assert provider.url_env.startswith(provider.name.upper())
        assert re.fullmatch(r"[A-Z]+_(OPENAI_)?API_KEY", provider.key_env)
    if provider.key_required:
        assert provider.key_url.startswith("https://")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_are_named_after_their_provider_and_hold_prices_as_text(path):
    """A price in quotes is read as it is written; a bare 0.60 would be a float elsewhere."""
    table = tomllib.loads(path.read_text("utf-8"))
    assert table["name"] == path.stem
    for row in table.get("models", []):
        price = dict(row.get("price", {}))
        for table in (price, price.pop("long", {})):
            amounts = {key: value for key, value in table.items() if key not in ("since", "above")}
            assert all(isinstance(value, str) for value in amounts.values())


def test_together_comes_first():
    names = [model.provider.name for model in CATALOG.models]
    assert names == sorted(names, key=lambda name: (name != "together", name))
    assert list(CATALOG.models).index(CATALOG.resolve("8x7b")) == 0


def test_behind_a_provider_every_string_is_accepted(monkeypatch):
    """What nobody knows has no price, unless its provider is free."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    unknown = CATALOG.resolve("together:org/New-Model:free")
    assert (unknown.id, unknown.price, unknown.context) == ("org/New-Model:free", None, None)
    assert unknown.name == "together:org/New-Model:free"
    free = CATALOG.resolve("ollama:qwen3:4b")
    assert (free.id, free.price) == ("qwen3:4b", FREE)
    assert CATALOG.resolve("openai:gpt-oss-20b").price is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("8x7", "8x7b"),
        ("mixtrall", "mixtral"),
        ("dicso", "disco"),
        ("togehter:8x22b", "together:8x22b"),
        ("mistralai/mixtral-8x22b-instruct-v0.1x", "mistralai/Mixtral-8x22B-Instruct-v0.1"),
    ],
)
def test_unknown_names_suggest_the_nearest(name, near):
    with pytest.raises(UnknownModel, match=f"No model is called '{re.escape(name)}'") as caught:
        CATALOG.resolve(name)
    assert near in re.match(r"Did you mean (.*?)\? ", caught.value.hint)[1].split(" or ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("xyzzyplugh", "No model is called 'xyzzyplugh'."),
        ("", "No model is named."),
        ("  ", "No model is named."),
    ],
)
def test_hopeless_names_get_the_way_to_the_list(name, message):
    with pytest.raises(UnknownModel) as caught:
        CATALOG.resolve(name)
    assert caught.value.message == message
    assert caught.value.hint.startswith("`%mixmagic models` lists ")


def test_a_provider_alone_is_no_model():
    with pytest.raises(UnknownModel):
        CATALOG.resolve("together:")


def test_examples_hold():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("name", "providers"),
    [
        ("8x7b", ["together", "fireworks", "mistral", "ollama", "openrouter"]),
        (" 8X22B ", ["together", "fireworks", "mistral", "ollama", "openrouter"]),
        ("mixtral", ["together", "fireworks", "mistral", "ollama", "openrouter"]),
        ("gpt-6-luna", ["openai", "openrouter"]),
        ("Claude-Sonnet-5.5", ["anthropic", "openrouter"]),
        ("gpt-oss-20b", ["fireworks", "groq", "openrouter"]),
        ("openai:gpt-6-luna", ["openai"]),
        ("local", ["local"]),
        ("fireworks:8x7b", ["fireworks"]),
        ("mixtral:8x7b", ["ollama"]),  # an API string
        ("together:org/new", ["together"]),
    ],
)
def test_a_bare_alias_means_a_row_of_each_provider_and_other_names_one(name, providers):
    catalog = Catalog()
    rows = catalog.serving(name)
    assert [row.provider.name for row in rows] == providers
    assert rows[0] == catalog.resolve(name)

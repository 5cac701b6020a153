"""A provider's own list of models, merged into the catalog."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server import Answer, refusal
from server import together as answer

from mixmagic.catalog import FREE, Catalog, price_sources
from mixmagic.core.money import Price
from mixmagic.core.values import Model
from mixmagic.errors import BadArguments, MissingKey, MixmagicError, ProviderError

MIXTRAL = "mistralai/Mixtral-8x7B-Instruct-v0.1"
NEW = {"id": "org/New", "type": "chat", "context_length": 131_072}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
PRICE = JSON | st.sampled_from(
    ["NaN", "sNaN", "Infinity", "-1", "0", "0.6", "1e13", "1e999", "1e-999"]
)


def merge(provider: str, *entries) -> list[Model]:
    catalog = Catalog()
    return catalog.merge(catalog.providers[provider], entries)


@pytest.fixture(autouse=True)
def _no_other_prices(monkeypatch):
    """What a provider tells is looked at alone."""
    price_sources._dated_facts.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices", None)


def price(provider: str, **pricing) -> Price | None:
    return merge(provider, {**NEW, "pricing": pricing})[0].price


def dollars(input: str, output: str) -> Price:  # noqa: A002
    return Price(Decimal(input), Decimal(output))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((0.6000000000000001, 0.5999999999999999), ("0.6", "0.6")),
        ((0.88, 1), ("0.88", "1")),
        ((100, 100.0), ("100", "100")),
        (("0.20", "0.80"), ("0.2", "0.8")),
    ],
)
def test_together_s_prices_lose_their_float_artefacts(given, expected):
    """Dollars for a million tokens, as binary floats."""
    known = price("together", input=given[0], output=given[1], hourly=0, base=0)
    assert known == dollars(*expected)


def test_openrouter_s_prices_are_for_one_token():
    known = price("openrouter", prompt="0.00000054", completion="0.0000024", image="0")
    assert known == dollars("0.54", "2.4")
    tiny = price("openrouter", prompt="0.000000000125", completion="0.000000035")
    assert tiny == dollars("0.000125", "0.035"), "cheap models are not rounded to cents"
    assert price("openrouter", prompt="0", completion="0") == FREE
    assert price("openrouter", prompt="1", completion="1") == dollars("1e6", "1e6")


def test_live_prices_say_who_gave_them_and_of_no_day():
    """The catalog's own row was looked at on a day; a price that it got since then was not."""
    together = price("together", input=0.6, output=0.6)
    assert (together.source, together.since) == ("the provider's /models", None)
    pricing = {"pricing": {"prompt": "0.000001", "completion": "0.000002"}}
    priced, plain = merge(
        "openrouter",
        {"id": "mistralai/mixtral-8x7b-instruct", **pricing},
        {"id": "mistralai/mixtral-8x22b-instruct"},
    )
    assert (priced.price.source, priced.checked) == ("the provider's /models", None)
    assert (plain.price, plain.checked) == (None, Catalog().resolve("openrouter:8x22b").checked)


@pytest.mark.parametrize(
    ("cached", "known"),
    [
        (0.15000000000000002, "0.15"),
        ("0.15", "0.15"),
        (0.6, "0.6"),
        (0, None),
        (-1, None),
        (None, None),
        ("", None),
        ({}, None),
        ("NaN", None),
        (1e7, None),
    ],
)
def test_cached_prices_are_known_where_there_is_one(cached, known):
    """A 0 says that there is none; what is no price leaves the other two as they are."""
    expected = replace(dollars("0.6", "0.6"), cached=known and Decimal(known))
    assert price("together", input=0.6, output=0.6, cached_input=cached) == expected
    assert price("together", input=0.6, output=0.6) == dollars("0.6", "0.6")


def test_openrouter_s_cached_prices_are_for_one_token():
    known = price(
        "openrouter", prompt="0.0000025", completion="0.00001", input_cache_read="0.00000125"
    )
    assert known == replace(dollars("2.5", "10"), cached=Decimal("1.25"))
    free = price("openrouter", prompt="0", completion="0", input_cache_read="0")
    assert free == FREE


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("0.00000125", "1.25"),
        (0.00000125, "1.25"),
        ("0.0000005", "0.5"),
        ("0", None),
        ("-1", None),
        (None, None),
        ("NaN", None),
        ({}, None),
        ("1e13", None),
    ],
)
def test_openrouter_s_prices_of_what_goes_into_the_cache_are_for_one_token(written, known):
    """They are in the most that a call can cost."""
    found = price("openrouter", prompt="0.000001", completion="0.000002", input_cache_write=written)
    assert found == replace(dollars("1", "2"), cache_write=known and Decimal(known))
    assert found.most(1000, 500) == Decimal("0.00225" if known == "1.25" else "0.002")


def test_where_a_price_stands_is_a_matter_of_the_catalog_file(tmp_path):
    (tmp_path / "acme.toml").write_text(
        'name = "acme"\n[dialect]\n'
        'live_price = { input = "in", output = "out", cache_write = "cache.put", per = 1000 }'
    )
    catalog = Catalog(tmp_path)
    entry = {"id": "x", "in": 0.001, "out": 0.002, "cache": {"put": 0.00125}}
    (row,) = catalog.merge(catalog.providers["acme"], [entry])
    assert row.price == replace(dollars("1", "2"), cache_write=Decimal("1.25"))


@pytest.mark.parametrize(
    "pricing",
    [
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "0.1", "completion": "-1"},
        {"prompt": "0.1"},
        {"prompt": None, "completion": None},
        {"prompt": "", "completion": ""},
        {"prompt": {}, "completion": []},
        {"prompt": "NaN", "completion": "NaN"},
        {"prompt": "Infinity", "completion": "1"},
        {"prompt": "1e13", "completion": "1"},
        {"prompt": "1", "completion": "1.000001"},
        {},
    ],
)
def test_what_is_no_price_is_unknown(pricing):
    """Routers send -1 for "it depends"; that is neither a price nor nothing."""
    assert price("openrouter", **pricing) is None


@pytest.mark.parametrize("entry", [NEW, {**NEW, "pricing": None}, {**NEW, "pricing": "free"}])
def test_no_pricing_is_unknown(entry):
    assert merge("together", entry)[0].price is None


def test_a_provider_that_tells_no_prices_or_is_free():
    pricing = {"pricing": {"input": 1, "output": 1}}
    assert merge("mistral", NEW | pricing)[0].price is None
    assert merge("ollama", NEW | pricing)[0].price == FREE


def test_the_catalog_s_facts_are_kept_and_completed():
    """Its own price and context win; that the model is served is news."""
    pricing = {"input": 9.0, "output": 9.0}
    row = merge("together", {"id": MIXTRAL, "context_length": 1, "pricing": pricing})[0]
    known = Catalog().resolve("8x7b")
    assert (row.price, row.context, row.aliases) == (known.price, known.context, known.aliases)
    assert (known.status, row.status) == ("dedicated", "available")
    completed = merge(
        "openrouter",
        {
            "id": "mistralai/mixtral-8x7b-instruct",
            "pricing": {"prompt": "0.00000054", "completion": "0.00000054"},
        },
    )[0]
    assert completed.price == dollars("0.54", "0.54")
    assert completed.context == 32_768


def test_afterwards_the_catalog_knows_the_models():
    catalog = Catalog()
    together = catalog.providers["together"]
    catalog.merge(together, [{**NEW, "pricing": {"input": 1, "output": 2}}])
    model = catalog.resolve("together:org/New")
    assert (model.price, model.context) == (dollars("1", "2"), 131_072)
    assert catalog.resolve("org/New") is model
    assert catalog.resolve("8x7b").id == MIXTRAL


@pytest.mark.parametrize("entry", [{}, {"id": None}, {"id": 5}, {"id": ""}, {"name": "x"}])
def test_entries_without_a_name_are_left_out(entry):
    assert [row.id for row in merge("together", entry, NEW)] == ["org/New"]


@pytest.mark.parametrize("context", ["32k", None, 1.5, [], True, 0, -5])
def test_odd_contexts_are_unknown(context):
    assert merge("together", {**NEW, "context_length": context})[0].context is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.just("x") | JSON, JSON, PRICE, PRICE, PRICE)
def test_no_list_breaks_the_catalog(identity, context, prompt, completion, cached):
    """Whatever a server says, a price is a number of dollars, or unknown."""
    pricing = {"prompt": prompt, "completion": completion, "input_cache_read": cached}
    pricing |= {"input_cache_write": cached}
    entry = {"id": identity, "context_length": context, "pricing": pricing}
    for row in merge("openrouter", entry):
        known = row.price and (row.price.input, row.price.output, row.price.cached or Decimal(0))
        assert row.price is None or row.price.cache_write == row.price.cached
        assert known is None or all(0 <= each * 10**9 < 2**63 for each in known)


def listing(body) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer([raw], type="application/json")


@pytest.mark.parametrize("wrap", [list, lambda rows: {"object": "list", "data": rows}])
def test_live_models_come_as_a_bare_array_or_under_data(session, together, wrap):
    together.plan = [listing(wrap([{**NEW, "pricing": {"input": 0.1 + 0.2, "output": 0.3}}]))]
    rows = session.live_models("together")
    assert [(row.id, row.price) for row in rows] == [("org/New", dollars("0.3", "0.3"))]
    assert session.catalog.resolve("together:org/New").price == dollars("0.3", "0.3")
    asked = together.received[0]
    assert (asked.method, asked.path, asked.body) == ("GET", "/v1/models", None)
    assert asked.headers["authorization"] == "Bearer canary-key-4711"


@pytest.mark.parametrize("body", [b"", b"<html>", {"x": []}, 5, None, {"data": 5}, "text"])
def test_what_is_no_list_is_an_error(session, together, body):
    together.plan = [listing(body)]
    with pytest.raises(ProviderError, match="something that is not a list") as caught:
        session.live_models("together")
    assert "TOGETHER_BASE_URL" in caught.value.hint


def test_googles_names_in_its_list_are_those_of_the_catalog(session, server, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
    monkeypatch.setenv("GEMINI_API_KEY", "canary-key-4711")
    names = ["models/gemini-2.5-pro", "models/gemini-9-nova", "models/", "gemini-2.5-flash"]
    server.plan = [listing({"object": "list", "data": [{"id": name} for name in names]})]
    known = session.catalog.resolve("google:gemini-2.5-pro")
    first, second, *_ = rows = session.live_models("google")
    assert [row.id for row in rows] == [name.removeprefix("models/") or name for name in names]
    assert first == known
    assert second.name == "google:gemini-9-nova"
    assert session.catalog.resolve("models/gemini-9-nova") == second


@pytest.mark.parametrize("provider", ["ollama", "lmstudio", "vllm"])
def test_a_server_on_this_machine_answers_for_any_name_and_lists_its_models(
    session, server, monkeypatch, provider
):
    url = session.catalog.provider(provider).url_env
    monkeypatch.setenv(url, server.url)
    server.plan = [Answer(answer("Tea."))]
    assert session.ask("Hi.", model=f"{provider}:llama9:3b").text == "Tea."
    assert server.received[-1].body["model"] == "llama9:3b"
    assert session.ask("Hi.", model=f"{provider}:llama9:3b", cache="off").cost == 0
    server.plan = [listing({"data": [{"id": "llama9:3b", "max_model_len": 4096}]})]
    (row,) = session.live_models(provider)
    assert (row.name, row.context, row.free) == (f"{provider}:llama9:3b", 4096, True)


def test_a_provider_without_a_list_says_so(session, together):
    together.plan = [refusal(404, "not found")]
    with pytest.raises(ProviderError, match="404 for the list of its models") as caught:
        session.live_models("together")
    assert caught.value.hint.endswith("or in TOGETHER_BASE_URL.")


def test_a_refused_list_is_an_error(session, together):
    together.plan = [refusal(401, {"error": {"message": "no key canary-key-4711"}})]
    with pytest.raises(MissingKey) as caught:
        session.live_models("together")
    assert "canary" not in caught.value.message


def test_a_bad_url_is_an_error(session, together, monkeypatch):
    monkeypatch.setenv("TOGETHER_BASE_URL", "http://[half")
    with pytest.raises(MixmagicError):
        session.live_models("together")


def test_an_unknown_provider_is_an_error(session):
    with pytest.raises(BadArguments, match="no provider 'acme'"):
        session.live_models("acme")


def test_what_a_provider_tells_again_holds_from_then_on():
    """A price that has gone up must not be counted at what it was."""
    catalog = Catalog()
    together = catalog.providers["together"]

    def told(length: int, **pricing) -> Model:
        entry = {**NEW, "context_length": length, "pricing": pricing}
        catalog.merge(together, [entry])
        return catalog.resolve("together:org/New")

    assert told(1000, input=0.1, output=0.1).price == dollars("0.1", "0.1")
    dearer = told(4000, input=10, output=10)
    assert (dearer.price, dearer.context) == (dollars("10", "10"), 4000)
    assert told(4000).price is None, "it tells none any more"
    catalog.merge(together, [{"id": MIXTRAL, "context_length": 5, "pricing": {"input": 9}}])
    row = catalog.resolve("8x7b")
    assert (row.context, row.price.input) == (32_768, Decimal("0.60")), "our files outrank it"


def test_a_fee_for_every_call_is_no_price_a_token():
    assert price("openrouter", prompt="0", completion="0", request="0.01") is None
    assert price("openrouter", prompt="0.000001", completion="0", request="0") is not None

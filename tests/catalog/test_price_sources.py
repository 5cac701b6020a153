"""Prices from genai-prices: for what the catalog lacks, and for nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import genai_prices
import pytest
from genai_prices import data_snapshot, types

from mixmagic.catalog import FREE, Catalog, price_sources
from mixmagic.core.money import Price

TODAY = datetime.now(UTC).date()
WEEK = timedelta(days=7)


def sold(**prices: str | types.TieredPrices) -> types.ModelPrice:
    """The package's price; `cached` and `written` are its `cache_read` and `cache_write`."""
    names = {"input": "input_mtok", "output": "output_mtok", "cached": "cache_read_mtok"}
    names["written"] = "cache_write_mtok"
    return types.ModelPrice(
        **{
            names.get(name, name): Decimal(value) if isinstance(value, str) else value
            for name, value in prices.items()
        }
    )


def tiers(base: str, *more: str) -> types.TieredPrices:
    steps = [types.Tier(start=1000 * (n + 1), price=Decimal(price)) for n, price in enumerate(more)]
    return types.TieredPrices(base=Decimal(base), tiers=steps)


def from_day(day: date, price: types.ModelPrice) -> types.ConditionalPrice:
    return types.ConditionalPrice(types.StartDateConstraint(day), prices=price)


LISTED = {
    "plain": sold(input="1", output="2"),
    "cached": sold(input="1", output="2", cached="0.1"),
    "tiered": sold(input=tiers("1", "2", "3"), output=tiers("9", "4"), cached=tiers("0.1", "0.2")),
    "written": sold(input="1", output="2", written="1.25"),
    "written-by-length": sold(input="1", output="2", cached="0.1", written=tiers("1.25", "2.5")),
    "half-tiered": sold(input="1", output=tiers("2", "3")),
    "flat-tiered": sold(input=tiers("1"), output="2"),
    "dated": [
        types.ConditionalPrice(prices=sold(input="9", output="9")),
        from_day(TODAY - WEEK, sold(input="1", output="2", cached="0.5")),
        from_day(TODAY + WEEK, sold(input="7", output="7")),
    ],
    "to-come": [
        types.ConditionalPrice(prices=sold(input="1", output="2")),
        from_day(TODAY + WEEK, sold(input="7", output="7")),
    ],
    "by-the-hour": [
        types.ConditionalPrice(prices=sold(input="1", output="2", cached="0.1")),
        types.ConditionalPrice(
            types.TimeOfDateConstraint(time(6, tzinfo=UTC), time(10, tzinfo=UTC)),
            prices=sold(input="2", output="4", cached="0.2"),
        ),
    ],
    "embedding": sold(input="1"),
    "by-the-page": sold(input_document_kpages="1"),
    "nothing": sold(),
    "zero": sold(input="0", output="0"),
    "absurd": sold(input="1", output="1e7"),
}


@pytest.fixture
def listed():
    """The package with prices that no release of it changes."""
    models = [
        types.ModelInfo(name, types.ClauseEquals(equals=name), prices=prices)
        for name, prices in LISTED.items()
    ]
    snapshot = data_snapshot.DataSnapshot(
        [types.Provider("openai", "OpenAI", r"https://api\.openai\.com", models=models)], False
    )
    price_sources._dated_facts.cache_clear()
    data_snapshot.set_custom_snapshot(snapshot)
    yield
    data_snapshot.set_custom_snapshot(None)
    price_sources._dated_facts.cache_clear()


def price(name: str) -> Price | None:
    return Catalog().resolve(name).price


def dollars(
    *prices: str,
    since: date | None = None,
    above: int | None = None,
    long: tuple[str, ...] = (),
    **more: str,
) -> Price:
    others = {name: Decimal(value) for name, value in more.items()}
    longer = None
    if long:
        cached = Decimal(long[2]) if len(long) > 2 else None
        longer = Price(*map(Decimal, long[:2]), cached=cached)
    return Price(*map(Decimal, prices), since=since, above=above, long=longer, **others)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", dollars("1", "2")),
        ("cached", dollars("1", "2", cached="0.1")),
        ("tiered", dollars("1", "9", cached="0.1", above=1000, long=("3", "9", "0.2"))),
        ("written", dollars("1", "2", cache_write="1.25")),
        (
            "written-by-length",
            replace(
                dollars("1", "2", cached="0.1", cache_write="1.25"),
                above=1000,
                long=dollars("1", "2", cached="0.1", cache_write="2.5"),
            ),
        ),
        ("half-tiered", dollars("1", "2", above=1000, long=("1", "3"))),
        ("by-the-hour", dollars("2", "4", cached="0.2")),
        ("flat-tiered", dollars("1", "2")),
        ("dated", dollars("1", "2", cached="0.5", since=TODAY - WEEK)),
        ("to-come", dollars("1", "2")),
        ("embedding", None),
        ("by-the-page", None),
        ("nothing", None),
        ("zero", None),
        ("absurd", None),
        ("unheard-of", None),
    ],
)
def test_its_prices_are_ours_with_a_day_and_a_source(listed, name, expected):
    """Long prompts have the highest tier, for a budget must hold; others are unknown."""
    found = price(f"openai:{name}")
    assert found == expected
    assert found is None or type(found.input) is type(found.output) is Decimal
    if expected:
        version = f"genai-prices {genai_prices.__version__}"
        assert found.source == version
        assert found.batch == 1


def test_its_own_list_has_prices_for_what_our_files_lack():
    """Whatever they are: they change with its releases."""
    for name in ("openai:gpt-4.1", "openrouter:8x7b", "mistral:mistral-large-latest"):
        model = Catalog().resolve(name)
        assert model.price.input > 0
        assert model.price.source.startswith(f"genai-prices {genai_prices.__version__}")
        assert model.checked is None, "nobody here has looked at it"
    together = "together:meta-llama/Llama-3.3-70B-Instruct-Turbo"
    assert price(together).source.startswith("genai-prices")


@pytest.mark.parametrize(
    "name", ["mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/Mixtral-8x22B-Instruct-v0.1"]
)
def test_its_wrong_prices_of_mixtral_at_together_never_show(name):
    usage = genai_prices.Usage(input_tokens=1_000_000, output_tokens=0)
    wrong = genai_prices.calc_price(usage, name, provider_id="together").total_price
    for written in (name, name.lower(), name.upper()):
        found = price(f"together:{written}")
        assert found.source.startswith("mixmagic's price table")
        assert found.input != wrong


@pytest.mark.parametrize("name", ["mistral:8x7b", "mistral:8x22b", "8x7b", "fireworks:8x7b"])
def test_a_price_of_ours_is_never_replaced(name):
    assert price(name) == next(
        row.price for row in Catalog()._index.rows if row.name.endswith(name)
    )


def test_what_is_free_stays_free(tmp_path):
    assert price("ollama:gpt-4o") == FREE
    (tmp_path / "openai.toml").write_text('name = "openai"\nfree = true')
    assert Catalog(tmp_path).resolve("openai:gpt-4o").price == FREE
    (tmp_path / "openrouter.toml").write_text('name = "openrouter"\nfree = true')
    assert Catalog(tmp_path).resolve("openrouter:8x7b").price == FREE


@pytest.mark.parametrize(
    ("url", "known"),
    [
        (None, True),
        ("", True),
        (" https://api.openai.com/v1/ ", True),
        ("api.openai.com", True),
        ("https://API.openai.com:443", True),
        ("http://127.0.0.1:8000/v1", False),
        ("localhost:8000", False),
        ("https://api.openai.com.evil.test/v1", False),
        ("https://proxy.test/api.openai.com", False),
        ("https://api.openai.com@proxy.test/v1", False),
        ("http://[half", False),
    ],
)
def test_a_server_of_one_s_own_does_not_have_openai_s_prices(monkeypatch, url, known):
    if url is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert (price("openai:gpt-4o") is not None) is known


def test_a_url_in_a_user_s_file_counts_as_well(tmp_path):
    (tmp_path / "a.toml").write_text('name = "openai"\nbase_url = "http://127.0.0.1:8000/v1"')
    (tmp_path / "b.toml").write_text('name = "acme"\nbase_url = "https://api.openai.com/v1"')
    catalog = Catalog(tmp_path)
    assert catalog.resolve("openai:gpt-4o").price is None
    assert catalog.resolve("acme:gpt-4o").price is None


def test_a_user_s_own_row_holds_for_a_server_of_their_own(tmp_path, monkeypatch):
    """OpenAI's rows do not, nor does what they say of a model."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    (tmp_path / "mine.toml").write_text(
        'name = "openai"\n[[models]]\nid = "gpt-4o"\nprice = { input = "7", output = "7" }'
    )
    assert Catalog(tmp_path).resolve("gpt-4o").price.input == 7
    assert Catalog().resolve("gpt-4o").context is None
    assert Catalog().resolve("gpt-6-luna").rename == {}


def test_what_the_provider_tells_outranks_it():
    catalog = Catalog()
    guessed = catalog.resolve("openrouter:8x7b").price
    entry = {
        "id": "mistralai/mixtral-8x7b-instruct",
        "pricing": {"prompt": "0.000077", "completion": "0.000077"},
    }
    (told,) = catalog.merge(catalog.providers["openrouter"], [entry])
    assert told.price == dollars("77", "77") != guessed
    assert catalog.resolve("openrouter:8x7b") is told
    (silent,) = catalog.merge(catalog.providers["openrouter"], [{"id": "openai/gpt-4o"}])
    assert silent.price.source.startswith("genai-prices")


def test_without_the_package_such_prices_are_unknown(monkeypatch):
    price_sources._dated_facts.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert price("openai:gpt-4.1") is None
    assert price("openrouter:8x7b") is None
    assert price("openai:gpt-4o").input == Decimal("2.50")
    assert price("8x7b").input == Decimal("0.60")


def test_it_is_imported_when_needed_and_asks_nobody():
    """Not for a model whose price stands in our files; and it connects to nothing."""
    code = """
import sys
from mixmagic.catalog import Catalog
catalog = Catalog()
catalog.resolve("8x7b"), catalog.resolve("local"), catalog.resolve("fireworks:8x7b")
assert not {"genai_prices", "httpx2", "pydantic"} & set(sys.modules)
def refuse(event, args):
    assert not event.startswith("socket."), event
sys.addaudithook(refuse)
import threading
print(catalog.resolve("openai:gpt-4.1").price.source, threading.active_count())
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.stdout == f"genai-prices {genai_prices.__version__} 1\n", run.stderr

"""The same model at other providers: what they ask, and what calls would have cost there."""

from __future__ import annotations

import doctest
from datetime import date
from decimal import Decimal, localcontext

import pytest

from mixmagic.catalog import Catalog
from mixmagic.catalog import offers as module
from mixmagic.catalog.offers import Calls, elsewhere, offers
from mixmagic.core.money import Price
from mixmagic.errors import UnknownModel

pytestmark = pytest.mark.usefixtures("own_prices")

MIXTRAL = "mistralai/Mixtral-8x7B-Instruct-v0.1"
LARGE = "mistralai/Mixtral-8x22B-Instruct-v0.1"
DISCO = "DiscoResearch/DiscoLM-mixtral-8x7b-v2"
MILLION = 1_000_000


@pytest.fixture
def read(tmp_path):
    """A catalog with a user's file."""

    def read(text: str) -> Catalog:
        (tmp_path / "mine.toml").write_text(text)
        return Catalog(tmp_path)

    return read


def asked(catalog: Catalog, name: str) -> list[tuple[str, str | None]]:
    """Who offers a model, and for how much."""
    return [
        (offer.model.name, None if offer.cost is None else f"{offer.cost:.2f}")
        for offer in offers(catalog, name)
    ]


def used(
    model: str = MIXTRAL,
    given: int = MILLION,
    taken: int = MILLION,
    *,
    provider: str = "together",
    cached: int = 0,
    cost: str = "1.20",
    unpriced: int = 0,
) -> Calls:
    return Calls(provider, model, given, cached, taken, Decimal(cost), unpriced)


def bills(catalog: Catalog, *rows: Calls) -> dict[str, Decimal | None]:
    return {bill.provider.name: bill.cost for bill in elsewhere(catalog, rows).bills}


@pytest.mark.parametrize(
    "name", ["8x7b", "8X7B", "mixtral", "mistral:8x7b", "fireworks:8x7b", MIXTRAL, "mixtral:8x7b"]
)
def test_offers_are_the_rows_of_one_model_the_cheapest_first(name):
    """The mission's table: 0.60 + 1.80 at Mistral, 0.60 + 0.60 at Together, 0.40 + 1.60."""
    assert asked(Catalog(), name) == [
        ("ollama:8x7b", "0.00"),
        ("together:8x7b", "1.20"),
        ("fireworks:8x7b", "2.00"),
        ("mistral:8x7b", "2.40"),
        ("openrouter:8x7b", None),
    ]


def test_an_offer_tells_all_that_the_row_does():
    found = {offer.model.provider.name: offer.model for offer in offers(Catalog(), "8x7b")}
    mistral, ollama = found["mistral"], found["ollama"]
    assert (mistral.status, mistral.provider.key_required) == ("retired", True)
    assert (mistral.price.batch, mistral.price.cached, mistral.price.since) == (
        Decimal("0.5"),
        None,
        None,
    )
    assert mistral.price.source.startswith("mixmagic's price table")
    assert mistral.checked == date(2026, 11, 22)
    assert (ollama.provider.free, ollama.provider.key_required) == (True, False)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("disco", [("together:disco", "1.20")]),
        ("local", [("local", "0.00")]),
        ("together:org/New", [("together:org/New", None)]),
    ],
)
def test_a_model_that_nobody_else_serves_is_offered_once(name, found):
    assert asked(Catalog(), name) == found


def test_a_model_outside_of_the_catalog_is_the_one_whose_name_it_bears():
    """One's own server may call it as the catalog does."""
    found = asked(Catalog(), "openai:8x7b")
    assert ("openai:8x7b", None) in found
    assert ("together:8x7b", "1.20") in found
    assert len(found) == 6


def test_a_user_s_row_is_an_offer(read):
    catalog = read(
        """
        name = "acme"
        [[models]]
        id = "road-runner"
        aliases = ["8x7B"]
        price = { input = "0.10", output = "0.20" }
        """
    )
    assert asked(catalog, "8x7b")[1] == ("acme:8x7B", "0.30")
    assert asked(catalog, "road-runner")[1] == ("acme:8x7B", "0.30")


def test_an_unknown_name_is_an_error():
    with pytest.raises(UnknownModel):
        offers(Catalog(), "8x7")


def test_a_million_in_and_out_cost_what_the_mission_s_table_says():
    found = bills(Catalog(), used())
    assert found == {
        "ollama": Decimal(0),
        "together": Decimal("1.20"),
        "fireworks": Decimal("2.00"),
        "mistral": Decimal("2.40"),
        "openrouter": None,
    }
    assert list(found) == ["ollama", "together", "fireworks", "mistral", "openrouter"]


def test_tokens_in_and_out_are_priced_apart():
    found = bills(Catalog(), used(given=3 * MILLION, taken=1000))
    assert found["together"] == Decimal("1.8006")
    assert found["fireworks"] == Decimal("1.2016")
    assert found["mistral"] == Decimal("1.8018")
    assert list(found)[:3] == ["ollama", "fireworks", "together"]


def test_models_add_up_where_a_provider_has_them_all():
    found = elsewhere(Catalog(), [used(), used(LARGE, 1000, 1000, cost="0.0024")])
    parts = {bill.provider.name: bill.costs for bill in found.bills}
    assert parts["mistral"] == (Decimal("2.40"), Decimal("0.008"))
    assert parts["openrouter"] == (None, None)
    assert {bill.provider.name: bill.cost for bill in found.bills}["mistral"] == Decimal("2.408")
    assert [row.name for row in found.calls] == [f"together:{MIXTRAL}", f"together:{LARGE}"]


def test_a_provider_that_lacks_a_model_cannot_tell_the_whole(read):
    """`None`, and never the rest alone: it would look cheap."""
    catalog = read(
        """
        name = "acme"
        [[models]]
        id = "x"
        aliases = ["disco"]
        price = { input = "0.10", output = "0.20" }
        [[models]]
        id = "y"
        aliases = ["8x22b"]
        """
    )
    found = {bill.provider.name: bill for bill in elsewhere(catalog, [used(), used(DISCO)]).bills}
    assert found["acme"].costs == (None, Decimal("0.30"))
    assert [model and model.id for model in found["acme"].models] == [None, "x"]
    assert found["acme"].cost is None
    assert found["mistral"].costs == (Decimal("2.40"), None)
    assert found["together"].cost == Decimal("2.40")
    known = {bill.provider.name: bill for bill in elsewhere(catalog, [used(LARGE)]).bills}
    assert known["acme"].costs == (None,)
    assert known["acme"].models[0].id == "y", "served, at a price that nobody knows"


def test_what_nobody_else_serves_is_left_out_and_told():
    rows = [used(), used(DISCO), used("SmolLM2-135M-Instruct", provider="local", cost="0")]
    found = elsewhere(Catalog(), rows)
    assert (found.calls, found.alone) == ((rows[0],), (rows[1], rows[2]))
    assert bills(Catalog(), *rows) == bills(Catalog(), rows[0])
    gone = used("m", provider="gone")
    assert elsewhere(Catalog(), [gone]).alone == (gone,)
    assert elsewhere(Catalog(), [gone]).bills == ()
    assert elsewhere(Catalog(), []).calls == ()


def test_cached_tokens_have_the_price_that_each_has_for_them(read):
    catalog = read(
        f"""
        name = "together"
        [[models]]
        id = "{MIXTRAL}"
        price = {{ input = "0.60", output = "0.60", cached = "0.06" }}
        """
    )
    found = bills(catalog, used(taken=1000, cached=MILLION // 2))
    assert found["together"] == Decimal("0.3306")
    assert found["fireworks"] == Decimal("0.4016")


def test_where_it_was_called_its_own_row_counts_and_elsewhere_the_cheapest(read):
    catalog = read(
        """
        name = "acme"
        [[models]]
        id = "slow"
        aliases = ["8x7b"]
        price = { input = "0.10", output = "0.10" }
        [[models]]
        id = "fast"
        aliases = ["8x7b"]
        price = { input = "5", output = "5" }
        [[models]]
        id = "unknown"
        aliases = ["8x7b"]
        """
    )
    assert bills(catalog, used())["acme"] == Decimal("0.20")
    assert bills(catalog, used("fast", provider="acme"))["acme"] == Decimal(10)
    assert bills(catalog, used("unknown", provider="acme"))["acme"] is None


def test_history_stays_when_a_price_does_not(read):
    """What was paid is the ledger's; the same provider's bill is at today's price."""
    catalog = read(
        f'name = "together"\n[[models]]\nid = "{MIXTRAL}"\nprice = {{ input = 6, output = 6 }}'
    )
    found = elsewhere(catalog, [used()])
    assert found.calls[0].cost == Decimal("1.20")
    assert {bill.provider.name: bill.cost for bill in found.bills}["together"] == Decimal(12)


def test_calls_without_an_answer_are_compared_with_nothing():
    """What they cost is a bound, or nothing: by their tokens, others would look cheap."""
    lost, stopped = used(given=0, taken=0, cost="0.02"), used(LARGE, given=11, taken=0)
    found = elsewhere(Catalog(), [lost, used(), stopped])
    assert (found.calls, found.unanswered) == ((used(),), (lost, stopped))
    assert bills(Catalog(), lost, used()) == bills(Catalog(), used())
    assert elsewhere(Catalog(), [lost]).bills == ()


def test_the_notebooks_own_precision_is_not_a_bills():
    rows = [used(given=123_457), used(LARGE, given=765_431)]
    exact = bills(Catalog(), *rows)
    with localcontext(prec=3):
        assert bills(Catalog(), *rows) == exact
    assert exact["together"] == Decimal("0.6740742") + Decimal("2.1185172")


def test_a_cost_is_a_decimal():
    price = Price(Decimal("0.60"), Decimal("1.80"))
    for cost in bills(Catalog(), used()).values():
        assert cost is None or type(cost) is type(price.input)


def test_examples_hold():
    found = doctest.testmod(module, extraglobs={"DISCO": DISCO})
    assert (found.failed, found.attempted) == (0, 5)

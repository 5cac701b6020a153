"""Tables of prices: each provider's, and what calls would have cost there."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal, localcontext

import pytest
from command_lines import shown
from server import HANG, Answer
from server import together as words

from mixmagic.catalog import Catalog, price_sources
from mixmagic.catalog.offers import Bill, Calls, Comparison, Offer, elsewhere, offers
from mixmagic.core.money import Price
from mixmagic.core.values import Model, Provider
from mixmagic.display.prices import elsewhere_table, models_table, prices_table
from mixmagic.errors import BadArguments, Stopped, UnknownModel
from mixmagic.text.table import Table

MIXTRAL = "mistralai/Mixtral-8x7B-Instruct-v0.1"
ACME = Provider("acme", "Acme")
HOME = Provider("home", "Home", key_required=False, free=True)


@pytest.fixture(autouse=True)
def _no_other_prices(monkeypatch):
    """The package's own prices alone: those of genai-prices change with its releases."""
    price_sources._dated_facts.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices", None)


def table_of(name: str, **options: object):
    catalog = Catalog()
    return prices_table(offers(catalog, name), catalog.resolve(name), **options)


def row(price: Price | None, provider: Provider = ACME, **more: object) -> dict[str, str]:
    model = Model("x", provider, price=price, **more)
    table = prices_table([Offer(model, None)], model, sources=True)
    (cells,) = table.rows
    return dict(zip(table.columns, cells, strict=True))


def column(table: Table, name: str) -> list[str]:
    return [cells[table.columns.index(name)] for cells in table.rows]


def test_prices_of_one_model_the_cheapest_first():
    table = table_of("8x7b", has_key=lambda provider: provider.name == "together")
    head = ["", "model", "$ in / M", "$ out / M", "1 M in + 1 M out", "batch jobs", "status", "key"]
    assert table.columns == head
    rows = {cells[1]: cells for cells in table.rows}
    assert rows["together:8x7b"] == [
        *("→", "together:8x7b", "0.60", "0.60", "$1.20", "-50%", "dedicated", "set")
    ]
    assert rows["fireworks:8x7b"][2:] == ["0.40", "1.60", "$2.00", "", "dedicated", "not set"]
    assert rows["ollama:8x7b"][2:] == ["free", "free", "free", "", "available", "not needed"]
    assert rows["openrouter:8x7b"][2:5] == ["price unknown"] * 3
    assert list(rows)[:2] == ["ollama:8x7b", "together:8x7b"]
    assert table.caption == (
        "→ used for this name · US dollars for a million tokens · cheapest first, also if not"
        " served today"
    )
    assert "$0" not in str(table)


def test_sources_are_shown_on_demand():
    table = table_of("8x7b", sources=True)
    assert dict(zip(column(table, "model"), column(table, "since"), strict=True)) == {
        **dict.fromkeys(("together:8x7b", "fireworks:8x7b", "mistral:8x7b"), "(2026-11-22)"),
        **dict.fromkeys(("ollama:8x7b", "openrouter:8x7b"), ""),
    }
    _, days, *sources = table.caption.splitlines()
    assert days == "since (day): the day of the last check; the price may be older"
    assert any(line.startswith("together:8x7b: mixmagic's price table") for line in sources)
    assert not any("openrouter" in source for source in sources)


def test_a_legend_is_shown_with_its_sign_alone():
    model = Model("x", ACME)
    assert "→" not in str(prices_table([Offer(model, None)], Model("y", ACME)))
    assert "→ used" in str(prices_table([Offer(model, None)], model))
    assert "→" not in str(models_table([model], None))
    assert "→" not in str(models_table([model], Model("y", ACME)))
    assert "→ used by default" in str(models_table([model], model))


def test_prices_are_shown_to_their_last_digit():
    shown = row(Price(Decimal("0.6"), Decimal("1.234"), cached=Decimal("0.0000001")))
    assert shown["$ in / M"] == "0.6000000"
    assert shown["$ out / M"] == "1.2340000"
    assert shown["cached in"] == "0.0000001"
    rounded = row(Price(Decimal("1E+2"), Decimal("0.6000")))
    assert (rounded["$ in / M"], rounded["$ out / M"]) == ("100.00", "0.60")
    assert row(Price(Decimal(1), Decimal(1), Decimal("0.125")))["batch jobs"] == "-87.5%"
    assert row(Price(Decimal(1), Decimal(1), Decimal("1.5")))["batch jobs"] == "+50%"
    known = row(Price(Decimal(1), Decimal(1), cached=Decimal(0)))
    assert known["cached in"] == "0.00", "known to be 0"


def test_cached_tokens_have_columns_if_they_have_a_price():
    one = Decimal(1)
    models = [
        Model("a", ACME, price=Price(one, one, cached=Decimal("0.1"), cache_write=Decimal("1.25"))),
        Model("b", ACME, price=Price(one, one)),
        Model("c", ACME, price=Price(one, one, cached=Decimal(0), cache_write=Decimal(0))),
        Model("d", ACME),
        Model("e", HOME),
    ]

    def shown(*listed):
        table = prices_table([Offer(each, None) for each in listed], models[0])
        names = ("cached in", "cache write")
        return [column(table, name) for name in names if name in table.columns]

    assert shown(*models) == [
        ["0.10", "1.00", "0.00", "", ""],
        ["1.25", "1.00", "0.00", "", ""],
    ], "without a price of their own they cost what others cost"
    assert shown(models[1], *models[3:]) == []


def test_a_model_with_a_price_for_cache_writes_is_not_free():
    price = Price(Decimal(0), Decimal(0), cache_write=Decimal("1.25"))
    shown = row(price, HOME)
    assert [shown[name] for name in ("$ in / M", "$ out / M", "cache write")] == [
        *("0.00", "0.00", "1.25")
    ]


def test_prices_of_a_column_have_the_same_decimals():
    models = [Model(cost, ACME, price=Price(Decimal(cost), Decimal(1))) for cost in ("0.5", "12")]
    models.append(Model("x", ACME, price=Price(Decimal("0.0375"), Decimal(1))))
    table = prices_table([Offer(m, m.price and m.price.input) for m in models], models[0])
    assert column(table, "$ in / M") == ["0.5000", "12.0000", "0.0375"]
    assert column(table, "1 M in + 1 M out") == ["$0.500", "$12.000", "$0.038"]


def test_the_notebooks_decimal_context_does_not_affect_prices():
    price = Price(Decimal("12.34567"), Decimal("98.76543"), Decimal("0.123456"), Decimal("0.11111"))
    exact = row(price)
    assert [exact[name] for name in ("$ in / M", "$ out / M", "cached in", "batch jobs")] == [
        *("12.34567", "98.76543", "0.11111", "-87.6544%")
    ]
    with localcontext(prec=3):
        assert row(price) == exact


def test_a_free_provider_has_the_price_of_a_users_file():
    own = Price(Decimal(5), Decimal(50))
    for price, expected in (
        (own, ["5.00", "50.00"]),
        (Price(Decimal(0), Decimal(0)), ["free", "free"]),
        (None, ["free", "free"]),
    ):
        shown = row(price, HOME)
        assert [shown["$ in / M"], shown["$ out / M"]] == expected
    model = Model("x", HOME, price=own)
    assert models_table([model], None).rows[0][4:6] == ["5.00", "50.00"]
    assert prices_table([Offer(model, Decimal(55))], model).rows[0][4] == "$55.00"
    table = compared(Comparison((paid("1"),), (), (Bill(HOME, (model,), (Decimal(2),)),)))
    assert table.rows[0][-1] == "$2.00"


def test_a_price_has_its_start_date_or_the_date_of_its_check():
    checked, since = date(2026, 11, 22), date(2026, 10, 1)
    price = Price(Decimal(1), Decimal(1), since=since)
    assert row(price, checked=checked)["since"] == "2026-10-01"
    assert row(Price(Decimal(1), Decimal(1)), checked=checked)["since"] == "(2026-11-22)"
    assert row(Price(Decimal(1), Decimal(1)))["since"] == ""
    assert row(None, checked=checked)["since"] == "", (
        "there is no price that it could be the day of"
    )


def test_names_from_other_sources_are_escaped():
    evil = '<img src="x" onerror="acted()">'
    model = Model(evil, ACME, status=evil, price=Price(Decimal(1), Decimal(1), source=evil))
    html = prices_table([Offer(model, None)], model, sources=True)._repr_mimebundle_()["text/html"]
    assert "<img" not in html
    assert html.count("&lt;img") == 4


def compared(comparison: Comparison) -> Table:
    return elsewhere_table(comparison, Catalog().short_name)


def paid(cost: str, unpriced: int = 0, cached: int = 0, model: str = "x") -> Calls:
    return Calls("acme", model, 1_000, cached, 20, Decimal(cost), unpriced)


def test_the_same_calls_elsewhere():
    """The mission's table: a million in and a million out."""
    calls = [
        Calls("together", MIXTRAL, 1_000_000, 0, 1_000_000, Decimal("1.20")),
        Calls("local", "SmolLM2-135M-Instruct", 9, 0, 5, Decimal(0)),
    ]
    table = compared(elsewhere(Catalog(), calls))
    assert table.columns == [
        *("model", "tokens in", "tokens out", "paid"),
        *("Ollama", "Together AI", "Fireworks AI", "Mistral AI", "OpenRouter"),
    ]
    costs = ["$1.20", "free", "$1.20", "$2.00", "$2.40", "price unknown"]
    assert table.rows == [
        ["together:8x7b", "1,000,000", "1,000,000", *costs],
    ]
    assert table.foot == ["total", "1,000,000", "1,000,000", *costs]
    assert table.caption.splitlines() == [
        "the same tokens at today's prices",
        "Together AI: dedicated",
        "Fireworks AI: dedicated",
        "Mistral AI: retired",
        "served by no other provider: local ($0)",
    ]
    assert "$0" not in "".join(map("".join, table.rows))


def test_the_same_calls_elsewhere_fit_into_80_columns():
    catalog = Catalog()
    names = ("together:8x7b", "together:8x22b", "openrouter:8x22b", "groq:gpt-oss-120b")
    models = map(catalog.resolve, names)
    calls = [
        Calls(model.provider.name, model.id, 12_345_678, 0, 1_234_567, Decimal("12.3456789"))
        for model in models
    ]
    for count in (1, 2, 3, 4):
        lines = compared(elsewhere(catalog, calls[:count])).text(80).splitlines()
        assert max(map(len, lines)) <= 80
        assert "paid" in lines[0]


def test_an_incomplete_total_is_unknown():
    model = Model("x", ACME)
    one, two = Decimal("0.5"), Decimal("0.25")
    bills = (
        Bill(ACME, (model, model), (one, two)),
        Bill(ACME, (model, model), (one, None)),
        Bill(ACME, (model, model), (None, None)),
        Bill(ACME, (model, None), (one, None)),
        Bill(HOME, (model, model), (Decimal(0), Decimal(0))),
        Bill(HOME, (model, None), (Decimal(0), None)),
    )
    table = compared(Comparison((paid("1"), paid("2")), (), bills))
    assert table.rows == [
        ["acme:x", "1,000", "20", "$1.00", "$0.50", "$0.50", "price unknown", "$0.50", "free",
         "free"],
        ["acme:x", "1,000", "20", "$2.00", "$0.25", "price unknown", "price unknown", "not served",
         "free", "not served"],
    ]  # fmt: skip
    assert table.foot == [
        *("total", "2,000", "40", "$3.00", "$0.75", "price unknown", "price unknown",
         "not all served", "free", "not all served"),
    ]  # fmt: skip


def test_calls_of_unknown_price_are_not_in_the_cost_paid():
    bill = Bill(ACME, (Model("x", ACME),) * 3, (Decimal(1),) * 3)
    calls = (paid("1"), paid("2", unpriced=1), paid("0", unpriced=3))
    table = compared(Comparison(calls, (), (bill,)))
    assert [cells[3] for cells in [*table.rows, table.foot]] == [
        "$1.00",
        "$2.00",
        "price unknown",
        "$3.00",
    ]
    assert "paid: without calls whose price is not known" in table.caption


def test_bounds_and_estimates_are_marked_and_those_without_an_answer_left_out():
    """The mark stands for what was paid; a bill is by known tokens, estimated as they may be."""
    models = (Model("x", ACME),) * 3
    bill = Bill(ACME, models, (Decimal("0.5"), Decimal("0.02"), Decimal(1)))
    lost, counted = replace(paid("2"), lost=1), replace(paid("0.5"), estimated=1)
    unanswered = replace(paid("0.02", model="gone"), completion_tokens=0, lost=1)
    table = compared(Comparison((paid("1"), lost, counted), (), (bill,), (unanswered,)))
    assert [cells[3:] for cells in [*table.rows, table.foot]] == [
        ["$1.00", "$0.500"],
        ["≤ $2.00", "$0.020"],
        ["≈ $0.50", "≈ $1.000"],
        ["≈ $3.50", "≈ $1.520"],
    ]
    assert table.caption.splitlines() == [
        "the same tokens at today's prices",
        "not compared, because their answers' tokens are unknown: acme:gone (≤ $0.020)",
        "≤: lost calls are counted at their worst case; their tokens are unknown",
        "≈: some tokens are estimated",
    ]
    nothing = compared(Comparison((), (), (), (unanswered,)))
    assert nothing.caption.splitlines()[0] == "Nothing to compare."
    assert nothing.rows == []


def test_cached_tokens_are_noted():
    bill = Bill(ACME, (Model("x", ACME),), (Decimal(1),))
    told = compared(Comparison((paid("1", cached=5),), (), (bill,))).caption
    assert "cached tokens" in told
    assert "cached" not in compared(Comparison((paid("1"),), (), (bill,))).caption


def test_nothing_to_compare_is_noted():
    table = compared(Comparison((), (paid("0", unpriced=1),), ()))
    assert table.rows == []
    assert table.caption.splitlines() == [
        "Nothing to compare: no other provider serves these models.",
        "served by no other provider: acme:x (price unknown)",
    ]


def test_no_row_that_cannot_answer_is_marked_as_used(session, monkeypatch):
    for name in ("8x7b", "8x22b", "disco", "together:8x7b", "gpt-6-luna"):
        for variable in ("", "MISTRAL_API_KEY", "FIREWORKS_API_KEY"):
            if variable:
                monkeypatch.setenv(variable, "canary")
            (table,) = shown(session, "prices", name)
            assert "→" not in str(table)
            assert "is not set" in table.caption or "nobody at present" in table.caption
    monkeypatch.setenv("OPENROUTER_API_KEY", "canary")
    (table,) = shown(session, "prices")
    assert [row[1] for row in table.rows if row[0]] == ["openrouter:8x7b"]
    assert table.caption.startswith("→ used for this name")


def test_use_says_if_a_model_cannot_answer(session):
    assert shown(session, "use", "8x22b")[0].startswith(
        "Using 8x22b in this session, but: 8x22b is served at present by OpenRouter, and"
    )


def test_prices_compares_the_model_that_is_named_or_the_session_s(session):
    def rows(*words: str) -> list[tuple[str, ...]]:
        return [row[1:-1] for row in shown(session, "prices", *words)[0].rows]

    small, large = ([row[1:-1] for row in table_of(name).rows] for name in ("8x7b", "8x22b"))
    assert rows("8x7b") == small
    assert rows() == small
    session.model = "8x22b"
    assert rows() == large
    session.model = "local"
    assert rows() == small, "more than one row"
    assert len(shown(session, "prices", "local")[0].rows) == 1


def test_prices_tells_which_keys_are_set(session, monkeypatch):
    def keys() -> dict[str, str]:
        (table,) = shown(session, "prices", "8x7b")
        return dict(zip(column(table, "model"), column(table, "key"), strict=True))

    monkeypatch.setenv("MISTRAL_API_KEY", "")
    assert keys()["mistral:8x7b"] == "not set"
    monkeypatch.setenv("MISTRAL_API_KEY", "canary")
    assert keys()["mistral:8x7b"] == "set"


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["8x7"], UnknownModel, "'8x7'"),
        (["8x7b", "8x22b"], BadArguments, "8x22b"),
        (["--live"], BadArguments, "--live"),
    ],
)
def test_a_wrong_line_is_an_error(session, words, error, says):
    with pytest.raises(error, match=says):
        shown(session, "prices", *words)


def test_elsewhere_compares_the_calls_of_this_session(session, together_served):
    (table,) = shown(session, "spend", "--elsewhere")
    assert table.rows == []
    for _ in range(2):
        session.ask("Hi", model="8x7b")
    (table,) = shown(session, "spend", "--elsewhere")
    (row,), total = table.rows, table.foot
    assert row[:3] == ["together:8x7b", "2,000,000", "2"]
    assert dict(zip(table.columns[3:], row[3:], strict=True)) == {
        "paid": "$1.20",
        "Ollama": "free",
        "Fireworks AI": "$0.80",
        "Together AI": "$1.20",
        "Mistral AI": "$1.20",
        "OpenRouter": "price unknown",
    }
    assert total[1:] == row[1:]


def test_elsewhere_leaves_out_a_call_without_an_answer(session, together):
    """It is counted at the most that it could cost, and by its tokens others would look cheap."""
    request = session.request("Explain.", model="8x7b", stream=False)

    def stop_when_received(_):
        request.control.stop.set()
        return Answer([HANG])

    together.plan = [stop_when_received]
    with pytest.raises(Stopped):
        list(session.stream(request))
    (table,) = shown(session, "spend", "--elsewhere")
    assert table.rows == []
    left_out = "not compared, because their answers' tokens are unknown: together:8x7b ("
    assert left_out in table.caption


@pytest.fixture
def together_served(request):
    """Together's place, where every answer has a million tokens in and one out."""
    server = request.getfixturevalue("together")
    server.plan = [Answer(words("Hello", prompt=1_000_000)) for _ in range(2)]
    return server

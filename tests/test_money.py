"""Costs are exact to the nanodollar, and a bound holds."""

from __future__ import annotations

import contextlib
import re
from decimal import ROUND_UP, Decimal, Inexact, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server import Answer
from server import together as answer

from mixmagic.errors import BadArguments
from mixmagic.magics._budget import budget
from mixmagic.money import Budget, Price, Usage, amounts, dollars, exact_sum, nano
from mixmagic.sessions import Session


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (Price(Decimal("0.60"), Decimal("0.60")), Usage(9, 5), "0.0000084"),
        (Price(Decimal("1.20"), Decimal("1.20")), Usage(1_000_000, 1_000_000), "2.40"),
        (Price(Decimal("2"), Decimal("6")), Usage(1, 1), "0.000008"),
        (Price(Decimal("0.123"), Decimal("0")), Usage(1, 0), "0.000000123"),
        (Price(Decimal("0.0004"), Decimal("0")), Usage(3, 0), "0.000000001"),
        (Price(Decimal(0), Decimal(0)), Usage(10**9, 10**9), "0"),
    ],
)
def test_cost_is_exact_to_the_nanodollar(price, usage, cost):
    assert price.cost(usage) == Decimal(cost)


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), min_size=1, max_size=20),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
)
def test_costs_are_whole_nanodollars_and_add_up(calls, input_cents, output_cents):
    """With prices in whole cents, the parts' costs sum to the whole's, within their rounding."""
    price = Price(Decimal(input_cents) / 100, Decimal(output_cents) / 100)
    parts = [price.cost(Usage(i, o)) for i, o in calls]
    assert all(part * 10**9 == int(part * 10**9) for part in parts)
    whole = price.cost(Usage(sum(i for i, _ in calls), sum(o for _, o in calls)))
    assert abs(sum(parts) - whole) <= len(parts) * Decimal("0.5e-9") + Decimal("0.5e-9")


def test_usage_adds_up():
    assert Usage(9, 5).total_tokens == 14


def test_cached_tokens_have_their_own_price():
    usage = Usage(100, 10, cached_tokens=40)
    assert Price(Decimal(1), Decimal(2)).cost(usage) == Decimal("120e-6")
    assert Price(Decimal(1), Decimal(2), cached=Decimal("0.5")).cost(usage) == Decimal("100e-6")


def test_cached_tokens_are_not_counted_on():
    cheap = Price(Decimal(1), Decimal(2), cached=Decimal("0.1"))
    dear = Price(Decimal(1), Decimal(2), cached=Decimal(5))
    assert cheap.most(10, 10) == Decimal("0.00003")
    assert dear.most(10, 10) == Decimal("0.00007")


money = st.decimals(0, 100, places=4)


@given(money, money, st.none() | money, st.data())
def test_no_count_within_the_bound_costs_more(price_in, price_out, cached, data):
    price = Price(price_in, price_out, cached=cached)
    prompt, answer = (data.draw(st.integers(0, 10**6)) for _ in range(2))
    usage = Usage(
        inside := data.draw(st.integers(0, prompt)),
        data.draw(st.integers(0, answer)),
        cached_tokens=data.draw(st.integers(0, inside)),
    )
    assert price.cost(usage) <= price.most(prompt, answer)


def test_the_notebooks_own_precision_is_not_ours():
    with localcontext(prec=3):
        cost = Price(Decimal("0.6"), Decimal(0)).cost(Usage(123_457, 0))
        assert (nano(cost), dollars(74_074_200)) == (74_074_200, cost)
    assert cost == Decimal("0.0740742")


def test_a_sum_is_exact_whatever_the_notebook_has_set():
    parts = [Decimal("1234567.000000001"), Decimal("0.1"), Decimal("-0.2")]
    with localcontext(prec=3):
        added = exact_sum(parts)
    assert added == Decimal("1234566.900000001")
    assert exact_sum([]) == 0


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["1.2", "2"], ["$1.20", "$2.00"]),
        (["0.6000186", "0.0001248", "0.6001434"], ["$0.60002", "$0.00012", "$0.60014"]),
        (["0.02", "0"], ["$0.020", "$0"]),
        (["0.000000001", "1"], ["$0.000000001", "$1.000000000"]),
        (["10800001200", "0.5"], ["$10,800,001,200.00", "$0.50"]),
        (["-0.0041", "1234"], ["-$0.0041", "$1,234.0000"]),
        ([None, "0.25"], ["price unknown", "$0.25"]),
        ([None], ["price unknown"]),
        ([], []),
    ],
)
def test_amounts_of_a_column_have_the_same_decimals(values, shown):
    decimals = [value and Decimal(value) for value in values]
    assert amounts(decimals) == shown
    with localcontext(prec=1, rounding=ROUND_UP) as context:
        context.traps[Inexact] = True
        assert amounts(decimals) == shown


def test_a_budget_is_taken_off_in_any_letters(session):
    assert [row[1] for row in budget(session, ["0.50"]).rows] == ["$0.50"]
    assert budget(session, ["OFF"]).rows == []


def test_the_settings_budget_is_told_from_the_sessions_own(home, monkeypatch):
    monkeypatch.setenv("MIXMAGIC_BUDGET_SESSION", "2")
    with contextlib.closing(Session()) as session:
        names = [row[0] for row in budget(session, ["0.50"]).rows]
    assert names == ["this session's budget", "this session's budget (settings)"]


@pytest.mark.parametrize("words", [[], ["--per", "day"], ["--per", "month"], ["--notebook"]])
def test_calls_of_unknown_price_are_told_beside_what_is_spent(
    home, together, monkeypatch, tmp_path, words
):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a.ipynb"))
    monkeypatch.setenv("OPENAI_BASE_URL", together.url)
    together.plan = [Answer(answer("Hello"))]
    with contextlib.closing(Session()) as session:
        before = budget(session, ["0.50", *words])
        assert before.caption == "held: what calls under way may cost at most"
        budget(session, ["off", *words])
        session.ask("Hi", model="openai:x")
        (row,) = (after := budget(session, ["0.50", *words])).rows
        assert row[2] == "$0.00"
        assert after.caption.splitlines()[1] == "spent: without calls whose price is not known"


@pytest.mark.parametrize("limit", ["0.5", 0.5, None, Decimal("NaN"), Decimal(-1)])
def test_a_budget_of_something_else_is_refused(limit):
    with pytest.raises(BadArguments, match=re.escape(repr(limit))) as caught:
        Budget(limit)
    assert caught.value.hint == "It takes a Decimal of US dollars."
    assert Budget(Decimal("0.5")).limit == Decimal("0.5")

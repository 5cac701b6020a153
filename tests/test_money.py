"""Costs are exact to the nanodollar, and a bound holds."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.money import Price, Usage, dollars, nano


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

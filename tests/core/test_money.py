"""Costs are exact to the nanodollar, and a bound holds."""

from __future__ import annotations

import contextlib
import re
from decimal import ROUND_UP, Decimal, Inexact, localcontext

import pytest
from command_lines import shown
from hypothesis import given
from hypothesis import strategies as st
from server import Answer
from server import together as answer

from mixmagic.core.money import (
    Budget,
    Price,
    Usage,
    bill,
    exact_sum,
    format_column,
    format_dollars,
    format_least,
    format_limit,
    format_most,
    from_nano,
    to_nano,
)
from mixmagic.errors import BadArguments
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


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(10, 0, cached_tokens=4), "0.000012"),
        (Usage(10, 0, cached_tokens=10), "0.000000"),
        (Usage(10, 0, cached_tokens=5000), "0.000000"),
        (Usage(10, 0, cached_tokens=4, cache_write_tokens=5000), "0.000018"),
        (Usage(0, 1, cached_tokens=7, cache_write_tokens=7), "0.000004"),
    ],
)
def test_no_more_tokens_are_from_the_cache_than_the_prompt_has(usage, cost):
    """However many the provider reports: a cost is never below that of the answer alone."""
    price = Price(Decimal(2), Decimal(4), cached=Decimal(0), cache_write=Decimal(3))
    assert price.cost(usage) == Decimal(cost)


def test_usage_adds_up():
    assert Usage(9, 5).total_tokens == 14


def test_cached_tokens_have_their_own_price():
    usage = Usage(100, 10, cached_tokens=40)
    assert Price(Decimal(1), Decimal(2)).cost(usage) == Decimal("120e-6")
    assert Price(Decimal(1), Decimal(2), cached=Decimal("0.5")).cost(usage) == Decimal("100e-6")


WRITES = Price(Decimal(1), Decimal(2), cached=Decimal("0.1"), cache_write=Decimal("1.25"))


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(1000, 500, cache_write_tokens=1000), "0.00225"),
        (Usage(1000, 500, cache_write_tokens=400), "0.0021"),
        (Usage(1000, 500, 600, cache_write_tokens=400), "0.00156"),
        (Usage(1000, 500, 600, cache_write_tokens=1000), "0.00156"),
        (Usage(1000, 500, 2000, cache_write_tokens=1000), "0.0011"),
        (Usage(0, 500, cache_write_tokens=1000), "0.001"),
    ],
)
def test_what_goes_into_the_cache_has_its_own_price(usage, cost):
    """Of the prompt, and of no more than the prompt."""
    assert WRITES.cost(usage) == Decimal(cost)
    assert not WRITES.estimates(usage)


def test_what_goes_into_the_cache_is_as_input_where_its_price_is_not_known():
    price = Price(Decimal(1), Decimal(2), cached=Decimal("0.1"))
    usage = Usage(1000, 500, 600, cache_write_tokens=400)
    assert price.cost(usage) == Decimal("0.00146")
    assert price.estimates(usage)
    assert not price.estimates(Usage(1000, 500, 600))
    assert not Price(Decimal(1), Decimal(2), cache_write=Decimal(0)).estimates(usage)


def test_what_goes_into_the_cache_is_counted_on():
    assert WRITES.most(1000, 500) == Decimal("0.00225")
    cheap = Price(Decimal(1), Decimal(2), cache_write=Decimal("0.5"))
    assert cheap.most(1000, 500) == Decimal("0.002")
    both = Price(Decimal(1), Decimal(2), cached=Decimal(3), cache_write=Decimal(2))
    assert both.most(1000, 500) == Decimal("0.004")


def test_a_price_is_free_where_nothing_costs_anything():
    nothing, something = Decimal(0), Decimal("0.1")
    assert Price(nothing, nothing).free
    assert Price(nothing, nothing, cached=nothing, cache_write=nothing).free
    assert not any(
        Price(*each[:2], cached=each[2], cache_write=each[3]).free
        for each in ([nothing] * n + [something] + [nothing] * (3 - n) for n in range(4))
    )


def test_a_charge_that_is_told_outranks_a_price():
    told = Usage(1000, 500, charge=Decimal("0.0042"))
    assert bill(told, WRITES) == bill(told, None) == Decimal("0.0042")
    assert bill(Usage(1000, 500), WRITES) == WRITES.cost(told) == Decimal("0.002")
    assert bill(Usage(1000, 500), None) is None


@pytest.mark.parametrize(
    ("counted", "together"),
    [
        (("server", "server"), "server"),
        (("server", "exact"), "exact"),
        (("estimate", "exact"), "estimate"),
        (("server", None), "server"),
        ((None, None), None),
    ],
)
def test_usage_of_two_calls_adds_up(counted, together):
    one, other = (Usage(9, 5, 3, each, 2) for each in counted)
    assert one + other == other + one == Usage(18, 10, 6, together, 4)


def test_charges_of_two_calls_add_up_where_both_are_told():
    told, unsent = Usage(9, 5, charge=Decimal("0.15")), Usage(0, 0, counted=None)
    with localcontext(prec=1):
        assert (told + told).charge == Decimal("0.30")
    assert (told + unsent).charge == (unsent + told).charge == Decimal("0.15")
    assert (told + Usage(9, 5)).charge is (Usage(9, 5) + Usage(9, 5)).charge is None
    assert (unsent + unsent).charge is None


def test_cached_tokens_are_not_counted_on():
    cheap = Price(Decimal(1), Decimal(2), cached=Decimal("0.1"))
    dear = Price(Decimal(1), Decimal(2), cached=Decimal(5))
    assert cheap.most(10, 10) == Decimal("0.00003")
    assert dear.most(10, 10) == Decimal("0.00007")


money = st.decimals(0, 100, places=4)


prices = st.builds(Price, money, money, cached=st.none() | money, cache_write=st.none() | money)


@st.composite
def usages(draw, prompt: int, answer: int) -> Usage:
    """A count of at most so many tokens."""
    given = draw(st.integers(0, prompt))
    cached = draw(st.integers(0, given))
    written = draw(st.integers(0, given - cached))
    return Usage(given, draw(st.integers(0, answer)), cached, cache_write_tokens=written)


@given(prices, st.integers(0, 10**6), st.integers(0, 10**6), st.data())
def test_no_count_within_the_bound_costs_more(price, prompt, answer, data):
    assert price.cost(data.draw(usages(prompt, answer))) <= price.most(prompt, answer)


@given(prices, usages(10**6, 10**6), st.tuples(*[st.integers(0, 1000)] * 4))
def test_more_tokens_never_cost_less(price, usage, added):
    """Whichever they are, where the others stay as they are."""
    given, taken, read, written = added
    more = Usage(
        usage.prompt_tokens + given + read + written,
        usage.completion_tokens + taken,
        usage.cached_tokens + read,
        cache_write_tokens=usage.cache_write_tokens + written,
    )
    assert price.cost(more) >= price.cost(usage)


def test_the_decimal_precision_of_the_notebook_does_not_matter():
    with localcontext(prec=3):
        cost = Price(Decimal("0.6"), Decimal(0)).cost(Usage(123_457, 0))
        assert (to_nano(cost), from_nano(74_074_200)) == (74_074_200, cost)
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
    assert format_column(decimals) == shown
    with localcontext(prec=1, rounding=ROUND_UP) as context:
        context.traps[Inexact] = True
        assert format_column(decimals) == shown


@pytest.mark.parametrize(
    ("dollars", "most", "least", "limit"),
    [
        ("0.5", "$0.50", "$0.50", "$0.50"),
        ("0.0196608", "$0.020", "$0.019", "$0.0196608"),
        ("0.4992476", "$0.50", "$0.49", "$0.4992476"),
        ("1E+2", "$100.00", "$100.00", "$100.00"),
        ("1234.567", "$1,234.57", "$1,234.56", "$1,234.567"),
        ("0.000000001", "$0.000000001", "$0.000000001", "$0.000000001"),
        ("-0.0123", "-$0.012", "-$0.013", "-$0.0123"),
        ("0", "$0", "$0", "$0.00"),
    ],
)
def test_worst_cases_are_rounded_up_rests_down_and_limits_not_at_all(dollars, most, least, limit):
    value = Decimal(dollars)
    with localcontext(prec=3):
        assert (format_most(value), format_least(value), format_limit(value)) == (
            most,
            least,
            limit,
        )


def test_a_worst_case_above_a_rest_never_looks_like_it():
    rest = Decimal("0.0100000")
    for more in ("1e-9", "1e-7", "0.0000999", "0.001"):
        assert format_most(rest + Decimal(more)) > format_least(rest)
    assert format_dollars(rest + Decimal("1e-9")) == format_dollars(rest)


def test_a_budget_is_taken_off_in_any_letters(session):
    assert shown(session, "budget", "0.50") == [
        "This session's budget is $0.50: $0 spent, $0.50 remaining."
    ]
    assert shown(session, "budget", "OFF") == ["This session's budget is removed."]
    assert session.budgets() == []


def test_the_settings_budget_is_told_from_the_sessions_own(home, monkeypatch):
    monkeypatch.setenv("MIXMAGIC_BUDGET_SESSION", "2")
    with contextlib.closing(Session()) as session:
        (lines,) = shown(session, "budget", "0.50")
        assert [line.partition(" is ")[0] for line in lines.splitlines()] == [
            "This session's budget",
            "This session's budget (settings)",
        ]
        (table,) = shown(session, "budget")
        names = [row[0] for row in table.rows]
    assert names == ["this session's budget", "this session's budget (settings)"]


@pytest.mark.parametrize("words", [[], ["--per", "day"], ["--per", "month"], ["--notebook"]])
def test_calls_of_unknown_price_are_told_beside_what_is_spent(
    home, together, monkeypatch, tmp_path, words
):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a.ipynb"))
    monkeypatch.setenv("OPENAI_BASE_URL", together.url)
    together.plan = [Answer(answer("Hello"))]
    with contextlib.closing(Session()) as session:
        shown(session, "budget", "0.50", *words)
        (before,) = shown(session, "budget")
        assert before.caption == ""
        shown(session, "budget", "off", *words)
        session.ask("Hi", model="openai:x")
        shown(session, "budget", "0.50", *words)
        (after,) = shown(session, "budget")
        (row,) = after.rows
        assert row[2] == "$0"
        assert after.caption == "spent: without calls whose price is not known"


@pytest.mark.parametrize("limit", ["0.5", 0.5, None, Decimal("NaN"), Decimal(-1)])
def test_a_budget_of_something_else_is_refused(limit):
    with pytest.raises(BadArguments, match=re.escape(repr(limit))) as caught:
        Budget(limit)
    assert caught.value.hint == "It takes a Decimal of US dollars."
    assert Budget(Decimal("0.5")).limit == Decimal("0.5")


LONG = Price(
    Decimal(1),
    Decimal(2),
    cached=Decimal("0.1"),
    above=1_000,
    long=Price(Decimal(3), Decimal(5), cached=Decimal("0.3"), cache_write=Decimal(4)),
)


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(1_000, 10), "0.00102"),
        (Usage(1_001, 10), "0.003053"),
        (Usage(1_001, 10, cached_tokens=1_001), "0.0003503"),
        (Usage(1_001, 10, cache_write_tokens=1_001), "0.004054"),
    ],
)
def test_a_longer_prompt_than_a_price_allows_has_another_price_for_the_whole_call(usage, dollars):
    assert LONG.cost(usage) == Decimal(dollars)
    assert LONG.most(usage.prompt_tokens, usage.completion_tokens) >= LONG.cost(usage)
    assert LONG.short.cost(usage) <= LONG.cost(usage)


def test_the_most_that_tokens_can_cost_never_falls_with_their_number():
    costs = [LONG.most(tokens, 10) for tokens in range(0, 3_000, 250)]
    assert costs == sorted(costs)


def test_a_price_that_only_long_prompts_have_is_not_free():
    zero = Decimal(0)
    assert not Price(zero, zero, above=5, long=Price(Decimal(1), zero)).free
    assert Price(zero, zero, above=5, long=Price(zero, zero)).free


def test_a_long_prompt_is_an_estimate_if_its_own_price_lacks_that_of_writing_to_the_cache():
    long = Price(Decimal(2), Decimal(4))
    price = Price(Decimal(1), Decimal(2), cache_write=Decimal(1), above=1_000, long=long)
    assert not price.estimates(Usage(1_000, 5, cache_write_tokens=9))
    assert price.estimates(Usage(1_001, 5, cache_write_tokens=9))

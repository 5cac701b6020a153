from __future__ import annotations

import dataclasses
import hashlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.stop import Stop
from mixmagic.values import Delta, Message, Model, Price, Provider, Request, Usage

ACME = Provider("acme", "Acme")
MODEL = Model("org/Model-1", ACME, aliases=("one",))


def ask(*, model=MODEL, text="Hello", **more) -> Request:
    return Request(model, (Message("user", text),), **more)


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


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MODEL.price = Price(Decimal(0), Decimal(0))


def test_delta_is_its_text():
    assert str(Delta("Hi", reasoning="hm")) == "Hi"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (MODEL, "acme:one"),
        (Model("org/Model-1", ACME), "acme:org/Model-1"),
        (Model("weights", Provider("local", "here"), aliases=("local",)), "local"),
    ],
)
def test_name_is_the_shortest(model, name):
    assert model.name == name


def test_key_is_pinned():
    """Stores keep keys: a change of this one would orphan every stored answer."""
    request = Request(
        MODEL,
        (Message("system", "Be brief."), Message("user", "Grüße")),
        {"temperature": 0.5, "max_tokens": 10},
    )
    canonical = (
        rb'{"messages":[["system","Be brief."],["user","Gr\u00fc\u00dfe"]],'
        rb'"model":"acme:org/Model-1","params":{"max_tokens":10,"temperature":0.5}}'
    )
    assert request.key == hashlib.blake2b(canonical, digest_size=16).hexdigest()
    assert len(request.key) == 32


def test_key_is_that_of_the_question_not_of_the_call():
    """Neither streaming, nor the stop, nor the order of parameters, nor the row's facts count."""
    plain = ask(params={"seed": 1, "top_p": 0.5})
    same = [
        ask(params={"top_p": 0.5, "seed": 1}),
        ask(params=plain.params, stream=False),
        ask(params=plain.params, stop=Stop()),
        ask(params=plain.params, model=dataclasses.replace(MODEL, aliases=("two",), context=9)),
    ]
    assert {each.key for each in same} == {plain.key}
    assert ask(params=plain.params, stream=False) == plain


def test_key_tells_questions_apart():
    other_provider = dataclasses.replace(MODEL, provider=Provider("other", "Other"))
    different = [
        ask(),
        ask(text="Hello "),
        ask(model=other_provider),
        ask(model=dataclasses.replace(MODEL, id="org/Model-2")),
        ask(params={"seed": 1}),
        ask(params={"seed": 2}),
        ask(params={"stop": ["1"]}),
        Request(MODEL, (Message("assistant", "Hello"),)),
        Request(MODEL, (Message("user", "Hel"), Message("user", "lo"))),
    ]
    assert len({each.key for each in different}) == len(different)


def test_requests_do_not_share_a_stop():
    first, second = ask(), ask()
    first.stop.set()
    assert not second.stop.is_set()

from __future__ import annotations

import dataclasses
import hashlib
from decimal import Decimal

import pytest

from mixmagic.core.cancel import Stop
from mixmagic.core.money import Price
from mixmagic.core.values import Delta, Dialect, Message, Model, Provider, Request

ACME = Provider("acme", "Acme")
MODEL = Model("org/Model-1", ACME, aliases=("one",))


def ask(*, model=MODEL, text="Hello", **more) -> Request:
    return Request(model, (Message("user", text),), **more)


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


@pytest.mark.parametrize(
    ("params", "always", "answers", "candidates"),
    [
        ({}, {}, 1, 1),
        ({"n": 2}, {}, 2, 2),
        ({"extra_body": {"n": 3}}, {}, 3, 3),
        ({"n": 2, "extra_body": {"n": 3}}, {}, 3, 3),
        ({"n": 3, "extra_body": {"n": 1}}, {}, 1, 1),
        ({"extra_body": {"best_of": 3}}, {}, 1, 3),
        ({"n": 2, "extra_body": {"best_of": 1}}, {}, 2, 2),
        ({}, {"n": 2}, 2, 2),
        ({"extra_body": {"n": 3}}, {"n": 2}, 3, 3),
        ({"extra_body": {"n": "3", "best_of": 4.0}}, {}, 3, 4),
        ({"extra_body": {"n": None, "best_of": "many"}}, {}, 1, 1),
        ({"extra_body": {"n": -3, "best_of": []}}, {}, 1, 1),
    ],
)
def test_how_many_answers_are_asked_for_and_may_come(params, always, answers, candidates):
    """What is sent counts: `extra_body` goes over the parameters, and the dialect's own fields."""
    provider = Provider("acme", "Acme", dialect=Dialect(always=always))
    request = Request(Model("m", provider), (Message("user", "Hi"),), params)
    assert (request.answers, request.candidates) == (answers, candidates)

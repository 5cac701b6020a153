from __future__ import annotations

import dataclasses
import math
import pickle
from contextlib import ExitStack, nullcontext
from decimal import Decimal

import pytest

from mixmagic.core.control import Background, Control
from mixmagic.core.money import Budget, Price
from mixmagic.core.values import Delta, Dialect, Image, Message, Model, Provider, Request, Text

ACME = Provider("acme", "Acme")
MODEL = Model("org/Model-1", ACME, aliases=("one",))
PIXEL = Image(b"\x89PNG", "image/png")


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


def test_a_request_is_compared_by_its_question_alone():
    question = ask(params={"seed": 1})
    control = Control(timeout=5, budget=Budget(Decimal(1)), tag="cell 3", cache="off")
    assert ask(params={"seed": 1}, stream=False, control=control) == question
    assert hash(ask(params={"seed": 1}, control=control)) == hash(question)
    assert ask(params={"seed": 1}, asked="one") != question
    assert ask(params={"seed": 2}) != question


def test_requests_do_not_share_a_stop():
    first, second = ask(), ask()
    first.control.stop.set()
    assert not second.control.stop.is_set()


def test_again_shares_no_state_with_the_call_before():
    """Neither its stop, nor its deadline, nor its callbacks; what the user chose is the same."""
    budget = Budget(Decimal(1))
    first = ask(
        control=Control(
            deadline=5, timeout=9, budget=budget, notes=("cheapest",), tag="cell 3", job="j1",
            cache="refresh", on_end=print, pause=ExitStack,
        )
    )  # fmt: skip
    first.control.stop.set()
    again = first.again()
    assert again == first
    assert not again.control.stop.is_set()
    assert again.control.stop is not first.again().control.stop
    control = again.control
    assert (control.deadline, control.on_end, control.pause) == (math.inf, None, nullcontext)
    assert (control.timeout, control.budget, control.notes) == (9, budget, ("cheapest",))
    assert (control.tag, control.job, control.cache) == ("cell 3", "j1", "refresh")


def test_again_belongs_to_no_background_cell():
    first = ask(control=Control(background=Background(1, "answer", "In[3]")))
    first.control.background.stop.set()
    assert first.again().control.background is None
    assert pickle.loads(pickle.dumps(first)).control.background is None


def test_a_request_is_pickled_without_what_belongs_to_this_process():
    first = ask(control=Control(deadline=5, timeout=9, job="j1", on_end=lambda _: None))
    first.control.stop.set()
    copy = pickle.loads(pickle.dumps(first))
    assert copy == first
    control = copy.control
    assert not control.stop.is_set()
    assert (control.deadline, control.on_end) == (math.inf, None)
    assert (control.timeout, control.job) == (9, "j1")


@pytest.mark.parametrize(
    ("content", "text", "images"),
    [
        ("Hello", "Hello", ()),
        ((), "", ()),
        ((Text("a "), PIXEL, Text(" b")), "a  b", (PIXEL,)),
        ((PIXEL, PIXEL), "", (PIXEL, PIXEL)),
    ],
)
def test_text_of_a_message_is_that_of_its_parts(content, text, images):
    message = Message("user", content)
    assert (message.text, message.images) == (text, images)


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
def test_number_of_answers_that_are_asked_for_and_may_be_received(
    params, always, answers, candidates
):
    """What is sent counts: `extra_body` goes over the parameters, and the dialect's own fields."""
    provider = Provider("acme", "Acme", dialect=Dialect(always=always))
    request = Request(Model("m", provider), (Message("user", "Hi"),), params)
    assert (request.answers, request.candidates) == (answers, candidates)

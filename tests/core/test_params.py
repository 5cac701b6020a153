from __future__ import annotations

import doctest
import math

import pytest

from mixmagic.core import params
from mixmagic.core.params import check, conversation
from mixmagic.core.values import Image, Message, Text
from mixmagic.errors import BadArguments

GOOD = [
    ("temperature", [0, 2, 0.7]),
    ("max_tokens", [1, 10**6]),
    ("top_p", [0, 1, 0.9]),
    ("top_k", [0, 40]),
    ("min_p", [0, 1]),
    ("seed", [0, 2**63]),
    ("stop", [["END"], ["a", "b"]]),
    ("n", [2, 128]),
    ("logprobs", [True]),
    ("top_logprobs", [0, 5, 20]),
    ("presence_penalty", [-2, 2]),
    ("frequency_penalty", [-2, 2.0]),
    ("repetition_penalty", [0, 1.1, 10]),
    ("schema", [{}, {"type": "object"}]),
    ("response_format", [{"type": "json_object"}]),
    ("extra_body", [{"anything": [1, None]}]),
]
BAD = [
    ("temperature", [-0.1, 2.1, "1", True, math.nan, math.inf, [1]]),
    ("max_tokens", [0, -1, 1.0, "10", True, 10**9 + 1, 10**60]),
    ("top_p", [-0.1, 1.1, True]),
    ("top_k", [-1, 1.5]),
    ("min_p", [1.1]),
    ("seed", [-1, 1.5, "1", False]),
    ("stop", ["", [""], [1], 5, ["END", None], {"END"}]),
    ("n", [0, 129, 1.0, "2", True]),
    ("logprobs", [1, 0, "yes"]),
    ("top_logprobs", [-1, 21, 1.5, True]),
    ("presence_penalty", [-2.1]),
    ("frequency_penalty", [2.1]),
    ("repetition_penalty", [-1, 11]),
    ("schema", ["{}", [], {"a": {1}}, {"a": math.nan}]),
    ("response_format", ["json_object"]),
    ("extra_body", [{"a": object()}]),
]


def test_every_parameter_has_its_cases():
    assert [n for n, _ in GOOD] == [n for n, _ in BAD] == list(params._KNOWN)


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in GOOD for v in values])
def test_valid_values_pass(name, value):
    assert check({name: value}).items() >= {name: value}.items()


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD for v in values])
def test_invalid_values_are_refused_by_name(name, value):
    with pytest.raises(BadArguments, match=rf"^{name} cannot be ") as caught:
        check({name: value})
    assert caught.value.hint.startswith("It takes a")


@pytest.mark.parametrize("stop", ["END", ["END"], ("END",)])
def test_stop_is_always_a_list(stop):
    assert check({"stop": stop}) == {"stop": ["END"]}


def test_defaults_are_dropped():
    assert check({"n": 1, "logprobs": False, "top_logprobs": None}) == {}
    assert check({"logprobs": False, "top_logprobs": 3}) == {}
    assert check({"stop": [], "extra_body": {}, "response_format": {}}) == {}
    assert check({"stop": (), "schema": {}}) == {"schema": {}}, "an empty schema fits anything"


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_a_number_has_one_form(zero):
    params = {"temperature": zero, "extra_body": {"a": [zero, {"b": (zero,)}], "c": True}}
    expected = {"temperature": 0, "extra_body": {"a": [0, {"b": [0]}], "c": True}}
    assert repr(check(params)) == repr(expected)


def test_a_key_of_an_object_is_a_text():
    assert check({"extra_body": {"a": {1: 2, None: 3}}}) == {
        "extra_body": {"a": {"1": 2, "null": 3}}
    }
    with pytest.raises(BadArguments, match="extra_body"):
        check({"extra_body": {(1, 2): 3}})


def test_a_value_that_is_nested_too_deep_is_refused():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(BadArguments, match="extra_body"):
        check({"extra_body": {"deep": deep}})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ((Text("Hi"), Image(b"x")), None),
        ((Image(b"x"),), None),
        ((Text("  "),), "The prompt is empty"),
        ((), "The prompt is empty"),
        (("Hi",), "A message cannot be"),
        ([Text("Hi")], "A message cannot be"),
        ((Text("\ud800"),), "surrogate"),
    ],
)
def test_a_message_may_have_parts(content, says):
    message = Message("user", content)
    if says is None:
        assert conversation([message], None) == (message,)
    else:
        with pytest.raises(BadArguments, match=says):
            conversation([message], None)


@pytest.mark.parametrize(
    ("given", "top"),
    [({"logprobs": True}, 1), ({"top_logprobs": 0}, 0), ({"logprobs": True, "top_logprobs": 5}, 5)],
)
def test_logprobs_and_top_logprobs_come_together(given, top):
    assert check(given) == {"logprobs": True, "top_logprobs": top}


def test_unset_parameters_are_left_out():
    assert check({"seed": None, "temperature": 0, "no_such": None}) == {"temperature": 0}


def test_unknown_parameter_suggests_the_nearest():
    with pytest.raises(BadArguments, match="no parameter 'temprature'") as caught:
        check({"temprature": 1})
    assert caught.value.hint.startswith("Did you mean temperature? ")
    with pytest.raises(BadArguments) as caught:
        check({"xyzzy": 1})
    assert caught.value.hint.startswith("Parameters are temperature, ")


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(BadArguments) as caught:
        check({"temperature": "x" * 10_000})
    assert len(caught.value.message) < 120


def test_what_is_given_is_not_changed():
    given = {"stop": "END", "seed": None}
    check(given)
    assert given == {"stop": "END", "seed": None}


def test_examples_hold():
    assert doctest.testmod(params).failed == 0


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_messages_of_the_user_have_images(role):
    image = Image(b"\x89PNG")
    talk = [Message("user", "Hi"), Message(role, (Text("Look: "), image)), Message("user", "So?")]
    with pytest.raises(BadArguments, match=f"the role {role} cannot have an image"):
        conversation(talk, None)
    assert conversation([Message("user", (image,))], "Be brief.")[1].images == (image,)

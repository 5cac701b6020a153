from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mixmagic.core.values import Message
from mixmagic.errors import BadArguments
from mixmagic.prompting.examples import messages, pairs

TWO = [("a", "1"), ("b", "2")]


class Pair(NamedTuple):
    left: str
    right: int


@pytest.mark.parametrize(
    "value",
    [
        TWO,
        tuple(TWO),
        [["a", 1], ["b", 2]],
        [Pair("a", 1), Pair("b", 2)],
        {"a": 1, "b": "2"},
        {"question": ["a", "b"], "answer": [1, 2]},
        [{"question": "a", "answer": 1}, {"answer": 2, "question": "b"}],
        [{"Input": "a", "Output": 1, "id": 7}, {"Input": "b", "Output": 2, "id": 8}],
        [{"prompt": "a", "completion": "1"}, {"x": "b", "y": "2"}],
        pd.DataFrame({"x": ["a", "b"], "y": [1, 2]}),
        pd.DataFrame({"id": [7, 8], "Answer": [1, 2], "Question": ["a", "b"]}),
        pd.DataFrame({"q": ["a", "b"], "a": ["1", "2"], "source": "s"}, index=[5, 5]),
        pd.DataFrame([["a", 1], ["b", 2]]),
        pl.DataFrame({"x": ["a", "b"], "y": [1, 2]}),
        pl.DataFrame({"id": [7, 8], "output": [1, 2], "input": ["a", "b"]}),
        list(np.array([["a", "1"], ["b", "2"]])),
    ],
    ids=str,
)
def test_all_that_is_pairs(value):
    assert pairs(value, "x") == TWO


def test_answers_that_are_data_are_json():
    assert pairs([("a", {"name": "Zoë"}), ("b", [1, 2]), ("c", True), ("d", 0)]) == [
        ("a", '{"name": "Zoë"}'),
        ("b", "[1, 2]"),
        ("c", "True"),
        ("d", "0"),
    ]
    assert pairs({"question": "a", "answer": "b"}) == [("a", "b")]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (3, "x cannot be examples: its type is int"),
        ("ab", "x cannot be examples: its type is str"),
        (iter([]), "x cannot be examples: its type is list_iterator"),
        ([], "x is empty"),
        ({}, "x is empty"),
        (pd.DataFrame({"question": [], "answer": []}), "x is empty"),
        (["ab"], r"x\[0\] is 'ab', not a question and its answer"),
        ([("a", "b"), ("c",)], r"x\[1\] is \('c',\), not a question"),
        ([("a", "b", "c")], r"x\[0\] is \('a', 'b', 'c'\), not"),
        ([("a", "b"), 7], r"x\[1\] is 7, not"),
        ([("a", "b"), ("c", None)], r"x\[1\] has no answer"),
        ([(" ", "b")], r"x\[0\] has no question"),
        ([("a", math.nan)], r"x\[0\] has no answer"),
        (pd.DataFrame({"x": ["a", "b"], "y": ["c", pd.NA]}), r"x\[1\] has no answer"),
        ([{"one": 1}], r"x\[0\] has 1 column \(one\)"),
        (pd.DataFrame({"a1": [1], "b1": [2], "c1": [3]}), r"x has 3 columns \(a1, b1, c1\)"),
        (pd.DataFrame([["a", "b"]], columns=["t", "t"]), r"x has 2 columns \(t, t\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_error_names_what_is_wrong(value, says):
    with pytest.raises(BadArguments, match=says) as caught:
        pairs(value, "x")
    assert "\n" not in caught.value.message + caught.value.hint
    assert caught.value.hint


def test_as_many_as_fit_are_turns_the_first_ones():
    def count(turns):
        return 10 * len(turns)

    turns, note = messages(TWO, None, count)
    assert turns == (
        Message("user", "a"),
        Message("assistant", "1"),
        Message("user", "b"),
        Message("assistant", "2"),
    )
    assert note == "2 examples"
    assert messages(TWO, 39, count) == (turns[:2], "the first 1 of 2 examples, as many as fit")
    assert messages(TWO, 40, count) == (turns, "2 examples")
    with pytest.raises(BadArguments, match="Not even the first example fits"):
        messages(TWO, 19, count)
    turns, note = messages([("a", "b")] * 5_000, None, count)
    assert (len(turns), note) == (2_000, "the first 1,000 of 5,000 examples, as many as fit")

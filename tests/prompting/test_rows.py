"""A prompt that is filled in for each row."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from mixmagic.errors import BadArguments
from mixmagic.prompting.rows import RowPrompt, is_missing

MISSING = [None, math.nan, np.float64("nan"), pd.NA, pd.NaT, np.datetime64("NaT")]


@pytest.mark.parametrize("value", MISSING, ids=lambda value: type(value).__name__)
def test_missing(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", ["", 0, False, [], np.array([1, 2]), "nan"], ids=str)
def test_not_missing(value):
    assert not is_missing(value)


def test_columns_are_names_and_the_whole_row_is_row():
    prompt = RowPrompt("{{ a }}, {{ row['b c'] }}, {{ n * 2 }}", ["a", "b c", "n", "unused"])
    assert prompt.used == ("a", "b c", "n")
    assert prompt.fill({"a": "x", "b c": "y", "n": 2}).content == "x, y, 4"


def test_a_column_goes_before_a_variable():
    prompt = RowPrompt("{{ a }} {{ other }}", ["a"], {"a": "variable", "other": "one"})
    assert prompt.fill({"a": "column"}).content == "column one"


def test_a_value_that_is_missing_beside_others_is_an_empty_text():
    prompt = RowPrompt("{{ a }}|{{ b }}", ["a", "b"])
    assert prompt.fill({"a": "x", "b": None}).content == "x|"
    assert not prompt.is_missing({"a": "x", "b": None})
    assert prompt.is_missing({"a": math.nan, "b": None})


def test_braces_in_a_value_are_data():
    assert RowPrompt("{{ a }}", ["a"]).fill({"a": "{{ b }}"}).content == "{{ b }}"


def test_a_value_that_is_too_long_is_cut_and_noted():
    filled = RowPrompt("{{ a }}", ["a"], context=1000).fill({"a": "word " * 5000})
    assert len(filled.content) < 5000
    assert "cut to" in filled.notes[0]


@pytest.mark.parametrize("text", ["no expression", "{{ other }}", r"\{{ a }}"])
def test_a_prompt_without_a_column_is_refused(text):
    with pytest.raises(BadArguments) as caught:
        RowPrompt(text, ["a", "b"], {"other": 1})
    assert "names no column" in caught.value.message
    assert "{{ a }}" in caught.value.hint


def test_a_failing_expression_is_an_error_of_its_row():
    prompt = RowPrompt("{{ a.upper() }}", ["a"])
    assert prompt.fill({"a": "x"}).content == "X"
    with pytest.raises(BadArguments, match="upper"):
        prompt.fill({"a": 5})

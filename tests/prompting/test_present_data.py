"""Tables, arrays and plots as text for a model."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.prompting.present import excerpts

CELLS = st.none() | st.text() | st.integers() | st.floats() | st.lists(st.text(), max_size=3)


def shown(value, limit=100_000):
    """Return the text for a model; a character counts as a token."""
    return excerpts(value, "value").within(limit, len)


def table(text):
    """The cells of the Markdown table in a text."""
    lines = [line for line in text.split("\n") if line.startswith("|")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


def test_a_frame_is_its_shape_its_columns_and_its_first_rows():
    frame = pd.DataFrame(
        {
            "city": pd.Series(["Rome", "Os|lo", None], dtype=object),
            "when": pd.to_datetime(["2024-01-01", "2024-02-01", None]),
            "kind": pd.Categorical(["a", "b", "a"]),
            "size": [0.1 + 0.2, 1234567.891, np.nan],
        }
    )
    when = frame["when"].dtype
    assert shown(frame) == (
        f"""\
pandas DataFrame: 3 rows, 4 columns
- city: object, 1 missing
- when: {when}, 1 missing
- kind: category of 2 (a, b), 0 missing
- size: float64, 1 missing

All 3 rows:

| city | when | kind | size |
|---|---|---|---|
| Rome | 2024-01-01 00:00:00 | a | 0.3 |
| Os\\|lo | 2024-02-01 00:00:00 | b | 1234567.891 |
| None | NaT | a | nan |""",
        "",
    )


def test_a_long_frame_is_cut_to_twenty_rows_and_says_so():
    text, cut = shown(pd.DataFrame({"a": range(1_000_000)}))
    assert cut == "20 of 1,000,000 rows"
    assert text.startswith("pandas DataFrame: 1,000,000 rows, 1 column\n")
    assert "\nFirst 20 of 1,000,000 rows:\n" in text
    assert [row[0].strip() for row in table(text)][2:] == list(map(str, range(20)))


def test_twenty_rows_are_whole():
    text, cut = shown(pd.DataFrame({"a": range(20)}))
    assert cut == ""
    assert "All 20 rows:" in text


def test_missing_values_are_counted_in_a_million_rows_only():
    numbers = np.zeros(1_000_002)
    numbers[[5, 1_000_001]] = np.nan
    text = shown(pd.DataFrame({"a": numbers})).text
    assert "- a: float64, 1 missing" in text
    assert "Missing values are those of the first 1,000,000 rows." in text
    assert "Missing values are" not in shown(pd.DataFrame({"a": numbers[:1_000_000]})).text


def test_a_wide_frame_is_cut_to_fifty_columns_and_says_so():
    text, cut = shown(pd.DataFrame(np.zeros((2, 100_000))))
    assert cut == "50 of 100,000 columns"
    assert "Only the first 50 of 100,000 columns:\n- 0: float64" in text
    assert "- 49: float64" in text
    assert "- 50: " not in text
    assert {len(row) for row in table(text)} == {50}


def test_long_cells_are_cut_with_a_note():
    text, cut = shown(pd.DataFrame({"a": ["x" * 10**6, "y\n\ny"], "b": [[1] * 10**6, {"k": 1}]}))
    assert cut == "cells of 100 characters"
    assert "All 2 rows (cells of 100 characters):" in text
    long, short = table(text)[2:]
    assert long[0].strip() == "x" * 99 + "…"
    assert len(long[1].strip()) == 100
    assert [cell.strip() for cell in short] == ["y y", "{'k': 1}"]


def test_a_frame_shrinks_with_its_limit():
    frame = pd.DataFrame({f"column {n}": range(1000) for n in range(30)})
    cuts = [shown(frame, limit).cut for limit in (8000, 4000, 2500, 1700, 700, 310)]
    assert cuts[0] == "20 of 1,000 rows"
    assert cuts[1] == "10 of 1,000 rows"
    assert cuts[-2] == "2 of 1,000 rows, 8 of 30 columns"
    assert cuts[-1] == "0 of 1,000 rows, 8 of 30 columns"
    assert len(set(cuts)) >= 5
    text, cut = shown(frame, 120)
    assert cut.startswith("0 of 1,000 rows, 8 of 30 columns, the first ")
    assert text.endswith(f"[cut to the first {cut.partition('the first ')[2]}]")


def test_numbers_are_written_short_and_large_ones_in_full():
    frame = pd.DataFrame({"a": [0.1 + 0.2, 1 / 3, 1e-12, 1700000000.125, float("inf"), -2.0]})
    cells = [row[0].strip() for row in table(shown(frame).text)[2:]]
    assert cells == ["0.3", "0.3333333333", "1e-12", "1700000000.125", "inf", "-2"]


def test_indexes_and_duplicate_names_are_kept():
    index = pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["same", "same"])
    columns = pd.MultiIndex.from_tuples([("p", "q"), ("p", "q")])
    text = shown(pd.DataFrame([[1, 2.5], [3, 4.5]], index=index, columns=columns)).text
    kind = index.levels[0].dtype
    assert f"Index: same ({kind}), same (int64)" in text
    assert "- p / q: int64, 0 missing\n- p / q: float64, 0 missing" in text
    assert [[cell.strip() for cell in row] for row in table(text)] == [
        ["same", "same", "p / q", "p / q"],
        ["---"] * 4,
        ["x", "1", "1", "2.5"],
        ["y", "2", "3", "4.5"],
    ]
    dated = pd.DataFrame({"a": [1]}, index=pd.DatetimeIndex(["2024-05-06"], name="day"))
    assert "| day | a |\n|---|---|\n| 2024-05-06 00:00:00 | 1 |" in shown(dated).text
    assert "| index | a |" in shown(pd.DataFrame({"a": [1]}, index=[7])).text


def test_empty_frames():
    assert shown(pd.DataFrame()) == ("pandas DataFrame: 0 rows, 0 columns", "")
    text = shown(pd.DataFrame({"a": pd.Series([], dtype="int64")})).text
    assert text == "pandas DataFrame: 0 rows, 1 column\n- a: int64, 0 missing"
    assert shown(pd.DataFrame(index=range(3))).text == "pandas DataFrame: 3 rows, 0 columns"


def test_a_series_is_a_table_of_one_column():
    text, cut = shown(pd.Series([1.5, None] * 500, name="price"))
    assert text.startswith("pandas Series: 1,000 values\n- price: float64, 500 missing\n")
    assert cut == "20 of 1,000 rows"
    assert len(table(text)) == 22
    assert "- value: int64" in shown(pd.Series([1])).text
    counts = pd.Series(["a", "b", "a"], name="letter").value_counts()
    assert "| letter | count |\n|---|---|\n| a | 2 |\n| b | 1 |" in shown(counts).text


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=25),
    st.lists(st.text() | st.integers(), min_size=3, max_size=3),
    st.integers(150, 5000),
)
def test_any_frame_fits_and_is_a_table(rows, names, limit):
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    text, cut = shown(frame, limit)
    assert len(text) <= limit
    whole = shown(frame).text
    assert (text == whole) or cut
    assert {len(row) for row in table(whole)} <= {3}
    assert len(table(whole)) == (2 + min(len(rows), 20) if rows else 0)


@pytest.mark.parametrize(
    ("array", "text", "cut"),
    [
        (np.arange(5), "numpy ndarray: shape (5,), int64\n[0 1 2 3 4]", ""),
        (np.array(7.5), "7.5", ""),
        (np.float64(0.5), "0.5", ""),
        (np.array("2024-05-06T07:08:09.5", "M8[ns]"), "2024-05-06T07:08:09.500000000", ""),
        (np.array(90, "m8[ns]"), "90 nanoseconds", ""),
        (np.array({"a": 1}), "{'a': 1}", ""),
        (np.ma.masked, "--", ""),
        (
            np.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]]),
            "numpy MaskedArray: shape (2, 2), int64\n[[1 --]\n [3 4]]",
            "",
        ),
        (
            np.ma.array([1.5, 2.5], mask=[0, 1]),
            "numpy MaskedArray: shape (2,), float64\n[1.5 --]",
            "",
        ),
        (np.array(["a", "b"]), "numpy ndarray: shape (2,), <U1\n['a' 'b']", ""),
        (np.zeros((0, 3, 3)), "numpy ndarray: shape (0, 3, 3), float64\n[]", ""),
        (
            np.arange(1000),
            "numpy ndarray: shape (1000,), int64\n[  0   1   2   3   4 ... 995 996 997 998 999]",
            "a sample of 1,000 values",
        ),
        (
            np.ones((2, 2, 2), dtype="int8"),
            "numpy ndarray: shape (2, 2, 2), int8\n[0, :, :]:\n[[1 1]\n [1 1]]",
            "a sample of 8 values",
        ),
    ],
)
def test_an_array_is_its_shape_its_dtype_and_a_sample(array, text, cut):
    assert shown(array) == (text, cut)


def test_an_array_of_many_dimensions_is_not_walked_through():
    text, cut = shown(np.broadcast_to(np.int8(1), (7,) * 12))
    assert len(text) < 500
    assert cut == "a sample of 13,841,287,201 values"


@pytest.mark.parametrize("kind", [object, str])
def test_the_starts_of_an_arrays_long_texts_are_shown(kind):
    text, cut = shown(np.array(["x" * 10**6] * 5, dtype=kind))
    assert text.count(f"'{'x' * 100}'… (1,000,000 in all)") == 5
    assert len(text) < 1000
    assert cut == "the starts of long texts"


def test_an_array_shrinks_with_its_limit():
    array = np.random.default_rng(0).random((1000, 1000))
    texts = [shown(array, limit).text for limit in (2000, 700, 200)]
    assert len(texts[0]) > len(texts[1]) > len(texts[2])
    assert all("(1000, 1000), float64" in text for text in texts)
    assert "..." in texts[2]


def test_a_date_is_a_date():
    assert shown(pd.Timestamp("2024-05-06")).text == "2024-05-06 00:00:00"
    assert shown(datetime.date(2024, 5, 6)).text == "2024-05-06"


class Broken:
    def __repr__(self):
        raise ValueError("no")


BROKEN = "<Broken that raised ValueError>"


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame({"a": [1, Broken()], "b": ["tea", "milk"]}),
        pd.DataFrame({"a": ["tea", "milk"]}, index=[Broken(), 1]),
        pd.DataFrame({"tea": [[1, Broken()], "milk"]}),
        pd.DataFrame({Broken(): ["tea"], "b": ["milk"]}),
        pd.Series([Broken(), "tea", "milk"]),
        pd.Series([Broken(), "tea", "milk"], dtype="category"),
        pl.DataFrame({"a": pl.Series([Broken(), 1], dtype=pl.Object), "b": ["tea", "milk"]}),
        np.array([Broken(), "tea", "milk"], dtype=object),
        ["tea", Broken(), "milk"],
        {"tea": Broken(), Broken(): "milk"},
        ("tea", [["milk", Broken()]]),
        {"tea": [10**5000, Broken()], "milk": 1},
    ],
)
def test_a_value_whose_repr_fails_is_replaced_by_a_note(value):
    text, cut = shown(value)
    assert BROKEN in text
    assert "tea" in text
    assert "milk" in text
    assert re.search(r"\d values? that raised ValueError", cut), cut


def test_a_frame_of_polars_is_read_as_one_of_pandas():
    frame = pl.DataFrame({"city": ["Rome", "Os|lo", None], "size": [0.1 + 0.2, None, 3.0]})
    assert shown(frame) == (
        """\
polars DataFrame: 3 rows, 2 columns
- city: String, 1 missing
- size: Float64, 1 missing

All 3 rows:

| city | size |
|---|---|
| Rome | 0.3 |
| Os\\|lo | None |
| None | 3 |""",
        "",
    )


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table, pa.record_batch])
def test_omitted_columns_are_noted_for_model_and_user(kind):
    columns = {f"column {number}": list(range(30)) for number in range(70)}
    text, cut = shown(kind(columns))
    assert text.split("\n")[0].endswith(": 30 rows, 70 columns")
    assert "Only the first 50 of 70 columns:" in text
    assert text.count("int64, 0 missing") + text.count("Int64, 0 missing") == 50
    assert cut == "20 of 30 rows, 50 of 70 columns"
    assert len(table(text)) == 22
    assert shown(kind(columns), 800).cut == "2 of 30 rows, 8 of 70 columns"


def test_polars_series_and_empty_frames():
    assert shown(pl.Series("n", range(30))).cut == "20 of 30 rows"
    assert shown(pl.Series("n", [1])).text.startswith("polars Series: 1 value\n- n: Int64")
    assert "0 rows, 0 columns" in shown(pl.DataFrame()).text
    assert "- a: Int64, 0 missing" in shown(pl.DataFrame({"a": []}, schema={"a": pl.Int64})).text
    assert "0 rows, 0 columns" in shown(pa.table({})).text


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame(columns=[f"column {number}" for number in range(5_000)]).columns,
        pd.array([f"value {number}" for number in range(5_000)], dtype="string"),
        pd.MultiIndex.from_product([range(80), range(80)]),
        pd.date_range("2024-01-01", periods=5_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_cut_index_is_noted_for_the_user(value):
    text, cut = shown(value, 4_000)
    assert text.startswith(f"pandas {type(value).__name__}: {len(value):,} values, ")
    assert re.fullmatch(rf"the first [\d,]+ of {len(value):,} values", cut), cut
    assert shown(value[:3]).cut == ""


def test_a_large_index_is_not_read_whole():
    """A billion numbers would take 40 GB."""
    text, cut = shown(pd.RangeIndex(10**9))
    assert text.startswith("pandas RangeIndex: 1,000,000,000 values, int64; the first 1,000 of ")
    assert cut == "the first 1,000 of 1,000,000,000 values"

"""Tables of each library: the same rows, and results in the same kind."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mixmagic.errors import BadArguments
from mixmagic.tasks.tables import table
from mixmagic.tasks.tables.columns import Columns

RECORDS = [{"title": "a", "n": 1}, {"title": None, "n": 2}, {"title": "c", "n": None}]
FRAMES = {
    "list": lambda: RECORDS,
    "generator": lambda: iter(RECORDS),
    "pandas": lambda: pd.DataFrame(RECORDS).astype({"n": "Int64"}),
    "polars": lambda: pl.DataFrame(RECORDS),
    "lazy": lambda: pl.DataFrame(RECORDS).lazy().filter(pl.col("n").ne_missing(9)),
    "arrow": lambda: pa.Table.from_pylist(RECORDS),
    "batch": lambda: pa.RecordBatch.from_pylist(RECORDS),
}
FIELDS = Columns.of({"type": "object", "properties": {"n": {"type": "integer"}}})


@pytest.mark.parametrize("kind", FRAMES)
def test_rows_are_the_same_in_each_kind_of_table_and_as_often_as_they_are_read(kind):
    rows = table(FRAMES[kind]())
    assert (rows.columns, rows.length, rows.described) == (("title", "n"), 3, "3 rows")
    for _ in range(2):
        found = [{k: None if pd.isna(v) else v for k, v in r.items()} for r in rows.rows(["n"])]
        assert found == [{"n": 1}, {"n": 2}, {"n": None}]
    first, second = rows.rows(["title"]), rows.rows(["title"])
    assert [next(first)["title"], next(second)["title"]] == ["a", "a"], "two readers at once"
    some = rows.take([2, 0])
    assert [row["title"] for row in some.rows(["title", "n"])] == ["c", "a"]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (["x", "y"], list),
        (pd.Series(["x", "y"]), pd.Series),
        (pl.Series("s", ["x", "y"]), pl.Series),
        (pa.table({"s": ["x", "y"]}), pa.Table),
        (pl.DataFrame({"s": ["x", "y"]}).lazy(), pl.Series),
    ],
    ids=["list", "pandas", "polars", "arrow", "lazy"],
)
def test_results_are_of_the_kind_of_the_rows(source, kind):
    rows = table(source)
    texts, fields = rows.result(["a", None], Columns()), rows.result([{"n": 1}, None], FIELDS)
    assert isinstance(texts, kind)
    if kind is list:
        assert (texts, fields) == (["a", None], [{"n": 1}, None])
    else:
        name = texts.column_names[0] if kind is pa.Table else texts.name
        assert name == "answer"
        assert list(pd.DataFrame(fields.to_pandas() if kind is not pd.Series else fields)) == ["n"]


def test_a_column_of_arrow_is_named_text():
    for column in (pa.array(["x", None]), pa.chunked_array([["x"], [None]])):
        assert list(table(column).rows(["text"])) == [{"text": "x"}, {"text": None}]


def test_a_series_is_named_text_and_by_its_own_name():
    assert table(pl.Series("review", ["x"])).columns == ("text", "review")
    assert table(pd.Series(["x"], name=("a", 1))).columns == ("text", "a_1")
    assert list(table(pl.Series(["x"])).rows(["text"])) == [{"text": "x"}]


def test_each_column_has_a_name_of_its_own():
    twice = pd.DataFrame([[1, 2, 3]], columns=["a", "a", "a_2"])
    assert table(twice).columns == ("a", "a_2", "a_2_2")
    assert list(table(twice).rows(["a_2"])) == [{"a_2": 2}]
    levels = pd.DataFrame(
        [[1, 2, 3]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", ""), (0, 1)])
    )
    assert table(levels).columns == ("a_b", "a", "0_1")
    assert table(pd.DataFrame([["x", "y"]], columns=pd.Index([0, None], dtype=object))).columns == (
        "0",
        "column_2",
    )
    assert table([{1: "x", "1": "y"}]).columns == ("1", "1_2")
    arrow = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert list(table(arrow).rows(["a_2", "a"])) == [{"a_2": 2, "a": 1}]


def test_a_pandas_index_of_several_levels_is_that_of_the_result():
    index = pd.MultiIndex.from_tuples([("x", 1), ("x", 1), ("y", 2)], names=["l", "m"])
    rows = table(pd.Series(["a", "b", "c"], index=index))
    assert rows.result(["A", None, "C"], Columns()).index.equals(index)
    assert rows.result([{"n": 1}, None, {"n": 3}], FIELDS).index.equals(index)


def test_cells_of_any_type_are_rows():
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(["x", None]),
            "when": pd.to_datetime(["2026-11-30", None]),
            "tags": [["a", "b"], None],
        }
    )
    first, second = table(frame).rows(["kind", "when", "tags"])
    assert first == {"kind": "x", "when": pd.Timestamp("2026-11-30"), "tags": ["a", "b"]}
    assert second["tags"] is None
    struct = pl.DataFrame({"s": [{"a": 1}, None]})
    assert list(table(struct).rows(["s"])) == [{"s": {"a": 1}}, {"s": None}]
    assert [row["text"] for row in table(np.array(["x", "y"])).rows(["text"])] == ["x", "y"]


def test_a_generator_is_read_once_and_its_items_are_not_kept_in_memory():
    def lines():
        for number in range(20_000):
            yield f"{number:1000d}"

    tracemalloc.start()
    rows = table(lines())
    total = sum(int(row["text"]) for row in rows.rows(["text"]))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (rows.length, total) == (20_000, 199_990_000)
    assert most < 3_000_000, "of 20 MB"
    assert list(rows.take([19_999]).rows(["text"])) == [{"text": f"{19_999:1000d}"}]


def test_an_iterator_that_cannot_be_kept_in_a_file_is_refused():
    with pytest.raises(BadArguments, match="cannot be kept") as error:
        table((lambda: 1) for _ in range(3))
    assert "list(rows)" in error.value.hint


def test_a_lazy_frame_is_computed_once_and_its_file_ends_with_it(monkeypatch, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    seen = []
    frame = pl.DataFrame({"a": [1, 2]}).lazy()
    rows = table(frame.map_batches(lambda part: seen.append(1) or part))
    assert [row["a"] for _ in range(3) for row in rows.rows(["a"])] == [1, 2] * 3
    assert (len(seen), len(list(folder.iterdir()))) == (1, 1)
    del rows
    gc.collect()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("source", [5, b"bytes", {"a": ["x"]}, None])
def test_what_has_no_rows_is_refused(source):
    with pytest.raises(BadArguments, match="rows cannot be"):
        table(source)

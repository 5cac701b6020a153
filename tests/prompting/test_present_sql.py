"""Results of SQL as text for a model; `tests/benchmarks/libraries.py` has more."""

from __future__ import annotations

import contextlib
import sqlite3

import pyarrow
import pytest

from mixmagic.errors import BadArguments
from mixmagic.prompting.present import excerpts


def shown(value, limit=100_000):
    """Return the excerpt for a model; a character counts as a token."""
    return excerpts(value, "value").within(limit, len)


@pytest.fixture
def table():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE teas (name TEXT, cups INT)")
    rows = [("green|tea", 1), ("black", None), *((f"tea {n}", n) for n in range(48))]
    connection.executemany("INSERT INTO teas VALUES (?, ?)", rows)
    yield connection
    connection.close()


def test_a_cursor_is_refused_and_not_read(table):
    cursor = table.execute("SELECT * FROM teas")
    with pytest.raises(BadArguments, match="would use them up") as caught:
        shown(cursor)
    assert caught.value.hint.startswith("Write `{{ value.fetchall() }}`")
    assert len(cursor.fetchall()) == 50


def test_rows_that_know_their_columns_are_a_table(table):
    table.row_factory = sqlite3.Row
    rows = table.execute("SELECT * FROM teas").fetchall()
    excerpt = shown(rows)
    assert excerpt.text.splitlines()[:10] == [
        "SQL rows: 50 rows, 2 columns",
        "- name: str, 0 missing",
        "- cups: int, 1 missing",
        "",
        "First 20 of 50 rows:",
        "",
        "| name | cups |",
        "|---|---|",
        "| green\\|tea | 1 |",
        "| black | None |",
    ]
    assert excerpt.cut == "20 of 50 rows"
    assert shown(rows[0]).text == "{'name': 'green|tea', 'cups': 1}"


def test_plain_rows_are_a_list_and_mixed_ones_no_table(table):
    assert shown(table.execute("SELECT * FROM teas").fetchmany(1)).text == "[('green|tea', 1)]"
    table.row_factory = sqlite3.Row
    one, two = (table.execute(sql).fetchone() for sql in ("SELECT 1 AS a", "SELECT 2 AS b"))
    with pytest.raises(BadArguments):
        shown([one, two])


def test_arrays_of_arrow():
    array = pyarrow.array([1, None])
    assert shown(array).text == "pyarrow Int64Array: 2 values, int64, 1 missing:\n[1, None]"
    excerpt = shown(pyarrow.chunked_array([range(2_000)] * 3))
    assert excerpt.cut == "the first 1,000 of 6,000 values"
    assert excerpt.text.startswith(
        "pyarrow ChunkedArray: 6,000 values, int64, 0 missing; the first"
    )


def test_a_row_with_two_columns_of_one_name_loses_none():
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT 1 AS a, 2 AS a").fetchone()
        text = excerpts(row, "row").within(1_000, len).text
    assert "| a | a |" in text
    assert "| 1 | 2 |" in text

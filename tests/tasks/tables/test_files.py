"""Files of rows: what they hold, and what is wrong with them, before anything is asked."""

from __future__ import annotations

import tracemalloc

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from server import whole

from mixmagic.errors import BadArguments, MissingPackage
from mixmagic.tasks.tables import table
from mixmagic.tasks.tables.columns import Columns

HEAD = "title,text,n\n"


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def rows(source, *names):
    found = table(source)
    return [tuple(row.values()) for row in found.rows(names or found.columns)]


def test_csv_has_quoted_newlines_missing_cells_and_texts_alone(file):
    text = HEAD + '"a ""b""","two\nlines, one cell",007\r\n\r\n,NA,\r\n'
    source = table(path := file("r.csv", text))
    assert (source.columns, source.length, source.described) == (("title", "text", "n"), 2, "r.csv")
    assert rows(path) == [
        ('a "b"', "two\nlines, one cell", "007"),
        (None, "NA", None),
    ]
    assert next(source.take([1, 0]).rows(["n", "text"])) == {"n": None, "text": "NA"}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
)
def test_the_first_bytes_tell_the_encoding(file, encoding):
    content = "größe\n12 €\n".encode(encoding)
    if encoding in ("utf-16-le", "utf-16-be"):
        content = "\ufeff".encode(encoding) + content
    assert table(file("r.csv", content)).columns == ("größe",)
    assert rows(file("r.csv", content)) == [("12 €",)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.csv", "a;b\n1,5;x\n"),
        ("r.tsv", "a\tb\n1,5\tx\n"),
        ("r.CSV", "a\tb\n1,5\tx\n"),
        ("r.csv", "a|b\n1,5|x\n"),
    ],
    ids=["semicolons", "tsv", "tabs", "bars"],
)
def test_cells_are_separated_as_those_of_the_first_line(file, name, text):
    assert rows(file(name, text)) == [("1,5", "x")]


def test_names_of_columns_are_unique(file):
    assert table(file("r.csv", "a,a, b ,\n1,2,3,4\n")).columns == ("a", "a_2", "b", "column_4")


def test_a_cell_can_be_long(file):
    assert len(rows(file("r.csv", f'a,b\n"{"x" * 1_000_000}",1\n'))[0][0]) == 1_000_000


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("r.csv", "", "it is empty"),
        ("r.csv", HEAD + "1,2,3\n1,2,3,4\n", "line 3 has 4 cells, and the first line 3 columns"),
        ("r.csv", HEAD + '"x\ny",2,3\n1\n', "line 4 has 1 cell,"),
        ("r.csv", HEAD + '1,"open,3\n1,2,3\n', "line 3: unexpected end of data"),
        ("r.csv", HEAD + '1,"a"b,3\n', "line 2: ',' expected"),
        ("r.csv", ("x\n" * 9000 + "größe\n").encode("latin-1"), "line 9001 is not UTF-8"),
        ("r.csv", "a\n1\n".encode("utf-16-le"), "it is not UTF-8"),
        ("r.csv", b"\xff\xfea\x00\n\x00\x00", "it is not UTF-16"),
        ("r.jsonl", "", "it is empty"),
        ("r.jsonl", '{"a": 1}\n{"a": 2\n', "line 2 is not JSON"),
        ("r.jsonl", '{"a": 1}\n\n"x"\n', "line 3 is not an object"),
        ("r.ndjson", '"x"\n[1]\n', "line 2 is not a text"),
        ("r.jsonl", '[\n{"a": 1}]', "line 1 is not JSON"),
        ("r.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("r.parquet", b"", "size is 0"),
        ("r.parquet", b"PAR1 and nothing else PAR1", "Parquet"),
    ],
    ids=range(16),
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(file, name, content, problem):
    with pytest.raises(BadArguments) as error:
        table(file(name, content))
    assert problem in error.value.message
    assert error.value.message.startswith(f"{name} cannot be read: ")
    assert error.value.hint
    assert "\n" not in error.value.message + error.value.hint


def test_a_file_that_is_not_there_is_refused(file):
    path = file("reviews.csv", HEAD)
    with pytest.raises(BadArguments, match="There is no file") as error:
        table(str(path.with_name("review.csv")))
    assert "Did you mean reviews.csv?" in error.value.hint
    for source in ("Classify this text", path.with_suffix(".xlsx")):
        with pytest.raises(BadArguments, match="rows cannot be") as error:
            table(source)
        assert ".csv" in error.value.hint


def test_json_lines_have_any_keys_and_values(file):
    path = file(
        "r.jsonl", '\ufeff{"a": "x", "tags": [1]}\n\n{"b": null, "a": 12345678901234567890}'
    )
    source = table(str(path))
    assert (source.columns, source.length) == (("a", "tags", "b"), 2)
    assert rows(path) == [("x", [1], None), (12345678901234567890, None, None)]
    assert rows(file("r.ndjson", '"x"\n"y"\n')) == [("x",), ("y",)]


def test_parquet_has_the_columns_that_are_asked_for(file, tmp_path):
    data = pa.table({"a.b": ["x", None], "n": [1, 2], "s": [{"k": 1}, None]})
    pq.write_table(data, tmp_path / "r.parquet")
    source = table(tmp_path / "r.parquet")
    assert (source.columns, source.length) == (("a.b", "n", "s"), 2)
    assert rows(tmp_path / "r.parquet", "s", "a.b") == [({"k": 1}, "x"), (None, None)]


def test_columns_of_parquet_are_told_apart_by_their_places(tmp_path):
    arrays = [pa.array([number]) for number in range(5)]
    schema = pa.schema([(name, pa.int64()) for name in ("a", "a.b", "a", "b", "a")])
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), tmp_path / "r.parquet")
    assert table(tmp_path / "r.parquet").columns == ("a", "a.b", "a_2", "b", "a_3")
    assert rows(tmp_path / "r.parquet", "a_3", "b", "a", "a_2") == [(4, 3, 0, 2)]
    assert rows(tmp_path / "r.parquet") == [(0, 1, 2, 3, 4)]


@pytest.mark.usefixtures("without_pyarrow")
def test_parquet_without_pyarrow_is_refused_with_the_command_that_installs_it(file):
    with pytest.raises(MissingPackage) as error:
        table(file("r.parquet", b"PAR1"))
    assert "pip install" in error.value.hint
    assert "[parquet]" in error.value.hint


def test_a_file_that_changes_during_a_job_is_refused(file):
    source = table(path := file("r.csv", HEAD + "1,2,3\n"))
    path.write_text(HEAD + "1,2,4\n4,5,6\n")
    with pytest.raises(BadArguments, match=r"r\.csv has changed"):
        list(source.rows(["n"]))


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.parquet"])
def test_a_file_is_not_held_in_memory(tmp_path, name):
    frame = pd.DataFrame({"text": [f"{number:1000d}" for number in range(20_000)]})
    path = tmp_path / name
    if name == "r.csv":
        frame.to_csv(path, index=False)
    elif name == "r.jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path, row_group_size=1000)
    del frame
    tracemalloc.start()
    source = table(path)
    total = sum(int(row["text"]) for row in source.rows(["text"]))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (source.length, total) == (20_000, 199_990_000)
    assert most < 4_000_000, "of 20 MB"


def test_the_results_of_a_file_are_a_frame(file):
    source = table(file("r.csv", HEAD + "1,2,3\n"))
    assert source.result(["x"], Columns()).to_dict("list") == {"answer": ["x"]}


def test_a_job_asks_about_the_rows_of_a_file_and_answers_with_a_frame(session, together, file):
    together.plan = [lambda request: whole(request.body["messages"][-1]["content"].upper())]
    path = file("r.csv", "text,n\nx,1\n,2\ny,3\nx,1\n")
    job = session.map(path, "{{ text }} {{ n }}", model="8x7b")
    assert job.result(timeout=100)["answer"].tolist() == ["X 1", "2", "Y 3", "X 1"]
    assert len(together.received) == 3

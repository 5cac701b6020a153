"""Rows that are written with their results: to a file at the end, to a folder as they are over."""

from __future__ import annotations

import csv
import datetime
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixmagic.errors import BadArguments, MissingPackage, StoreError
from mixmagic.tasks.tables import output as module
from mixmagic.tasks.tables import table, writers
from mixmagic.tasks.tables.columns import Columns
from mixmagic.tasks.tables.output import Output

SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"enum": ["good", "bad"]}, "n": {"type": "integer"},
        "day": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}  # fmt: skip
VALUES = [{"label": "good", "n": 7, "day": "2026-11-30", "tags": ["a"]}, None]
FRAME = {"text": ['größe, "x"\ny', None], "n": [1, 2]}


def write(target, rows, values=VALUES, errors=(None, None), schema=SCHEMA):
    output = Output(target, table(rows), Columns.of(schema))
    output.finish(
        lambda start, end: (values[start:end], list(errors)[start:end]),
        errors=any(errors),
        goes_on=lambda: True,
    )
    return Path(target)


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.setattr(module, "PART", 3)


KINDS = {
    "pandas": lambda: pd.DataFrame(FRAME),
    "polars": lambda: pl.DataFrame(FRAME),
    "lazy": lambda: pl.DataFrame(FRAME).lazy(),
    "arrow": lambda: pa.table(FRAME),
    "list": lambda: [
        dict(zip(FRAME, row, strict=True)) for row in zip(*FRAME.values(), strict=True)
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_parquet_has_the_columns_of_the_rows_and_typed_results(tmp_path, kind):
    found = pq.read_table(write(tmp_path / "r.parquet", KINDS[kind]()))
    assert found.to_pydict() == {
        "text": FRAME["text"], "n": [1, 2], "label": ["good", None], "n_2": [7, None],
        "day": [datetime.date(2026, 11, 30), None], "tags": [["a"], None],
    }  # fmt: skip
    assert [found.schema.field(name).type for name in ("n", "n_2")] == [pa.int64()] * 2
    assert pa.types.is_dictionary(found.schema.field("label").type)


@pytest.mark.parametrize("kind", KINDS)
def test_csv_and_json_lines_have_the_same_rows(tmp_path, kind):
    with write(tmp_path / "r.csv", KINDS[kind]()).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["text", "n", "label", "n_2", "day", "tags"],
        [FRAME["text"][0], "1", "good", "7", "2026-11-30", '["a"]'],
        ["", "2", "", "", "", ""],
    ]
    lines = write(tmp_path / "r.jsonl", KINDS[kind]()).read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"text": FRAME["text"][0], "n": 1, "label": "good", "n_2": 7, "day": "2026-11-30",
         "tags": ["a"]},
        {"text": None, "n": 2, "label": None, "n_2": None, "day": None, "tags": None},
    ]  # fmt: skip
    assert write(tmp_path / "r.tsv", KINDS[kind]()).read_text("utf-8").startswith("text\tn\t")


def test_the_rows_of_a_file_are_written_as_they_were_read(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("text,n\nx,007\n,1\n")
    assert write(tmp_path / "r.csv", source, ["X", None], schema=None).read_text() == (
        "text,n,answer\nx,007,X\n,1,\n"
    )
    found = pq.read_table(write(tmp_path / "r.parquet", source, ["X", None], schema=None))
    assert found.to_pydict() == {"text": ["x", None], "n": ["007", "1"], "answer": ["X", None]}
    again = write(tmp_path / "again.parquet", tmp_path / "r.parquet", ["X", None], schema=None)
    assert pq.read_table(again).column_names == ["text", "n", "answer", "answer_2"]


def test_a_failed_row_makes_a_column_of_errors(tmp_path):
    found = write(tmp_path / "r.csv", ["x", "y"], ["X", None], [None, "It broke."], schema=None)
    assert found.read_text() == "text,answer,error\nx,X,\ny,,It broke.\n"
    assert "error" not in write(found, ["x", "y"], ["X", "Y"], schema=None).read_text()
    named = pd.DataFrame({"error": ["x"]})
    assert (
        write(found, named, ["X"], ["No."], schema=None)
        .read_text()
        .startswith("error,answer,error_2\n")
    )


def test_a_result_that_does_not_fit_parquet_is_an_error_of_its_row(tmp_path):
    values = [{"n": 2**70, "day": "soon"}, {"n": 1, "label": "good"}]
    target = tmp_path / "answers"
    found = pq.read_table(write(target, ["x", "y"], values) / "part-00000.parquet").to_pydict()
    assert found["n"] == [None, 1]
    assert found["error"] == [
        f"n does not fit int64: {2**70}; day does not fit date32[day]: soon", None,
    ]  # fmt: skip
    alone = pq.read_table(write(tmp_path / "r.parquet", ["x", "y"], values)).to_pydict()
    assert (alone["text"], alone["n"], alone["error"]) == (["x", "y"], found["n"], found["error"])
    line = write(tmp_path / "r.jsonl", ["x", "y"], values).read_text().splitlines()[0]
    assert json.loads(line)["n"] == 2**70


def test_an_index_is_written_if_it_says_something(tmp_path):
    def head(index):
        series = pd.Series(["x", "y"], index=index, name="review")
        return write(tmp_path / "r.csv", series, ["X", "Y"], schema=None).read_text().split("\n")[0]

    assert head([3, 1]) == "review,answer"
    assert head(["a", "b"]) == "index,review,answer"
    assert head(pd.Index([3, 1], name="id")) == "id,review,answer"
    levels = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["review", None])
    assert head(levels) == "review_2,index_1,review,answer"
    assert table(pd.Series(["x"], index=["a"])).columns == ("text",)


ODD = {
    "mixed": pd.Series([1, "a"], dtype=object),
    "big": pd.Series([2**70, 1], dtype=object),
    "nested": pd.Series([{"a": [1]}, None], dtype=object),
    "array": pd.Series([pd.array([1, 2]).to_numpy(), None], dtype=object),
    "category": pd.Categorical(["a", None]),
    "numbers": pd.Categorical([1, 2]),
    "when": pd.to_datetime(["2026-11-30T10:00:00.123456789", None], format="ISO8601"),
    "zone": pd.to_datetime(["2026-11-30", None]).tz_localize("Europe/Berlin"),
    "span": pd.to_timedelta(["1h", None]),
    "period": pd.period_range("2026-01", periods=2, freq="M"),
    "interval": pd.interval_range(0, 2),
    "nullable": pd.array([1, None], dtype="Int64"),
    "share": [0.5, float("nan")],
    "truth": [True, False],
    "half": pd.Series(["\ud83d", "é"], dtype=object),
    "nothing": [None, None],
    "raw": [b"\xff", None],
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_cells_of_any_type_are_written(tmp_path, name, ending):
    frame = pd.DataFrame({name: ODD[name]})
    path = write(tmp_path / f"r{ending}", frame, ["X", "Y"], schema=None)
    if ending == ".parquet":
        found = pq.read_table(path).to_pydict()
    elif ending == ".csv":
        found = pd.read_csv(path).to_dict("list")
    else:
        found = pd.DataFrame(map(json.loads, path.read_text("utf-8").splitlines())).to_dict("list")
    assert list(found) == [name, "answer"]
    assert found["answer"] == ["X", "Y"]
    missing = [pd.isna(cell) is True for cell in frame[name]]
    assert [cell is None or cell is pd.NaT or cell != cell for cell in found[name]] == missing  # noqa: PLR0124


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_types_that_a_format_does_not_have_are_written_as_texts(tmp_path, ending):
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["x"]))
    span = pa.array([(1, 2, 3), None], pa.month_day_nano_interval())
    path = write(tmp_path / f"r{ending}", pa.table({"runs": runs, "span": span}), schema=None)
    assert table(path).columns == ("runs", "span", "answer")
    assert [row["runs"] for row in table(path).rows(["runs"])] == ["x", "x"]
    objects = pl.DataFrame({"it": pl.Series([object(), None], dtype=pl.Object)})
    path = write(tmp_path / f"o{ending}", objects, schema=None)
    assert [bool(row["it"]) for row in table(path).rows(["it"])] == [True, False]


def test_the_types_of_rows_are_found_once(tmp_path, parts, monkeypatch):
    texts = table(["x"] * 30)
    found = []
    monkeypatch.setattr(texts, "types", lambda: found.append(1) or [pa.string()])
    output = Output(tmp_path / "answers", texts, Columns())
    output.finish(
        lambda s, e: (["X"] * (e - s), [None] * (e - s)), errors=False, goes_on=lambda: True
    )
    assert (len(list(output.path.iterdir())), len(found)) == (10, 1)


def test_times_and_numbers_keep_their_types_in_parquet(tmp_path):
    frame = pd.DataFrame(
        {name: ODD[name] for name in ("when", "zone", "span", "nullable", "truth")}
    )
    path = write(tmp_path / "r.parquet", frame, ["X", "Y"], schema=None)
    found = pd.read_parquet(path)
    assert found["when"][0] == frame["when"][0], "to the nanosecond"
    assert found["zone"][0] == frame["zone"][0]
    types = [str(type_) for type_ in pq.read_schema(path).types]
    assert types[1].endswith("tz=Europe/Berlin]")
    assert types[2].startswith("duration")
    assert types[3:5] == ["int64", "bool"]


def test_a_folder_gets_a_part_as_soon_as_its_rows_are_over(tmp_path, parts):
    texts = [f"{number}" for number in range(8)]
    output = Output(f"{tmp_path / 'answers'}/", table(texts), Columns())

    def names():
        return sorted(path.name for path in output.path.iterdir())

    def read(start, end):
        return [text * 2 for text in texts[start:end]], [None] * (end - start)

    written = []
    for over in range(9):
        output.write_parts(lambda start, end, over=over: end <= over, read)
        written.append(len(names()))
    assert written == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    output.finish(read, errors=False, goes_on=lambda: True)
    assert names() == [f"part-0000{number}.parquet" for number in range(3)]
    found = pd.read_parquet(output.path)
    assert found.text.tolist() == texts
    assert found.answer.tolist() == [text * 2 for text in texts]
    assert list(found) == ["text", "answer", "error"]


def test_parts_of_an_earlier_run_go_and_other_files_stay(tmp_path, parts):
    folder = tmp_path / "answers"
    write(folder, ["x"] * 8, ["X"] * 8, [None] * 8, schema=None)
    (folder / "notes.txt").write_text("mine")
    write(folder, ["y"] * 2, ["Y"] * 2, schema=None)
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "part-00000.parquet"]


@pytest.mark.usefixtures("without_pyarrow")
def test_without_pyarrow_parts_are_json_lines_and_parquet_is_refused(tmp_path):
    write(tmp_path / "answers", ["x"], ["X"], [None], schema=None)
    assert (tmp_path / "answers" / "part-00000.jsonl").read_text() == (
        '{"text": "x", "answer": "X", "error": null}\n'
    )
    with pytest.raises(MissingPackage, match="pyarrow") as error:
        Output(tmp_path / "r.parquet", table(["x"]), Columns())
    assert "[parquet]" in error.value.hint


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_asked(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("text\nx\n")
    (tmp_path / "locked").mkdir(mode=0o500)
    for target, problem in {
        "r.xlsx": "r.xlsx",
        "none/r.csv": "its folder does not exist",
        "none/answers": "No such file",
        "in.csv/": "exists",
        "in.csv": "which the rows are read from",
        **({} if os.geteuid() == 0 else {"locked/r.csv": "cannot be written"}),
    }.items():
        with pytest.raises(BadArguments, match="out cannot be") as error:
            Output(f"{tmp_path}/{target}", table(source), Columns())
        assert problem in error.value.message


def test_a_part_that_the_rows_are_read_from_is_not_removed(tmp_path):
    folder = tmp_path / "answers"
    write(folder, ["x"], ["X"], [None], schema=None)
    part = folder / "part-00000.parquet"
    (tmp_path / "link").symlink_to(folder)
    for target in (folder, tmp_path / "link"):
        with pytest.raises(BadArguments, match="which the rows are read from"):
            Output(target, table(part), Columns())
    Output(tmp_path / "others", table(part), Columns())


class Full(writers.CsvWriter):
    """A disk that is full after some rows."""

    def write(self, rows, values, errors):
        super().write(rows, values, errors)
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write(tmp_path / "r.csv", ["x"], ["X"], [None], schema=None)
    before = path.read_bytes()
    monkeypatch.setitem(writers._WRITERS, ".csv", Full)
    with pytest.raises(StoreError, match=r"r\.csv cannot be written: No space left") as error:
        write(path, ["y"], ["Y"], [None], schema=None)
    assert "the same call" in error.value.hint
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["r.csv"]


def test_a_file_is_not_written_if_its_job_is_stopped_meanwhile(tmp_path):
    output = Output(tmp_path / "r.csv", table(["x"]), Columns())
    output.finish(lambda *_: (["X"], [None]), errors=False, goes_on=lambda: False)
    assert not (tmp_path / "r.csv").exists()
    assert not [each for each in tmp_path.iterdir() if each.is_file()]


def test_no_rows_are_a_file_with_a_head(tmp_path):
    assert write(tmp_path / "r.csv", [], [], [], schema=None).read_text() == "text,answer\n"
    found = pq.read_table(write(tmp_path / "r.parquet", pd.DataFrame({"a": []}), [], []))
    assert (found.num_rows, found.column_names[0]) == (0, "a")
    write(tmp_path / "answers", [], [], [], schema=None)
    assert len(pd.read_parquet(tmp_path / "answers")) == 0


_KILLED = """
import sys, time
from mixmagic.tasks.tables import table
from mixmagic.tasks.tables.columns import Columns
from mixmagic.tasks.tables.output import Output

def read(start, end):
    if start:
        print("half", flush=True)
        time.sleep(60)
    return ["X" * 1000] * (end - start), [None] * (end - start)

output = Output(sys.argv[1], table(["x"] * 4000), Columns())
output.finish(read, errors=False, goes_on=lambda: True)
"""


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.parquet"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_kill_in_the_middle_leaves_the_old_file_or_none(tmp_path, name, exists):
    path = tmp_path / name
    if exists:
        path.write_text("old")
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, path], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "half\n"
        child.kill()
    assert path.read_text() == "old" if exists else not path.exists()
    found = write(path, ["x"], ["X"], [None], schema=None)
    assert table(found).length == 1
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [name]


_LIMITED = """
import resource, sys
from mixmagic.errors import StoreError
from mixmagic.tasks.tables import table
from mixmagic.tasks.tables.columns import Columns
from mixmagic.tasks.tables.output import Output

texts = [f"{number ** 99}" for number in range(4000)]
output = Output(sys.argv[1], table(texts), Columns())
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    output.finish(lambda start, end: (texts[start:end], [None] * (end - start)), errors=False,
                  goes_on=lambda: True)
except StoreError as error:
    print(error.message)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits")
@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.parquet", "answers"])
def test_a_file_that_may_not_grow_is_named_and_nothing_is_left(tmp_path, name):
    ran = subprocess.run(
        [sys.executable, "-c", _LIMITED, tmp_path / name],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "cannot be written: File too large" in ran.stdout
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]

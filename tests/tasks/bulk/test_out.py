"""A job that writes its rows with their results: `out=`."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
from server import Answer, refusal, whole

from mixmagic.errors import BadArguments, StoreError
from mixmagic.tasks.tables import output as module
from mixmagic.tasks.tables import writers


def prompt(request) -> str:
    return request.body["messages"][-1]["content"]


def echo(request) -> Answer:
    return whole(prompt(request).upper(), completion=3)


@pytest.fixture
def echoing(together):
    together.plan = [echo]
    return together


def run(session, rows, out, **options):
    options.setdefault("model", "8x7b")
    return session.map(rows, "Say {{ text }}", out=out, **options)


def test_a_job_writes_its_rows_with_their_results_and_errors(session, together, tmp_path):
    def answer(request):
        return (
            refusal(400, {"error": {"message": "no b"}})
            if "b" in prompt(request)
            else echo(request)
        )

    together.plan = [answer]
    frame = pd.DataFrame({"text": ["a", None, "b", "a"], "id": [4, 3, 2, 1]})
    job = run(session, frame, tmp_path / "r.csv")
    assert job.result(timeout=100).tolist() == ["SAY A", pd.NA, pd.NA, "SAY A"]
    found = pd.read_csv(tmp_path / "r.csv")
    assert found["answer"].fillna("").tolist() == ["SAY A", "", "", "SAY A"]
    assert found["id"].tolist() == [4, 3, 2, 1]
    assert "no b" in found["error"][2]
    assert found["error"].notna().tolist() == [False, False, True, False]
    assert len(together.received) == 2, "equals are asked once"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".r.csv")]


def test_the_same_call_with_another_out_asks_nothing_again(session, echoing, tmp_path):
    rows = [f"{number}" for number in range(200)]
    for name in ("r.jsonl", "r.parquet", "folder"):
        assert run(session, rows, tmp_path / name).result(timeout=100) == [
            f"SAY {row}" for row in rows
        ]
    assert len(echoing.received) == 200
    assert pd.read_parquet(tmp_path / "r.parquet").equals(
        pd.read_json(tmp_path / "r.jsonl", lines=True, dtype=False)
    )
    assert pd.read_parquet(tmp_path / "folder").answer.tolist() == [f"SAY {row}" for row in rows]


def test_samples_are_asked_again_and_written_too(session, echoing, tmp_path):
    for _ in range(2):
        job = run(session, ["a", "b", "a"], tmp_path / "r.jsonl", repeats="ask")
        assert job.result(timeout=100) == ["SAY A", "SAY B", "SAY A"]
    assert len(echoing.received) == 3
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3


def test_parts_appear_while_the_job_runs_and_none_before_its_rows_are_over(
    session, together, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "PART", 10)
    free = threading.Event()

    def answer(request):
        if prompt(request) == "Say 15":
            assert free.wait(30)
        return echo(request)

    together.plan = [answer]
    rows = [f"{number}" for number in range(45)]
    job = run(session, rows, tmp_path / "answers", in_flight=4)
    together.wait(lambda: job.progress.done == 44)

    def names():
        return sorted(path.name for path in (tmp_path / "answers").iterdir())

    together.wait(lambda: names() == ["part-00000.parquet"])
    free.set()
    job.result(timeout=100)
    assert len(names()) == 5
    assert pd.read_parquet(tmp_path / "answers").text.tolist() == rows


def test_a_file_appears_only_when_all_rows_are_over(session, together, tmp_path):
    def slow(request):
        return echo(request) if int(prompt(request).split()[-1]) < 5 else Answer([30.0, b""])

    together.plan = [slow]
    rows, path = [f"{number}" for number in range(10)], tmp_path / "r.csv"
    job = run(session, rows, path)
    together.wait(lambda: job.progress.done == 5)
    job.stop()
    assert job.wait(10)
    assert job.state == "stopped"
    assert not path.exists()
    together.plan = [echo]
    run(session, rows, path).result(timeout=100)
    assert pd.read_csv(path).answer.tolist() == [f"SAY {row}" for row in rows]


def test_a_disk_that_is_full_ends_the_job_and_the_same_call_goes_on(
    session, echoing, tmp_path, monkeypatch
):
    class Full(writers.CsvWriter):
        def write(self, rows, values, errors):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setitem(writers._WRITERS, ".csv", Full)
        job = run(session, ["a", "b"], tmp_path / "r.csv")
        with pytest.raises(StoreError, match="No space left"):
            job.result(timeout=100)
        assert job.state == "stopped"
    run(session, ["a", "b"], tmp_path / "r.csv").result(timeout=100)
    assert len(echoing.received) == 2
    assert len(pd.read_csv(tmp_path / "r.csv")) == 2


def test_an_out_that_cannot_be_written_costs_nothing(session, echoing, tmp_path):
    for out in (tmp_path / "none" / "r.csv", "", 5, True):
        with pytest.raises(BadArguments, match="out cannot be"):
            run(session, ["a"], out)
    assert echoing.received == []
    assert session.journal.jobs() == []


def test_a_schema_makes_typed_columns_of_the_file(session, together, tmp_path):
    together.plan = [whole(json.dumps({"label": "good", "day": "2026-11-30"}))]
    schema = {
        "type": "object",
        "properties": {
            "label": {"enum": ["good", "bad"]}, "day": {"type": "string", "format": "date"},
        },
    }  # fmt: skip
    run(session, ["x", "y"], tmp_path / "r.parquet", schema=schema).result(timeout=100)
    found = pd.read_parquet(tmp_path / "r.parquet")
    assert found.columns.tolist() == ["text", "label", "day"]
    assert found.dtypes["label"] == "category"
    assert str(found.day[0]) == "2026-11-30"


def test_a_job_of_a_file_can_be_resumed_with_its_out(session, echoing, tmp_path):
    source, path = tmp_path / "in.csv", tmp_path / "r.jsonl"
    source.write_text("text\na\nb\n")
    job = run(session, source, path)
    job.result(timeout=100)
    path.unlink()
    session.jobs._live.clear()  # as in another process
    again = session.jobs.again(str(job.number))
    again.start()
    assert again.result(timeout=100)["answer"].tolist() == ["SAY A", "SAY B"]
    assert [json.loads(line)["answer"] for line in path.read_text().splitlines()] == [
        "SAY A", "SAY B",
    ]  # fmt: skip
    assert len(echoing.received) == 2


@pytest.mark.slow
@pytest.mark.parametrize("out", ["answers", "answers.csv"])
def test_memory_does_not_grow_between_20_000_and_100_000_rows(out):
    program = Path(__file__).parents[2] / "benchmarks" / "memory.py"
    ran = subprocess.run(
        [sys.executable, program, "100000", "--out", out],
        capture_output=True, text=True, check=True, timeout=580,
    )  # fmt: skip
    found = json.loads(ran.stdout)["memory"]
    assert found[-1][0] == 100_000
    # The least of each half: while a part is written, it takes some more.
    early = min(memory for rows, memory in found if 20_000 <= rows < 60_000)
    late = min(memory for rows, memory in found if rows >= 60_000)
    assert late < early + 10, "of 30 MB of rows"

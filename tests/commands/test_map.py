"""`mixmagic map`: a prompt about each row of a file, in a shell."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from server import HANG, Answer, refusal, whole

from mixmagic import cli
from mixmagic.sessions import Session

SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "stars": {"type": "integer"}},
    "required": ["label", "stars"],
}


def echo(request) -> Answer:
    return whole(request.body["messages"][-1]["content"].upper(), completion=3)


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text('text,who\ngood,Ann\n,Bob\n"bad,\nreally",Cy\ngood,Di\n')
    return path


def read(path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def map_(file, *words) -> int:
    return cli.main(["map", str(file), *words, "-m", "8x7b"])


def test_the_rows_are_written_with_their_answers(together, reviews, tmp_path, capsys):
    together.plan = [echo]
    found = tmp_path / "found.csv"
    assert map_(reviews, "Say {{ text }}", "--out", str(found)) == 0
    assert read(found) == [
        ["text", "who", "answer"],
        ["good", "Ann", "SAY GOOD"],
        ["", "Bob", ""],
        ["bad,\nreally", "Cy", "SAY BAD,\nREALLY"],
        ["good", "Di", "SAY GOOD"],
    ]
    assert len(together.received) == 2
    assert f"Job 1 is done. Its rows are in {found}." in capsys.readouterr().out
    assert map_(reviews, "Say {{ text }}", "--out", str(tmp_path / "again.jsonl")) == 0
    assert len(together.received) == 2, "the answers are in the journal"


def test_a_schema_and_parameters_are_those_of_each_row(together, reviews, tmp_path):
    together.plan = [whole('{"label": "fine", "stars": 4}')]
    schema, found = tmp_path / "review.json", tmp_path / "found.jsonl"
    schema.write_text(json.dumps(SCHEMA))
    words = ["--schema", str(schema), "--out", str(found), "-t", "0", "-s", "Be brief."]
    assert map_(reviews, "{{ text }} by {{ who }}", *words, "--name", "stars") == 0
    rows = [json.loads(line) for line in found.read_text().splitlines()]
    assert rows[0] == {"text": "good", "who": "Ann", "label": "fine", "stars": 4}
    body = together.received[0].body
    assert body["temperature"] == 0
    assert body["messages"][0]["content"].startswith("Be brief.")
    assert cli.main(["jobs", "show", "stars"]) == 0


def test_a_row_that_fails_is_in_the_exit_status_and_resumed_by_its_number(
    together, reviews, tmp_path, capsys
):
    def answer(request):
        if "bad" in request.body["messages"][-1]["content"]:
            return refusal(400, {"error": {"message": "no such thing"}})
        return echo(request)

    together.plan = [answer]
    found = tmp_path / "found.csv"
    assert map_(reviews, "Say {{ text }}", "--out", str(found)) == 1
    assert "no such thing" in capsys.readouterr().out
    assert read(found)[0][-1] == "error"
    together.plan, before = [echo], len(together.received)
    assert cli.main(["jobs", "resume", "1"]) == 0
    assert len(together.received) == before + 1
    assert read(found)[3] == ["bad,\nreally", "Cy", "SAY BAD,\nREALLY"]


def test_a_budget_pauses_it_and_the_same_command_goes_on(together, tmp_path, capsys):
    together.plan = [echo]
    many, found = tmp_path / "many.csv", tmp_path / "found.csv"
    many.write_text("text\n" + "".join(f"{number}\n" for number in range(100)))
    words = ["Say {{ text }}", "--out", str(found), "--max-tokens", "20"]
    assert map_(many, *words, "--budget", "0.0002") == 1
    assert "`mixmagic jobs resume 1` goes on." in capsys.readouterr().out
    assert not found.exists()
    assert map_(many, *words, "--budget", "1") == 0
    assert len(together.received) == 100
    assert len(read(found)) == 101


def test_a_preview_asks_some_rows_shows_what_all_cost_and_writes_nothing(
    together, tmp_path, capsys
):
    together.plan = [echo]
    many, found = tmp_path / "many.csv", tmp_path / "found.csv"
    many.write_text("text\n" + "".join(f"row {number}\n" for number in range(100)))
    words = ["Say {{ text }}", "-o", str(found), "--in-flight", "4"]
    assert map_(many, *words, "--preview") == 0
    said = capsys.readouterr().out
    assert "All 100 rows cost about $" in said
    assert len(together.received) == 20
    assert map_(many, *words, "--preview", "30") == 0
    assert len(together.received) == 30
    assert not found.exists()
    assert map_(many, *words) == 0
    assert len(together.received) == 100, "the whole does not pay for them again"
    assert map_(many, *words, "--preview", "0") == 1
    assert "from 1 to 1,000" in capsys.readouterr().err


def test_a_preview_with_a_row_that_fails_is_in_the_exit_status(together, reviews):
    together.plan = [echo, refusal(400, {"error": {"message": "no such thing"}})]
    assert map_(reviews, "Say {{ text }}", "--preview", "--in-flight", "1") == 1


def test_a_terminal_lists_the_kinds_of_errors_once(together, reviews, tmp_path):
    together.plan = [refusal(400, {"error": {"message": "no such thing"}})]
    command = [str(Path(sys.executable).with_name("mixmagic")), "map", "reviews.csv"]
    ours, theirs = pty.openpty()
    ran = subprocess.run(
        [*command, "Say {{ text }}", "-o", "found.csv", "-m", "8x7b"],
        cwd=tmp_path, stdout=theirs, stderr=theirs, timeout=60, check=False,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    )  # fmt: skip
    os.close(theirs)
    seen = os.read(ours, 100_000).decode()
    os.close(ours)
    assert ran.returncode == 1
    assert seen.count("no such thing") == 1, seen


def test_a_dry_run_sends_and_writes_nothing(together, reviews, tmp_path, capsys):
    found = tmp_path / "parts"
    assert map_(reviews, "Say {{ text }}", "--out", str(found), "--dry-run") == 0
    said = capsys.readouterr().out
    assert "4, 1 of them without a value" in said
    assert "Nothing was sent." in said
    assert together.received == []
    assert not found.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Say {{ text }}"], "Add --out FILE"),
        (["Say {{ txt }}", "--out", "x.csv"], "The prompt names no column"),
        (["Say {{ text }}", "--out", "x.doc"], "out cannot be"),
        (["Say {{ text }}", "--out", "x.csv", "--schema", "none.json"], "none.json cannot be read"),
        (["Say {{ text }}", "--out", "x.csv", "--schema", "reviews.csv"], "it is not JSON"),
        (["Say {{ text }}", "--out", "x.csv", "--in-flight", "0"], "from 1 to 1,024"),
        (["Say {{ text }}", "--out", "x.csv", "--budget", "much"], "much"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines(together, reviews, capsys, words, said):
    with contextlib.chdir(reviews.parent):
        assert map_("reviews.csv", *words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert said in "\n".join(lines)
    assert lines[-1].startswith("Hint: ")
    assert together.received == []
    assert not reviews.with_name("x.csv").exists()


def test_ctrl_c_stops_it_and_another_process_resumes_it(together, tmp_path):
    def slow(request):
        asked = request.body["messages"][-1]["content"]
        return echo(request) if int(asked.split()[-1]) < 5 else Answer([HANG])

    together.plan = [slow]
    many, found = tmp_path / "many.csv", tmp_path / "found.csv"
    many.write_text("text\n" + "".join(f"{number}\n" for number in range(20)))
    words = ["-o", "found.csv", "-m", "8x7b", "--in-flight", "8", "-s", "Be brief."]
    command = [str(Path(sys.executable).with_name("mixmagic")), "map", "many.csv", "Say {{ text }}"]
    with subprocess.Popen(
        [*command, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        together.wait(lambda: len(together.received) == 13)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "kept" in errors
    assert not found.exists()
    together.plan = [echo]
    assert Session().journal.job("1").state == "stopped"
    assert cli.main(["jobs", "resume", "1"]) == 0
    assert len(together.received) == 13 + 15
    assert [row[1] for row in read(found)[1:]] == [f"SAY {number}" for number in range(20)]

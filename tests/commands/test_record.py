"""`mixmagic record`, `check` and `receipt`: from a notebook with a key to one without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from canary import KEY
from command_lines import shown
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from server import HANG, Answer, refusal
from server import together as words

from mixmagic import cli
from mixmagic.commands import _notebooks
from mixmagic.errors import ProviderError
from mixmagic.tasks import notebooks

LOAD = "%load_ext mixmagic"
ASK = "import mixmagic\nprint(mixmagic.ask('Hello', temperature=0).text)"
CELL = "%%mixtral -t 0\nName a color."


@pytest.fixture
def lesson(tmp_path):
    """Write a notebook; return its path."""

    def write(*sources: str, tags: dict[int, list[str]] | None = None) -> Path:
        cells = [new_markdown_cell("# A lesson"), *map(new_code_cell, sources)]
        for number, names in (tags or {}).items():
            cells[number].metadata["tags"] = names
        path = tmp_path / "lesson.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        return path

    return write


def cassette(path: Path) -> Path:
    return path.with_name("lesson.cassette.jsonl")


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in cassette(path).read_text("utf-8").splitlines()]


def leftovers(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()} - {
        "lesson.ipynb", "lesson.cassette.jsonl", "home"}  # fmt: skip


@pytest.mark.kernel
def test_a_notebook_is_recorded_checked_and_receipted(
    together, lesson, capsys, monkeypatch, tmp_path
):
    path = lesson(LOAD, ASK, CELL)
    together.plan = [Answer(words("Hi", " there")), Answer(words("Blue"))]
    assert cli.main(["record", str(path), "--inplace", "--budget", "0.50"]) == 0
    text = capsys.readouterr().out
    assert (
        "lesson.cassette.jsonl is new: 2 cells ask models, and what that costs is not known" in text
    )
    assert "Budget: $0.50." in text
    assert "cell 3: %%mixtral -t 0" in text
    assert "2 answers (0 equal, 0 changed, 2 new, 0 gone), $0.000013 in all." in text
    assert [row["answer"]["text"] for row in rows(path)] == ["Hi there", "Blue"]
    assert KEY not in cassette(path).read_text("utf-8")
    assert leftovers(path) == set()
    assert len(together.received) == 2
    notebook = nbformat.read(path, 4)
    assert notebook.cells[2].outputs[0].text == "Hi there\n"
    assert "recorded 20" in notebook.cells[3].outputs[0].data["text/plain"]

    before = cassette(path).read_bytes()
    together.plan = [Answer(words("Hi", " there")), Answer(words("Blue"))]
    assert cli.main(["record", str(path)]) == 0  # the same answers: no line changes
    text = capsys.readouterr().out
    assert "2 answers, which cost $0.000013; all is asked again." in text
    assert "(2 equal, 0 changed, 0 new, 0 gone)" in text
    assert cassette(path).read_bytes() == before
    assert len(together.received) == 4

    for name in ("TOGETHER_API_KEY", "TOGETHER_BASE_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("MIXMAGIC_MODEL", "local")
    monkeypatch.setenv("FIREWORKS_API_KEY", "another-key-0815")
    assert cli.main(["check", str(path)]) == 0
    assert "3 cells replayed from lesson.cassette.jsonl, as saved." in capsys.readouterr().out

    assert cli.main(["receipt", str(path)]) == 0
    text = capsys.readouterr().out
    assert "together:8x7b" in text
    assert "temperature=0" in text
    assert rows(path)[0]["key"][:8] in text
    assert "replaying it costs nothing, and saves $0.000013" in text
    assert len(together.received) == 4


@pytest.mark.kernel
def test_a_new_answer_changes_its_line_alone(together, lesson, capsys):
    path = lesson(LOAD, ASK, CELL)
    together.plan = [Answer(words(word)) for word in ("Hi", "Blue", "Hi", "Red")]
    assert cli.main(["record", str(path)]) == 0
    assert cli.main(["check", str(path)]) == 0
    assert "3 cells replayed from lesson.cassette.jsonl, 3 without saved outputs" in (
        capsys.readouterr().out
    )
    before = cassette(path).read_bytes().splitlines()
    assert cli.main(["record", str(path)]) == 0
    after = cassette(path).read_bytes().splitlines()
    assert after[0] == before[0]
    assert b'"text": "Red"' in after[1]
    assert "(1 equal, 1 changed, 0 new, 0 gone)" in capsys.readouterr().out


THREADS = """
import mixmagic
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(8) as pool:
    print([str(answer) for answer in pool.map(mixmagic.ask, map(str, range(30)))])
"""


@pytest.mark.kernel
def test_recording_threads_again_changes_no_line(together, lesson):
    """They end in any order; the old file's order is kept."""
    path = lesson(LOAD, THREADS)
    together.plan = [lambda asked: Answer(words(asked.body["messages"][-1]["content"]))]
    assert cli.main(["record", str(path)]) == 0
    before = cassette(path).read_bytes()
    assert len(before.splitlines()) == 30
    assert cli.main(["record", str(path)]) == 0
    assert len(together.received) == 60
    assert cassette(path).read_bytes() == before
    assert cli.main(["check", str(path)]) == 0


@pytest.mark.kernel
def test_what_is_missing_is_asked_alone(together, lesson, capsys):
    path = lesson(LOAD, ASK)
    together.plan = [Answer(words(word)) for word in ("Hi", "Blue")]
    assert cli.main(["record", str(path)]) == 0
    path = lesson(LOAD, ASK, CELL)
    assert cli.main(["record", str(path), "--missing"]) == 0
    assert len(together.received) == 2
    assert "(1 equal, 0 changed, 1 new, 0 gone)" in capsys.readouterr().out


@pytest.mark.kernel
def test_a_recording_that_fails_is_gone_on_with(together, lesson, capsys):
    path = lesson(LOAD, ASK, CELL)
    together.plan = [Answer(words("Hi")), refusal(400, {"error": {"message": "no"}})]
    assert cli.main(["record", str(path)]) == 1
    assert "A cell failed: ProviderError: Together AI answered 400: no" in capsys.readouterr().out
    assert not cassette(path).exists()
    assert len(together.received) == 2
    together.plan = [Answer(words("Blue"))]
    assert cli.main(["record", str(path)]) == 0
    assert "an unfinished recording of 1 answer" in capsys.readouterr().out
    assert [row["answer"]["text"] for row in rows(path)] == ["Hi", "Blue"]
    assert len(together.received) == 3
    assert leftovers(path) == set()


@pytest.mark.kernel
@pytest.mark.skipif(os.name == "nt", reason="SIGINT is another thing there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_recording_and_its_kernel(together, lesson, number):
    path = lesson(LOAD, ASK, "print()\n" + ASK.replace("Hello", "Hey"))
    together.plan = [Answer(words("Hi")), Answer([*words("Ho")[:1], HANG])]
    with subprocess.Popen(
        [Path(sys.executable).with_name("mixmagic"), "record", path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        together.wait(lambda: len(together.received) == 2, timeout=60)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "\nStopped.\n")
    together.wait(lambda: together.received[1].closed_at, timeout=60)  # the kernel has ended
    assert not cassette(path).exists()
    together.plan = [Answer(words("Ho"))]
    assert cli.main(["record", str(path)]) == 0  # it goes on
    assert [row["answer"]["text"] for row in rows(path)] == ["Hi", "Ho"]


@pytest.mark.kernel
def test_a_budget_is_kept_though_the_notebook_sets_a_higher_one(together, lesson, capsys):
    path = lesson(LOAD, "%mixmagic budget 5", "%%mixtral --max-tokens 1000\nHello")
    together.plan = [Answer(words("Hi"))]
    assert cli.main(["record", str(path), "--budget", "0.0000001"]) == 1
    assert "BudgetExceeded" in capsys.readouterr().out
    assert not together.received


@pytest.mark.kernel
def test_a_check_names_the_cells_that_differ(together, lesson, capsys):
    path = lesson(
        LOAD, ASK, "print(6 * 7)", "import random\nrandom.random()", "1 / 0", CELL,
        tags={4: ["nbval-ignore-output"], 5: ["raises-exception"]},
    )  # fmt: skip
    together.plan = [Answer(words("Hi")), Answer(words("Blue"))]
    assert cli.main(["record", str(path), "--inplace"]) == 0
    assert cli.main(["check", str(path)]) == 0
    notebook = nbformat.read(path, 4)
    notebook.cells[3].source = "print(6 * 9)"
    notebook.cells[6].source = "%%mixtral -t 0\nName a colour."
    nbformat.write(notebook, path)
    capsys.readouterr()
    assert cli.main(["check", str(path)]) == 1
    text = capsys.readouterr().out
    assert "Cell 3 differs:\n  -42\n  +54\n" in text
    assert "Cell 6 fails:\n  CassetteMiss: This request is not in lesson.cassette.jsonl" in text
    assert "2 of 6 cells failed or differed." in text
    assert len(together.received) == 2


@pytest.mark.kernel
def test_the_notebooks_own_line_names_its_cassette(together, lesson, tmp_path, capsys):
    (tmp_path / "tapes").mkdir()
    path = lesson(LOAD, "%mixmagic cassette tapes/one.jsonl", ASK)
    together.plan = [Answer(words("Hi"))]
    assert cli.main(["record", str(path), "--inplace"]) == 0
    assert (tmp_path / "tapes" / "one.jsonl").exists()
    assert not cassette(path).exists()
    line = nbformat.read(path, 4).cells[2].outputs[0].text
    assert line == "Cassette one.jsonl: 1 recorded answer.\n"
    assert cli.main(["check", str(path)]) == 0


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("--mode once own.jsonl", "own.jsonl"),
        ("--pace=live \u2014mode once own.jsonl", "own.jsonl"),
        ("'my tapes/my own.jsonl' --mode once", "my tapes/my own.jsonl"),
        ('"my own.jsonl"', "my own.jsonl"),
        ("my\\ own.jsonl", "my own.jsonl"),
        ("\u201cmy own.jsonl\u201d", "my own.jsonl"),
        ("~no-such-user-4711/own.jsonl", "~no-such-user-4711/own.jsonl"),
        ("--mode none", "lesson.cassette.jsonl"),
        ("off", "lesson.cassette.jsonl"),
        ("-h", "lesson.cassette.jsonl"),
        ("--mood once own.jsonl", "lesson.cassette.jsonl"),
    ],
)
def test_a_line_is_read_as_the_notebook_reads_it(lesson, tmp_path, line, file):
    path = lesson(LOAD, f"# first\n%mixmagic cassette {line}\nprint()")
    found = _notebooks.cassette_of(notebooks.read(path), path)
    assert found == tmp_path / file


def test_the_cassette_of_a_link_is_beside_the_notebook(lesson, tmp_path):
    path = lesson(LOAD)
    link = tmp_path / "links" / "another.ipynb"
    link.parent.mkdir()
    link.symlink_to(path)
    assert _notebooks.cassette_of(notebooks.read(link), link) == cassette(path)


def test_a_receipt_tells_cached_answers_failed_calls_and_damaged_lines(
    together, session, lesson, monkeypatch
):
    monkeypatch.setenv("MIXMAGIC_CACHE", "1")
    path = lesson(LOAD)
    together.plan = [
        Answer(words("Hi")), Answer(words("Ho")), refusal(400, {"error": {"message": "no"}})
    ]  # fmt: skip
    session.ask("One", temperature=0)
    session.player.use(str(cassette(path)), "once")
    session.ask("One", temperature=0)  # from the cache of answers
    session.ask("Two", max_tokens=9, stop=["END"])
    with pytest.raises(ProviderError):
        session.ask("Three")
    with cassette(path).open("a") as file:
        file.write("<<<<<<< HEAD\n")
    (table,) = shown(session, "receipt", str(path), place="shell")
    assert [row[-1] for row in table.rows] == ["cached", "live", "ProviderError"]
    assert [row[2] for row in table.rows] == ["temperature=0", "max_tokens=9, stop=['END']", ""]
    assert [row[4:6] for row in table.rows] == [["9", "1"], ["9", "1"], ["", ""]]
    assert table.foot[0] == "3 calls"
    assert table.caption.endswith("damaged: line 4")


@pytest.mark.parametrize("command", ["record", "check", "receipt"])
def test_what_is_not_a_notebook_is_an_error_of_two_lines(command, tmp_path, capsys):
    (tmp_path / "x.ipynb").write_text("{")
    for path in (tmp_path / "x.ipynb", tmp_path / "none.ipynb", tmp_path):
        assert cli.main([command, str(path)]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_budget_that_is_no_amount_leaves_no_file_behind(lesson, capsys):
    path = lesson("1")
    assert cli.main(["record", str(path), "--budget", "x"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert leftovers(path) == set()


@pytest.mark.parametrize("command", ["check", "receipt"])
def test_without_a_cassette_the_hint_is_to_record(command, lesson, capsys):
    assert cli.main([command, str(lesson("1"))]) == 1
    err = capsys.readouterr().err
    assert "There is no cassette lesson.cassette.jsonl." in err
    assert "mixmagic record" in err

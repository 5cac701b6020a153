"""`mixmagic translate`: a file, in a shell."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from server import HANG, Answer
from translators import french, french_without_12

from mixmagic import cli

LESSON = ["# The mean", "There are 12 rows in the table.", "The `mean` of {x} is here."]


@pytest.fixture
def lesson(tmp_path):
    cells = [
        {"cell_type": "markdown", "id": f"c{number}", "metadata": {}, "source": text}
        for number, text in enumerate(LESSON)
    ]
    code = {"cell_type": "code", "id": "code", "metadata": {}, "execution_count": None,
        "outputs": [], "source": "# the sum\nprint(1 + 1)"}  # fmt: skip
    path = tmp_path / "lesson.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(
        json.dumps(
            {"cells": [*cells, code], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        )
    )
    return path


def translate(file, *words) -> int:
    return cli.main(["translate", str(file), "--to", "fr", "-m", "8x7b", *words])


def test_a_notebook_is_written_beside_itself_and_the_status_is_0(together, lesson, capsys):
    together.plan = [french]
    assert translate(lesson) == 0
    said = capsys.readouterr().out
    assert said.startswith("lesson.fr.ipynb: 3 cells\n")
    assert "row" not in said
    assert "English → French · 8x7b · 3 calls · $0.0000" in said
    cells = json.loads(lesson.with_name("lesson.fr.ipynb").read_text())["cells"]
    assert "".join(cells[2]["source"]) == "La `mean` de {x} est ici."
    before = len(together.received)
    assert translate(lesson) == 0
    assert len(together.received) == before, "nothing is paid for twice"


def test_a_fault_is_named_with_its_cell_and_the_status_is_1(together, lesson, capsys):
    together.plan = [french_without_12]
    out = lesson.with_name("other.ipynb")
    assert translate(lesson, "-o", str(out)) == 1
    said = capsys.readouterr().out
    assert said.startswith("other.ipynb: 3 cells, 1 with a fault\n  cell 2: ")
    assert "12" in said
    assert out.exists()


def test_a_dry_run_sends_and_writes_nothing(together, lesson, capsys):
    assert translate(lesson, "--dry-run", "--comments") == 0
    said = capsys.readouterr().out
    assert "English → French" in said
    assert "Nothing was sent." in said
    assert together.received == []
    assert not lesson.with_name("lesson.fr.ipynb").exists()


def test_a_translation_is_run_and_compared(together, lesson, capsys):
    together.plan = [french]
    assert translate(lesson, "--comments", "--verify") == 0
    assert "lesson.fr.ipynb: proved equal: 1 code cell." in capsys.readouterr().out


def test_outputs_differ_where_strings_are_translated_and_it_says_why(together, lesson, capsys):
    source = lesson.read_text().replace("print(1 + 1)", "print('The sum is', 1 + 1)")
    lesson.write_text(source)
    together.plan = [french]
    assert translate(lesson, "--strings", "--verify") == 1
    said = capsys.readouterr().out
    assert "not equal: the outputs of 4 differ" in said
    assert "Strings were translated, too" in said


def test_a_table_that_is_not_whole_is_written_and_its_status_is_1(together, tmp_path, capsys):
    together.plan = [french]
    table, out = tmp_path / "table.csv", tmp_path / "table.fr.csv"
    table.write_text("text,n\nThe cat is here.,1\nThe dog is here.,2\nThe box is here.,3\n")
    words = ["--column", "text", "--in-flight", "1"]
    assert translate(table, *words, "--budget", "0.00008") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "not asked yet" in said
    assert "Paused after" in said
    together.plan = [french]
    assert translate(table, *words) == 0
    assert out.read_text().splitlines()[1] == "The cat is here.,1,La chatte est ici."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--verify", "-m", "8x7b", "--to", "fr", "text.md"], "--verify is for notebooks"),
        (["--to", "klingonese", "text.md"], "is not a language"),
        (["--to", "fr", "none.md"], "none.md"),
        (["--to", "fr", "text.doc"], "can be translated"),
        (["--to", "en", "text.md"], "is in English already"),
        (["--to", "fr", "text.md", "-o", "text.md"], "is the file that is translated"),
        (["--to", "fr", "--in-flight", "0", "text.md"], "from 1 to 1,024"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines(together, tmp_path, capsys, words, said):
    with contextlib.chdir(tmp_path):
        Path("text.md").write_text("The cat is in the house, and the dog is not.")
        assert cli.main(["translate", *words]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert said in " ".join(lines)
    assert len(lines) <= 3
    assert together.received == []


def test_ctrl_c_stops_it_and_the_same_command_goes_on(together, lesson):
    together.plan = [french, Answer([HANG])]
    command = [str(Path(sys.executable).with_name("mixmagic")), "translate", str(lesson)]
    words = ["--to", "fr", "-m", "8x7b"]
    with subprocess.Popen([*command, *words], stderr=subprocess.PIPE, text=True) as process:
        together.wait(lambda: len(together.received) == 3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "kept" in errors
    assert not lesson.with_name("lesson.fr.ipynb").exists()
    together.plan, before = [french], len(together.received)
    assert translate(lesson) == 0
    assert len(together.received) - before == 2

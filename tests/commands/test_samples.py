"""Cells with the tag `mixmagic-2-of-3`: recorded and checked as often as they are run."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from server import Answer, together

from mixmagic import cli
from mixmagic.commands._samples import repeated, runs
from mixmagic.errors import BadArguments

ASK = (
    "answer = mixmagic.ask('Yes or no?', temperature=1).text\nprint(answer)\nassert answer == 'yes'"
)
AFTER = "print(mixmagic.ask('Sure?', temperature=0).text)"


def tagged(source: str, *tags: str):
    return new_code_cell(source, metadata={"tags": list(tags)})


def save(folder: Path, tag: str) -> Path:
    """Save a notebook whose second cell has a tag; return its path."""
    path = folder / "lesson.ipynb"
    cells = [new_code_cell("%load_ext mixmagic\nimport mixmagic"), tagged(ASK, tag)]
    nbformat.write(new_notebook(cells=[*cells, new_code_cell(AFTER)]), path)
    return path


def texts(path: Path) -> list[str]:
    lines = path.with_name("lesson.cassette.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["answer"]["text"] for line in lines]


@pytest.mark.kernel
def test_every_run_of_a_tagged_cell_is_recorded_and_checked(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TOGETHER_BASE_URL", server.url)
    monkeypatch.setenv("TOGETHER_API_KEY", "canary-key-4711")
    server.plan = [Answer(together(text)) for text in ("no", "yes", "yes", "Yes.")]
    path = save(tmp_path, "mixmagic-2-of-3")
    assert cli.main(["record", str(path), "--inplace"]) == 0, capsys.readouterr().out
    assert texts(path) == ["no", "yes", "yes", "Yes."]
    assert len(server.received) == 4
    saved = nbformat.read(path, 4)
    assert len(saved.cells) == 3
    assert saved.cells[1].metadata.tags == ["mixmagic-2-of-3"]
    assert [output.text for output in saved.cells[1].outputs] == ["yes\n"]  # of a run that passed
    assert cli.main(["check", str(path)]) == 0, capsys.readouterr().out

    saved.cells[1].metadata.tags = ["mixmagic-3-of-3"]
    nbformat.write(saved, path)
    capsys.readouterr()
    assert cli.main(["check", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "Cell 2 fails:" in shown
    assert "1 of 3 cells failed or differed." in shown
    assert len(server.received) == 4


@pytest.mark.kernel
def test_a_recording_with_too_few_runs_that_pass_fails(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TOGETHER_BASE_URL", server.url)
    monkeypatch.setenv("TOGETHER_API_KEY", "canary-key-4711")
    server.plan = [Answer(together(text)) for text in ("no", "yes", "no", "Yes.")]
    assert cli.main(["record", str(save(tmp_path, "mixmagic-2-of-3"))]) == 1
    assert "A cell failed: AssertionError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("mixmagic-2-of-3", (2, 3)),
        ("Mixmagic-1-of-1", (1, 1)),
        ("mixmagic-10-of-20", (10, 20)),
        ("mixmagic-of-3", None),
        ("2-of-3", None),
        ("nbval-skip", None),
    ],
)
def test_tags(tag, found):
    assert runs(tagged("", "other", tag)) == found


@pytest.mark.parametrize("tag", ["mixmagic-0-of-3", "mixmagic-4-of-3"])
def test_a_tag_that_no_run_or_none_can_satisfy_is_refused(tag):
    with pytest.raises(BadArguments, match=f"'{tag}' is not a valid tag"):
        runs(tagged("", tag))


def test_a_notebook_without_ids_is_as_it_was_after_its_runs():
    cells = [new_code_cell("a"), tagged("b", "x", "mixmagic-1-of-4"), new_code_cell("c")]
    notebook = new_notebook(cells=cells)
    for cell in notebook.cells:
        del cell["id"]
    with repeated(notebook):
        assert [cell.source for cell in notebook.cells] == ["a", "b", "b", "b", "b", "c"]
        assert all("raises-exception" in cell.metadata.tags for cell in notebook.cells[1:5])
    assert [cell.source for cell in notebook.cells] == ["a", "b", "c"]
    assert notebook.cells[1].metadata.tags == ["x", "mixmagic-1-of-4"]

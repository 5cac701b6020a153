"""`mixmagic demo`: what it leaves in the folder, and the status that it returns."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mixmagic import cli
from mixmagic.commands import demo

# In JupyterLab's place: it writes down how it was started.
LAB = """
import json, os, pathlib, sys
if sys.argv[0] != "-c":
    pathlib.Path(os.environ["STARTED"]).write_text(json.dumps(sys.argv[1:]))
    sys.exit(7)
"""


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Path:
    """The file in which JupyterLab's arguments are written down."""
    package = tmp_path / "packages" / "jupyterlab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(LAB)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("STARTED", str(tmp_path / "started.json"))
    return tmp_path / "started.json"


@pytest.mark.parametrize("user", [0, 1000])
def test_jupyterlab_opens_the_quickstart_as_any_user(lab, tmp_path, monkeypatch, user):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert cli.main(["demo", "--lab", "--dir", str(tmp_path / "demo")]) == 7
    notebook = tmp_path / "demo" / "quickstart.ipynb"
    assert json.loads(lab.read_text()) == [str(notebook), *["--allow-root"] * (user == 0)]
    assert nbformat.read(notebook, 4).cells


def test_jupyterlab_opens_the_users_own_edits(lab, tmp_path):
    notebook = tmp_path / "quickstart.ipynb"
    notebook.write_text("mine")
    assert cli.main(["demo", "--lab", "--dir", str(tmp_path)]) == 7
    assert notebook.read_text() == "mine"


@pytest.mark.kernel
def test_a_failing_cell_is_status_1_and_is_in_the_notebook(tmp_path, monkeypatch, capsys):
    failing = new_notebook(cells=[new_code_cell("print('begun')"), new_code_cell("1 / 0")])
    monkeypatch.setattr(demo, "_quickstart", lambda: nbformat.writes(failing))
    assert cli.main(["demo", "--dir", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "│ 1 / 0\n" in shown.out
    assert "begun" in shown.out
    assert shown.err == "A cell failed: ZeroDivisionError: division by zero\n"
    last = nbformat.read(tmp_path / "quickstart.ipynb", 4).cells[-1]
    assert [output.ename for output in last.outputs] == ["ZeroDivisionError"]
    assert "ZeroDivisionError" in (tmp_path / "quickstart.html").read_text("utf-8")


def test_what_is_missing_is_said_at_once_with_the_command_that_installs_it(monkeypatch, capsys):
    real = demo.find_spec
    absent = ("xllamacpp", "nbclient")
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name in absent else real(name))
    assert cli.main(["demo"]) == 1
    message, hint = capsys.readouterr().err.splitlines()
    assert message.endswith("The demo needs packages that are not installed: xllamacpp, nbclient.")
    assert '[all]"`' in hint

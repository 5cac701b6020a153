"""The notebooks replay their cassettes, as pytest's plugin runs them in any repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from mixmagic.commands import check

pytestmark = pytest.mark.kernel
FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
# The packages of the extras `local` and `tokens`.
EXTRAS = ("xllamacpp", "filelock", "sentencepiece")


def replay(notebook: Path, **env: str) -> None:
    """Replay a notebook with nbval and the plugin; every cell must pass."""
    words = ["pytest", "-p", "no:cacheprovider", "-o", "addopts=", "--color=no", str(notebook)]
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            *words,
            "--nbval",
            "--nbval-current-env",
            "--mixmagic-cassette=none",
        ],
        cwd=notebook.parent,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_replays_without_network_model_extras_or_the_persons_settings(tmp_path, name):
    for package in EXTRAS:
        (tmp_path / f"{package}.py").write_text(f"raise ImportError({package!r})\n")
    person = tmp_path / "person"
    (person / "config").mkdir(parents=True)
    (person / "config" / "config.toml").write_text('model = "openai:another"\n')
    replay(
        FOLDER / f"{name}.ipynb",
        HOME=str(person),
        MIXMAGIC_HOME=str(person),
        PYTHONPATH=str(tmp_path),
        FIREWORKS_API_KEY="canary-key-4711",
    )
    assert not (person / "data").exists()
    assert not (person / "cache").exists()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_two_replays_of_a_notebook_are_equal_in_every_output(tmp_path, session, name):
    """Also where the saved notebook has outputs that nbval does not compare."""
    for ending in (".ipynb", ".cassette.jsonl"):
        shutil.copy(FOLDER / f"{name}{ending}", tmp_path)
    path = tmp_path / f"{name}.ipynb"
    notebook = nbformat.read(path, 4)
    cassette = tmp_path / f"{name}.cassette.jsonl"
    assert check.replay(session, notebook, path, cassette, keep_going=False) == ""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata["tags"] = [tag for tag in tags if tag != "nbval-ignore-output"]
    nbformat.write(notebook, path)
    replay(path)

"""The linters, the type checker and the import rules, as tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Not the notebooks: their magics are no Python.
SOURCES = ["mixmagic", "tests"]
SCRIPTS = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "ruff", "check", *SOURCES],
        [sys.executable, "-m", "ruff", "format", "--check", *SOURCES],
        [sys.executable, "-m", "mypy"],
        [SCRIPTS / "lint-imports"],
    ],
    ids=["ruff check", "ruff format", "mypy", "lint-imports"],
)
def test_quality(command):
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"

"""The linters, the type checker and the import rules, as tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
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
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


def endless(tree: ast.AST) -> Iterator[int]:
    """Yield the line numbers of calls that may wait forever."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        runs = ast.unparse(call.func) in ("subprocess.run", "subprocess.check_output")
        waits = call.func.attr in ("wait", "join", "result", "communicate") and not call.args
        if (runs or waits) and "timeout" not in {keyword.arg for keyword in call.keywords}:
            yield call.lineno


def test_every_wait_in_a_test_has_a_timeout():
    unlimited = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if "benchmarks" not in path.parts
        for line in endless(ast.parse(path.read_text("utf-8")))
    ]
    assert unlimited == []


@pytest.mark.parametrize(
    "code",
    [
        "thread.join()",
        "process.communicate()",
        "process.communicate(input=b'')",
        "gate.wait()",
        "future.result()",
        "subprocess.run(['true'], check=True)",
        "subprocess.check_output(['true'])",
    ],
)
def test_a_wait_without_a_timeout_is_found(code):
    assert list(endless(ast.parse(code))) == [1]

"""The doctor's table, and its check of the front end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixmagic.display.renderers import NotebookRenderer, renderer
from mixmagic.display.table import Table
from mixmagic.tasks.doctor import Check


def doctor_table(checks: Sequence[Check]) -> Table:
    """Return the table of the doctor's checks."""
    troubles = sum(check.ok is False for check in checks)
    return Table(
        ["", "check", "result"],
        [[check.mark, check.name, check.detail] for check in checks],
        f"{troubles} to fix" if troubles else "everything works",
    )


def front_end(shell: Any) -> Check:
    """Return a check of whether the front end shows answers while they stream."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return Check("front end", True, "a terminal: answers stream")
    if isinstance(renderer(shell), NotebookRenderer):
        return Check("front end", True, "a live notebook: answers stream into the cell")
    return Check(
        "front end",
        None,
        "answers are shown once (nbclient, papermill, Jupyter Console, captured output)",
    )

"""Check settings, keys, providers, the ledger and the embedded model."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser
from mixmagic.sessions import Session

if TYPE_CHECKING:
    from mixmagic.tasks.doctor import Check
    from mixmagic.text.table import Table


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    return Parser(prog, __doc__)


def run(session: Session, options: Namespace, out: Out) -> int:
    """Show all checks; return 1 if any of them failed."""
    checks = session.doctor()
    if out.shell is None:
        for check in checks:
            out.print(f"{check.mark:<3} {check.name}: {check.detail}")
        out.print(verdict(checks))
    else:
        out.show(doctor_table([*checks, _front_end(out.shell)]))
    return 1 if any(check.ok is False for check in checks) else 0


def doctor_table(checks: Sequence[Check]) -> Table:
    """Return the table of the doctor's checks."""
    from mixmagic.text.table import Table

    return Table(
        ["", "check", "result"],
        [[check.mark, check.name, check.detail] for check in checks],
        verdict(checks),
    )


def verdict(checks: Sequence[Check]) -> str:
    """Return the result of all checks together."""
    troubles = sum(check.ok is False for check in checks)
    return f"{troubles} to fix" if troubles else "everything works"


def _front_end(shell: Any) -> Check:
    """Return a check of whether the front end shows answers while they stream."""
    from mixmagic.display.renderers import NotebookRenderer, renderer
    from mixmagic.tasks.doctor import Check

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

"""Check settings, keys, providers, the ledger and the embedded model."""

from __future__ import annotations

from argparse import Namespace

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser
from mixmagic.sessions import Session


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    return Parser(prog, __doc__)


def run(session: Session, options: Namespace, out: Out) -> int:
    """Show all checks; return 1 if any of them failed."""
    checks = session.doctor()
    if out.shell is None:
        for check in checks:
            out.print(f"{check.mark:<3} {check.name}: {check.detail}")
    else:
        from mixmagic.display.doctor import doctor_table, front_end

        out.show(doctor_table([*checks, front_end(out.shell)]))
    return 1 if any(check.ok is False for check in checks) else 0

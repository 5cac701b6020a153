"""Set a spending limit, or see how much is left."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser
from mixmagic.errors import BadArguments

if TYPE_CHECKING:
    from mixmagic.core.money import Per
    from mixmagic.sessions import Session


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, f"{__doc__}\nWithout DOLLARS, all budgets are shown.")
    args.add("limit", nargs="?", metavar="DOLLARS", help="such as 0.50, or `off` for no limit")
    scope = args.add_mutually_exclusive_group()
    args.add("--per", to=scope, choices=("session", "day", "month"), help="of this session"
        " (default), or of all your sessions in a day or a month")  # fmt: skip
    args.add("--notebook", to=scope, action="store_true", help="of this notebook, in all sessions")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Set or remove a budget, and say so in one line; without one, show all budgets."""
    from mixmagic.display.budget import budget_line, read_budgets
    from mixmagic.store.ledger.budgets import PERIODS

    if options.limit is not None:
        per: Per = "notebook" if options.notebook else options.per or "session"
        if out.shell is None and per == "session":
            raise BadArguments(
                "A shell command has no session to limit.", "Use --per day or --per month."
            )
        session.budget(None if options.limit.lower() == "off" else options.limit, per=per)
        lines = [budget_line(each) for each in session.budgets() if each.limit.per == per]
        if options.limit.lower() == "off":
            name = PERIODS[per]
            lines.insert(0, f"{name[0].upper()}{name[1:]} is removed.")
        out.print("\n".join(lines))
        return
    if options.per is not None or options.notebook:
        raise BadArguments(
            "The limit is missing.", "Write DOLLARS, such as 0.50, or `off`, before the option."
        )
    out.show(read_budgets(session).table)

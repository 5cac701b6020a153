"""`%mixmagic budget`: set what may be spent, see what is left."""

from __future__ import annotations

from mixmagic.commands._parser import Parser
from mixmagic.core.money import Per
from mixmagic.display.budget import budgets_table
from mixmagic.display.table import Table
from mixmagic.errors import BadArguments
from mixmagic.sessions import Session
from mixmagic.store.ledger.budgets import Limit
from mixmagic.store.ledger.spend import Period


def budget(session: Session, words: list[str]) -> Table:
    """Set or take off a budget, where one is named; what all of them have left."""
    parser = Parser("%mixmagic budget")
    parser.add_argument("limit", nargs="?", metavar="DOLLARS")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--per", choices=("session", "day", "month"), default="session")
    where.add_argument("--notebook", action="store_true")
    options = parser.parse_args(words)
    if options.limit is not None:
        per: Per = "notebook" if options.notebook else options.per
        session.budget(None if options.limit.lower() == "off" else options.limit, per=per)
    elif words:
        raise BadArguments(
            "How much may be spent is missing.",
            f"Write `%mixmagic budget DOLLARS {' '.join(words)}`, or `off` for DOLLARS.",
        )
    balances = session.budgets()
    table = budgets_table(balances)
    if any(_unpriced(session, each.limit) for each in balances):
        table.caption += "\nspent: without calls whose price is not known"
    return table


def _unpriced(session: Session, limit: Limit) -> bool:
    """Whether any of the calls that count for a limit had no known price."""
    if limit.per == "notebook":
        spent = [row for row in session.ledger.spent("all", "notebook") if row.name == limit.key]
    else:
        period: dict[str, Period] = {"day": "today", "month": "month"}
        spent = session.ledger.spent(period.get(limit.per, "session"))
    return any(row.unpriced for row in spent)

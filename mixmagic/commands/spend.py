"""`%mixmagic spend`: what calls have cost, and what became of those that were lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from IPython.display import display

from mixmagic.commands._parser import Parser
from mixmagic.errors import BadArguments

if TYPE_CHECKING:  # imported when a table is asked for: `%load_ext` stays light
    from decimal import Decimal

    from mixmagic.display.spend import Spend
    from mixmagic.display.table import Table
    from mixmagic.sessions import Session


def show(session: Session, shell: Any, words: list[str]) -> None:
    """Show what `spend` returns: the table at once, its plot as soon as it is drawn."""
    from mixmagic.display.spend import Spend

    shown = spend(session, words)
    table = shown.table if isinstance(shown, Spend) else shown
    handle = display(table, display_id=True)
    notebook = getattr(shell, "kernel", None) is not None
    if notebook and isinstance(shown, Spend) and shown.picture:
        handle.update(shown)


def spend(session: Session, words: list[str]) -> Spend | Table:
    """What calls have cost; or what is lost, what has been settled, what others would ask.

    Raises:
        BadArguments: Options that make no sense, or a call that was not lost.
        StoreError: The ledger cannot be read, or for settling, written.
    """
    from mixmagic.display.spend import spend

    parser = Parser("%mixmagic spend")
    what = parser.add_mutually_exclusive_group()
    for period in ("today", "month", "all"):
        what.add_argument(f"--{period}", dest="period", action="store_const", const=period)
    what.add_argument("--resolve", nargs="*")
    what.add_argument("--elsewhere", action="store_true")
    parser.add_argument("--by")
    options = parser.parse_args(words)
    if options.by and (options.elsewhere or options.resolve is not None):
        parser.error("--by is for sums")
    if options.elsewhere:
        from mixmagic.commands.prices import elsewhere

        return elsewhere(session)
    if options.resolve is not None:
        return resolve(session, options.resolve)
    return spend(session, options.period or "session", options.by or "model")


def resolve(session: Session, words: list[str]) -> Table:
    """The lost calls; with a call's number and its cost, after settling it.

    Raises:
        BadArguments: That is no call's number and cost, or the call was not lost.
        StoreError: The ledger cannot be written.
    """
    from mixmagic.core.money import format_column
    from mixmagic.display.spend import sweep
    from mixmagic.display.table import Table
    from mixmagic.store.ledger.spend import lost

    said = "settle one by `spend --resolve NUMBER DOLLARS`, as the provider billed it"
    sweep(session)
    if words:
        number, cost = _settled(words)
        session.ledger.resolve(number, cost)
        said = f"Call {number} is settled: it cost {format_column([cost])[0]}."
    rows = lost(session.ledger.database)
    if not rows:
        said = f"{said} No other is lost." if words else "No call is lost."
    if any(row.open for row in rows):
        said += "\nopen: another host's, taken for lost after a day"
    if any(row.status not in ("open", "lost") for row in rows):
        said += "\nothers: tries that nobody saw end may have been billed, and are in the cost"
    return Table(
        ["number>", "when", "model", "notebook", "at most>", "is"],
        [
            [
                str(row.number),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(row.started_at)),
                row.model,
                row.notebook or "",
                most,
                row.status,
            ]
            for row, most in zip(rows, format_column([row.most for row in rows]), strict=True)
        ],
        said,
    )


def _settled(words: list[str]) -> tuple[int, Decimal]:
    """A call's number and what it has cost."""
    from mixmagic.core.money import parse_dollars

    try:
        number, cost = words
        if not (number.isascii() and number.isdecimal() and 0 < int(number) < 2**63):
            raise ValueError
        return int(number), parse_dollars(cost)
    except (ValueError, BadArguments):
        raise BadArguments(
            f"--resolve cannot take {' '.join(words)!r:.40}.",
            "It takes a call's number and what it cost in US dollars: --resolve 17 0.05.",
        ) from None

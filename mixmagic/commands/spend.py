"""Show what calls have cost.

Without a period, a notebook shows this session, and a shell this month.
"""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser
from mixmagic.errors import BadArguments, StoreError

if TYPE_CHECKING:
    from decimal import Decimal

    from mixmagic.display.table import Table
    from mixmagic.sessions import Session


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    scope = args.add_mutually_exclusive_group()
    for flag, period, calls in (
        ("--session", "session", "calls of this session"),
        ("--today", "today", "calls of today, in all sessions"),
        ("--month", "month", "calls of this month, in all sessions"),
        ("--all", "all", "all calls ever made"),
    ):
        args.add(flag, to=scope, dest="period", action="store_const", const=period, help=calls)
    args.add("--elsewhere", to=scope, action="store_true", help="compare what the tokens of this"
        " session would have cost at other providers")  # fmt: skip
    args.add("--resolve", to=scope, nargs="*", metavar="NUMBER DOLLARS", help="list the calls"
        " whose cost is not known, or record what one was billed")  # fmt: skip
    args.add(
        "--by", choices=("model", "day", "notebook", "status"), help="group by (default: model)"
    )
    args.add("--csv", type=Path, metavar="FILE", help="write the table to a file instead")
    args.exclude("--by", "--elsewhere", "--resolve")
    args.exclude("--csv", "--elsewhere", "--resolve")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Show costs, a comparison, or lost calls."""
    from mixmagic.display.spend import read_spend

    if options.elsewhere:
        out.show(_elsewhere(session))
        return
    if options.resolve is not None:
        out.show(_resolve(session, options.resolve))
        return
    default = "month" if out.shell is None else "session"
    costs = read_spend(session, options.period or default, options.by or "model")
    if options.csv is not None:
        costs.to_csv(options.csv)
        out.print(f"Wrote {len(costs)} row{'s' * (len(costs) != 1)} to {options.csv}.")
        return
    out.show(costs.table)
    if out.live and costs.picture:  # the table first: a plot takes a moment
        out.replace(costs)
    if costs.period == "all" and (saved := _saved(session)):
        out.print(saved)


def _saved(session: Session) -> str:
    """Return a line on the calls that the answer cache has answered; empty if there are none."""
    from mixmagic.core.money import format_dollars

    try:
        found = session.cache.statistics() if session.cache.on else None
    except StoreError:
        return ""
    if found is None or not found.hits:
        return ""
    calls = "1 more call" if found.hits == 1 else f"{found.hits:,} more calls"
    return f"Stored answers have saved {format_dollars(found.saved)} in {calls}."


def _elsewhere(session: Session) -> Table:
    """Return what this session's tokens would have cost at each provider of the same models."""
    from mixmagic.catalog.offers import Calls, elsewhere
    from mixmagic.display.prices import elsewhere_table

    rows = []
    for spent in session.ledger.spent():
        provider, _, model = spent.name.partition(":")
        rows.append(
            Calls(
                provider,
                model,
                spent.prompt_tokens,
                spent.cached_tokens,
                spent.completion_tokens,
                spent.cost,
                spent.unpriced,
                spent.lost,
                spent.estimated,
                spent.billed_tries,
            )
        )
    return elsewhere_table(elsewhere(session.catalog, rows), session.catalog.short_name)


def _resolve(session: Session, words: list[str]) -> Table:
    """Return the lost calls; with a call's number and its cost, record that first.

    Raises:
        BadArguments: That is not a call's number and cost, or the call is not lost.
        StoreError: The ledger cannot be written.
    """
    from mixmagic.core.money import format_column, format_dollars
    from mixmagic.display.table import Table
    from mixmagic.store.ledger.spend import lost

    caption = "Record a provider's bill: `spend --resolve NUMBER DOLLARS`."
    session.ledger.sweep_if_writable()
    if words:
        number, cost = _number_and_cost(words)
        session.ledger.resolve(number, cost)
        caption = f"Recorded: call {number} cost {format_dollars(cost)}."
    rows = lost(session.ledger.database)
    if not rows:
        caption = f"{caption} No more lost calls." if words else "No lost calls."
    if any(row.open for row in rows):
        caption += "\nopen: made on another host; counted as lost after a day"
    if any(row.status not in ("open", "lost") for row in rows):
        caption += "\nother: an attempt that was cut off may have been billed; the cost includes it"
    return Table(
        ["number>", "when", "model", "notebook", "at most>", "status"],
        [
            [
                str(row.number),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(row.started_at)),
                session.catalog.short_name(row.model),
                row.notebook or "",
                most,
                row.status,
            ]
            for row, most in zip(rows, format_column([row.most for row in rows]), strict=True)
        ],
        caption,
    )


def _number_and_cost(words: list[str]) -> tuple[int, Decimal]:
    """Return a call's number and its cost."""
    from mixmagic.core.money import parse_dollars

    try:
        number, cost = words
        if not (number.isascii() and number.isdecimal() and 0 < int(number) < 2**63):
            raise ValueError
        return int(number), parse_dollars(cost)
    except (ValueError, BadArguments):
        raise BadArguments(
            f"--resolve cannot take {' '.join(words)!r:.40}.",
            "It takes a call's number and its cost in US dollars: --resolve 17 0.05.",
        ) from None

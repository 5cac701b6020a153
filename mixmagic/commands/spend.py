"""Show what calls have cost.

Without a period, a notebook shows this session, and a shell this month.
"""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING, Protocol

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, models
from mixmagic.errors import BadArguments, StoreError, counted

if TYPE_CHECKING:
    from decimal import Decimal

    from mixmagic.catalog.offers import Calls
    from mixmagic.sessions import Session
    from mixmagic.text.table import Table


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    scope = args.add_mutually_exclusive_group()
    for flag, period, calls in (
        ("--session", "session", "calls of this session"),
        ("--notebook", "notebook", "calls of this notebook, in all sessions"),
        ("--today", "today", "calls of today, in all sessions"),
        ("--month", "month", "calls of this month, in all sessions"),
        ("--all", "all", "all calls ever made"),
    ):
        args.add(flag, to=scope, dest="period", action="store_const", const=period, help=calls)
    report = args.add_mutually_exclusive_group()
    args.add("--by", to=report, choices=("model", "day", "notebook", "status"), help="group by"
        " (default: model)")  # fmt: skip
    args.add("--performance", to=report, action="store_true", help="show times to the first token"
        " and to the end, tokens per second and the error rate, by model and day")  # fmt: skip
    args.add("--as-if", to=report, metavar="MODEL", values=models, help="show what the same tokens"
        " would have cost at another model")  # fmt: skip
    args.add("--elsewhere", to=report, action="store_true", help="compare what the same tokens"
        " would have cost at other providers of the same models")  # fmt: skip
    args.add("--resolve", to=report, nargs="*", metavar="NUMBER DOLLARS", help="list the calls"
        " whose cost is not known, or record what one was billed")  # fmt: skip
    args.add("--csv", metavar="FILE", help="write the rows to a file instead; `-` prints them")
    for option in ("--session", "--notebook", "--today", "--month", "--all", "--csv"):
        args.exclude("--resolve", option)
    args.exclude("--csv", "--elsewhere")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Show costs, times, a comparison, or lost calls."""
    from mixmagic.display.spend import read_spend

    if options.resolve is not None:
        out.show(_resolve(session, options.resolve))
        return
    period = options.period or ("month" if out.shell is None else "session")
    if options.elsewhere:
        out.show(_elsewhere(session, period))
        return
    if options.performance or options.as_if is not None:
        report = (
            _performance(session, period)
            if options.performance
            else _as_if(session, period, options.as_if)
        )
        if options.csv is None:
            out.show(report.table)
        else:
            _write(report, options.csv, out)
        return
    costs = read_spend(session, period, options.by or "model")
    if options.csv is not None:
        _write(costs, options.csv, out)
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
    calls = counted(found.hits, "more call")
    return f"Stored answers have saved {format_dollars(found.saved)} in {calls}."


class Report(Protocol):
    """Rows as a table and as comma-separated values."""

    @property
    def table(self) -> Table: ...
    def __len__(self) -> int: ...
    def to_csv(self, path: str | None = None) -> str: ...


def _write(report: Report, file: str, out: Out) -> None:
    """Write a report to a file; `-` prints it."""
    if file == "-":
        out.write(report.to_csv().rstrip("\n"))
        return
    report.to_csv(file)
    out.print(f"Wrote {counted(len(report), 'row')} to {file}.")


def _performance(session: Session, period: str) -> Report:
    """Return the times and the error rate of calls."""
    from mixmagic.display.performance import read_performance

    return read_performance(session, period)


def _as_if(session: Session, period: str, name: str) -> Report:
    """Return what a period's tokens would have cost at another model.

    Raises:
        UnknownModel: There is no such model.
        BadArguments: Its price is not known.
    """
    from mixmagic.catalog.offers import as_if
    from mixmagic.display.prices import AsIfReport
    from mixmagic.display.spend import about, chosen_period

    model = session.select(name).model
    if model.price is None:
        raise BadArguments(
            f"The price of {model.name} is not known.",
            "Choose another model, or give its price in a catalog file (README, Models).",
        )
    result = as_if(session.catalog, _calls(session, period), model)
    return AsIfReport(result, about(chosen_period(period)), session.catalog.short_name)


def _elsewhere(session: Session, period: str) -> Table:
    """Return what a period's tokens would have cost at each provider of the same models."""
    from mixmagic.catalog.offers import elsewhere
    from mixmagic.display.prices import elsewhere_table
    from mixmagic.display.spend import about, chosen_period
    from mixmagic.text.table import Table

    calls = _calls(session, period)
    if not calls:
        return Table([], [], f"No calls: {about(chosen_period(period))}.")
    return elsewhere_table(elsewhere(session.catalog, calls), session.catalog.short_name)


def _calls(session: Session, period: str) -> list[Calls]:
    """Return the calls of a period, by model."""
    from mixmagic.catalog.offers import Calls
    from mixmagic.display.spend import chosen_period, path_of_notebook

    chosen = chosen_period(period)
    rows = []
    for spent in session.ledger.spent(chosen, notebook=path_of_notebook(session, chosen)):
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
    return rows


def _resolve(session: Session, words: list[str]) -> Table:
    """Return the lost calls; with a call's number and its cost, record that first.

    Raises:
        BadArguments: That is not a call's number and cost, or the call is not lost.
        StoreError: The ledger cannot be written.
    """
    from mixmagic.core.money import format_column, format_dollars
    from mixmagic.store.ledger.spend import lost
    from mixmagic.text.table import Table

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

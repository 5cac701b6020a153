"""List the calls under way, or stop them."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING, NamedTuple

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser
from mixmagic.errors import BadArguments, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from mixmagic.sessions import Session

ONLY_IN = "notebook"


class _Row(NamedTuple):
    """A call under way, or a background cell that waits for its turn."""

    number: int
    model: str
    since: float
    tokens: int | None
    name: str
    cell: str
    stop: Callable[[], None]


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, f"{__doc__}\nWithout --stop, they are listed.")
    args.add("--stop", metavar="N", values=_numbers, help="stop call N, or `all`; the answers so"
        " far are kept")  # fmt: skip
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """List the calls, or stop some."""
    rows = _rows(session)
    if options.stop is None:
        out.show(_table(rows))
        return
    wanted = [row for row in rows if options.stop in ("all", str(row.number))]
    if not wanted and options.stop != "all":
        listed = ", ".join(str(row.number) for row in rows) or "none"
        raise BadArguments(
            f"No call {options.stop!r:.40} is under way.", f"Calls under way: {listed}."
        )
    for row in wanted:
        row.stop()
    stopped = f"Stopped {counted(len(wanted), 'call')}; the answers so far are kept."
    out.print(stopped if wanted else "No calls.")


def _table(rows: list[_Row]) -> object:
    from mixmagic.text.table import Table

    now = time.monotonic()
    return Table(
        ["call>", "model", "seconds>", "tokens so far>", "variable", "cell"],
        [
            [
                str(row.number),
                row.model,
                f"{now - row.since:,.0f}",
                "waiting" if row.tokens is None else f"{row.tokens:,}",
                row.name,
                row.cell,
            ]
            for row in rows
        ],
        "`%mixmagic running --stop N` stops one, `--stop all` all." if rows else "No calls.",
    )


def _rows(session: Session) -> list[_Row]:
    """Return the background cells and all other calls, in the order in which they began."""
    rows = []
    for call in session.calls.background:
        running, cell = call.running, call.background
        tokens = None if running is None else running.collector.received[1]
        model = call.request.model if running is None else running.request.model
        rows.append(
            _Row(cell.number, model.name, call.since, tokens, cell.name, cell.cell, call.stop)
        )
    for running in session.running:
        if running.request.control.background is None:
            tokens, name = running.collector.received[1], running.request.model.name
            rows.append(_Row(running.number, name, running.since, tokens, "", "", running.stop))
    return sorted(rows, key=lambda row: row.number)


def _numbers(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    return ["all", *(str(row.number) for row in _rows(session))]

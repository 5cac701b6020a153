"""Run a notebook, and record its answers in a cassette.

Every call is made, and paid for. Answers that have not changed keep their lines in the cassette.
If the run breaks off, its answers are kept: the next run goes on from there.
"""

from __future__ import annotations

import math
import os
import re
from argparse import Namespace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from mixmagic.commands import Out, _notebooks
from mixmagic.commands._parser import Parser
from mixmagic.core import files
from mixmagic.errors import BadArguments, StoreError, counted
from mixmagic.tasks import notebooks

if TYPE_CHECKING:
    from mixmagic.sessions import Session
    from mixmagic.store.cassette import Cassette
    from mixmagic.store.recording import Recording

ONLY_IN = "shell"
# Cells that ask models, as far as their text tells.
_ASKS = re.compile(
    r"^[ \t]*%%?(?:mixtral|translate)\b|= ?%(?:mixtral|translate)\b"
    r"|\bmixmagic\.(?:ask|stream|map|translate)\(",
    re.MULTILINE,
)
# Characters of a cell's first line that are printed.
_TITLE = 60


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = _notebooks.add_arguments(Parser(prog, __doc__))
    args.add("--budget", metavar="DOLLARS", help="refuse calls that could cost more in all")
    args.add("--missing", action="store_true", help="ask only what is not recorded yet")
    args.add("--inplace", action="store_true", help="also save the notebook, with the outputs of"
        " a replay")  # fmt: skip
    args.add("--timeout", type=int, metavar="SECONDS", help="time limit of each cell")
    return args


def run(session: Session, options: Namespace, out: Out) -> int:
    """Record; return 0, or 1 if a cell fails."""
    from mixmagic.core.money import format_dollars, parse_dollars
    from mixmagic.store.cassette import Cassette

    path: Path = options.notebook
    budget = None if options.budget is None else parse_dollars(options.budget)
    notebook = notebooks.read(path)
    cassette = Cassette(_notebooks.cassette_of(notebook, path, options.cassette))
    unfinished = Cassette(cassette.path.with_name(f".{cassette.name}.part"))
    asking = sum(bool(_ASKS.search(cell.source)) for cell in notebook.cells)
    out.print(_announcement(cassette, asking, missing=options.missing))
    _prepare(unfinished, cassette, missing=options.missing)
    if len(unfinished) and not options.missing:
        answers = counted(len(unfinished), "answer")
        out.print(f"It goes on from an unfinished recording of {answers}.")
    env = {
        **os.environ,
        "MIXMAGIC_CASSETTE": str(unfinished.path),
        "MIXMAGIC_CASSETTE_MODE": "new",
    }
    if budget is not None:
        limits = [budget, session.settings.budget_session]
        env["MIXMAGIC_BUDGET_SESSION"] = str(min(limit for limit in limits if limit is not None))
        out.print(f"Budget: {format_dollars(Decimal(env['MIXMAGIC_BUDGET_SESSION']))}.")
    failure = _notebooks.run(
        notebook,
        path,
        env,
        keep_going=False,
        before_cell=lambda number, cell: out.print(f"  cell {number}: {_title(cell.source)}"),
        timeout=options.timeout,
    )
    if failure:
        out.print(f"A cell failed: {failure}")
        out.print(f"{cassette.name} is unchanged; run the command again to go on.")
        return 1
    out.print(_merge(cassette, unfinished))
    if options.inplace:
        return _save(session, path, cassette, out)
    return 0


def _announcement(cassette: Cassette, asking: int, *, missing: bool) -> str:
    """Return what a recording may cost; `asking` is the number of cells that ask models."""
    from mixmagic.core.money import exact_sum, format_dollars

    start = f"{cassette.name} has {counted(len(cassette), 'answer')}"
    if missing:
        return f"{start}; what is missing is asked, and paid for."
    if not len(cassette):
        cells = "1 cell asks" if asking == 1 else f"{asking:,} cells ask"
        return (
            f"{cassette.name} is new: {cells} models, and what that costs is not known;"
            " --budget limits it."
        )
    costs = [cost_of(recording) for recording in cassette.recordings()]
    known = [cost for cost in costs if cost is not None]
    price = format_dollars(exact_sum(known)) if known else "an unknown sum"
    more = f", and {len(costs) - len(known)} of unknown cost" if len(known) < len(costs) else ""
    return f"{start}, which cost {price}{more}; all is asked again."


def cost_of(recording: Recording) -> Decimal | None:
    """Return the cost of a recorded call, in US dollars; `None` if unknown."""
    answer = recording.answer or (recording.error or {}).get("partial") or {}
    if not answer:
        return Decimal(0)
    try:
        return Decimal(answer["cost"])
    except (KeyError, ArithmeticError, TypeError):
        return None


def _prepare(unfinished: Cassette, cassette: Cassette, *, missing: bool) -> None:
    """Make the file into which the kernel records.

    It has the answers of a run that was broken off; or all that are known, if only those that are
    missing are asked for.
    """
    if not unfinished.path.parent.is_dir():
        raise BadArguments(
            f"{cassette.name} cannot be recorded: its folder does not exist.", "Name another file."
        )
    kept = [line for recording, line in unfinished.entries() if recording.error is None]
    if missing:
        known = {(recording.key, recording.n) for recording, _ in cassette.entries()}
        kept = [line for _, line in cassette.entries()] + [
            line
            for recording, line in unfinished.entries()
            if recording.error is None and (recording.key, recording.n) not in known
        ]
    unfinished.rewrite(kept)


def _merge(cassette: Cassette, recorded: Cassette) -> str:
    """Replace a cassette by a new recording in which equal answers keep their lines.

    The order is that of the cells, and in a cell that of the old file, then that of the calls.

    Returns:
        The numbers of answers that are equal, changed, new and gone, and their cost.
    """
    from mixmagic.core.money import exact_sum, format_dollars

    old = {
        (recording.key, recording.n): (place, recording, line)
        for place, (recording, line) in enumerate(cassette.entries())
    }
    scopes: dict[str, int] = {}
    rows: list[tuple[int, float, bytes]] = []
    equal = changed = 0
    costs = []
    for recording, line in recorded.entries():
        scope = scopes.setdefault(recording.scope.partition(".")[0], len(scopes))
        costs.append(cost_of(recording))
        known = old.pop((recording.key, recording.n), None)
        if known is None:
            rows.append((scope, math.inf, line))
            continue
        place, before, its_line = known
        same = before.equals(recording)
        equal, changed = equal + same, changed + (not same)
        rows.append((scope, place, its_line if same else line))
    cassette.rewrite(line for *_, line in sorted(rows, key=lambda row: row[:2]))
    recorded.delete()
    sum_ = format_dollars(exact_sum([cost for cost in costs if cost is not None]))
    new = len(rows) - equal - changed
    return (
        f"{cassette.name}: {counted(len(rows), 'answer')} ({equal:,} equal, {changed:,} changed,"
        f" {new:,} new, {len(old):,} gone), {sum_} in all."
    )


def _save(session: Session, path: Path, cassette: Cassette, out: Out) -> int:
    """Replay a notebook and save it, so that its outputs are those that everybody gets."""
    from mixmagic.commands import check

    notebook = notebooks.read(path)
    failure = check.replay(session, notebook, path, cassette.path, keep_going=False)
    if failure:
        out.print(f"A cell failed in the replay: {failure}")
        return 1
    try:
        notebooks.write(notebook, path)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {files.reason(error)}.", "Check its folder."
        ) from None
    out.print(f"{path.name} is saved with the outputs of a replay.")
    return 0


def _title(source: str) -> str:
    """Return the first line of a cell."""
    first = source.strip().partition("\n")[0]
    return first if len(first) <= _TITLE else f"{first[: _TITLE - 1]}…"

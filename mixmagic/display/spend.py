"""What calls have cost, as people look at it: a table, a plot, a DataFrame, a file."""

from __future__ import annotations

import contextlib
import csv
import functools
import importlib.util
import io
import logging
import os
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, get_args

from mixmagic.core import files
from mixmagic.core.money import exact_sum, format_column, to_nano
from mixmagic.display.table import Table
from mixmagic.errors import BadArguments, MissingPackage, StoreDamaged, StoreError, did_you_mean
from mixmagic.store.ledger.spend import (
    MONEY,
    By,
    Period,
    Spent,
    Timeline,
    day,
    timeline,
    total,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from mixmagic.sessions import Session


# Columns of `spend_table` that are shown where they have anything to show.
_SOMETIMES = {"stopped": "stopped", "failed": "failed", "lost": "lost", "open": "under way"}


class Sum(Protocol):
    """What some calls have cost, and what is uncertain about it."""

    @property
    def cost(self) -> Decimal: ...
    @property
    def unpriced(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def billed_tries(self) -> int: ...
    @property
    def estimated(self) -> int: ...


class Spend:
    """What calls have cost, in groups; it shows itself as a table, with a plot where it can.

    Iterating gives the groups, each a `Spent`: `name`, `calls`, `prompt_tokens`, `cost`, …

    Args:
        rows: The groups.
        period: Which calls they are of.
        by: What the groups are.
        timeline: How the cost has come about, for the plot: read when the groups are, so that
            both tell the same whenever they are shown.

    Attributes:
        rows: The groups, the dearest first, days in their order.
        total: Their sum.
        period: `session`, `today`, `month` or `all`.
        by: `model`, `day`, `notebook` or `status`.

    Example:
        >>> spend = mixmagic.spend("month", by="day")
        >>> print(spend, spend.total.cost)
    """

    def __init__(self, rows: Sequence[Spent], period: Period, by: By, timeline: Timeline) -> None:
        self.rows = list(rows)
        self.total = total(self.rows)
        self.period = period
        self.by = by
        self._timeline = timeline
        self._about = {
            "session": "this session",
            "today": f"today ({day()})",
            "month": f"this month ({day()[:7]})",
        }.get(period, "all sessions")

    def __iter__(self) -> Iterator[Spent]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return str(self.table)

    def __repr__(self) -> str:
        return f"<Spend of {self._about}: {self.total.calls:,} calls, {spend_cost(self.rows)}>"

    @property
    def table(self) -> Table:
        """The groups and their total."""
        return spend_table(self.rows, self.by, self._about)

    def frame(self) -> pd.DataFrame:
        """The groups as a pandas DataFrame.

        Returns:
            A row for each group, without the total; days are timestamps. Money is in US dollars,
            as floats, in `cost`, `saved` and `held`; exact, as whole nanodollars, in
            `cost_nanodollars`, `saved_nanodollars` and `held_nanodollars`.

        Raises:
            MissingPackage: pandas is not installed.

        Example:
            >>> mixmagic.spend("all", by="day").frame().set_index("day").cost.cumsum()
        """
        try:
            import pandas as pd
        except ImportError:
            raise _missing("A DataFrame", "pandas") from None
        frame = pd.DataFrame(map(self._cells, self.rows), columns=self._columns)
        if self.by == "day":
            frame["day"] = pd.to_datetime(frame["day"])
        for name in MONEY:
            exact = [to_nano(getattr(row, name)) for row in self.rows]
            frame[name] = frame[name].astype(float)
            frame[f"{name}_nanodollars"] = pd.Series(exact, dtype="int64")
        return frame

    def plot(self) -> Figure:
        """The cost over time and by model, as a matplotlib Figure; pyplot is left alone.

        Raises:
            MissingPackage: matplotlib is not installed.

        Example:
            >>> mixmagic.spend("month").plot().savefig("month.pdf")
        """
        try:
            from mixmagic.display.plots import draw
        except ImportError:
            raise _missing("The plot", "matplotlib") from None
        return draw(self._timeline)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The groups as comma-separated values: a head, and a line for each, without the total.

        Money is in US dollars, to the last nanodollar. The file is written whole or not at all.

        Args:
            path: Where to write it; nowhere if `None`.

        Returns:
            The text.

        Raises:
            StoreError: The file cannot be written; what was there before stays.

        Example:
            >>> mixmagic.spend("all", by="notebook").to_csv("notebooks.csv")
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._columns)
        for row in self.rows:
            writer.writerow(
                f"{cell:f}" if isinstance(cell, Decimal) else cell for cell in self._cells(row)
            )
        if path is not None:
            _write(Path(path), text.getvalue())
        return text.getvalue()

    @functools.cached_property
    def picture(self) -> str:
        """The plot as SVG; nothing where there is nothing to plot, or no matplotlib that works."""
        if not self.total.cost or not _installed("matplotlib"):
            return ""
        logger, quiet = logging.getLogger("matplotlib"), logging.NullHandler()
        logger.addHandler(quiet)  # what it says of its caches belongs into no cell
        try:
            from mixmagic.display import plots

            return plots.svg(plots.draw(self._timeline))
        except Exception:  # noqa: BLE001  # whatever ails matplotlib, the table is to be shown
            return ""
        finally:
            logger.removeHandler(quiet)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle = self.table._repr_mimebundle_()
        return bundle | {"text/html": bundle["text/html"] + self.picture}

    @property
    def _columns(self) -> list[str]:
        """The names of a group's figures."""
        return [self.by, *Spent.__slots__[1:]]

    def _cells(self, row: Spent) -> list[Any]:
        """A group's figures."""
        return [getattr(row, name) for name in Spent.__slots__]


def spend(session: Session, period: str = "session", by: str = "model") -> Spend:
    """What calls have cost, in groups; calls of processes that are no more are found first.

    Args:
        session: Whose ledger is read.
        period: `session`, `today`, `month` or `all`.
        by: `model`, `day`, `notebook` or `status`.

    Raises:
        BadArguments: There is no such period or grouping.
        StoreError: The ledger cannot be read.
    """
    chosen = cast("Period", _known("period", period, get_args(Period)))
    grouped = cast("By", _known("grouping", by, get_args(By)))
    ledger = session.ledger
    sweep(session)
    rows = ledger.spent(chosen, grouped)
    return Spend(rows, chosen, grouped, timeline(ledger.database, ledger.session, chosen))


def spend_table(spent: Sequence[Spent], by: By, about: str) -> Table:
    """What groups of calls have cost, and in all; columns that would be empty are left out.

    Args:
        spent: The groups.
        by: What they are.
        about: Which calls they are of, in a few words.
    """
    everything, costs = total(spent), costs_with_total(spent)
    savings = format_column([*(row.saved for row in spent), everything.saved])
    sometimes = [name for name in _SOMETIMES if getattr(everything, name)]
    cached, saved = everything.cached_tokens > 0, any(row.saved for row in spent)

    def cells(name: str, row: Spent, cost: str, saving: str) -> list[str]:
        return [
            name,
            *(f"{getattr(row, count):,}" for count in ["calls", *sometimes]),
            f"{row.prompt_tokens:,}",
            *[f"{row.cached_tokens:,}"] * cached,
            f"{row.completion_tokens:,}",
            cost,
            *[saving] * saved,
        ]

    counts = ["calls>", *(f"{_SOMETIMES[name]}>" for name in sometimes), "tokens in>"]
    counts += ["cached>"] * cached + ["tokens out>", "cost>"] + ["saved>"] * saved
    *rows, foot = map(
        cells,
        [*(row.name or f"no {by} known" for row in spent), "total"],
        [*spent, everything],
        costs,
        savings,
    )
    notes = [about, *_spend_notes(everything, "".join(costs))]
    return Table([by, *counts], rows, " · ".join(notes), foot)


def spend_cost(spent: Sequence[Spent]) -> str:
    """What groups of calls have cost in all, with what is uncertain about it."""
    return costs_with_total(spent)[-1]


def costs_with_total(sums: Sequence[Sum]) -> list[str]:
    """What each of the groups has cost and, last, all of them, with marks of what is uncertain."""
    marks = [_marks(each) for each in sums]
    marks.append("".join(marks))
    costs = [*(each.cost for each in sums), exact_sum(each.cost for each in sums)]
    unknown = ["≥" in said and not cost for said, cost in zip(marks, costs, strict=True)]
    shown = format_column([None if no else cost for no, cost in zip(unknown, costs, strict=True)])
    return [
        cost if no else _bound(said) + cost
        for no, said, cost in zip(unknown, marks, shown, strict=True)
    ]


def _marks(row: Sum) -> str:
    """What is uncertain about what a group of calls has cost."""
    about = "≤" * bool(row.lost or row.billed_tries) + "≈" * bool(row.estimated)
    return "≥" * bool(row.unpriced) + about * bool(row.cost)


def _bound(marks: str) -> str:
    """Marks as they stand before a sum: it is no upper bound where it is a lower one."""
    bound = "≥ " if "≥" in marks else "≤ " if "≤" in marks else ""
    return bound + "≈ " * ("≈" in marks)


def _spend_notes(everything: Spent, shown: str) -> Iterator[str]:
    """What should be known of the costs that are shown."""
    if "≥" in shown:
        yield "≥: some calls have no known price"
    if everything.lost and everything.cost:
        mark = "≤: " if "≤" in shown else ""
        yield f"{mark}lost calls are counted at their most (`spend --resolve` settles them)"
    if everything.billed_tries and everything.cost:
        tries = "1 try" if everything.billed_tries == 1 else f"{everything.billed_tries:,} tries"
        mark = "≤: " if "≤" in shown else ""
        yield f"{mark}{tries} may have been billed (`spend --resolve` settles them)"
    if "≈" in shown:
        yield "≈: some tokens are estimated"
    if everything.held:
        open_calls = {0: "jobs", 1: "the call under way"}
        calls = open_calls.get(everything.open, f"the {everything.open:,} calls under way")
        yield f"{format_column([everything.held])[0]} is held for {calls}"
    if everything.saved < 0:
        yield "saved below $0: cached tokens cost more than others"


def sweep(session: Session) -> None:
    """Find the calls of processes that are no more, where the ledger can be written."""
    try:
        session.ledger.sweep()
    except StoreDamaged:
        raise  # it says once where the file is now
    except StoreError:
        pass  # it may yet be read


def _known(kind: str, name: str, names: Sequence[str]) -> str:
    """A name that there is."""
    if name in names:
        return name
    meant = did_you_mean(str(name), names)
    raise BadArguments(f"There is no {kind} {name!r:.40}.", f"{meant}There are {', '.join(names)}.")


def _installed(package: str) -> bool:
    """Whether a package is there; it is not imported."""
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(package) is not None
    return False


def _missing(what: str, package: str) -> MissingPackage:
    return MissingPackage(
        f"{what} needs {package}, which is not installed.", 'Run `pip install "mixmagic[data]"`.'
    )


def _write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    try:
        files.write(path, text, newline="")
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}.",
            "Check the folder, its permissions and the disk's free space.",
        ) from None

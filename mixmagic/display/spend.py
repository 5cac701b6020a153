"""The cost of calls as a table, a plot, a DataFrame or a CSV file."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, cast, get_args

from mixmagic.core.money import exact_sum, format_column, format_dollars
from mixmagic.display.records import csv_text, frame, missing_package
from mixmagic.errors import BadArguments, counted, did_you_mean
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
from mixmagic.text.table import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from mixmagic.sessions import Session


# Columns of `spend_table` that are left out if they are 0 everywhere; `?` as for a `Table`.
_SOMETIMES = {
    "stopped": "stopped?",
    "failed": "failed",
    "lost": "lost",
    "unpriced": "unpriced",
    "open": "running?",
}
# Fields of a group in a DataFrame and in CSV, and their names there.
_FIELDS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "cost", "saved",
           "held", "open", "stopped", "failed", "lost", "unpriced", "estimated",
           "billed_tries")  # fmt: skip
_NAMES = {"held": "reserved", "open": "running"}


class Sum(Protocol):
    """The cost of some calls, with counts of what makes it uncertain."""

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
    """The cost of calls in groups: a table, in a notebook with a plot.

    Iterating gives the groups, each a `Spent`: `name`, `calls`, `prompt_tokens`, `cost`, …

    Attributes:
        rows: The groups, most expensive first; days in their order.
        total: Their sum.
        period: `session`, `notebook`, `today`, `month` or `all`.
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
        self._about = about(period)

    def __iter__(self) -> Iterator[Spent]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return str(self.table)

    def __repr__(self) -> str:
        calls = counted(self.total.calls, "call")
        return f"<Spend of {self._about}: {calls}, {spend_cost(self.rows)}>"

    @property
    def table(self) -> Table:
        """The groups and their total."""
        return spend_table(self.rows, self.by, self._about)

    def frame(self) -> pd.DataFrame:
        """Return the groups as a pandas DataFrame.

        Returns:
            A row for each group, without the total; days are timestamps. Money is in US dollars, as
            floats: `cost`, `saved`, and `reserved` for calls under way.

        Raises:
            MissingPackage: pandas is not installed.

        Example:
            >>> mixmagic.spend("all", by="day").frame().set_index("day").cost.cumsum()
        """
        made = frame(self._columns, map(self._cells, self.rows), days="day")
        money = [_NAMES.get(name, name) for name in MONEY]
        return made.astype(dict.fromkeys(money, float))

    def plot(self) -> Figure:
        """Return a matplotlib Figure of the cost over time and by model, without pyplot.

        Raises:
            MissingPackage: matplotlib is not installed.

        Example:
            >>> mixmagic.spend("month").plot().savefig("month.pdf")
        """
        try:
            from mixmagic.display.plots import draw
        except ImportError:
            raise missing_package("The plot", "matplotlib") from None
        return draw(self._timeline)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the groups as comma-separated values with a header, without the total.

        Money is in US dollars, exact to the nanodollar. The file is replaced atomically.

        Args:
            path: The file to write; `None` for none.

        Returns:
            The text.

        Raises:
            StoreError: The file cannot be written; an earlier one stays as it was.

        Example:
            >>> mixmagic.spend("all", by="notebook").to_csv("notebooks.csv")
        """
        return csv_text(self._columns, map(self._cells, self.rows), path)

    @functools.cached_property
    def picture(self) -> str:
        """The plot as SVG; empty if there is no cost, or no working matplotlib."""
        if not self.total.cost or not _installed("matplotlib"):
            return ""
        logger, quiet = logging.getLogger("matplotlib"), logging.NullHandler()
        logger.addHandler(quiet)  # its messages about caches do not belong into a cell
        try:
            from mixmagic.display import plots

            return plots.svg(plots.draw(self._timeline))
        except Exception:  # noqa: BLE001  # the table is shown even if matplotlib is broken
            return ""
        finally:
            logger.removeHandler(quiet)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle = self.table._repr_mimebundle_()
        return bundle | {"text/html": bundle["text/html"] + self.picture}

    @property
    def _columns(self) -> list[str]:
        """Names of the fields of a group."""
        return [self.by, *(_NAMES.get(name, name) for name in _FIELDS)]

    def _cells(self, row: Spent) -> list[Any]:
        """Return the fields of a group."""
        return [row.name, *(getattr(row, name) for name in _FIELDS)]


def read_spend(session: Session, period: str = "session", by: str = "model") -> Spend:
    """Return the cost of calls in groups, after finding calls of processes that have exited.

    Args:
        session: The session, with the ledger.
        period: `session`, `notebook`, `today`, `month` or `all`.
        by: `model`, `day`, `notebook` or `status`.

    Raises:
        BadArguments: There is no such period or grouping.
        StoreError: The ledger cannot be read.
    """
    chosen = chosen_period(period)
    grouped = cast("By", _one_of("grouping", by, get_args(By)))
    ledger = session.ledger
    ledger.sweep_if_writable()
    short_name = session.catalog.short_name
    notebook = path_of_notebook(session, chosen)
    rows = ledger.spent(chosen, grouped, notebook=notebook)
    drawn = timeline(ledger.database, ledger.session, chosen, grouped, notebook)
    if grouped == "model":
        rows = [replace(row, name=short_name(row.name)) for row in rows]
    if drawn.by == "model":
        groups = [(short_name(name), cost) for name, cost in drawn.groups]
        days = [(when, short_name(name), cost) for when, name, cost in drawn.days]
        drawn = replace(drawn, groups=groups, days=days)
    return Spend(rows, chosen, grouped, drawn)


def chosen_period(period: str) -> Period:
    """Return a period; raise `BadArguments` if there is no such one."""
    return cast("Period", _one_of("period", period, get_args(Period)))


def about(period: Period) -> str:
    """Return a period in words."""
    words = {
        "session": "this session",
        "notebook": "this notebook, in all sessions",
        "today": f"today ({day()})",
        "month": f"this month ({day()[:7]})",
    }
    return words.get(period, "all sessions")


def path_of_notebook(session: Session, period: Period) -> str:
    """Return the notebook's path, if that is the period, and nothing otherwise.

    Raises:
        BadArguments: Its path is not known.
    """
    if period != "notebook":
        return ""
    if session.notebook is None:
        raise BadArguments(
            "This notebook's path is not known.", "`spend --by notebook` lists those that are."
        )
    return session.notebook


def spend_table(spent: Sequence[Spent], by: By, about: str) -> Table:
    """Return the table of the cost of groups of calls and its total, without empty columns."""
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
    counts += ["cached?>"] * cached + ["tokens out>", "cost>"] + ["saved?>"] * saved
    *rows, foot = map(
        cells,
        [*(row.name or f"no {by} known" for row in spent), "total"],
        [*spent, everything],
        costs,
        savings,
    )
    notes = [about if spent else f"No calls: {about}.", *_spend_notes(everything, "".join(costs))]
    return Table([by, *counts], rows, " · ".join(notes), foot)


def spend_cost(spent: Sequence[Spent]) -> str:
    """Return the total cost of groups of calls, with its sign of uncertainty."""
    return costs_with_total(spent)[-1]


def costs_with_total(sums: Sequence[Sum]) -> list[str]:
    """Return the cost of each group and, last, the total, each with one sign of uncertainty.

    Calls without a known price are not in it; if a group has no others, its price is unknown.
    """
    signs = [_sign(row) for row in sums]
    signs.append(next((sign for sign in "≈≤" if sign in signs), ""))
    costs: list[Decimal | None] = [row.cost or (None if row.unpriced else row.cost) for row in sums]
    known = [cost for cost in costs if cost is not None]
    costs.append(exact_sum(known) if known or not costs else None)
    texts = format_column(costs)
    return [
        f"{sign} {text}" if sign and cost else text
        for sign, cost, text in zip(signs, costs, texts, strict=True)
    ]


def _sign(row: Sum) -> str:
    """Return the sign of what makes the cost of a group uncertain; an estimate limits nothing."""
    if not row.cost:
        return ""
    return "≈" if row.estimated else "≤" * bool(row.lost or row.billed_tries)


def _spend_notes(everything: Spent, costs: str) -> Iterator[str]:
    """Yield the notes below a table; `costs` is the text of its costs."""
    if everything.unpriced:
        yield "unpriced: calls whose price is not known, which the cost leaves out"
    if everything.lost and everything.cost:
        mark = "≤: " if "≤" in costs else ""
        yield f"{mark}lost calls count with their worst case (`spend --resolve` records the bill)"
    if everything.billed_tries and everything.cost:
        tries = "1 try" if everything.billed_tries == 1 else f"{everything.billed_tries:,} tries"
        mark = "≤: " if "≤" in costs else ""
        yield f"{mark}{tries} may have been billed (`spend --resolve` records the bill)"
    if "≈" in costs:
        yield "≈: some tokens are estimated"
    if everything.held:
        open_calls = {0: "jobs", 1: "the running call"}
        calls = open_calls.get(everything.open, f"the {everything.open:,} running calls")
        yield f"{format_dollars(everything.held)} is reserved for {calls}"
    if everything.saved < 0:
        yield "saved below $0: cached tokens cost more than others"


def _one_of(noun: str, name: str, names: Sequence[str]) -> str:
    """Return the name; raise `BadArguments` if it is not one of `names`."""
    if name in names:
        return name
    similar = did_you_mean(str(name), names)
    raise BadArguments(
        f"There is no {noun} {name!r:.40}.", f"{similar}There are {', '.join(names)}."
    )


def _installed(package: str) -> bool:
    """Return True if a package is installed, without importing it."""
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(package) is not None
    return False

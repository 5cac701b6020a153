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
from typing import TYPE_CHECKING, Any, cast, get_args

from mixmagic.core import files
from mixmagic.core.money import nano
from mixmagic.display.report import Table, spend_cost, spend_table
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
            exact = [nano(getattr(row, name)) for row in self.rows]
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

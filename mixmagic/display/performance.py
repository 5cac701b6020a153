"""Speed and errors of models: a table, a DataFrame or a CSV file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mixmagic.display.records import csv_text, frame
from mixmagic.display.spend import about, chosen_period, path_of_notebook
from mixmagic.store.ledger import performance
from mixmagic.text.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from mixmagic.sessions import Session

_COLUMNS = ["model", "day", "calls>", "errors>", "first token>", "p95>", "duration>", "p95>"]
_FIELDS = [
    *("model", "day", "calls", "failed", "error_rate", "first_token_s", "first_token_p95_s"),
    *("duration_s", "duration_p95_s", "tokens_per_second"),
]


class PerformanceReport:
    """Speed and errors of each model on each day.

    Attributes:
        rows: A `Performance` for each model and day.

    Example:
        >>> read_performance(mixmagic.session(), "month").frame()
    """

    def __init__(self, rows: Sequence[performance.Performance], about: str) -> None:
        self.rows = list(rows)
        self._about = about

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def table(self) -> Table:
        """A row for each model and day."""
        if not self.rows:
            return Table([], [], f"No calls: {self._about}.")
        return Table(
            [*_COLUMNS, "tokens/s>"],
            [
                [
                    *(
                        row.model,
                        row.day,
                        f"{row.calls:,}",
                        f"{row.error_rate:.1%}" if row.failed else "0%",
                    ),
                    *map(_seconds, _times(row)),
                    "" if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}",
                ]
                for row in self.rows
            ],
            f"{self._about} · medians; p95: 95 of 100 calls took no longer · errors: share of the"
            " calls that failed",
        )

    def frame(self) -> pd.DataFrame:
        """Return a pandas DataFrame; times are in seconds, `error_rate` is from 0 to 1.

        Raises:
            MissingPackage: pandas is not installed.
        """
        return frame(_FIELDS, map(_cells, self.rows), days="day")

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return comma-separated values with a header; write them to a file, if one is given.

        Raises:
            StoreError: The file cannot be written; an earlier one stays as it was.
        """
        return csv_text(_FIELDS, map(_cells, self.rows), path)


def read_performance(session: Session, period: str = "session") -> PerformanceReport:
    """Return the performance of each model on each day of a period.

    Args:
        session: The session, with the ledger.
        period: `session`, `notebook`, `today`, `month` or `all`.

    Raises:
        BadArguments: There is no such period, or the notebook is not known.
        StoreError: The ledger cannot be read.
    """
    chosen = chosen_period(period)
    ledger, short_name = session.ledger, session.catalog.short_name
    notebook = path_of_notebook(session, chosen)
    rows = performance.performance(ledger.database, ledger.session, chosen, notebook)
    return PerformanceReport(
        [replace(row, model=short_name(row.model)) for row in rows], about(chosen)
    )


def _cells(row: performance.Performance) -> list[Any]:
    return [
        *(row.model, row.day, row.calls, row.failed, round(row.error_rate, 4)),
        *map(_rounded, _times(row)),
        _rounded(row.tokens_per_second),
    ]


def _times(row: performance.Performance) -> tuple[float | None, ...]:
    return row.first_token, row.first_token_p95, row.duration, row.duration_p95


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f} s"

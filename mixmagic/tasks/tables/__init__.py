"""Tables of any kind, as rows to ask about, and the results in the same kind.

May import `structured`, `core` and `errors`; `tasks` imports it. To add a kind of table: one class
with the methods of `Table`, and a branch in `table`. No table library is imported unless the user's
value is of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mixmagic.errors import BadArguments
from mixmagic.tasks.tables.columns import Columns


class Table(Protocol):
    """Rows to ask about.

    Attributes:
        columns: The names that a prompt can use: unique texts.
        described: The rows in words, such as `5,000 rows`.
        length: The number of rows.
        saved: The names of the columns that are written to a file with the results.
        path: The file that the rows are read from; `None` if they are not in a file.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def described(self) -> str: ...

    @property
    def length(self) -> int: ...

    @property
    def saved(self) -> tuple[str, ...]: ...

    @property
    def path(self) -> Path | None: ...

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Yield some columns of each row, also of `saved`; several can read them at once."""

    def take(self, positions: Sequence[int]) -> Table:
        """Return some of the rows, in this order, as a table in memory."""

    def types(self) -> list[Any]:
        """Return the types of the saved columns in Arrow."""

    def result(self, values: Sequence[Any], columns: Columns) -> Any:
        """Return results in the kind of this table: same order, same index.

        Args:
            values: A text, a JSON value or `None` for each row.
            columns: The columns that the values are split into.
        """


def table(source: Any) -> Table:
    """Return rows as a table.

    Args:
        source: A Series or DataFrame of pandas or polars, a LazyFrame, a Table of pyarrow, the path
            of a file, or an iterable of texts or of dicts.

    Raises:
        BadArguments: It has no rows that can be read.
        MissingPackage: Reading it needs a package that is not installed.

    Example:
        >>> table(["good", "bad"]).columns
        ('text',)
    """
    pandas, polars, pyarrow = (sys.modules.get(name) for name in ("pandas", "polars", "pyarrow"))
    if pandas is not None and isinstance(source, pandas.Series | pandas.DataFrame):
        from mixmagic.tasks.tables import pandas_tables

        return pandas_tables.table(source)
    if polars is not None and isinstance(
        source, polars.Series | polars.DataFrame | polars.LazyFrame
    ):
        from mixmagic.tasks.tables import polars_tables

        return polars_tables.table(source)
    if pyarrow is not None and isinstance(
        source, pyarrow.Table | pyarrow.RecordBatch | pyarrow.Array | pyarrow.ChunkedArray
    ):
        from mixmagic.tasks.tables import arrow_tables

        return arrow_tables.table(source)
    if isinstance(source, str | os.PathLike):
        from mixmagic.tasks.tables import files

        return files.table(source)
    if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | Mapping):
        from mixmagic.tasks.tables import items

        return items.table(source)
    raise BadArguments(
        f"The rows cannot be {source!r:.60}.",
        "They are a Series, a DataFrame, the path of a file, or a list of texts or dicts.",
    )

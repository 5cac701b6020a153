"""Series, DataFrames and LazyFrames of polars."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mixmagic.errors import counted
from mixmagic.tasks.tables.columns import Column, Columns, as_text, in_utc, unique
from mixmagic.tasks.tables.items import TEXT

# Rows of a LazyFrame that are in memory at once.
_AT_ONCE = 2048


def table(source: Any) -> PolarsTable:
    """Return a Series, a DataFrame or a LazyFrame as a table.

    A LazyFrame is computed once, into a temporary file.

    Example:
        >>> table(pl.DataFrame({"a": [1]}).lazy()).columns
        ('a',)
    """
    import polars as pl

    if isinstance(source, pl.Series):
        names = tuple(dict.fromkeys([TEXT, *unique([source.name or TEXT])]))
        return PolarsTable(source.to_frame(), dict.fromkeys(names, source.name))
    if isinstance(source, pl.LazyFrame):
        source = _computed(source)
    return PolarsTable(source, {name: name for name in source.collect_schema().names()})


class PolarsTable:
    """A DataFrame, or a LazyFrame that reads a file.

    Args:
        frame: The rows.
        names: For each column of the table, that of the frame.
    """

    def __init__(self, frame: Any, names: Mapping[str, str]) -> None:
        import polars as pl

        self._frame, self._names, self.columns = frame, names, tuple(names)
        own = dict(zip(names.values(), names, strict=True))  # the last of two for one column
        self.saved, self.path = tuple(own.values()), None
        self._is_lazy = isinstance(frame, pl.LazyFrame)
        self.length = frame.select(pl.len()).collect().item() if self._is_lazy else len(frame)
        self.described = counted(self.length, "row")

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        own = [self._names[name] for name in names]
        chosen = self._frame.select(list(dict.fromkeys(own)))
        for start in range(0, self.length, _AT_ONCE):
            part = chosen.slice(start, _AT_ONCE)
            part = part.collect() if self._is_lazy else part
            for row in part.iter_rows(named=True):
                yield {name: row[mine] for name, mine in zip(names, own, strict=True)}

    def take(self, positions: Sequence[int]) -> PolarsTable:
        if not self._is_lazy:
            return PolarsTable(self._frame[list(positions)], self._names)
        import polars as pl

        parts = [self._frame.slice(position, 1) for position in positions]
        taken = pl.concat(parts) if parts else self._frame.head(0)
        return PolarsTable(taken.collect(), self._names)

    def types(self) -> list[Any]:
        import polars as pl
        import pyarrow as pa

        from mixmagic.tasks.tables.arrow_tables import simple

        def of(name: str) -> Any:
            if part[name].dtype == pl.Object:
                return pa.string()
            try:
                return simple(part[name].to_arrow().type)
            except (TypeError, ValueError, pl.exceptions.PolarsError, pa.ArrowException):
                return pa.string()

        part = self._frame.head(0).lazy().collect()
        return [of(self._names[name]) for name in self.saved]

    def result(self, values: Sequence[Any], columns: Columns) -> Any:
        import polars as pl

        found = [_series(column, cells) for column, cells in columns.split(values)]
        return pl.DataFrame(found) if columns.are_fields else found[0]


def _computed(frame: Any) -> Any:
    """Return a LazyFrame that reads the rows of another one from a file, which ends with it."""
    import polars as pl

    descriptor, name = tempfile.mkstemp(suffix=".parquet")
    os.close(descriptor)
    path = Path(name)
    try:
        frame.sink_parquet(path)
        found = pl.scan_parquet(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    weakref.finalize(found, path.unlink, missing_ok=True)
    return found


def _series(column: Column, cells: list[Any]) -> Any:
    """Return the cells of a column as a Series of its type; as texts, if one does not fit."""
    import polars as pl

    dtypes = [_dtype(column)]
    if column.kind == "integer" and hasattr(pl, "Int128"):
        dtypes.append(pl.Int128)
    for dtype in dtypes:
        try:
            column.check(cells)
            given = cells
            if column.kind == "datetime" and (utc := in_utc(cells)):
                given, dtype = utc, pl.Datetime("us", "UTC")  # noqa: PLW2901  # of these cells
            return pl.Series(column.name, given, dtype)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            continue
    return pl.Series(column.name, [as_text(cell) for cell in cells], pl.String)


def _dtype(column: Column) -> Any:
    """Return the type of a column in polars."""
    import polars as pl

    if column.kind == "enum":
        return pl.Enum(column.choices)
    if column.kind == "list":
        return pl.List(_inner(column.inner[0]))
    if column.kind == "object":
        return pl.Struct({field.name: _inner(field) for field in column.inner})
    types: Mapping[str, Callable[[], Any]] = {
        "integer": pl.Int64, "number": pl.Float64, "boolean": pl.Boolean, "date": pl.Date,
        "datetime": pl.Datetime, "time": pl.Time, "decimal": pl.Decimal,
    }  # fmt: skip
    return types.get(column.kind, pl.String)


def _inner(column: Column) -> Any:
    """Return the type of cells inside of others, which are JSON values."""
    import polars as pl

    return _dtype(column) if column.is_json else pl.String

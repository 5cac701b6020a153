"""Series and DataFrames of pandas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mixmagic.errors import counted
from mixmagic.tasks.tables.columns import Column, Columns, Kind, in_utc, unique
from mixmagic.tasks.tables.items import TEXT

# pandas' dtypes, which have a missing value.
_DTYPES: Mapping[Kind, str] = {
    "integer": "Int64", "number": "Float64", "boolean": "boolean", "string": "string",
    "date": "datetime64[us]",
}  # fmt: skip


def table(source: Any) -> PandasSeries | PandasFrame:
    """Return a Series or a DataFrame as a table.

    Example:
        >>> table(pd.DataFrame({("a", "b"): [1]})).columns
        ('a_b',)
    """
    return PandasSeries(source) if source.ndim == 1 else PandasFrame(source)


class PandasSeries:
    """A Series: its values are the column `text`, and one of the Series' own name."""

    def __init__(self, series: Any) -> None:
        self._series = series
        own = () if series.name is None else unique([series.name])
        self.columns = tuple(dict.fromkeys([TEXT, *own]))
        self.length, self.described = len(series), counted(len(series), "row")

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        return (dict.fromkeys(names, value) for value in self._series)

    def take(self, positions: Sequence[int]) -> PandasSeries:
        return PandasSeries(self._series.iloc[list(positions)])

    def result(self, values: Sequence[Any], columns: Columns) -> Any:
        return result(values, columns, self._series.index)


class PandasFrame:
    """A DataFrame."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.columns = unique(frame.columns)
        self.length, self.described = len(frame), counted(len(frame), "row")

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        columns = [self._frame.iloc[:, self.columns.index(name)] for name in names]
        return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))

    def take(self, positions: Sequence[int]) -> PandasFrame:
        return PandasFrame(self._frame.iloc[list(positions)])

    def result(self, values: Sequence[Any], columns: Columns) -> Any:
        return result(values, columns, self._frame.index)


def result(values: Sequence[Any], columns: Columns, index: Any = None) -> Any:
    """Return a Series of whole answers, or a DataFrame with a column for each field."""
    import pandas as pd

    found = {column.name: _series(column, cells, index) for column, cells in columns.split(values)}
    return pd.DataFrame(found, index=index) if columns.are_fields else next(iter(found.values()))


def _series(column: Column, cells: list[Any], index: Any) -> Any:
    """Return the cells of a column as a Series of its type; of objects, if one does not fit."""
    import pandas as pd

    dtype: Any = _DTYPES.get(column.kind, "object")
    given: Sequence[Any] = cells
    try:
        if column.kind == "enum":
            _check(cells, column.choices)
            dtype = pd.CategoricalDtype(column.choices)
        elif column.kind == "datetime":
            utc = in_utc(cells)
            given, dtype = utc or cells, "datetime64[us, UTC]" if utc else "datetime64[us]"
        return pd.Series(given, index=index, name=column.name, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        return pd.Series(cells, index=index, name=column.name, dtype="object")


def _check(cells: Sequence[Any], choices: Sequence[str]) -> None:
    """Raise `ValueError` for a cell that is not one of the choices: it would be missing."""
    known = {None, *choices}
    if not all(isinstance(cell, str | None) and cell in known for cell in cells):
        raise ValueError

"""Rows of any kind of table, and results in the same kind: pandas, lists.

No table library is imported unless the user's value is of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from mixmagic.errors import BadArguments, counted

# The name of the only column of a list or a Series, besides the Series' own.
TEXT = "text"
# The name of the results of a prompt without a schema.
ANSWER = "answer"
# pandas' dtypes, which have a missing value, by JSON Schema's types.
_DTYPES = {"integer": "Int64", "number": "Float64", "boolean": "boolean", "string": "string"}


class Table(Protocol):
    """Rows to ask about.

    Attributes:
        columns: The names that a prompt can use.
        described: The rows in words, such as `5,000 rows`.
        length: The number of rows; `None` if unknown.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def described(self) -> str: ...

    @property
    def length(self) -> int | None: ...

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Yield some columns of each row; the table can be read several times."""

    def take(self, positions: Sequence[int]) -> Table:
        """Return some of the rows, in this order, as a table in memory."""

    def result(self, values: Sequence[Any], fields: Mapping[str, Any] | None) -> Any:
        """Return results in the kind of this table: same order, same index.

        Args:
            values: A text, a JSON value or `None` for each row; dicts if there are fields.
            fields: The JSON Schemas of the columns of the result; `None` if it is one column.
        """


def table(source: Any) -> Table:
    """Return rows as a table.

    Args:
        source: A pandas Series or DataFrame, or an iterable of texts or of dicts.

    Raises:
        BadArguments: It has no rows to read.

    Example:
        >>> table(["good", "bad"]).columns
        ('text',)
    """
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(source, pandas.Series):
        return _PandasSeries(source)
    if pandas is not None and isinstance(source, pandas.DataFrame):
        return _PandasFrame(source)
    if isinstance(source, Iterable) and not isinstance(source, str | bytes | Mapping):
        return _Items(list(source))
    raise BadArguments(
        f"The rows cannot be {source!r:.60}.",
        "They are a Series, a DataFrame, or a list of texts or dicts.",
    )


class _Items:
    """A list of texts, or of dicts."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items
        self._are_dicts = bool(items) and all(isinstance(item, Mapping) for item in items)
        names = dict.fromkeys(name for item in items for name in item) if self._are_dicts else {}
        self.columns = tuple(map(str, names)) or (TEXT,)
        self.length, self.described = len(items), counted(len(items), "row")

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        for item in self._items:
            yield {n: item.get(n) for n in names} if self._are_dicts else dict.fromkeys(names, item)

    def take(self, positions: Sequence[int]) -> _Items:
        return _Items([self._items[position] for position in positions])

    def result(self, values: Sequence[Any], fields: Mapping[str, Any] | None) -> list[Any]:
        return list(values)


class _PandasSeries:
    """A Series of pandas."""

    def __init__(self, series: Any) -> None:
        self._series = series
        own = (series.name,) if isinstance(series.name, str) and series.name != TEXT else ()
        self.columns = (TEXT, *own)
        self.length, self.described = len(series), counted(len(series), "row")

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        return (dict.fromkeys(names, value) for value in self._series)

    def take(self, positions: Sequence[int]) -> _PandasSeries:
        return _PandasSeries(self._series.iloc[list(positions)])

    def result(self, values: Sequence[Any], fields: Mapping[str, Any] | None) -> Any:
        return _pandas_result(values, fields, self._series.index)


class _PandasFrame:
    """A DataFrame of pandas."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.columns = tuple(map(str, frame.columns))
        self.length, self.described = len(frame), counted(len(frame), "row")

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        columns = [self._frame.iloc[:, self.columns.index(name)] for name in names]
        return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))

    def take(self, positions: Sequence[int]) -> _PandasFrame:
        return _PandasFrame(self._frame.iloc[list(positions)])

    def result(self, values: Sequence[Any], fields: Mapping[str, Any] | None) -> Any:
        return _pandas_result(values, fields, self._frame.index)


def _pandas_result(values: Sequence[Any], fields: Mapping[str, Any] | None, index: Any) -> Any:
    """Return a Series of texts or values, or a DataFrame with a column for each field."""
    import pandas as pd

    def column(cells: Sequence[Any], schema: Mapping[str, Any], name: str) -> Any:
        dtype = _DTYPES.get(_type_of(schema), "object")
        try:
            return pd.Series(list(cells), index=index, name=name, dtype=dtype)
        except (TypeError, ValueError, OverflowError):  # a value that the dtype cannot have
            return pd.Series(list(cells), index=index, name=name, dtype="object")

    if fields is None:
        return column(values, {"type": "string"}, ANSWER)
    cells = {
        name: [value.get(name) if isinstance(value, Mapping) else None for value in values]
        for name in fields
    }
    columns = {name: column(cells[name], schema, name) for name, schema in fields.items()}
    return pd.DataFrame(columns, index=index)


def _type_of(schema: Mapping[str, Any]) -> str:
    """Return the type of a column by its JSON Schema; empty if it has several."""
    kinds = schema.get("type")
    if isinstance(kinds, list):
        kinds = [kind for kind in kinds if kind != "null"]
        kinds = kinds[0] if len(kinds) == 1 else ""
    if kinds is None and "enum" in schema:
        kinds = "string" if all(isinstance(value, str) for value in schema["enum"]) else ""
    return kinds or ""

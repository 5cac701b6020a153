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


def table(source: Any) -> PandasTable:
    """Return a Series or a DataFrame as a table.

    The values of a Series are the column `text`, and one of the Series' own name.

    Example:
        >>> table(pd.DataFrame({("a", "b"): [1]})).columns
        ('a_b',)
    """
    if source.ndim == 1:
        own = () if source.name is None else unique([source.name])
        names = tuple(dict.fromkeys([TEXT, *own]))
        return PandasTable(source, dict.fromkeys(names, source), names[-1:])
    names = unique(source.columns)
    columns = {name: source.iloc[:, place] for place, name in enumerate(names)}
    return PandasTable(source, columns, names)


class PandasTable:
    """A Series or a DataFrame.

    Its index is saved with its columns, but for plain numbers without a name.

    Args:
        source: The Series or DataFrame.
        columns: The names of its columns, each with its values.
        saved: The names of those that are written to a file.
    """

    def __init__(self, source: Any, columns: Mapping[str, Any], saved: Sequence[str]) -> None:
        import pandas as pd

        self._source, self._values = source, dict(columns)
        self.columns, self.path = tuple(columns), None
        index, levels = source.index, []
        if index.nlevels > 1 or index.name is not None or not pd.api.types.is_integer_dtype(index):
            names = [name or f"index_{n}" for n, name in enumerate(index.names)]
            names = names if index.nlevels > 1 else [index.name or "index"]
            levels = list(unique([*columns, *names])[len(columns) :])
            self._values |= {
                name: index.get_level_values(level) for level, name in enumerate(levels)
            }
        self.saved = (*levels, *saved)
        self.length, self.described = len(source), counted(len(source), "row")

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        columns = [self._values[name] for name in names]
        return (dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True))

    def take(self, positions: Sequence[int]) -> PandasTable:
        return table(self._source.iloc[list(positions)])

    def types(self) -> list[Any]:
        from mixmagic.tasks.tables.arrow_tables import Kinds, simple

        def of(values: Any) -> Any:
            import pyarrow as pa

            if values.dtype == object:
                kinds = Kinds()
                for cell in values:
                    kinds.add(cell)
                return kinds.type
            try:
                return simple(pa.array(values[:0], from_pandas=True).type)
            except (TypeError, ValueError, pa.ArrowException):
                return pa.string()

        return [of(self._values[name]) for name in self.saved]

    def result(self, values: Sequence[Any], columns: Columns) -> Any:
        return result(values, columns, self._source.index)


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
        column.check(cells)
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

"""Tables of pyarrow, and the types of columns in Arrow."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mixmagic.errors import counted
from mixmagic.prompting.rows import is_missing
from mixmagic.tasks.tables.columns import Column, Columns, as_text, in_utc, unique
from mixmagic.tasks.tables.items import TEXT

# Rows whose values are in memory at once.
_AT_ONCE = 1024


def table(source: Any) -> ArrowTable:
    """Return a Table, a RecordBatch or a column as a table.

    Example:
        >>> table(pa.table({"a": [1]})).columns
        ('a',)
    """
    import pyarrow as pa

    if isinstance(source, pa.Array | pa.ChunkedArray):
        source = pa.table({TEXT: source})
    return ArrowTable(source if isinstance(source, pa.Table) else pa.Table.from_batches([source]))


class ArrowTable:
    """A Table."""

    def __init__(self, source: Any) -> None:
        self._table = source
        self.columns = unique(source.column_names)
        self.saved, self.path = self.columns, None
        self.length, self.described = source.num_rows, counted(source.num_rows, "row")

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        chosen = self._table.select([self.columns.index(name) for name in names])
        yield from rows_of(chosen.to_batches(_AT_ONCE), names)

    def take(self, positions: Sequence[int]) -> ArrowTable:
        return ArrowTable(self._table.take(list(positions)))

    def types(self) -> list[Any]:
        return [simple(type_) for type_ in self._table.schema.types]

    def result(self, values: Sequence[Any], columns: Columns) -> Any:
        import pyarrow as pa

        found = {column.name: _array(column, cells) for column, cells in columns.split(values)}
        return pa.table(found)


def rows_of(batches: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of batches as dicts, given the names of the columns."""
    for batch in batches:
        columns = [column.to_pylist() for column in batch.columns]
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))


def _array(column: Column, cells: list[Any]) -> Any:
    """Return the cells of a column as an array of its type; as texts, if one does not fit."""
    import pyarrow as pa

    types = [arrow_type(column)]
    if column.kind == "integer":
        types.append(pa.decimal128(38, 0))
    elif column.kind in ("datetime", "decimal"):
        types = [None]  # that of the cells
    for type_ in types:
        with contextlib.suppress(TypeError, ValueError, OverflowError, pa.ArrowException):
            given = in_utc(cells) or cells if column.kind == "datetime" else cells
            return pa.array(given, type_)
    return pa.array([as_text(cell) for cell in cells], pa.string())


def arrow_type(column: Column) -> Any:
    """Return the type of a column in Arrow; a text for cells of several types."""
    import pyarrow as pa

    if column.kind == "enum":
        return pa.dictionary(pa.int32(), pa.string())
    if column.kind == "list":
        return pa.list_(_inner(column.inner[0]))
    if column.kind == "object":
        return pa.struct([(field.name, _inner(field)) for field in column.inner])
    types = {
        "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(),
        "date": pa.date32(), "datetime": pa.timestamp("us", "UTC"), "time": pa.time64("us"),
    }  # fmt: skip
    return types.get(column.kind, pa.string())


def _inner(column: Column) -> Any:
    """Return the type of cells inside of others, which are JSON values."""
    import pyarrow as pa

    return arrow_type(column) if column.is_json and column.kind != "enum" else pa.string()


def simple(type_: Any) -> Any:
    """Return the type that values of Python of a type are written as: a text if they have none.

    Example:
        >>> simple(pa.dictionary(pa.int8(), pa.string()))
        DataType(string)
    """
    import pyarrow as pa

    if pa.types.is_dictionary(type_):
        return simple(type_.value_type)
    if isinstance(type_, pa.BaseExtensionType) or type_ == pa.null() or not _in_parquet(type_):
        return pa.string()
    return type_


def _in_parquet(type_: Any) -> bool:
    """Return True if Parquet has a type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.write_table(pa.table({"": pa.array([], type_)}), pa.BufferOutputStream())
    except pa.ArrowException:
        return False
    return True


def is_text(type_: Any) -> bool:
    """Return True for the types of texts."""
    return str(type_) in ("string", "large_string", "string_view")


class Kinds:
    """The types of the values of Python in a column.

    Example:
        >>> kinds = Kinds()
        >>> kinds.add(1)
        >>> kinds.add(2.5)
        >>> kinds.type
        DataType(double)
    """

    def __init__(self) -> None:
        self._found: set[Any] = set()

    def add(self, cell: Any) -> None:
        """Note a value."""
        kind: Any = type(cell)
        if kind is int and not -(2**63) <= cell < 2**63:
            kind = None  # written as a text, with all digits
        elif kind is datetime.datetime and cell.tzinfo is not None:
            kind = datetime.tzinfo
        if kind not in self._found and (kind is None or not is_missing(cell)):
            self._found.add(kind)

    @property
    def type(self) -> Any:
        """The type in Arrow; a text for lists, objects and a mixture of types."""
        import pyarrow as pa

        if self._found == {int, float}:
            return pa.float64()
        types = {
            bool: pa.bool_(), int: pa.int64(), float: pa.float64(), datetime.date: pa.date32(),
            datetime.datetime: pa.timestamp("us"), datetime.tzinfo: pa.timestamp("us", "UTC"),
            datetime.time: pa.time64("us"), bytes: pa.binary(),
        }  # fmt: skip
        only = [types.get(kind, pa.string()) for kind in self._found]
        return only[0] if len(only) == 1 else pa.string()

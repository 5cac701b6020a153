"""Tables and arrays of pandas, polars, pyarrow and numpy: shape, types, first rows.

Imports none of these libraries: a value of theirs can only exist if its library is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mixmagic.errors import BadArguments, counted
from mixmagic.prompting.present.opaque import braces, is_a, label
from mixmagic.prompting.present.plain import ReprWriter, plain_excerpts
from mixmagic.prompting.truncate import Excerpt

# Rows and columns of a table's excerpts, the fullest first.
_SIZES = ((20, 50), (10, 50), (5, 50), (2, 50), (2, 20), (2, 8), (0, 8))
_ROWS, _COLUMNS = _SIZES[0]
# Characters of a cell or a name; categories of a column.
_CELL, _CATEGORIES = 100, 10
# Rows in which missing values are counted: 50 columns of strings take about 1 s.
_COUNTED = 1_000_000
# Values of an array that is shown whole; values at each edge of a larger one.
_WHOLE, _EDGES = 100, (5, 3, 1)
# Values of an index or an arrow array.
_VALUES = 1_000


def data_excerpts(value: Any, name: str) -> Iterator[Excerpt] | None:
    """Return the excerpts of a DataFrame, Series, index or array; `None` for other values.

    Raises:
        BadArguments: The value is a query that has not been run; the hint says how to run it.
    """
    kind = type(value).__name__
    if is_a(value, "pandas", "DataFrame"):
        return _table_excerpts(_of_pandas(value, f"pandas {kind}: {_size(value.shape)}"))
    if is_a(value, "pandas", "Series"):
        column = "value" if value.name is None else value.name
        return _table_excerpts(
            _of_pandas(value.to_frame(column), f"pandas {kind}: {counted(len(value), 'value')}")
        )
    if is_a(value, "pandas", "Index") or is_a(value, "pandas.api.extensions", "ExtensionArray"):
        title = f"pandas {kind}: {counted(len(value), 'value')}, {value.dtype}"
        return _value_excerpts(value[:_VALUES].tolist(), len(value), title, name)
    if is_a(value, "polars", "DataFrame"):
        return _table_excerpts(_of_polars(value, f"polars {kind}: {_size(value.shape)}"))
    if is_a(value, "polars", "Series"):
        return _table_excerpts(
            _of_polars(value.to_frame(), f"polars {kind}: {counted(len(value), 'value')}")
        )
    if is_a(value, "polars", "LazyFrame"):
        raise BadArguments(
            f"`{name}` is a polars {kind}: a query that has not been run.",
            f"Write {braces(name, '{}.collect()')}.",
        )
    if is_a(value, "pyarrow", "Table") or is_a(value, "pyarrow", "RecordBatch"):
        return _table_excerpts(_of_arrow(value, f"pyarrow {kind}: {_size(value.shape)}"))
    if is_a(value, "pyarrow", "Array") or is_a(value, "pyarrow", "ChunkedArray"):
        values = counted(len(value), "value")
        title = f"pyarrow {kind}: {values}, {value.type}, {value.null_count:,} missing"
        return _value_excerpts(value.slice(0, _VALUES).to_pylist(), len(value), title, name)
    if is_a(value, "numpy", "ndarray"):
        return _array(value, name)
    return None


def _size(shape: tuple[int, int]) -> str:
    """Return the size of a table in words."""
    rows, columns = shape
    return f"{counted(rows, 'row')}, {counted(columns, 'column')}"


def _value_excerpts(first: list[Any], size: int, title: str, name: str) -> Iterator[Excerpt]:
    """Yield the title of an index or an arrow array with its first values."""
    cut = f"the first {_VALUES:,} of {size:,} values" if size > _VALUES else ""
    title = f"{title}; {cut}:" if cut else f"{title}:"
    for text, more in plain_excerpts(first, name):
        fewer = more.replace(f" of {len(first):,} items", f" of {size:,} values")
        note = fewer if fewer != more else ", ".join(filter(None, (cut, more)))
        yield Excerpt(f"{title}\n{text}", note)


def rows_excerpts(kind: str, names: list[str], rows: list[tuple[Any, ...]]) -> Iterator[Excerpt]:
    """Return the excerpts of rows of SQL, with their columns' names and the types of the values."""
    dtypes = []
    for column in range(min(len(names), _COLUMNS)):
        seen = [row[column] for row in rows[:_COUNTED]]
        found = sorted({type(item).__name__ for item in seen if item is not None})
        dtypes.append(f"{' or '.join(found) or 'unknown'}, {seen.count(None):,} missing")
    shape = len(rows), len(names)
    title = f"{kind}: {_size(shape)}"
    head = [row[:_COLUMNS] for row in rows[:_ROWS]]
    return _table_excerpts(_without_index(title, shape, names[:_COLUMNS], dtypes, head))


class _Table(NamedTuple):
    """The part of a table that is shown.

    Attributes:
        about: Lines about the whole table.
        shape: Numbers of rows and columns of the whole table.
        names: Names of the first columns.
        dtypes: Their types, with the number of missing values.
        rows: First rows, of these columns.
        levels: Names of the index's levels; empty if it only numbers the rows.
        labels: Labels of the first rows, in each level.
        cut: Notes about shortened cells.
    """

    about: list[str]
    shape: tuple[int, int]
    names: list[str]
    dtypes: list[str]
    rows: list[list[str]]
    levels: list[str]
    labels: list[list[str]]
    cut: list[str]


def _of_pandas(frame: Any, title: str) -> _Table:
    """Read a pandas DataFrame."""
    rows, columns = frame.shape
    seen = frame.iloc[:_COUNTED, :_COLUMNS]
    cells = _CellWriter()
    names = [cells.name(label) for label in seen.columns]
    dtypes = [_dtype(seen.iloc[:, index]) for index in range(len(names))]
    head = seen.iloc[:_ROWS]
    body = [list(map(cells.cell, row)) for row in head.itertuples(index=False, name=None)]
    levels = _levels(frame.index)
    labels = [
        list(map(cells.cell, label if frame.index.nlevels > 1 else (label,)))
        for label in head.index
    ]
    about = [title]
    if levels:
        about.append("Index: " + ", ".join(f"{name} ({dtype})" for name, dtype in levels))
    if rows > _COUNTED:
        about.append(f"Missing values are those of the first {_COUNTED:,} rows.")
    if not levels:
        labels = [[] for _ in body]
    level_names = [name for name, _ in levels]
    return _Table(about, (rows, columns), names, dtypes, body, level_names, labels, cells.cut)


def _of_polars(frame: Any, title: str) -> _Table:
    """Read a polars DataFrame."""
    seen = frame[:, :_COLUMNS]
    missing = seen.null_count().row(0) if seen.width else ()
    dtypes = [
        f"{dtype}, {empty:,} missing" for dtype, empty in zip(seen.dtypes, missing, strict=True)
    ]
    return _without_index(title, frame.shape, seen.columns, dtypes, seen.head(_ROWS).rows())


def _of_arrow(table: Any, title: str) -> _Table:
    """Read a pyarrow table or batch."""
    columns = table.columns[:_COLUMNS]
    dtypes = [f"{column.type}, {column.null_count:,} missing" for column in columns]
    head = [column.slice(0, _ROWS).to_pylist() for column in columns]
    names = table.schema.names[:_COLUMNS]
    return _without_index(title, table.shape, names, dtypes, zip(*head, strict=True))


def _without_index(
    title: str,
    shape: tuple[int, int],
    names: Iterable[str],
    dtypes: list[str],
    rows: Iterable[tuple[Any, ...]],
) -> _Table:
    """Return a table that has no index."""
    cells = _CellWriter()
    written = [list(map(cells.cell, row)) for row in rows]
    labels: list[list[str]] = [[] for _ in written]
    return _Table(
        [title], shape, list(map(cells.name, names)), dtypes, written, [], labels, cells.cut
    )


def _table_excerpts(table: _Table) -> Iterator[Excerpt]:
    """Yield the excerpts of a table."""
    (rows, columns), levels = table.shape, table.levels
    for most_rows, most_columns in _SIZES:
        height, width = min(rows, most_rows), min(columns, most_columns)
        lines, cut = list(table.about), []
        if width < columns:
            cut.append(f"{width} of {columns:,} columns")
            lines.append(f"Only the first {cut[-1]}:")
        columns_shown = zip(table.names, table.dtypes[:width], strict=False)
        lines += [f"- {name}: {dtype}" for name, dtype in columns_shown]
        if height < rows:
            cut.insert(0, f"{height} of {rows:,} rows")
        title = f"First {cut[0]}" if height < rows else f"All {counted(rows, 'row')}"
        if table.cut:
            cut += table.cut
            title += f" ({', '.join(table.cut)})"
        if height and (width or levels):
            lines += ["", f"{title}:", "", _row(levels + table.names[:width])]
            lines.append("|---" * (len(levels) + width) + "|")
            lines += [
                _row([*label, *row[:width]])
                for label, row in zip(table.labels, table.rows[:height], strict=False)
            ]
        yield Excerpt("\n".join(lines), ", ".join(cut))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _dtype(column: Any) -> str:
    """Return a column's dtype, its categories if any, and the number of missing values."""
    dtype = str(column.dtype)
    if dtype == "category":
        categories = column.cat.categories
        listed = ", ".join(map(_CellWriter().cell, categories[:_CATEGORIES]))
        more = ", …" if len(categories) > _CATEGORIES else ""
        dtype = f"category of {len(categories):,} ({listed}{more})"
    return f"{dtype}, {int(column.isna().sum()):,} missing"


def _levels(index: Any) -> list[tuple[str, str]]:
    """Return the name and dtype of each level of an index; none if it only numbers the rows."""
    is_range = type(index).__name__ == "RangeIndex"
    if is_range and (index.start, index.step, index.name) == (0, 1, None):
        return []
    name = _CellWriter().name
    if index.nlevels == 1:
        return [("index" if index.name is None else name(index.name), str(index.dtype))]
    return [
        (f"index {number}" if label is None else name(label), str(level.dtype))
        for number, (label, level) in enumerate(zip(index.names, index.levels, strict=True))
    ]


class _CellWriter:
    """Writes cells of a Markdown table, each on one line."""

    def __init__(self) -> None:
        self._long, self._writer = False, ReprWriter()

    @property
    def cut(self) -> list[str]:
        """Notes about shortened and failed cells."""
        long = [f"cells of {_CELL} characters"] if self._long else []
        return long + self._writer.failures

    def name(self, label: object) -> str:
        """Return a column's name; several levels are joined by `/`."""
        return " / ".join(map(self.cell, label)) if isinstance(label, tuple) else self.cell(label)

    def cell(self, value: object) -> str:
        """Return a value on one line, cut to 100 characters."""
        if isinstance(value, float):
            # Ten digits are plenty, but large numbers are often times or keys.
            text = f"{value:.{15 if abs(value) >= 1e9 else 10}g}"
        elif isinstance(value, str):
            text = value[: _CELL + 1]
        elif isinstance(value, list | tuple | dict | set | bytes):
            text = self._writer.write(value, 2 * _CELL)
        else:
            text = label(value, self._writer.convert(str, value))
        if len(text) > _CELL:
            self._long = True
            text = text[: _CELL - 1] + "…"
        return " ".join(text.split()).replace("|", "\\|")


def _array(array: Any, name: str) -> Iterator[Excerpt]:
    """Yield an array's shape and dtype with all its values, or those at its edges."""
    import numpy as np

    if array.ndim == 0:
        yield from plain_excerpts(array.item() if array.dtype == object else str(array), name)
        return
    title = f"numpy {type(array).__name__}: shape {array.shape}, {array.dtype}"
    # A sample in all dimensions would be long: it shows the first plane only.
    first = array[(0,) * (array.ndim - 2)] if array.ndim > 2 and array.size else array
    where = "" if first.size == array.size else f"[{'0, ' * (array.ndim - 2)}:, :]:\n"
    cut = "" if first.size == array.size <= _WHOLE else f"a sample of {array.size:,} values"
    for edge in _EDGES:
        writer = ReprWriter(name)

        def write(value: Any, writer: ReprWriter = writer) -> str:
            item = value.item() if isinstance(value, np.str_ | np.bytes_) else value
            return writer.write(item, _CELL)

        with np.printoptions(
            linewidth=100,
            threshold=_WHOLE,
            edgeitems=edge,
            formatter={"object": write, "numpystr": write},
        ):
            sample = str(first)
        if writer.refusal:
            raise writer.refusal
        yield Excerpt(
            f"{title}\n{where}{sample}",
            ", ".join(filter(None, (cut, writer.cut, *writer.failures))),
        )

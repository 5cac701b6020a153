"""Tables and arrays of pandas, polars, pyarrow and numpy: what they are, and their first rows.

Imports none of them: a value of theirs can only be there if it is loaded. May import `cutting`,
`presenting_opaque`, `presenting_plain` and `errors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mixmagic.errors import BadArguments
from mixmagic.prompting.present.opaque import braces, is_a
from mixmagic.prompting.present.plain import Writer
from mixmagic.prompting.present.plain import forms as plainly
from mixmagic.prompting.truncate import Shown

# Rows and columns of a table's forms, the fullest first.
_FORMS = ((20, 50), (10, 50), (5, 50), (2, 50), (2, 20), (2, 8), (0, 8))
_ROWS, _COLUMNS = _FORMS[0]
# Characters of a cell or a name; categories of a column.
_CELL, _CATEGORIES = 100, 10
# Rows in which missing values are counted: 50 columns of texts take about 1 s.
_COUNTED = 1_000_000
# Values of an array that is shown whole; values at each edge of one that is not.
_WHOLE, _EDGES = 100, (5, 3, 1)


def forms(value: Any, name: str) -> Iterator[Shown] | None:
    """The forms of a DataFrame, a Series, an index or an array; `None` for everything else.

    Raises:
        BadArguments: A query that has not been run, and how to run it.
    """
    kind = type(value).__name__
    if is_a(value, "pandas", "DataFrame"):
        rows, columns = value.shape
        return _forms(_of_pandas(value, f"pandas {kind}: {rows:,} rows, {columns:,} columns"))
    if is_a(value, "pandas", "Series"):
        column = "value" if value.name is None else value.name
        return _forms(_of_pandas(value.to_frame(column), f"pandas {kind}: {len(value):,} values"))
    if is_a(value, "pandas", "Index") or is_a(value, "pandas.api.extensions", "ExtensionArray"):
        title = f"pandas {kind}: {len(value):,} values, {value.dtype}\n"
        return (Shown(title + text, cut) for text, cut in plainly(value.tolist(), name))
    if is_a(value, "polars", "DataFrame"):
        rows, columns = value.shape
        return _forms(_of_polars(value, f"polars {kind}: {rows:,} rows, {columns:,} columns"))
    if is_a(value, "polars", "Series"):
        return _forms(_of_polars(value.to_frame(), f"polars {kind}: {len(value):,} values"))
    if is_a(value, "polars", "LazyFrame"):
        raise BadArguments(
            f"`{name}` is a polars {kind}: a query that has not been run.",
            f"Write {braces(name, '{}.collect()')}.",
        )
    if is_a(value, "pyarrow", "Table") or is_a(value, "pyarrow", "RecordBatch"):
        rows, columns = value.shape
        return _forms(_of_arrow(value, f"pyarrow {kind}: {rows:,} rows, {columns:,} columns"))
    if is_a(value, "numpy", "ndarray"):
        return _array(value, name)
    return None


class _Table(NamedTuple):
    """A table, of which no more is read than is shown.

    Attributes:
        about: Lines about the whole.
        shape: Numbers of rows and columns.
        names: Names of the first columns.
        kinds: Their types, with how many values are missing.
        rows: First rows, of these columns.
        levels: Names of the index's levels; none if it only numbers the rows.
        labels: Labels of the first rows, in each level.
        cut: What was left out of single cells.
    """

    about: list[str]
    shape: tuple[int, int]
    names: list[str]
    kinds: list[str]
    rows: list[list[str]]
    levels: list[str]
    labels: list[list[str]]
    cut: list[str]


def _of_pandas(frame: Any, title: str) -> _Table:
    """Read a DataFrame of pandas."""
    rows, columns = frame.shape
    seen = frame.iloc[:_COUNTED, :_COLUMNS]
    cells = _Cells()
    names = [cells.name(label) for label in seen.columns]
    kinds = [_kind(seen.iloc[:, place]) for place in range(len(names))]
    head = seen.iloc[:_ROWS]
    body = [list(map(cells.cell, row)) for row in head.itertuples(index=False, name=None)]
    levels = _levels(frame.index)
    labels = [
        list(map(cells.cell, label if frame.index.nlevels > 1 else (label,)))
        for label in head.index
    ]
    about = [title]
    if levels:
        about.append("Index: " + ", ".join(f"{name} ({kind})" for name, kind in levels))
    if rows > _COUNTED:
        about.append(f"Missing values are those of the first {_COUNTED:,} rows.")
    shown_labels = labels if levels else [[] for _ in body]
    named = [name for name, _ in levels]
    return _Table(about, (rows, columns), names, kinds, body, named, shown_labels, cells.cut)


def _of_polars(frame: Any, title: str) -> _Table:
    """Read a DataFrame of polars."""
    seen = frame[:, :_COLUMNS]
    missing = seen.null_count().row(0) if seen.width else ()
    kinds = [
        f"{dtype}, {empty:,} missing" for dtype, empty in zip(seen.dtypes, missing, strict=True)
    ]
    return _unlabeled(title, frame.shape, seen.columns, kinds, seen.head(_ROWS).rows())


def _of_arrow(table: Any, title: str) -> _Table:
    """Read a table or a batch of pyarrow."""
    columns = table.columns[:_COLUMNS]
    kinds = [f"{column.type}, {column.null_count:,} missing" for column in columns]
    head = [column.slice(0, _ROWS).to_pylist() for column in columns]
    names = table.schema.names[:_COLUMNS]
    return _unlabeled(title, table.shape, names, kinds, zip(*head, strict=True))


def _unlabeled(
    title: str,
    shape: tuple[int, int],
    names: Iterable[str],
    kinds: list[str],
    rows: Iterable[tuple[Any, ...]],
) -> _Table:
    """A table that has no index."""
    cells = _Cells()
    written = [list(map(cells.cell, row)) for row in rows]
    labels: list[list[str]] = [[] for _ in written]
    return _Table(
        [title], shape, list(map(cells.name, names)), kinds, written, [], labels, cells.cut
    )


def _forms(table: _Table) -> Iterator[Shown]:
    """The forms of a table."""
    (rows, columns), levels = table.shape, table.levels
    for most_rows, most_columns in _FORMS:
        height, width = min(rows, most_rows), min(columns, most_columns)
        lines, cut = list(table.about), []
        if width < columns:
            cut.append(f"{width} of {columns:,} columns")
            lines.append(f"Only the first {cut[-1]}:")
        columns_shown = zip(table.names, table.kinds[:width], strict=False)
        lines += [f"- {name}: {kind}" for name, kind in columns_shown]
        if height < rows:
            cut.insert(0, f"{height} of {rows:,} rows")
        title = f"First {cut[0]}" if height < rows else f"All {rows:,} rows"
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
        yield Shown("\n".join(lines), ", ".join(cut))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _kind(column: Any) -> str:
    """A column's dtype, its categories where it has some, and how many values are missing."""
    kind = str(column.dtype)
    if kind == "category":
        categories = column.cat.categories
        listed = ", ".join(map(_Cells().cell, categories[:_CATEGORIES]))
        more = ", …" if len(categories) > _CATEGORIES else ""
        kind = f"category of {len(categories):,} ({listed}{more})"
    return f"{kind}, {int(column.isna().sum()):,} missing"


def _levels(index: Any) -> list[tuple[str, str]]:
    """The name and dtype of each level of an index; none where it only numbers the rows."""
    kind = type(index).__name__
    if kind == "RangeIndex" and (index.start, index.step, index.name) == (0, 1, None):
        return []
    name = _Cells().name
    if index.nlevels == 1:
        return [("index" if index.name is None else name(index.name), str(index.dtype))]
    return [
        (f"index {number}" if label is None else name(label), str(level.dtype))
        for number, (label, level) in enumerate(zip(index.names, index.levels, strict=True))
    ]


class _Cells:
    """Write cells, each on one line of a Markdown table."""

    def __init__(self) -> None:
        self._long, self._writer = False, Writer()

    @property
    def cut(self) -> list[str]:
        """What was left out of them."""
        long = [f"cells of {_CELL} characters"] if self._long else []
        return long + self._writer.failures

    def name(self, label: object) -> str:
        """A column's name; one of several levels joined by `/`."""
        return " / ".join(map(self.cell, label)) if isinstance(label, tuple) else self.cell(label)

    def cell(self, value: object) -> str:
        """A value on one line, cut where it is long."""
        if isinstance(value, float):
            # Ten digits are plenty, but large numbers are often times or keys.
            text = f"{value:.{15 if abs(value) >= 1e9 else 10}g}"
        elif isinstance(value, str):
            text = value[: _CELL + 1]
        elif isinstance(value, list | tuple | dict | set | bytes):
            text = self._writer.write(value, 2 * _CELL)
        else:
            text = self._writer.tried(str, value)
        if len(text) > _CELL:
            self._long = True
            text = text[: _CELL - 1] + "…"
        return " ".join(text.split()).replace("|", "\\|")


def _array(array: Any, name: str) -> Iterator[Shown]:
    """An array's shape and dtype, and its values, or those at its edges."""
    import numpy as np

    if array.ndim == 0:
        yield from plainly(array.item() if array.dtype == object else str(array), name)
        return
    title = f"numpy {type(array).__name__}: shape {array.shape}, {array.dtype}"
    # A sample of many dimensions would be long: it is taken from the first plane.
    first = array[(0,) * (array.ndim - 2)] if array.ndim > 2 and array.size else array
    where = "" if first.size == array.size else f"[{'0, ' * (array.ndim - 2)}:, :]:\n"
    cut = "" if first.size == array.size <= _WHOLE else f"a sample of {array.size:,} values"
    for edge in _EDGES:
        writer = Writer(name)

        def written(value: Any, writer: Writer = writer) -> str:
            own = value.item() if isinstance(value, np.str_ | np.bytes_) else value
            return writer.write(own, _CELL)

        with np.printoptions(
            linewidth=100,
            threshold=_WHOLE,
            edgeitems=edge,
            formatter={"object": written, "numpystr": written},
        ):
            sample = str(first)
        if writer.refusal:
            raise writer.refusal
        yield Shown(
            f"{title}\n{where}{sample}",
            ", ".join(filter(None, (cut, writer.cut, *writer.failures))),
        )

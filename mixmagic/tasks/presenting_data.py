"""Tables and arrays of pandas and numpy: what they are, and their first rows.

Imports neither: a value of theirs can only be there where they are loaded. May import `cutting`,
`presenting_plain` and `errors`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mixmagic.errors import BadArguments
from mixmagic.tasks.cutting import Shown
from mixmagic.tasks.presenting_plain import Writer
from mixmagic.tasks.presenting_plain import forms as plainly

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
    """The forms of a DataFrame, a Series or an array; `None` for everything else.

    Raises:
        BadArguments: It is a picture; why, and what to insert instead.
    """
    kind = type(value).__name__
    if _is_a(value, "pandas", "DataFrame"):
        rows, columns = value.shape
        return _table(value, f"pandas {kind}: {rows:,} rows, {columns:,} columns")
    if _is_a(value, "pandas", "Series"):
        column = "value" if value.name is None else value.name
        return _table(value.to_frame(column), f"pandas {kind}: {len(value):,} values")
    if _is_a(value, "numpy", "ndarray"):
        return _array(value, name)
    if _is_a(value, "matplotlib.artist", "Artist"):
        raise BadArguments(
            f"`{name}` is a matplotlib {kind}, a picture: only text is sent to the model.",
            "Insert the data that it shows, such as a DataFrame.",
        )
    return None


def _is_a(value: object, module: str, name: str) -> bool:
    """Whether the value is of a class whose module is loaded."""
    known = getattr(sys.modules.get(module), name, None)
    return isinstance(known, type) and isinstance(value, known)


def _table(frame: Any, title: str) -> Iterator[Shown]:
    """The forms of a table; what they share is read off it once."""
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
    for most_rows, most_columns in _FORMS:
        height, width = min(rows, most_rows), min(columns, most_columns)
        lines, cut = list(about), []
        if width < columns:
            cut.append(f"{width} of {columns:,} columns")
            lines.append(f"Only the first {cut[-1]}:")
        lines += [f"- {name}: {kind}" for name, kind in zip(names, kinds[:width], strict=False)]
        if height < rows:
            cut.insert(0, f"{height} of {rows:,} rows")
        said = f"First {cut[0]}" if height < rows else f"All {rows:,} rows"
        if cells.cut:
            cut.append(cells.cut)
            said += f" ({cells.cut})"
        if height and (width or levels):
            lines += ["", f"{said}:", "", _row([name for name, _ in levels] + names[:width])]
            lines.append("|---" * (len(levels) + width) + "|")
            shown_levels = labels if levels else [[]] * height
            lines += [
                _row([*label, *row[:width]])
                for label, row in zip(shown_levels, body[:height], strict=False)
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
    """Write cells, each on one line of a Markdown table.

    Attributes:
        cut: That long ones were cut; empty where none was.
    """

    def __init__(self) -> None:
        self.cut = ""

    def name(self, label: object) -> str:
        """A column's name; one of several levels joined by `/`."""
        return self.cell(" / ".join(map(str, label)) if isinstance(label, tuple) else label)

    def cell(self, value: object) -> str:
        """A value on one line, cut where it is long."""
        if isinstance(value, float):
            # Ten digits are plenty, but large numbers are often times or keys.
            text = f"{value:.{15 if abs(value) >= 1e9 else 10}g}"
        elif isinstance(value, str):
            text = value[: _CELL + 1]
        elif isinstance(value, list | tuple | dict | set | bytes):
            text = Writer().write(value, 2 * _CELL)
        else:
            text = str(value)
        if len(text) > _CELL:
            self.cut = f"cells of {_CELL} characters"
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
    writer = Writer()

    def written(value: Any) -> str:
        own = value.item() if isinstance(value, np.str_ | np.bytes_) else value
        return writer.write(own, _CELL)

    for edge in _EDGES:
        with np.printoptions(
            linewidth=100,
            threshold=_WHOLE,
            edgeitems=edge,
            formatter={"object": written, "numpystr": written},
        ):
            sample = str(first)
        yield Shown(f"{title}\n{where}{sample}", ", ".join(filter(None, (cut, writer.cut))))

"""Lists of texts, and columns of tables, as documents: each text is a piece."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mixmagic.errors import BadArguments, counted
from mixmagic.prompting.rows import is_missing
from mixmagic.tasks.tables import table
from mixmagic.tasks.translation.documents import Piece, Translated
from mixmagic.tasks.translation.languages import Language
from mixmagic.tasks.translation.segments import text_segments

# Where the translation of a segment that is missing comes from.
_MISSING = ("failed", "unasked")


class ListDocument:
    """A list of texts.

    Args:
        texts: The texts; `None` stays `None`.

    Raises:
        BadArguments: A value is not a text.
    """

    mixed, path = True, None

    def __init__(self, texts: Sequence[Any]) -> None:
        self.name = counted(len(texts), "text")
        self.pieces = pieces(texts, "text")
        self._texts = texts

    def result(self, found: Sequence[Sequence[Translated]], to: Language) -> list[Any]:
        return filled(self._texts, self.pieces, found)


class ColumnsDocument:
    """A Series, or columns of a DataFrame, of pandas or polars.

    Args:
        source: The Series or DataFrame.
        columns: The columns of a DataFrame to translate; those of texts if empty.

    Raises:
        BadArguments: There is no such column, or a value is not a text.
    """

    mixed, path = True, None

    def __init__(self, source: Any, columns: Sequence[str]) -> None:
        self._source = source
        self._is_frame = hasattr(source, "columns")
        self.columns = _chosen(source, columns) if self._is_frame else [""]
        self._values = [list(source[name] if self._is_frame else source) for name in self.columns]
        self.name = counted(len(source), "row")
        self._pieces = [
            pieces(values, f"column {name}, row" if name else "row")
            for name, values in zip(self.columns, self._values, strict=True)
        ]
        self.pieces = [piece for part in self._pieces for piece in part]

    def result(self, found: Sequence[Sequence[Translated]], to: Language) -> Any:
        rest, columns = list(found), {}
        for name, values, part in zip(self.columns, self._values, self._pieces, strict=True):
            columns[name] = filled(values, part, rest[: len(part)])
            del rest[: len(part)]
        if not self._is_frame:
            return _like(self._source, columns[""])
        if hasattr(self._source, "with_columns"):  # polars
            new = [_like(self._source[name], values) for name, values in columns.items()]
            return self._source.with_columns(new)
        return self._source.assign(
            **{name: _like(self._source[name], values) for name, values in columns.items()}
        )


class CsvDocument:
    """Columns of a CSV file. Its new file has them in both languages: `text` and `text_fr`.

    Args:
        path: The file.
        columns: The columns to translate.

    Raises:
        BadArguments: It cannot be read, or there is no such column.
    """

    mixed = True

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.name = path, path.name
        rows = table(path)
        if not columns:
            raise BadArguments(
                "A table is translated by columns: name at least one.",
                f"Such as --column {rows.columns[0]}; there are {', '.join(rows.columns[:9])}.",
            )
        self.columns = _known(columns, rows.columns)
        self._names = list(rows.columns)
        self._rows = [dict(row) for row in rows.rows(self._names)]
        self._values = [[row[name] for row in self._rows] for name in self.columns]
        self._pieces = [
            pieces(values, f"column {name}, row")
            for name, values in zip(self.columns, self._values, strict=True)
        ]
        self.pieces = [piece for part in self._pieces for piece in part]

    def result(self, found: Sequence[Sequence[Translated]], to: Language) -> bytes:
        rest, new = list(found), {}
        for name, values, part in zip(self.columns, self._values, self._pieces, strict=True):
            new[f"{name}_{to.code}"] = filled(values, part, rest[: len(part)])
            del rest[: len(part)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self._names, *new])
        for position, row in enumerate(self._rows):
            writer.writerow([*row.values(), *(values[position] for values in new.values())])
        return text.getvalue().encode()


def pieces(values: Iterable[Any], place: str) -> list[Piece]:
    """Return the texts of a column; a missing value is a text without segments.

    Raises:
        BadArguments: A value is not a text.
    """
    found: list[Piece] = []
    for number, value in enumerate(values, 1):
        where = f"{place} {number:,}"
        if isinstance(value, str):
            found.append(Piece(value, text_segments(value), where))
        elif is_missing(value):
            found.append(Piece("", (), where))
        else:
            raise BadArguments(
                f"There is no text in {where}: {value!r:.40}.",
                "Only texts and missing values can be translated: `.astype(str)` makes texts.",
            )
    return found


def filled(
    values: Sequence[Any], parts: Sequence[Piece], found: Sequence[Sequence[Translated]]
) -> list[Any]:
    """Return the values in the other language; `None` for one that could not be translated.

    A value without anything to translate, such as a missing one, stays as it is.
    """

    def translated(value: Any, piece: Piece, translations: Sequence[Translated]) -> Any:
        if any(each.origin in _MISSING for each in translations):
            return None
        return piece.translated(translations) if piece.segments else value

    return list(map(translated, values, parts, found))


def _chosen(frame: Any, columns: Sequence[str]) -> list[str]:
    if columns:
        return _known(columns, [str(name) for name in frame.columns])
    texts = [name for name in frame.columns if any(isinstance(v, str) for v in frame[name])]
    if not texts:
        raise BadArguments("No column of the table has texts.", "Name one with `columns=`.")
    return texts


def _known(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    for name in columns:
        if name not in names:
            raise BadArguments(
                f"There is no column {name!r}.", f"There are {', '.join(map(str, names[:9]))}."
            )
    return list(columns)


def _like(column: Any, values: list[Any]) -> Any:
    """Return values as a column of the same library, with the same name and index."""
    if hasattr(column, "index"):
        dtype = None if hasattr(column.dtype, "categories") else column.dtype  # others are new
        return type(column)(values, index=column.index, name=column.name, dtype=dtype)
    return type(column)(column.name, values)

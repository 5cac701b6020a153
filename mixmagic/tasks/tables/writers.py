"""Files of rows that are written in batches: Parquet, CSV and JSON Lines."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mixmagic.calls import codec
from mixmagic.core.extras import install
from mixmagic.errors import MissingPackage, StoreError
from mixmagic.prompting.rows import is_missing
from mixmagic.tasks.tables.columns import Column, Columns, as_text

ERROR = "error"


class Unfitting(Exception):  # never shown
    """An answer does not fit its column, and there is no column of errors to say so."""


class Layout:
    """The columns of a file: those of the rows, those of the results, and the errors.

    Args:
        given: The names of the rows' columns.
        types: Returns their types in Arrow.
        results: The columns of the results.
        names: The names of all columns, in this order.
    """

    def __init__(
        self,
        given: Sequence[str],
        types: Callable[[], Sequence[Any]],
        results: Columns,
        names: Sequence[str],
    ) -> None:
        self.given, self.types, self.results, self.names = given, types, results, names

    @property
    def has_errors(self) -> bool:
        """True if there is a column of errors."""
        return len(self.names) > len(self.given) + len(self.results.columns)

    def lines(
        self, rows: Sequence[Sequence[Any]], values: Sequence[Any], errors: Sequence[str | None]
    ) -> Iterator[list[Any]]:
        """Yield the cells of each row as JSON, in the order of `names`: see `Writer.write`."""
        cells = [parts for _, parts in self.results.parts(values)]
        columns = [*cells, *([errors] if self.has_errors else [])]
        for row, *results in zip(rows, *columns, strict=True):
            yield [plain(cell) for cell in itertools.chain(row, results)]


class Writer(Protocol):
    """A file that is being written."""

    def write(
        self, rows: Sequence[Sequence[Any]], values: Sequence[Any], errors: Sequence[str | None]
    ) -> None:
        """Write some rows.

        Args:
            rows: The cells of each.
            values: Its answer, as JSON; `None` if there is none.
            errors: The message of its error, if there is one.

        Raises:
            OSError: The file cannot be written.
            StoreError: A cell cannot be written in this format.
            Unfitting: An answer cannot, and there is no column of errors.
        """

    def close(self) -> None:
        """Write what is left."""


class CsvWriter:
    """Comma-separated values, or values between tabs; a missing cell is empty."""

    def __init__(self, path: Path, layout: Layout, separator: str = ",") -> None:
        self._layout = layout
        self._file = path.open("w", encoding="utf-8", errors="replace", newline="")
        self._writer = csv.writer(self._file, delimiter=separator, lineterminator="\n")
        self._writer.writerow(layout.names)

    def write(
        self, rows: Sequence[Sequence[Any]], values: Sequence[Any], errors: Sequence[str | None]
    ) -> None:
        for cells in self._layout.lines(rows, values, errors):
            self._writer.writerow(map(as_text, cells))

    def close(self) -> None:
        self._file.close()


class TsvWriter(CsvWriter):
    """Values between tabs."""

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__(path, layout, "\t")


class JsonLinesWriter:
    """A JSON object in each line."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._layout, self._file = layout, path.open("w", encoding="utf-8", newline="")

    def write(
        self, rows: Sequence[Sequence[Any]], values: Sequence[Any], errors: Sequence[str | None]
    ) -> None:
        names = self._layout.names
        for cells in self._layout.lines(rows, values, errors):
            self._file.write(codec.dumps(dict(zip(names, cells, strict=True))) + "\n")

    def close(self) -> None:
        self._file.close()


class ParquetWriter:
    """A Parquet file. An answer that does not fit the type of its column is an error of its row."""

    def __init__(self, path: Path, layout: Layout) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from mixmagic.tasks.tables.arrow_tables import arrow_type

        self._layout = layout
        self._types = list(layout.types())
        types = [*self._types, *map(arrow_type, layout.results.columns)]
        types += [pa.string()] * layout.has_errors
        self._schema = pa.schema(list(zip(layout.names, types, strict=True)))
        self._writer = pq.ParquetWriter(path, self._schema)

    def write(
        self, rows: Sequence[Sequence[Any]], values: Sequence[Any], errors: Sequence[str | None]
    ) -> None:
        import pyarrow as pa

        layout, problems = self._layout, list(errors)
        given = zip(*rows, strict=True) if rows else [()] * len(layout.given)
        arrays = [
            self._array(name, cells, type_)
            for name, cells, type_ in zip(layout.given, given, self._types, strict=True)
        ]
        for column, cells in layout.results.split(values):
            type_ = self._schema.field(len(arrays)).type
            arrays.append(self._fitting(column, cells, type_, problems))
        if layout.has_errors:
            arrays.append(pa.array(problems, pa.string()))
        elif problems != list(errors):
            raise Unfitting
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def _array(self, name: str, cells: Sequence[Any], type_: Any) -> Any:
        import pyarrow as pa

        from mixmagic.tasks.tables.arrow_tables import is_text

        try:
            if is_text(type_):
                cells = [as_text(plain(cell)) for cell in cells]
            return pa.array(cells, type_, from_pandas=True)
        except (TypeError, ValueError, OverflowError, pa.ArrowException):
            raise StoreError(
                f"The column {name!r:.60} has cells that do not fit its type, {type_}, in Parquet.",
                "Write another format, such as out='results.jsonl'; no answer is paid for again.",
            ) from None

    def _fitting(
        self, column: Column, cells: list[Any], type_: Any, problems: list[str | None]
    ) -> Any:
        """Return cells as an array of a type; note those that do not fit."""
        import pyarrow as pa

        from mixmagic.tasks.tables.arrow_tables import is_text

        if is_text(type_):
            return pa.array([as_text(cell) for cell in cells], type_)
        wrong = (TypeError, ValueError, OverflowError, pa.ArrowException)
        try:
            return pa.array(cells, type_)
        except wrong:
            fitting = list(cells)
        for position, cell in enumerate(cells):
            try:
                pa.array([cell], type_)
            except wrong:
                fitting[position] = None
                said = f"{column.name} does not fit {type_}: {as_text(cell)!s:.200}"
                problems[position] = "; ".join(filter(None, [problems[position], said]))
        return pa.array(fitting, type_)

    def close(self) -> None:
        import pyarrow as pa

        self._writer.close()
        pa.default_memory_pool().release_unused()  # or it would keep some for each thread


def plain(cell: Any) -> Any:
    """Return a cell as JSON: a text for what JSON does not have; `None` if it is missing.

    Example:
        >>> plain(float("nan")), plain({"day": datetime.date(2026, 11, 30)})
        (None, {'day': '2026-11-30'})
    """
    if isinstance(cell, str):
        return as_text(cell)
    if isinstance(cell, bool | int):
        return cell
    if is_missing(cell):
        return None
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else str(cell)
    if isinstance(cell, Mapping):
        return {str(key): plain(value) for key, value in cell.items()}
    if isinstance(cell, list | tuple | set | frozenset):
        return [plain(value) for value in cell]
    if hasattr(cell, "tolist"):  # numpy's scalars and arrays
        return plain(cell.tolist())
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell)


_WRITERS: Mapping[str, Callable[[Path, Layout], Writer]] = {
    ".parquet": ParquetWriter, ".csv": CsvWriter, ".tsv": TsvWriter, ".jsonl": JsonLinesWriter,
    ".ndjson": JsonLinesWriter,
}  # fmt: skip
ENDINGS = tuple(_WRITERS)


def writer(path: Path, ending: str, layout: Layout) -> Writer:
    """Return a new file that rows can be written to.

    Raises:
        OSError: It cannot be created.
    """
    return _WRITERS[ending](path, layout)


def check_parquet() -> None:
    """Import what writes Parquet.

    Raises:
        MissingPackage: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401  # one thread imports it, before others start
    except ImportError:
        raise MissingPackage(
            "Writing Parquet needs pyarrow, which is not installed.", f"Run {install('parquet')}."
        ) from None

"""Files of rows: CSV, JSON Lines and Parquet. They are read in batches, several times.

Each is checked from its begin to its end before the first row is asked.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mixmagic.core import files
from mixmagic.core.extras import install
from mixmagic.errors import BadArguments, MissingPackage, counted, did_you_mean, one_line
from mixmagic.tasks.tables.columns import Columns, unique
from mixmagic.tasks.tables.items import TEXT, ItemTable, taken, types_of

# A file's first bytes, and its encoding.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = ";\t|"
# Rows of Parquet that are in memory at once.
_AT_ONCE = 1024
_BUFFER = 1024 * 1024  # bytes of a column that are read at once


def table(source: str | os.PathLike[str]) -> FileTable:
    """Return a file as a table, by the ending of its name.

    Raises:
        BadArguments: There is no such file, or it cannot be read as what its name says.
        MissingPackage: Parquet needs pyarrow.

    Example:
        >>> table("reviews.csv").columns
        ('title', 'text')
    """
    path = Path(source).expanduser()
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        endings = ", ".join(_KINDS)
        raise BadArguments(
            f"The rows cannot be {str(source)!r:.60}.",
            f"A text is the path of a file that ends with one of {endings}; one prompt alone is"
            " mixmagic.ask.",
        )
    if not path.is_file():
        names = [each.name for each in path.parent.glob("*") if each.suffix.lower() in _KINDS]
        near = did_you_mean(path.name, names, likeness=0.75)
        raise BadArguments(
            f"There is no file {files.typed(path)}.",
            f"{near}The path is relative to {files.typed(Path.cwd())}.",
        )
    return kind(path)


class FileTable:
    """A file of rows.

    Args:
        path: The file.

    Raises:
        BadArguments: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version = files.version(path)
        self.columns: tuple[str, ...] = ()
        self.described, self.length = path.name, 0
        self.length = self._examine()

    def _examine(self) -> int:
        """Read the whole file; note its columns, and return the number of its rows."""
        raise NotImplementedError

    def _rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Yield some columns of each row."""
        raise NotImplementedError

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        if files.version(self.path) != self._version:
            raise BadArguments(
                f"{self.described} has changed since the job began.",
                "Run the same call again: it asks only about rows that are new.",
            )
        return self._rows(names)

    @property
    def saved(self) -> tuple[str, ...]:
        return self.columns

    def types(self) -> list[Any]:
        return types_of(self)

    def take(self, positions: Sequence[int]) -> ItemTable:
        return ItemTable(taken(self.rows(self.columns), positions), self.columns)

    def result(self, values: Sequence[Any], columns: Columns) -> Any:
        """Return a DataFrame, or a list if pandas is not installed."""
        try:
            import pandas as pd
        except ImportError:
            return list(values)
        from mixmagic.tasks.tables.pandas_tables import result

        return pd.DataFrame(result(values, columns))

    def _wrong(self, problem: str, hint: str) -> BadArguments:
        return BadArguments(f"{self.described} cannot be read: {problem}.", hint)


class _TextFile(FileTable):
    """A file of lines."""

    _reader = 'read_csv("{}", encoding="cp1252")'

    def _lines(self) -> Iterator[str]:
        """Yield the lines, in UTF-8 or in the encoding that the first bytes tell."""
        try:
            with self.path.open("rb") as file:
                head = file.read(4)
            encoding = next((each for mark, each in _MARKS if head.startswith(mark)), "utf-8")
            with self.path.open(encoding=encoding, newline="") as file:
                for line in file:
                    if "\0" in line:  # probably UTF-16, which can be valid UTF-8
                        raise UnicodeError
                    yield line
        except UnicodeError:
            what = self._undecodable() if encoding.startswith("utf-8") else "it"
            raise self._wrong(
                f"{what} is not {encoding.removesuffix('-sig').upper()}",
                f"Read it with its encoding: pandas.{self._reader.format(self.path)}, for example.",
            ) from None
        except OSError as error:
            hint = "Check the file and its permissions."
            raise self._wrong(files.reason(error), hint) from None

    def _undecodable(self) -> str:
        """Return the first line that is not UTF-8, in words."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return f"line {number}"
        return "it"


class CsvFile(_TextFile):
    """Comma-separated values, or values between tabs, semicolons or bars; an empty cell is missing.

    All cells are texts: `007` stays `007`.
    """

    def _examine(self) -> int:
        with_head = self._cells()
        head = next(with_head, (0, []))[1]
        if not head:
            raise self._wrong("it is empty", "Its first line must name the columns.")
        self.columns = unique(name.strip() for name in head)
        count = 0
        for line, cells in with_head:
            if len(cells) != len(head):
                raise self._wrong(
                    f"line {line} has {counted(len(cells), 'cell')}, and the first line"
                    f" {counted(len(head), 'column')}",
                    "Put cells with separators or quotes in quotes, or read it yourself:"
                    f' pandas.read_csv("{self.path}", on_bad_lines="warn").',
                )
            count += 1
        return count

    def _rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        chosen = [(name, self.columns.index(name)) for name in names]
        for _, cells in itertools.islice(self._cells(), 1, None):
            yield {name: cells[place] or None for name, place in chosen}

    def types(self) -> list[Any]:
        import pyarrow as pa

        return [pa.string()] * len(self.columns)

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each line that is not blank, with the number of its last line."""
        lines = self._lines()
        first = next(lines, "")
        separator = "\t" if self.path.suffix.lower() == ".tsv" else ","
        if separator not in first:
            separator = max(separator + _SEPARATORS, key=first.count)
        csv.field_size_limit(2**31 - 1)  # long texts are what people ask about
        reader = csv.reader(itertools.chain([first], lines), delimiter=separator, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except csv.Error as error:
            raise self._wrong(
                f"line {reader.line_num}: {error}",
                'Within quotes, write a quote twice (""); each quote needs its other one.',
            ) from None


class JsonLinesFile(_TextFile):
    """A JSON object, or a text, in each line."""

    _reader = 'read_json("{}", lines=True, encoding="cp1252")'

    def _examine(self) -> int:
        keys: dict[str, None] = {}
        count, self._are_texts = 0, False
        for line, value in self._values():
            if count == 0:
                self._are_texts = isinstance(value, str)
            if not isinstance(value, str if self._are_texts else dict):
                wanted = "a text" if self._are_texts else "an object"
                raise self._wrong(
                    f"line {line} is not {wanted}",
                    'Each line is an object such as {"text": "…"}, or each is a text.',
                )
            keys.update(dict.fromkeys(() if self._are_texts else value))
            count += 1
        if not count:
            raise self._wrong("it is empty", 'A line is an object such as {"text": "…"}.')
        self._keys = dict(zip(unique(keys), keys, strict=True))
        self.columns = (TEXT,) if self._are_texts else tuple(self._keys)
        return count

    def _rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        keys = [(name, self._keys.get(name, name)) for name in names]
        for _, value in self._values():
            if self._are_texts:
                yield dict.fromkeys(names, value)
            else:
                yield {name: value.get(key) for name, key in keys}

    def _values(self) -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(self._lines(), 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                is_list = number == 1 and line.lstrip().startswith("[")
                raise self._wrong(
                    f"line {number} is not JSON: {one_line(error, 80)}",
                    "Pass the list itself: json.load(file)." if is_list else "Fix that line.",
                ) from None


class ParquetFile(FileTable):
    """A Parquet file, which needs pyarrow."""

    def _examine(self) -> int:
        with self._opened() as file:
            self.columns = unique(file.schema_arrow.names)
            return int(file.metadata.num_rows)

    def _rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        from mixmagic.tasks.tables.arrow_tables import rows_of

        with self._opened() as file:
            own = file.schema_arrow.names
            wanted = [(own[at], own[:at].count(own[at])) for at in map(self.columns.index, names)]
            batches = file.iter_batches(_AT_ONCE, columns=list({name: None for name, _ in wanted}))
            yield from rows_of((_selected(batch, wanted) for batch in batches), names)

    def types(self) -> list[Any]:
        from mixmagic.tasks.tables.arrow_tables import simple

        with self._opened() as file:
            return [simple(type_) for type_ in file.schema_arrow.types]

    def _opened(self) -> Any:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise MissingPackage(
                f"{self.described} needs pyarrow, which is not installed.",
                f"Run {install('parquet')}.",
            ) from None
        try:
            return pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BUFFER)
        except (pa.ArrowException, OSError) as error:
            raise self._wrong(one_line(error, 100), "Check that it is a whole file.") from None


def _selected(batch: Any, wanted: Sequence[tuple[str, int]]) -> Any:
    """Return some columns of a batch: each by its name, and its number among those of this name."""
    names = batch.schema.names
    places = [[at for at, own in enumerate(names) if own == name][n] for name, n in wanted]
    return batch.select(places)


_KINDS: Mapping[str, type[FileTable]] = {
    ".csv": CsvFile, ".tsv": CsvFile, ".jsonl": JsonLinesFile, ".ndjson": JsonLinesFile,
    ".parquet": ParquetFile,
}  # fmt: skip

"""The file or folder that the rows of a job are written to, with their results.

A file is written at the end, and appears whole. A folder gets a part as soon as the rows of it are
over.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mixmagic.core import files
from mixmagic.errors import BadArguments, MissingPackage, StoreError
from mixmagic.tasks.tables import Table
from mixmagic.tasks.tables.columns import Columns, unique
from mixmagic.tasks.tables.writers import ENDINGS, ERROR, Layout, Unfitting, check_parquet, writer

# Rows that are written at once, and rows of a part.
PART = 2000
# Returns the answers of the rows between two positions, and the messages of their errors.
Read = Callable[[int, int], tuple[Sequence[Any], Sequence[str | None]]]
_PART = re.compile(r"part-\d{5,}\.(?:parquet|jsonl)")


class Output:
    """A file or a folder of rows with their results.

    Args:
        target: Its path: a folder if it has no ending.
        table: The rows.
        results: The columns of the results.

    Attributes:
        path: Its path.
        is_folder: True if it gets parts while the job runs.

    Raises:
        BadArguments: It cannot be written, or is a file of another kind.
        MissingPackage: Parquet needs pyarrow.

    Example:
        >>> output = Output("labels.csv", table, results)
        >>> output.finish(read, errors=False, goes_on=lambda: True)
    """

    def __init__(self, target: str | os.PathLike[str], table: Table, results: Columns) -> None:
        self.path = Path(target).expanduser().absolute()
        self._table, self._results = table, results
        ending = self.path.suffix.lower()
        self.is_folder = self.path.is_dir() or not ending or str(target).endswith(("/", os.sep))
        if not self.is_folder and ending not in ENDINGS:
            raise BadArguments(
                f"out cannot be {files.typed(str(target))}.",
                f"Its name ends with one of {', '.join(ENDINGS)}; a folder has no ending.",
            )
        self._ending = ending
        if self.is_folder:
            self._ending = _of_parts()
        elif ending == ".parquet":
            check_parquet()
        self._prepare()
        self._rows: Iterator[Mapping[str, Any]] | None = None
        self._known_types: list[Any] | None = None
        self._lock = threading.Lock()
        self._done = self._parts = 0

    def _prepare(self) -> None:
        """Check that it can be written, before anything is paid for; create the folder."""
        try:
            if self.is_folder:
                self.path.mkdir(exist_ok=True)
            folder = self.path if self.is_folder else self.path.parent
            if not folder.is_dir():
                raise FileNotFoundError(2, "its folder does not exist")
            if not os.access(folder, os.W_OK):
                raise PermissionError(13, "its folder cannot be written")
        except OSError as error:
            raise BadArguments(
                f"out cannot be {files.typed(self.path)}: {files.reason(error)}.",
                "Create the folder, or name another one that you can write to.",
            ) from None
        if self._table.path is not None and self._replaces(self._table.path):
            raise BadArguments(
                f"out cannot be {files.typed(self.path)}, which the rows are read from.",
                "Name another file: the rows are written to it, too.",
            )

    def _replaces(self, path: Path) -> bool:
        """Return True if writing removes a file."""
        is_part = self.is_folder and _PART.fullmatch(path.name)
        return os.path.realpath(path.parent if is_part else path) == os.path.realpath(self.path)

    def write_parts(self, are_over: Callable[[int, int], bool], read: Read) -> None:
        """Write the next parts of a folder, if all their rows are over. Any thread may call it.

        Args:
            are_over: Returns True if all rows between two positions are over.
            read: Returns the answers of the rows between two positions, and their errors.

        Raises:
            StoreError: A part cannot be written.
        """
        if not self.is_folder or not self._lock.acquire(blocking=False):
            return
        try:
            while are_over(self._done, self._done + PART):
                self._write_part(read, self._done + PART)
        finally:
            self._lock.release()

    def finish(self, read: Read, *, errors: bool, goes_on: Callable[[], bool]) -> None:
        """Write the last part of a folder, or the file, after all rows are over.

        Args:
            read: As for `write_parts`.
            errors: True if a row has an error; the parts of a folder have a column for them anyway.
            goes_on: Returns False to write nothing after all.

        Raises:
            StoreError: It cannot be written.
        """
        with self._lock:
            if not self.is_folder:
                with contextlib.suppress(_Abandoned):
                    self._write_file(read, goes_on, errors=errors)
                return
            length = self._table.length
            while goes_on() and (self._done < length or not self._parts):
                self._write_part(read, min(self._done + PART, length))

    def _write_file(self, read: Read, goes_on: Callable[[], bool], *, errors: bool) -> None:
        _remove_unfinished(self.path.parent, self.path.name)
        length, self._rows = self._table.length, None
        try:
            with self._written(self.path, errors=errors) as write:
                for start in range(0, length, PART):
                    write(*read(start, min(start + PART, length)))
                    if not goes_on():
                        raise _Abandoned
        except Unfitting:
            self._write_file(read, goes_on, errors=True)

    def _write_part(self, read: Read, end: int) -> None:
        """Write the rows before a position as a part; the first removes those of earlier runs."""
        if not self._parts:
            self._remove_parts()
        path = self.path / f"part-{self._parts:05}{self._ending}"
        with self._written(path, errors=True) as write:
            write(*read(self._done, end))
        self._done, self._parts = end, self._parts + 1

    @contextlib.contextmanager
    def _written(self, path: Path, *, errors: bool) -> Iterator[Any]:
        given, results = self._table.saved, [each.name for each in self._results.columns]
        names = unique([*given, *results, *([ERROR] if errors else [])])
        layout = Layout(given, self._types, self._results, names)
        if self._rows is None:
            self._rows = iter(self._table.rows(given))
        rows = self._rows
        try:
            with files.replacing(path, f"{os.getpid()}-") as part:
                file = writer(part, self._ending, layout)
                with contextlib.closing(file):
                    yield lambda values, problems: file.write(
                        [tuple(row.values()) for row in islice(rows, len(values))],
                        values,
                        problems,
                    )
        except OSError as error:
            reason = files.reason(error).rpartition("] ")[2]  # pyarrow's begin with a number
            raise StoreError(
                f"{files.typed(path)} cannot be written: {reason}.",
                "Free some space, or fix its folder; the same call writes it, for $0.",
            ) from None

    def _types(self) -> list[Any]:
        """Return the types of the rows' columns, which may have to be read for it."""
        if self._known_types is None:
            self._known_types = self._table.types()
        return self._known_types

    def _remove_parts(self) -> None:
        _remove_unfinished(self.path, "part-")
        for path in self.path.iterdir():
            if _PART.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    path.unlink()


class _Abandoned(Exception):
    """The file is not written after all."""


def _of_parts() -> str:
    """Return the ending of parts: JSON Lines if pyarrow is not installed."""
    try:
        check_parquet()
    except MissingPackage:
        return ".jsonl"
    return ".parquet"


def _remove_unfinished(folder: Path, name: str) -> None:
    """Remove what killed processes have left of files whose names begin like this."""
    import psutil

    for path in folder.glob(".*-*.part"):
        process = path.name.split(".")[-2].partition("-")[0]
        if path.name.startswith(f".{name}") and process.isdecimal():
            with contextlib.suppress(OSError, OverflowError):
                if not psutil.pid_exists(int(process)):
                    path.unlink()

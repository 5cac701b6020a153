"""Lists and other iterables of texts or dicts. What can be read only once is kept in a file."""

from __future__ import annotations

import pickle
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from mixmagic.errors import BadArguments, counted
from mixmagic.tasks.tables.columns import Columns, unique

if TYPE_CHECKING:
    from mixmagic.tasks.tables import Table

# The name of the only column of a list or a Series, besides the Series' own.
TEXT = "text"
# Items that are kept, and read, at once.
_AT_ONCE = 256


class _Items(Protocol):
    """Items that can be read several times."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


def table(source: Iterable[Any]) -> ItemTable:
    """Return an iterable as a table. One that can be read only once is read to its end.

    Raises:
        BadArguments: It can be read only once, and its items cannot be kept in a file.

    Example:
        >>> table({"text": line} for line in lines).columns
        ('text',)
    """
    return ItemTable(list(source) if isinstance(source, Sized) else Spool(source))


class ItemTable:
    """Texts, or dicts: their keys are the columns.

    Args:
        items: The items.
        columns: The names of the columns; those of the items if `None`.
    """

    def __init__(self, items: _Items, columns: Sequence[str] | None = None) -> None:
        self._items = items
        keys: dict[Any, None] = {}
        self._are_dicts = len(items) > 0
        for item in items:
            if not isinstance(item, Mapping):
                self._are_dicts = False
                break
            keys.update(dict.fromkeys(item))
        names = unique(keys) if self._are_dicts else (TEXT,)
        self._keys = dict(zip(names, keys, strict=True)) if self._are_dicts else {}
        self.columns = names if columns is None else tuple(columns)
        self.saved, self.path = self.columns, None
        self.length, self.described = len(items), counted(len(items), "row")

    def rows(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        keys = [(name, self._keys.get(name, name)) for name in names]
        for item in self._items:
            if self._are_dicts:
                yield {name: item.get(key) for name, key in keys}
            else:
                yield dict.fromkeys(names, item)

    def take(self, positions: Sequence[int]) -> ItemTable:
        return ItemTable(taken(self._items, positions), self.columns)

    def types(self) -> list[Any]:
        return types_of(self)

    def result(self, values: Sequence[Any], columns: Columns) -> list[Any]:
        return list(values)


def types_of(source: Table) -> list[Any]:
    """Return the types in Arrow of the saved columns of a table, from their cells."""
    from mixmagic.tasks.tables.arrow_tables import Kinds

    columns = [(name, Kinds()) for name in source.saved]
    for row in source.rows(source.saved):
        for name, kinds in columns:
            kinds.add(row[name])
    return [kinds.type for _, kinds in columns]


def taken(items: Iterable[Any], positions: Sequence[int]) -> list[Any]:
    """Return the items at some positions, in the order of these.

    Example:
        >>> taken("abc", [2, 0])
        ['c', 'a']
    """
    if isinstance(items, Sequence):
        return [items[position] for position in positions]
    wanted, last = set(positions), max(positions, default=-1)
    found = {n: item for n, item in enumerate(islice(items, last + 1)) if n in wanted}
    return [found[position] for position in positions]


class Spool:
    """Items of an iterator, in a temporary file that ends with this object.

    Raises:
        BadArguments: An item cannot be written to a file.
    """

    def __init__(self, source: Iterable[Any]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self._length = 0
        rest = iter(source)
        while items := list(islice(rest, _AT_ONCE)):
            try:
                pickle.dump(items, self._file, pickle.HIGHEST_PROTOCOL)
            except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
                raise BadArguments(
                    f"The rows are an iterator of {type(items[0]).__name__}, which cannot be kept"
                    " in a file.",
                    "Pass a list instead: list(rows).",
                ) from None
            self._length += len(items)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        offset = done = 0
        while done < self._length:
            with self._lock:
                self._file.seek(offset)
                items = pickle.load(self._file)  # noqa: S301  # our own, and nobody else's
                offset = self._file.tell()
            done += len(items)
            yield from items

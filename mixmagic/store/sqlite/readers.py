"""Connections that only read a file: they wait for no transaction of another thread."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from mixmagic.store.sqlite import configure, quarantine

# Threads of this process that read at the same time.
_READERS = 4


class ReadConnection:
    """A connection that is opened at its first use. Only one thread uses it at a time."""

    def __init__(self) -> None:
        # Reentrant: a signal handler may fork in the middle of a query.
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: quarantine.Identity | None = None

    def reads(self, identity: quarantine.Identity | None) -> bool:
        """Return True if this file is open: another process may have replaced it."""
        return self._connection is not None and self._identity == identity

    def rows(self, query: str, values: Sequence[object]) -> list[sqlite3.Row]:
        """Return the rows of a query.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        if self._connection is None:
            raise sqlite3.OperationalError
        return self._connection.execute(query, values).fetchall()

    def open(self, file: Path) -> None:
        """Open a file, which exists. Needs `quarantine.exclusive`."""
        self.close()
        connection = configure.connect(file)
        connection.execute("PRAGMA query_only=ON")
        self._connection, self._identity = connection, quarantine.identity(file)

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Readers:
    """The readers of one file."""

    def __init__(self) -> None:
        self._readers = [ReadConnection() for _ in range(_READERS)]

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[ReadConnection]:
        """Lend a reader that no other thread uses; wait if there is none."""
        for reader in self._readers:
            if reader.lock.acquire(blocking=False):
                break
        else:
            reader = self._readers[threading.get_ident() % _READERS]
            reader.lock.acquire()
        try:
            yield reader
        finally:
            reader.lock.release()

    def close(self) -> None:
        """Close the file."""
        for reader in self._readers:
            with reader.lock:
                reader.close()

    def acquire(self) -> None:
        """Wait until no other thread reads, and let none begin."""
        for reader in self._readers:
            reader.lock.acquire()

    def release(self) -> None:
        """Let threads read again."""
        for reader in self._readers:
            reader.lock.release()

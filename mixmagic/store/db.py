"""SQLite files: opening, write-ahead log, numbered migrations. For the modules of this room."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

from mixmagic import forks
from mixmagic.errors import StoreError

# Seconds that a writer waits for another process's transaction.
_TIMEOUT = 10.0


class Database:
    """One SQLite file, opened at its first use, safe to use from threads and after a fork.

    Args:
        path: The file; its folder is made if need be.
        migrations: SQL scripts. The file's `user_version` says how many it has had; a script
            that has been released is never changed.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self.path = path
        self._migrations = migrations
        self._lock = threading.RLock()
        self._made: sqlite3.Connection | None = None
        _databases[self] = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of the block is kept, or nothing of it.

        Raises:
            StoreError: The file cannot be read or written.
        """
        with self._lock, self._named():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """The rows of a query.

        Raises:
            StoreError: The file cannot be read.
        """
        with self._lock, self._named():
            return self._connection().execute(query, values).fetchall()

    def before_fork(self) -> None:
        """Close the file: SQLite's locks are a process's own, and a child's would be void."""
        self._lock.acquire()
        _closed.append(self)
        self.close()

    def after_fork(self) -> None:
        """Go on, in the parent and in the child: each opens the file for itself."""
        self._lock.release()

    def check(self) -> str:
        """`ok`, or what SQLite finds wrong with the file."""
        return str(self.rows("PRAGMA quick_check(1)")[0][0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{self.path} cannot be used: {error}.",
                "Check the disk's free space and the folder's permissions.",
            ) from None

    def _connection(self) -> sqlite3.Connection:
        if self._made is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._made = self._open()
        return self._made

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the file to the newest form, in one transaction."""
        newest = len(self._migrations)
        if _version(connection) == newest:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _version(connection)  # again: another process may have been faster
            if version > newest:
                raise StoreError(
                    f"{self.path} was written by a newer mixmagic.",
                    "Run `pip install --upgrade mixmagic`.",
                )
            for script in self._migrations[version:]:
                for statement in filter(str.strip, script.split(";")):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={newest}")
            connection.commit()
        except BaseException:
            connection.rollback()
            raise


_databases: weakref.WeakKeyDictionary[Database, None] = weakref.WeakKeyDictionary()
_closed: list[Database] = []  # of the fork that is under way: there is one at a time


def _before_fork() -> None:
    """Close every file that is open."""
    for reference in _databases.keyrefs():  # a copy: other threads may make more
        if (database := reference()) is not None:
            database.before_fork()


def _after_fork() -> None:
    """Let every database go on."""
    while _closed:
        _closed.pop().after_fork()


forks.across(_before_fork, _after_fork)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; SQLite itself does not wait for others who do the same."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _version(connection: sqlite3.Connection) -> int:
    """How many migrations the file has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])

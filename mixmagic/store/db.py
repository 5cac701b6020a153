"""SQLite files that survive: threads, forks, kills, damage. For the modules of this room."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mixmagic import forks
from mixmagic.errors import StoreDamaged, StoreError
from mixmagic.store import aside, opening

T = TypeVar("T")


class Database:
    """One SQLite file, opened at its first use, safe to use from threads and after a fork.

    A file that SQLite finds damaged is moved aside, and a new one begun at the next use.

    Args:
        path: The file; its folder is made if need be.
        migrations: SQL scripts. The file's `user_version` says how many it has had; a script
            that has been released is never changed.

    Attributes:
        lock: Whoever holds it is alone with the file, among the threads of this process.
        generation: How often another file was found in the place of the one that was open.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self.path = path
        self._migrations = migrations
        self.lock = threading.RLock()
        self._made: sqlite3.Connection | None = None
        # Of the file that was opened last, and of its log.
        self._file: aside.Identity | None = None
        self._log: aside.Identity | None = None
        self.generation = 0
        _databases[self] = None

    @property
    def journal(self) -> str:
        """How the file is kept whole: `wal`, or on a network folder `delete`.

        Raises:
            StoreError: The file cannot be read.
        """
        return str(self.rows("PRAGMA journal_mode")[0][0])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of the block is kept, or nothing of it.

        Raises:
            StoreDamaged: The file was damaged, and has been moved aside.
            StoreError: The file cannot be read or written.
        """
        with self.lock:
            if self._made is not None and self._made.in_transaction:
                # Nobody else can be in here: a signal's handler, or the garbage collector.
                raise StoreError(
                    f"{self.path} is being written by this very thread.",
                    "Ask nothing in a signal's handler.",
                )
            try:
                connection = self._attempt(_begin)
                yield connection
                connection.execute("COMMIT")  # unlike `commit`, it fails where nothing is begun
                if self._file != aside.identity(self.path):
                    raise StoreError(
                        f"{self.path} was moved or replaced while it was being written.",
                        "Run this again: what was written went with the old file.",
                    )
            except opening.FAILURES as error:
                self._roll_back()
                raise self._ours(error) from None
            except BaseException:
                self._roll_back()
                raise

    def rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """The rows of a query.

        Raises:
            StoreDamaged: The file was damaged, and has been moved aside.
            StoreError: The file cannot be read.
        """

        def read(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            return connection.execute(query, values).fetchall()

        with self.lock:
            if self._made is not None and self._made.in_transaction:
                return read(self._made)  # what fails here becomes ours at the transaction's end
            try:
                try:
                    return self._attempt(read)
                except sqlite3.OperationalError as error:
                    if opening.code(error) not in opening.UNWRITABLE:
                        raise
                    found = opening.only_read(self._real(), self._migrations, read)
                    if found is None:
                        raise
                    return found
            except opening.FAILURES as error:
                raise self._ours(error) from None

    def before_fork(self) -> None:
        """Close the file: SQLite's locks are a process's own, and a child's would be void."""
        self.lock.acquire()
        _closed.append(self)
        self.close()

    def after_fork(self) -> None:
        """Go on, in the parent and in the child: each opens the file for itself."""
        self.lock.release()

    def check(self) -> str:
        """`ok`, or what SQLite finds wrong with the file."""
        return str(self.rows("PRAGMA quick_check(1)")[0][0])

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            if self._made is not None:
                self._made.close()
                self._made = None

    def _ours(self, error: opening.Failure) -> StoreError:
        """SQLite's error as one of ours.

        Raises:
            StoreDamaged: The file is damaged, and was moved aside now.
        """
        if self._damaged(error):
            self._set_aside()
        return StoreError(f"{self.path} cannot be used: {error}.", opening.cure(error))

    def _damaged(self, error: BaseException) -> bool:
        """Whether an error says that the file that is open is damaged."""
        number = opening.code(error)
        if number == sqlite3.SQLITE_ERROR and self._made is not None:
            return opening.garbled(self._made, self._migrations)
        return number in opening.DAMAGED

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do what may be done again, where another process has moved a damaged file aside."""
        try:
            return work(self._connection())
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not self._damaged(error):
                raise
            self._set_aside()
        return work(self._connection())

    def _roll_back(self) -> None:
        """Leave nothing of a transaction; where that fails too, the next opening does it."""
        if self._made is not None:
            try:
                self._made.rollback()
            except sqlite3.Error:
                self.close()

    def _connection(self) -> sqlite3.Connection:
        """The file at the path, opened if need be: what was open may have been moved."""
        if self._made is not None and self._file == aside.identity(self.path):
            return self._made
        before, replaced = self._file, self._made is not None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        real = self._real()
        with contextlib.ExitStack() as stack:
            alone = False
            with contextlib.suppress(OSError):  # a folder that takes no lock may yet be read
                stack.enter_context(aside.alone(real, opening.TIMEOUT))
                alone = True
            if alone:
                self._leave(real)
            self.close()
            try:
                self._made = opening.connect(real)
                self._file = aside.identity(real)
                opening.settle(self._made, real, self._migrations)
                self._log = aside.identity(aside.beside(real, aside.LOG))
                if before is not None and (replaced or self._file != before):
                    self.generation += 1
            except BaseException as error:
                if alone and self._damaged(error):
                    self._move(real)
                self.close()
                raise
            return self._made

    def _real(self) -> Path:
        """The file itself, where the path is a link: its log lies beside it."""
        return Path(os.path.realpath(self.path))

    def _leave(self, real: Path) -> None:
        """Move away a log whose file is gone: SQLite would take it for the next file's."""
        beside = aside.beside(real, aside.LOG)
        log = aside.identity(beside)
        gone = not real.exists() or real.stat().st_size == 0
        if gone and real.exists() and log is not None and beside.stat().st_size:
            self._move(real)  # it was emptied: what stands in the log is not all of it
        if gone or (self._made is not None and log is not None and log == self._log):
            aside.move(real, "left", (aside.LOG, aside.SHARED))

    def _set_aside(self) -> None:
        """Move the damaged file that is open aside, unless another has done it."""
        real = self._real()
        try:
            with aside.alone(real, opening.TIMEOUT):
                # Still open, so that no new file can have its number.
                if self._file == aside.identity(real):
                    self._move(real)
        except OSError as error:
            raise self._stuck(error) from None
        finally:
            self.close()

    def _move(self, real: Path) -> None:
        """Move the damaged file aside, and say so. Only for who is alone with it."""
        if os.name == "nt":  # renames nothing that is open; elsewhere, closing first would write
            self.close()
        try:
            where = aside.move(real, "damaged")
        except OSError as error:
            raise self._stuck(error) from None
        finally:
            self.close()
        raise StoreDamaged(
            f"{self.path} is damaged and was moved to {where}: the record of earlier spending"
            " begins anew.",
            "Run this again. Nothing was deleted; to go back, put a backup in its place.",
        )

    def _stuck(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path} is damaged and cannot be moved aside: {error.strerror}.",
            "End the notebooks that use it and move it, or set MIXMAGIC_HOME to another folder.",
        )


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


def _begin(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Begin a write transaction."""
    connection.execute("BEGIN IMMEDIATE")
    return connection

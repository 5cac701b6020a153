"""SQLite files that survive: threads, forks, kills, damage. For the modules of this package."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mixmagic.core import lazy
from mixmagic.errors import StoreBusy, StoreDamaged, StoreError
from mixmagic.store.sqlite import configure, quarantine

T = TypeVar("T")

# Seconds to wait for another process that keeps the file locked, by default: a migration of a
# million rows takes a quarter of it.
PATIENCE = 60.0
# Seconds that another process may take to open a file that is to be quarantined.
_OPENING = 5.0
# Seconds that a transaction takes at most, mostly; and for which it is remembered that one took
# longer.
_TRANSACTION, _RECENT = 0.3, 5.0
# Seconds that a crowd of others may take turns before this one's.
_CROWD = 10.0
# Seconds between two looks at such a file, at least and at most.
_SOON, _LATER = 0.001, 0.02
_NEVER = (0.0, -math.inf)


class Database:
    """One SQLite file, opened at its first use, safe to use from threads and after a fork.

    A file that SQLite finds damaged is quarantined, and a new one begun at the next use.

    Args:
        path: The file; its folder is made if need be.
        migrations: SQL scripts. The file's `user_version` says how many it has had; a script
            that has been released is never changed.

    Attributes:
        lock: Whoever holds it is alone with the file, among the threads of this process. Nobody
            holds it while waiting for another process.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._migrations = migrations
        self._made: sqlite3.Connection | None = None
        # Since when another process has been seen to keep it locked, and until when.
        self._locked = _NEVER
        # Which file that is: another process may have quarantined it, and begun a new one.
        self._file: quarantine.Identity | None = None
        _databases[self] = None

    @property
    def locked(self) -> bool:
        """True if another process keeps the file locked, and not just for a transaction."""
        since, until = self._locked
        return until - since > _TRANSACTION and time.monotonic() - until < _RECENT

    @property
    def journal(self) -> str:
        """Return SQLite's journal mode: `wal`, or on a network folder `delete`.

        Raises:
            StoreError: The file cannot be read.
        """
        return str(self.rows("PRAGMA journal_mode")[0][0])

    @contextlib.contextmanager
    def transaction(
        self, patience: float | None = None, kept: Callable[[], None] | None = None
    ) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of the block is kept, or nothing of it.

        Args:
            patience: Seconds to wait if another process keeps the file locked; 0 tries once.
            kept: Called when all is kept, before another thread may begin a transaction.

        Raises:
            StoreBusy: It kept the file locked all the time.
            StoreDamaged: The file was damaged, and has been quarantined.
            StoreError: The file cannot be read or written.
        """
        patience = PATIENCE if patience is None else patience
        for _ in self._tries(patience):
            with self.lock:
                if self._made is not None and self._made.in_transaction:
                    # Nobody else can be in here: a signal's handler, or the garbage collector.
                    raise StoreError(
                        f"{self.path} is being written by this very thread.",
                        "Ask nothing in a signal's handler.",
                    )
                begun = False
                try:
                    connection = self._attempt(self._begin)
                    begun = True
                    yield connection
                    self._commit(connection, patience)
                    if kept is not None:
                        kept()
                    return  # noqa: TRY300  # what follows is for errors
                except (*configure.FAILURES, quarantine.Taken) as error:
                    self._roll_back()
                    if begun or not configure.busy(error):
                        raise self._ours(error) from None
                except BaseException:
                    self._roll_back()
                    raise

    def rows(
        self, query: str, values: Sequence[object] = (), patience: float | None = None
    ) -> list[sqlite3.Row]:
        """Return the rows of a query.

        Args:
            query: In SQL.
            values: Values of its question marks.
            patience: As for `transaction`.

        Raises:
            StoreBusy: Another process kept the file locked all the time.
            StoreDamaged: The file was damaged, and has been quarantined.
            StoreError: The file cannot be read.
        """

        def read(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            return connection.execute(query, values).fetchall()

        found: list[sqlite3.Row] | None = None
        for _ in self._tries(PATIENCE if patience is None else patience):
            with self.lock:
                if self._made is not None and self._made.in_transaction:
                    return read(self._made)  # what fails here becomes ours at the transaction's end
                try:
                    found = self._attempt(read)
                    break
                except (*configure.FAILURES, quarantine.Taken) as error:
                    if configure.busy(error):
                        continue
                    if configure.code(error) in configure.UNWRITABLE:
                        found = self._only_read(read)
                    if found is None:
                        raise self._ours(error) from None
                    break
        return found or []

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

    def _tries(self, patience: float) -> Iterator[None]:
        """Come back while another process keeps the file locked, and the patience lasts.

        It lasts longer while others get on with their transactions: this one's turn will come.

        Raises:
            StoreBusy: It is over.
        """
        started = time.monotonic()
        deadline, pause, version = started + patience, _SOON, 0
        while True:
            yield
            now, before, version = time.monotonic(), version, self.version()
            if before not in (0, version):  # others get on
                self._locked = _NEVER
                # Whoever waits for less comes back anyway.
                if patience > _TRANSACTION and now - started < _CROWD:
                    deadline = max(deadline, now + patience)
            self._seen_locked(now, now)
            if now >= deadline:
                raise self._busy()
            time.sleep(min(pause, deadline - now))
            pause = min(2 * pause, _LATER)

    def _commit(self, connection: sqlite3.Connection, patience: float) -> None:
        """Commit; unlike `Connection.commit`, it fails if nothing is begun.

        With a rollback journal, whoever reads keeps it waiting.

        Raises:
            StoreBusy: For longer than the patience lasts.
        """
        started = time.monotonic()
        while True:
            try:
                connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if not configure.busy(error):
                    raise
            else:
                self._locked = _NEVER
                return
            now = time.monotonic()
            if now - started >= patience:
                self._seen_locked(started, now)
                raise self._busy()
            time.sleep(_SOON)

    def _seen_locked(self, since: float, now: float) -> None:
        """Remember that another process keeps the file locked: since it was first seen to."""
        first, last = self._locked
        self._locked = (first if since - last < _RECENT else since, now)

    def _busy(self) -> StoreBusy:
        return StoreBusy(
            f"{self.path} cannot be used: it is locked by another process.",
            "Try again in a moment, or end that process.",
        )

    def version(self) -> int:
        """Return a number that is another one after another process has written the file.

        It is 0 if that cannot be known now.
        """
        with self.lock:
            if self._made is None or self._made.in_transaction:
                return 0
            try:
                return int(self._made.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:
                return 0

    def _ours(self, error: configure.Failure | quarantine.Taken) -> StoreError:
        """Return SQLite's error as one of ours.

        Raises:
            StoreDamaged: The file is damaged, and was quarantined now.
        """
        if isinstance(error, quarantine.Taken):
            error = OSError("another process is opening it")
        if self._made is not None and configure.code(error) == sqlite3.SQLITE_ERROR:
            configure.missing(self._made, self.path, self._migrations)  # is it a newer one's?
        if self._damaged(error):
            self._quarantine()
        return StoreError(f"{self.path} cannot be used: {error}.", configure.cure(error))

    def _damaged(self, error: BaseException) -> bool:
        """Return True if an error says that the file that is open is damaged."""
        number = configure.code(error)
        if number == sqlite3.SQLITE_ERROR and self._made is not None:
            return configure.garbled(self._made, self._migrations)
        return number in configure.DAMAGED

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do what may be done again if another process has quarantined a damaged file."""
        try:
            return work(self._connection())
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not self._damaged(error):
                raise
            self._quarantine()
        return work(self._connection())

    def _begin(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Begin a write transaction; not in the file of a newer mixmagic."""
        connection.execute("BEGIN IMMEDIATE")
        configure.missing(connection, self.path, self._migrations)
        return connection

    def _roll_back(self) -> None:
        """Leave nothing of a transaction; where that fails too, the next opening does it."""
        if self._made is not None:
            try:
                self._made.rollback()
            except sqlite3.Error:
                self.close()

    def _connection(self) -> sqlite3.Connection:
        """Return the file at the path, opened if need be.

        Raises:
            Taken: Another process is opening it.
        """
        if self._made is not None and self._file == quarantine.identity(self.path):
            return self._made
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        real = self._real()
        with contextlib.ExitStack() as stack:
            alone = False
            with contextlib.suppress(OSError):  # a folder that takes no lock may yet be read
                stack.enter_context(quarantine.alone(real))
                alone = True
            if alone and not (real.exists() and real.stat().st_size):
                # Of a quarantine that a kill broke off: SQLite would delete the log.
                quarantine.move(real, "left", (quarantine.LOG, quarantine.SHARED))
            try:
                self._made = configure.connect(real)
                self._file = quarantine.identity(real)
                configure.configure(self._made, real, self._migrations)
            except BaseException as error:
                if alone and self._damaged(error):
                    self._move(real)
                self.close()
                raise
            return self._made

    def _only_read(self, read: Callable[[sqlite3.Connection], T]) -> T | None:
        """Read a file that cannot be opened for writing; `None` if that fails too."""
        try:
            return configure.only_read(self._real(), self._migrations, read)
        except configure.FAILURES as error:
            raise self._ours(error) from None

    def _real(self) -> Path:
        """Return the file itself if the path is a link: its log lies beside it."""
        return Path(os.path.realpath(self.path))

    def _quarantine(self) -> None:
        """Quarantine the damaged file that is open, unless another has done it."""
        real = self._real()
        try:
            with quarantine.alone(real, _OPENING):
                # Still open, so that no new file can have its number.
                if self._file == quarantine.identity(real):
                    self._move(real)
        except OSError as error:
            raise self._stuck(error) from None
        finally:
            self.close()

    def _move(self, real: Path) -> None:
        """Quarantine the damaged file, and say so. Only for who is alone with it."""
        if os.name == "nt":  # renames nothing that is open; elsewhere, closing first would write
            self.close()
        try:
            where = quarantine.move(real, "damaged")
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


lazy.across(_before_fork, _after_fork)

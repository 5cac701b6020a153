"""A SQLite file that survives threads, forks, kills and damage."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from mixmagic.core import lazy
from mixmagic.errors import StoreBusy, StoreDamaged, StoreError
from mixmagic.store.sqlite import configure, quarantine
from mixmagic.store.sqlite.log_sync import LogSync
from mixmagic.store.sqlite.readers import Readers

T = TypeVar("T")
_Values = Sequence[object] | Mapping[str, object]

# Writes something at the start of a transaction; returns a function to call after the commit.
Prelude = Callable[[sqlite3.Connection], Callable[[], None] | None]

# Seconds to wait for a file that another process keeps locked: a migration of a million rows takes
# a quarter of it.
TIMEOUT = 60.0
# Seconds that another process may take to open a file that is to be quarantined.
_OPENING = 5.0
# Seconds that most transactions take at most; and for which a longer one is remembered.
_TRANSACTION, _RECENT = 0.3, 5.0
# Seconds that other processes may take turns before this one.
_CROWD = 10.0
# Seconds between two tries to lock the file, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02
_NEVER = (0.0, -math.inf)
_RECREATED = "Run this again: it is created anew."


class Database:
    """One SQLite file, opened at its first use, safe to use from threads and after a fork.

    A commit survives any kill of the process when it returns.

    Args:
        path: The file; its folder is created if need be.
        migrations: SQL scripts. The file's `user_version` counts those it has had; a script that
            has been released never changes.
        durable: True if commits must survive a power cut, too: they do after 0.1 s, or after
            `sync`; on a network folder at once.
        on_damage: `keep` moves a damaged file aside and raises `StoreDamaged`; `recreate` deletes
            it and goes on with a new one, and raises only if a transaction was under way.
        loss: Consequence of the damage, for the message of `StoreDamaged`.
        private: True if nobody but the user may read it.

    Attributes:
        lock: Excludes the other threads of this process from the file. No thread holds it while
            it waits for another process.

    Example:
        >>> cache = Database(folder / "cache.db", MIGRATIONS, durable=False, on_damage="recreate")
        >>> with cache.transaction() as connection:
        ...     connection.execute("DELETE FROM answers")
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        *,
        durable: bool = True,
        on_damage: Literal["keep", "recreate"] = "keep",
        loss: str = "a new, empty one takes its place",
        private: bool = False,
    ) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._name = os.fspath(path)
        self._migrations, self._durable = migrations, durable
        self._on_damage, self._loss, self._private = on_damage, loss, private
        self._open: sqlite3.Connection | None = None
        # Which file that is: another process may have set it aside, and created a new one.
        self._identity: quarantine.Identity | None = None
        # From when to when another process has been seen to keep it locked.
        self._locked = _NEVER
        self._readers = Readers()
        self._log_sync = LogSync()
        weakref.finalize(self, self._log_sync.close)  # also when the process ends
        _databases[self] = None

    @property
    def locked(self) -> bool:
        """True if another process keeps the file locked for longer than most transactions take."""
        since, until = self._locked
        return until - since > _TRANSACTION and time.monotonic() - until < _RECENT

    @property
    def journal(self) -> str:
        """SQLite's journal mode: `wal`, or `delete` on a network folder.

        Raises:
            StoreError: The file cannot be read.
        """
        return str(self.rows("PRAGMA journal_mode")[0][0])

    @contextlib.contextmanager
    def transaction(
        self, timeout: float | None = None, prelude: Prelude | None = None
    ) -> Iterator[sqlite3.Connection]:
        """Run the block in a write transaction: all of it is committed, or nothing.

        Args:
            timeout: Seconds to wait while another process keeps the file locked; 0 tries once.
            prelude: Called with the connection before the block; the function that it returns is
                called after the commit, before another thread can begin a transaction.

        Raises:
            StoreBusy: Another process kept the file locked all the time.
            StoreDamaged: The file was damaged, and has been replaced.
            StoreError: The file cannot be read or written.
        """
        timeout = TIMEOUT if timeout is None else timeout
        for _ in self._tries(timeout):
            with self.lock:
                if self._open is not None and self._open.in_transaction:
                    # Only this thread can be in here: in a signal handler or a finalizer.
                    raise StoreError(
                        f"{self.path} is being written by this very thread.",
                        "Do not call a model in a signal handler or a finalizer.",
                    )
                begun = False
                try:
                    connection = self._attempt(self._begin)
                    begun = True
                    committed = None if prelude is None else prelude(connection)
                    yield connection
                    self._commit(connection, timeout)
                    if committed is not None:
                        committed()
                    return  # noqa: TRY300  # what follows is for errors
                except (*configure.FAILURES, quarantine.InUse) as error:
                    self._roll_back()
                    if begun or not configure.is_busy(error):
                        raise self._store_error(error) from None
                except BaseException:
                    self._roll_back()
                    raise

    def rows(
        self, query: str, values: _Values = (), timeout: float | None = None
    ) -> list[sqlite3.Row]:
        """Return the rows of a query.

        Raises:
            StoreBusy: Another process kept the file locked all the time.
            StoreDamaged: The file was damaged, and has been replaced.
            StoreError: The file cannot be read.
        """

        def read(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            return connection.execute(query, values).fetchall()

        result: list[sqlite3.Row] | None = None
        for _ in self._tries(TIMEOUT if timeout is None else timeout):
            with self.lock:
                if self._open is not None and self._open.in_transaction:
                    return read(self._open)  # the transaction turns its errors into ours
                try:
                    result = self._attempt(read)
                    break
                except (*configure.FAILURES, quarantine.InUse) as error:
                    if configure.is_busy(error):
                        continue
                    if configure.error_code(error) in configure.UNWRITABLE:
                        result = self._read_only(read)
                    if result is None:
                        raise self._store_error(error) from None
                    break
        return result or []

    def read(
        self, query: str, values: Sequence[object] = (), timeout: float = TIMEOUT
    ) -> list[sqlite3.Row]:
        """Return the rows of a query as last committed: no transaction of any thread delays it.

        Args:
            query: The query.
            values: Its values.
            timeout: Seconds to wait if the file cannot be read at once.

        Raises:
            StoreError: As for `rows`.
        """
        failures = (*configure.FAILURES, quarantine.InUse)
        with contextlib.suppress(*failures):
            identity = quarantine.identity(self._name)
            if self._open is None or self._identity != identity:
                with self.lock:
                    self._connection()  # creates the file, or replaces a damaged one
            with self._readers.borrowed() as reader:
                if not reader.reads(identity):
                    real = self._real()
                    with quarantine.exclusive(real, _OPENING):
                        reader.open(real)
                return reader.rows(query, values)
        return self.rows(query, values, timeout)

    def compact(self, timeout: float = _OPENING) -> None:
        """Rewrite the file without the space, and the traces, of what was deleted.

        Raises:
            StoreBusy: Another process kept the file locked all the time.
            StoreError: The file cannot be written.
        """

        def rewrite(connection: sqlite3.Connection) -> None:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        for _ in self._tries(timeout):
            with self.lock:
                try:
                    self._attempt(rewrite)
                except (*configure.FAILURES, quarantine.InUse) as error:
                    if not configure.is_busy(error):
                        raise self._store_error(error) from None
                else:
                    return

    def sync(self) -> None:
        """Return when all commits of this process are on the disk."""
        with self.lock:
            self._log_sync.sync()

    def version(self) -> int:
        """Return a number that changes when another process has written the file; 0 if unknown."""
        with self.lock:
            if self._open is None or self._open.in_transaction:
                return 0
            try:
                return int(self._open.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:
                return 0

    def check(self) -> str:
        """Return `ok`, or what SQLite finds wrong with the file."""
        return str(self.rows("PRAGMA quick_check(1)")[0][0])

    def close(self) -> None:
        """Close the file. It is opened again if need be."""
        with self.lock:
            self._log_sync.close()
            self._readers.close()
            if self._open is not None:
                self._open.close()
                self._open = None

    def before_fork(self) -> None:
        """Close the file: SQLite's locks belong to a process, and a child's would be void."""
        self.lock.acquire()
        self._readers.acquire()
        _closed.append(self)
        self.close()

    def after_fork(self) -> None:
        """Go on, in the parent and in the child: each opens the file for itself."""
        self._readers.release()
        self.lock.release()

    def _tries(self, timeout: float) -> Iterator[None]:
        """Yield until the timeout is over, with a pause after each time.

        The timeout starts again while other processes take turns: this one's will come.

        Raises:
            StoreBusy: It is over.
        """
        started = time.monotonic()
        deadline, pause, version = started + timeout, _FIRST_PAUSE, 0
        while True:
            yield
            now, before, version = time.monotonic(), version, self.version()
            if before not in (0, version):  # another process has committed
                self._locked = _NEVER
                # A caller with a shorter timeout tries again itself.
                if timeout > _TRANSACTION and now - started < _CROWD:
                    deadline = max(deadline, now + timeout)
            self._note_locked(now, now)
            if now >= deadline:
                raise self._busy()
            time.sleep(min(pause, deadline - now))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _begin(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Begin a write transaction, unless a newer mixmagic has migrated the file."""
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] != len(self._migrations):
            configure.pending_migrations(connection, self.path, self._migrations)
        return connection

    def _commit(self, connection: sqlite3.Connection, timeout: float) -> None:
        """Commit. Unlike `Connection.commit`, it fails if no transaction is open.

        With a rollback journal, other processes that read keep it waiting.

        Raises:
            StoreBusy: For longer than the timeout.
        """
        started = time.monotonic()
        while True:
            try:
                connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if not configure.is_busy(error):
                    raise
            else:
                self._locked = _NEVER
                if self._log_sync.log:
                    self._log_sync.committed()
                return
            now = time.monotonic()
            if now - started >= timeout:
                self._note_locked(started, now)
                raise self._busy()
            time.sleep(_FIRST_PAUSE)

    def _roll_back(self) -> None:
        """Undo a transaction; if that fails, the next opening does it."""
        if self._open is not None:
            try:
                self._open.rollback()
            except sqlite3.Error:
                self.close()

    def _note_locked(self, since: float, now: float) -> None:
        """Remember that another process keeps the file locked."""
        first, last = self._locked
        self._locked = (first if since - last < _RECENT else since, now)

    def _busy(self) -> StoreBusy:
        return StoreBusy(
            f"{self.path} cannot be used: it is locked by another process.",
            "Try again in a moment, or end that process.",
        )

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, and once more if the file turns out to be damaged and can be replaced."""
        try:
            return work(self._connection())
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not self._is_damaged(error):
                raise
            self._replace_open()
        return work(self._connection())

    def _connection(self) -> sqlite3.Connection:
        """Return the file at the path, opened if need be.

        Raises:
            InUse: Another process is opening it.
            StoreDamaged: It was damaged, and has been moved aside.
        """
        if self._open is not None and self._identity == quarantine.identity(self._name):
            return self._open
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        real = self._real()
        with contextlib.ExitStack() as stack:
            exclusive = False
            with contextlib.suppress(OSError):  # a folder that supports no locks may be readable
                stack.enter_context(quarantine.exclusive(real))
                exclusive = True
            if exclusive and not (real.exists() and real.stat().st_size):
                # Left by a kill while the file was moved aside: SQLite would delete the log.
                quarantine.set_aside(real, "left", (quarantine.LOG, quarantine.SHARED))
            try:
                return self._opened(real)
            except BaseException as error:
                damaged = exclusive and self._is_damaged(error)
                if damaged:
                    self._replace(real)
                self.close()
                if not damaged:
                    raise
            return self._opened(real)

    def _opened(self, real: Path) -> sqlite3.Connection:
        """Open the file."""
        if self._private:
            configure.make_private(real)
        self._open = configure.connect(real)
        self._identity = quarantine.identity(real)
        journal = configure.configure(self._open, real, self._migrations, durable=self._durable)
        synced = self._durable and journal == "wal"
        self._log_sync.log = str(quarantine.sibling(real, quarantine.LOG)) if synced else ""
        return self._open

    def _read_only(self, read: Callable[[sqlite3.Connection], T]) -> T | None:
        """Read a file that cannot be opened for writing; `None` if that fails, too."""
        try:
            return configure.read_only(self._real(), self._migrations, read)
        except configure.FAILURES as error:
            raise self._store_error(error) from None

    def _real(self) -> Path:
        """Return the file itself if the path is a link: its log lies beside it."""
        return Path(os.path.realpath(self.path))

    def _store_error(self, error: configure.Failure | quarantine.InUse) -> StoreError:
        """Return an error of SQLite or the system as one of ours.

        Raises:
            StoreDamaged: The file was damaged, and has been moved aside now.
            StoreError: The file was written by a newer mixmagic.
        """
        if isinstance(error, quarantine.InUse):
            error = OSError("another process is opening it")
        if self._open is not None and configure.error_code(error) == sqlite3.SQLITE_ERROR:
            configure.pending_migrations(self._open, self.path, self._migrations)
        if self._is_damaged(error):
            self._replace_open()
            if self._on_damage == "recreate":
                return StoreDamaged(f"{self.path} was damaged and has been deleted.", _RECREATED)
        return StoreError(f"{self.path} cannot be used: {error}.", configure.hint(error))

    def _is_damaged(self, error: BaseException) -> bool:
        """Return True if an error says that the open file is damaged."""
        code = configure.error_code(error)
        if code == sqlite3.SQLITE_ERROR and self._open is not None:
            return configure.schema_damaged(self._open, self._migrations)
        return code in configure.DAMAGED

    def _replace_open(self) -> None:
        """Replace the open file, which is damaged, unless another process has done it.

        Raises:
            StoreDamaged: It has been moved aside.
        """
        real = self._real()
        try:
            with quarantine.exclusive(real, _OPENING):
                # Still open, so that no new file can have its inode.
                if self._identity == quarantine.identity(real):
                    self._replace(real)
        except OSError as error:
            raise self._irreplaceable(error) from None
        finally:
            self.close()

    def _replace(self, real: Path) -> None:
        """Delete the damaged file, or move it aside. Needs `quarantine.exclusive`.

        Raises:
            StoreDamaged: It has been moved aside.
        """
        if os.name == "nt":  # renames no open file; elsewhere, closing first would write to it
            self.close()
        try:
            if self._on_damage == "recreate":
                quarantine.delete(real)
                return
            target = quarantine.set_aside(real, "damaged")
        except OSError as error:
            raise self._irreplaceable(error) from None
        finally:
            self.close()
        raise StoreDamaged(
            f"{self.path} is damaged and was moved to {target}: {self._loss}.",
            "Run this again. Nothing was deleted; to go back, put a backup in its place.",
        )

    def _irreplaceable(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path} is damaged and cannot be replaced: {error.strerror}.",
            "End the notebooks that use it and move it, or set MIXMAGIC_HOME to another folder.",
        )


_databases: weakref.WeakKeyDictionary[Database, None] = weakref.WeakKeyDictionary()
_closed: list[Database] = []  # by the fork that is under way: there is one at a time


def _before_fork() -> None:
    """Close every open file."""
    for reference in _databases.keyrefs():  # a copy: other threads may add more
        if (database := reference()) is not None:
            database.before_fork()


def _after_fork() -> None:
    """Let every database go on."""
    while _closed:
        _closed.pop().after_fork()


lazy.on_fork(_before_fork, _after_fork)

"""Open a SQLite file, migrate it and, if it cannot be written, only read it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mixmagic.errors import StoreError
from mixmagic.store.sqlite import network_filesystem, quarantine

# SQLite's primary error codes.
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
UNWRITABLE = (*_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
# Milliseconds that a migration waits for readers, who can keep a rollback journal from growing.
_MIGRATION = 60_000

# The errors that the use of a file can raise.
Failure = sqlite3.Error | OSError | UnicodeDecodeError
FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)

T = TypeVar("T")


class _Connection(sqlite3.Connection):
    """A connection that is closed if it is dropped, as with a session that nobody closes."""

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):  # it could not be opened
            self.close()


def connect(file: Path) -> sqlite3.Connection:
    """Open a file, or create one. Needs `quarantine.exclusive`; call `configure` next.

    The connection waits for no lock: see `Database`.
    """
    connection = sqlite3.connect(
        file, timeout=0, isolation_level=None, check_same_thread=False, factory=_Connection
    )
    connection.row_factory = sqlite3.Row
    return connection


def make_private(file: Path) -> None:
    """Let nobody but the user read a file, which is created if need be.

    SQLite gives the files that it keeps beside it the same permissions.
    """
    # An existing file is not opened: closing it would drop this process's locks on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with contextlib.suppress(OSError):  # of another user, or on a filesystem without permissions
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)


def configure(
    connection: sqlite3.Connection, file: Path, migrations: Sequence[str], *, durable: bool
) -> str:
    """Choose the journal and when it is synced, and apply the migrations that are missing.

    Args:
        connection: As `connect` returns it.
        file: The file.
        migrations: SQL scripts.
        durable: True if a commit may not be lost in a power cut.

    Returns:
        The journal mode: `wal` or, on a network filesystem, `delete`.

    Raises:
        sqlite3.Error: It cannot be done.
        StoreError: The file was written by a newer mixmagic.
    """
    if network_filesystem.network_type(file):
        # A log can be read without shared memory by an exclusive connection.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA locking_mode=NORMAL")
        # A rollback journal can only be synced within the commit.
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        journal = "delete"
    else:
        connection.execute("PRAGMA journal_mode=WAL")
        # Never corrupt, and no commit is lost when a process ends. Until the log is synced, a power
        # cut can take the last commits back: `LogSync` does that soon.
        connection.execute("PRAGMA synchronous=NORMAL")
        journal = "wal"
    connection.execute(f"PRAGMA fullfsync={'ON' if durable else 'OFF'}")
    if pending_migrations(connection, file, migrations):
        _migrate(connection, file, migrations)
    return journal


def _migrate(connection: sqlite3.Connection, file: Path, migrations: Sequence[str]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA busy_timeout={_MIGRATION}")
        # Again: another process may have been faster.
        for script in pending_migrations(connection, file, migrations):
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute("COMMIT")
        connection.execute("PRAGMA busy_timeout=0")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # the next opening does it
            connection.rollback()
        raise


def pending_migrations(
    connection: sqlite3.Connection, file: Path, migrations: Sequence[str]
) -> Sequence[str]:
    """Return the migrations that a file still needs.

    Raises:
        StoreError: The file was written by a newer mixmagic.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise StoreError(
            f"{file} was written by a newer mixmagic.",
            "Restart this kernel; if that does not help, run `pip install --upgrade mixmagic`.",
        )
    return migrations[version:]


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements; a trigger contains several."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement:
        yield statement  # incomplete: SQLite raises an error that says so


def read_only(
    file: Path, migrations: Sequence[str], read: Callable[[sqlite3.Connection], T]
) -> T | None:
    """Read a file on a full disk or in a read-only folder; `None` if that fails, too.

    Raises:
        StoreError: The file was written by a newer mixmagic.
    """
    modes = ["mode=ro"]
    logs = (quarantine.sibling(file, suffix) for suffix in (quarantine.LOG, quarantine.JOURNAL))
    if not any(log.exists() and log.stat().st_size for log in logs):
        modes.append("immutable=1")  # needs no shared memory, and would not see a log
    for mode in modes:
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"{file.as_uri()}?{mode}", uri=True)) as connection,
        ):
            connection.row_factory = sqlite3.Row
            pending_migrations(connection, file, migrations)
            return read(connection)
    return None


def is_busy(error: BaseException) -> bool:
    """Return True if an error says that another process keeps the file locked."""
    return isinstance(error, quarantine.InUse) or error_code(error) == sqlite3.SQLITE_BUSY


def error_code(error: BaseException) -> int:
    """Return SQLite's primary error code; 0 if SQLite did not raise the error."""
    # Python's own errors for a text that is not UTF-8 have no code.
    if isinstance(error, UnicodeDecodeError) or "Could not decode" in str(error):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def schema_damaged(connection: sqlite3.Connection, migrations: Sequence[str]) -> bool:
    """Return True if a file's tables are not those that its migrations create."""
    described = "SELECT type, name, tbl_name, sql FROM sqlite_master"
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        tables = {tuple(row) for row in connection.execute(described)}
    except (sqlite3.Error, UnicodeDecodeError):
        return True
    if version > len(migrations):
        return False  # only a newer mixmagic knows its tables
    with contextlib.closing(sqlite3.connect(":memory:")) as model:
        model.executescript(";".join(migrations[:version]))
        expected = set(model.execute(described))
    return not expected <= tables or (version == 0 and bool(tables))


def hint(error: Failure) -> str:
    """Return what the user can do about an error."""
    code = error_code(error)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or code in _FULL:
        return "Free some space on its disk, or set MIXMAGIC_HOME to a folder on another."
    if code in DAMAGED:
        return "Run this again: another process has moved the damaged file aside."
    return "Check its permissions and its folder's, or set MIXMAGIC_HOME to another folder."

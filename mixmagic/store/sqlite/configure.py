"""Opening a SQLite file, bringing it up to date and, if all else fails, only reading it.

For the modules of this package.
"""

from __future__ import annotations

import contextlib
import errno
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
# Milliseconds that a migration waits for readers, who may keep a rollback journal from growing.
_MIGRATION = 60_000

# What the use of a file can raise.
Failure = sqlite3.Error | OSError | UnicodeDecodeError
FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)

T = TypeVar("T")


def connect(file: Path) -> sqlite3.Connection:
    """Open a file, or begin one. Only for who is alone with it; `configure` comes next.

    Nothing waits for a lock: see `Database`.
    """
    connection = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def configure(connection: sqlite3.Connection, file: Path, migrations: Sequence[str]) -> None:
    """Choose the journal, and bring the file to the newest form.

    Raises:
        sqlite3.Error: It cannot be done.
        StoreError: The file is a newer mixmagic's.
    """
    if network_filesystem.network(file):
        # Exclusive for as long as it takes: a log can be read without shared memory then.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA locking_mode=NORMAL")
    else:
        connection.execute("PRAGMA journal_mode=WAL")
    # Money is reserved before it is spent: a power cut must not forget it.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA fullfsync=ON")
    if not missing(connection, file, migrations):
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA busy_timeout={_MIGRATION}")
        for script in missing(connection, file, migrations):  # another may have been faster
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute("COMMIT")
        connection.execute("PRAGMA busy_timeout=0")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # the next opening does it
            connection.rollback()
        raise


def missing(connection: sqlite3.Connection, file: Path, migrations: Sequence[str]) -> Sequence[str]:
    """Return the migrations that a file has not had.

    Raises:
        StoreError: The file is a newer mixmagic's.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise StoreError(
            f"{file} was written by a newer mixmagic.",
            "Restart this kernel; if that does not help, run `pip install --upgrade mixmagic`.",
        )
    return migrations[version:]


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements; a trigger has some inside."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement:
        yield statement  # SQLite says what is wrong with it


def only_read(
    file: Path, migrations: Sequence[str], read: Callable[[sqlite3.Connection], T]
) -> T | None:
    """Read a file that cannot be opened for writing, as it is now; `None` if that fails too.

    Raises:
        StoreError: The file is a newer mixmagic's.
    """
    ways = ["mode=ro"]
    logs = (quarantine.beside(file, suffix) for suffix in (quarantine.LOG, quarantine.JOURNAL))
    if not any(log.exists() and log.stat().st_size for log in logs):
        ways.append("immutable=1")  # needs no shared memory, and would not see a log
    for way in ways:
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"{file.as_uri()}?{way}", uri=True)) as connection,
        ):
            connection.row_factory = sqlite3.Row
            missing(connection, file, migrations)
            return read(connection)
    return None


def busy(error: BaseException) -> bool:
    """Return True if an error says that another process keeps the file locked."""
    return isinstance(error, quarantine.Taken) or code(error) == sqlite3.SQLITE_BUSY


def code(error: BaseException) -> int:
    """Return SQLite's primary error code; 0 if it is not an error of SQLite's."""
    # What is read is no text: Python's own errors, without a code.
    if isinstance(error, UnicodeDecodeError) or "Could not decode" in str(error):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def garbled(connection: sqlite3.Connection, migrations: Sequence[str]) -> bool:
    """Return True if a file's tables are not what its migrations make: its schema is damaged."""
    described = "SELECT type, name, tbl_name, sql FROM sqlite_master"
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        found = {tuple(row) for row in connection.execute(described)}
    except (sqlite3.Error, UnicodeDecodeError):
        return True
    if version > len(migrations):
        return False  # a newer mixmagic's: its tables are not ours to judge
    with contextlib.closing(sqlite3.connect(":memory:")) as model:
        model.executescript(";".join(migrations[:version]))
        wanted = set(model.execute(described))
    return not wanted <= found or (version == 0 and bool(found))


def cure(error: Failure) -> str:
    """Return what to do about an error."""
    number = code(error)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or number in _FULL:
        return "Free some space on its disk, or set MIXMAGIC_HOME to a folder on another."
    if number in DAMAGED:
        return "Run this again: another process has moved the damaged file aside."
    return "Check its permissions and its folder's, or set MIXMAGIC_HOME to another folder."

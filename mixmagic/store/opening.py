"""How a SQLite file is opened, brought up to date and, where all else fails, only read.

For the modules of this room.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mixmagic.errors import StoreError
from mixmagic.store import aside, mounts

# Seconds that a writer waits for another process's transaction.
TIMEOUT = 10.0

# SQLite's primary error codes.
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
UNWRITABLE = (*_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)

# What the use of a file can raise.
Failure = sqlite3.Error | OSError | UnicodeDecodeError
FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)

T = TypeVar("T")


def connect(file: Path) -> sqlite3.Connection:
    """Open a file, or begin one. Only for who is alone with it; `settle` comes next."""
    connection = sqlite3.connect(
        file, timeout=TIMEOUT, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    return connection


def settle(connection: sqlite3.Connection, file: Path, migrations: Sequence[str]) -> None:
    """Choose the journal, and bring the file to the newest form.

    Raises:
        sqlite3.Error: It cannot be done.
        StoreError: The file is a newer mixmagic's.
    """
    if mounts.network(file):
        # Exclusive for as long as it takes: a log can be read without shared memory then.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        _patiently(connection, "PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA locking_mode=NORMAL")
    else:
        _patiently(connection, "PRAGMA journal_mode=WAL")
    # Money is held before it is spent: a power cut must not forget it.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA fullfsync=ON")
    if not _missing(connection, file, migrations):
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        for script in _missing(connection, file, migrations):  # another may have been faster
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # the next opening does it
            connection.rollback()
        raise


def only_read(
    file: Path, migrations: Sequence[str], read: Callable[[sqlite3.Connection], T]
) -> T | None:
    """Read a file that cannot be opened for writing, as it is now; `None` if that fails too.

    Raises:
        StoreError: The file is a newer mixmagic's.
    """
    ways = ["mode=ro"]
    logs = (aside.beside(file, suffix) for suffix in (aside.LOG, aside.JOURNAL))
    if not any(log.exists() and log.stat().st_size for log in logs):
        ways.append("immutable=1")  # needs no shared memory, and would not see a log
    for way in ways:
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"{file.as_uri()}?{way}", uri=True)) as connection,
        ):
            connection.row_factory = sqlite3.Row
            _missing(connection, file, migrations)
            return read(connection)
    return None


def code(error: BaseException) -> int:
    """SQLite's primary error code; 0 where it is no error of SQLite's."""
    # What is read is no text: Python's own errors, without a code.
    if isinstance(error, UnicodeDecodeError) or "Could not decode" in str(error):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def garbled(connection: sqlite3.Connection, migrations: Sequence[str]) -> bool:
    """Whether a file's tables are not what its migrations make: its own description is damaged."""
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
    """What to do about an error."""
    number = code(error)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or number in _FULL:
        return "Free some space on its disk, or set MIXMAGIC_HOME to a folder on another."
    if number == sqlite3.SQLITE_BUSY:
        return "Another process keeps it locked: try again, or end that process."
    if number in DAMAGED:
        return "Run this again: another process has moved the damaged file aside."
    return "Check its permissions and its folder's, or set MIXMAGIC_HOME to another folder."


def _patiently(connection: sqlite3.Connection, change: str) -> None:
    """Change the journal; SQLite itself does not wait for others who do the same."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            connection.execute(change)
        except sqlite3.OperationalError as error:
            if code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _missing(
    connection: sqlite3.Connection, file: Path, migrations: Sequence[str]
) -> Sequence[str]:
    """The migrations that the file has not had."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise StoreError(
            f"{file} was written by a newer mixmagic.", "Run `pip install --upgrade mixmagic`."
        )
    return migrations[version:]

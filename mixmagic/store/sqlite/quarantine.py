"""Setting a damaged file aside while other processes may be opening it."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# The files that SQLite keeps beside a database.
JOURNAL, LOG, SHARED = "-journal", "-wal", "-shm"
_ALL = ("", JOURNAL, LOG, SHARED)

Identity = tuple[int, int]


class InUse(Exception):
    """Another process or thread is opening or moving the file."""


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    _LOCKED: tuple[type[OSError], ...] = (PermissionError,)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # Unlike `lockf`, it excludes the other threads of this process, too.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    # On a network folder it raises what `lockf` raises.
    _LOCKED: tuple[type[OSError], ...] = (BlockingIOError, PermissionError)


def identity(path: str | Path) -> Identity | None:
    """Return the device and inode of a file; `None` if there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116  # half the time of Path's, in every transaction
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def sibling(path: Path, suffix: str) -> Path:
    """Return the path of a file that SQLite keeps beside `path`."""
    return path.with_name(path.name + suffix)


@contextlib.contextmanager
def exclusive(path: Path, timeout: float = 0.0, *, transient: bool = False) -> Iterator[None]:
    """Be the only thread of all processes that may open or move `path`.

    SQLite finds a file's log by its name. If a file is moved while another process opens it,
    that process takes the log of the next file for its own.

    Args:
        path: The file. The lock is a file beside it.
        timeout: Seconds to wait for another thread or process.
        transient: True to delete the lock's file at the end, if the system deletes open files.

    Raises:
        InUse: Another thread or process has kept it for `timeout` seconds.
        OSError: The folder supports no locks.
    """
    deadline, lock = time.monotonic() + timeout, sibling(path, "-lock")
    while True:
        with lock.open("ab") as file:
            _acquire(file.fileno(), deadline)
            status = os.fstat(file.fileno())
            if identity(lock) != (status.st_dev, status.st_ino):
                continue  # the previous holder has deleted its file
            try:
                yield
                return
            finally:
                if transient:
                    with contextlib.suppress(OSError):
                        lock.unlink()
                _unlock(file.fileno())


def _acquire(descriptor: int, deadline: float) -> None:
    """Wait for a lock until the deadline."""
    while True:
        try:
            _lock(descriptor)
        except _LOCKED:
            if time.monotonic() >= deadline:
                raise InUse from None
            time.sleep(0.005)
        else:
            return


def set_aside(path: Path, reason: str, parts: tuple[str, ...] = _ALL) -> Path:
    """Rename a file, and the files that SQLite keeps beside it. Needs `exclusive`.

    Args:
        path: The file.
        reason: Word for the new name: `ledger.damaged-20261124-120000.db`.
        parts: Suffixes of the files that are renamed.

    Returns:
        The file's new path, which no file had before.
    """
    stem = f"{path.stem}.{reason}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        target = path.with_name(stem + (f"-{number}" if number > 1 else "") + path.suffix)
        if not any(sibling(target, part).exists() for part in _ALL):
            break
    # The file goes first: a log that a kill leaves behind is set aside by the next opening, but a
    # file without its log would pass for complete.
    for part in parts:
        if sibling(path, part).exists():
            sibling(path, part).rename(sibling(target, part))
    return target


def delete(path: Path) -> None:
    """Delete a file, and the files that SQLite keeps beside it. Needs `exclusive`."""
    for part in _ALL:  # the file first, as above
        sibling(path, part).unlink(missing_ok=True)

"""A file that many processes use: who may open or move it, and which one has its name.

For the modules of this package.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# What SQLite keeps beside a file.
JOURNAL, LOG, SHARED = "-journal", "-wal", "-shm"
_ALL = ("", JOURNAL, LOG, SHARED)

Identity = tuple[int, int]


class Taken(Exception):
    """Another process or thread is opening or moving the file."""


if sys.platform == "win32":
    import msvcrt

    def _lock(number: int) -> None:
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)

    def _unlock(number: int) -> None:
        msvcrt.locking(number, msvcrt.LK_UNLCK, 1)

    _TAKEN: tuple[type[OSError], ...] = (PermissionError,)
else:
    import fcntl

    def _lock(number: int) -> None:
        # Unlike `lockf`, it holds between the threads of a process too.
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_UN)

    # On a network folder it is what `lockf` raises.
    _TAKEN: tuple[type[OSError], ...] = (BlockingIOError, PermissionError)


def identity(path: Path) -> Identity | None:
    """Return what tells a file from any other of its name; `None` if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file that SQLite keeps beside `path`."""
    return path.with_name(path.name + suffix)


@contextlib.contextmanager
def alone(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Be the only one of all processes and threads to open or to move `path`.

    SQLite finds a file's log by its name: were a file moved while another process opens it,
    that one would take the log of the next file for its own.

    Raises:
        OSError: The folder takes no lock.
        Taken: Another has had it for `patience` seconds.
    """
    deadline = time.monotonic() + patience
    with beside(path, "-lock").open("ab") as file:
        while True:
            try:
                _lock(file.fileno())
            except _TAKEN:
                if time.monotonic() >= deadline:
                    raise Taken from None
                time.sleep(0.005)
            else:
                break
        try:
            yield
        finally:
            _unlock(file.fileno())


def move(path: Path, word: str, parts: tuple[str, ...] = _ALL) -> Path:
    """Rename a file, with what SQLite keeps beside it, to a name that nobody has.

    Only for who is `alone` with it.

    Returns:
        The file's new path.
    """
    stem = f"{path.stem}.{word}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        to = path.with_name(stem + (f"-{number}" if number > 1 else "") + path.suffix)
        if not any(beside(to, part).exists() for part in _ALL):
            break
    # The file goes first: a log that is left behind by a kill is found to be nobody's, but a
    # file without its log would pass for whole.
    for part in parts:
        if beside(path, part).exists():
            beside(path, part).rename(beside(to, part))
    return to

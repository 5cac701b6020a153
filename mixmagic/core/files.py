"""Read and write the user's files: completely, or raise an error.

A damaged file raises an `OSError` or a `ValueError`, whose `reason` fits on one line. Imports
nothing of the project.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Largest file that is read, in bytes; longest TOML, in characters; deepest nesting of TOML.
_MAX_BYTES, _MAX_TOML, _MAX_DEPTH = 64 * 1024 * 1024, 1024 * 1024, 32
# A key of too many parts: tomllib's memory grows with the square of their number.
_LONG_KEY = (
    r"""(?m)(?:^|[\[{,])[ \t]*+(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    rf"{{{_MAX_DEPTH}}}"
)


def read(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a regular file, too long, or not UTF-8.

    Example:
        >>> read(Path("notes.md"))
        'Tea.'
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait
        raise ValueError("it is not a regular file")
    if status.st_size > _MAX_BYTES:
        raise ValueError(f"it has over {_MAX_BYTES:,} bytes")
    text = path.read_text("utf-8-sig")
    if "\0" in text:  # probably UTF-16, which can be valid UTF-8
        raise ValueError("it is not UTF-8")
    return text


def version(path: str | Path) -> object:
    """Return a value that changes with a file; `None` if it cannot be looked at.

    Example:
        >>> version("notes.md") == version("notes.md")
        True
    """
    try:
        status = os.stat(path)  # noqa: PTH116  # before every call, and Path takes longer
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def toml(text: str) -> dict[str, Any]:
    """Parse TOML, nested at most 32 levels deep, with integers of at most 64 bits.

    Raises:
        ValueError: It is not valid, or nested too deep, or too long.

    Example:
        >>> toml("a.b = 1")
        {'a': {'b': 1}}
    """
    import tomllib  # here, because most users have no TOML file

    if len(text) > _MAX_TOML:
        raise ValueError(f"it has over {_MAX_TOML:,} characters")
    if re.search(_LONG_KEY, text):
        raise ValueError("it is nested too deep")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    level: list[Any] = [table]
    for _ in range(_MAX_DEPTH):
        if any(type(value) is int and value.bit_length() > 64 for value in level):
            raise ValueError("it has an integer of over 64 bits")
        level = [value for parent in level for value in _inside(parent)]
    if level:
        raise ValueError("it is nested too deep")
    return table


def _inside(value: Any) -> list[Any]:
    """Return the values in a table or an array."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def typed(name: str | Path) -> str:
    """Return a file's name as it is typed in a command line: quoted, if need be.

    Example:
        >>> typed("my notes.md")
        '"my notes.md"'
    """
    return str(name) if re.fullmatch(r"[\w./\\:@%+=,~-]+", str(name)) else f'"{name}"'


def reason(error: Exception) -> str:
    """Return why a file cannot be read or written, without its name.

    Example:
        >>> reason(FileNotFoundError(2, "No such file or directory", "notes.md"))
        'No such file or directory'
    """
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"line {line} is not UTF-8"
    return getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Exclude other processes and threads that lock a folder, as long as they do the same.

    Nothing is locked on Windows, nor where the system cannot lock a folder.

    Example:
        >>> with locked(path.parent):
        ...     write(path, changed(read(path)))
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)  # which unlocks it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def write(path: Path, text: str | bytes, *, newline: str | None = None) -> None:
    """Write a file in UTF-8, or leave it unchanged, even after a power failure.

    The file is on the disk when this function returns.

    Args:
        path: The file, in a folder that exists. If it is a link, its target is written.
        text: The file's whole text; or its bytes, which are written as they are.
        newline: As for `open`, for a text.

    Raises:
        OSError: The file cannot be written.
        ValueError: The file's name is not valid.

    Example:
        >>> write(Path("notes.md"), "Tea.")
    """
    with replacing(path) as part:
        if isinstance(text, bytes):
            part.write_bytes(text)
        else:
            part.write_text(text, "utf-8", newline=newline)


@contextlib.contextmanager
def replacing(path: Path, mark: str = "") -> Iterator[Path]:
    """Let the block write a new file, which then replaces another one, or do nothing if it raises.

    Args:
        path: The file that is replaced: see `write`.
        mark: A part of the new file's name, by which one that was not finished is known.

    Yields:
        The file to write, in the same folder.

    Example:
        >>> with replacing(Path("rows.csv")) as part:
        ...     part.write_text("a,b")
    """
    real = Path(os.path.realpath(path))
    # A random name: two processes may write the same file.
    part = real.parent / f".{real.name}.{mark}{os.urandom(4).hex()}.part"
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # or the rename could reach the disk before the text
        with contextlib.suppress(OSError):  # it is new, or another user's
            part.chmod(stat.S_IMODE(real.stat().st_mode))
        _replace(part, real)
        _sync_folder(real.parent)
    finally:
        with contextlib.suppress(OSError, ValueError):  # it was renamed, or never created
            part.unlink()


def _replace(source: Path, target: Path) -> None:
    """Rename a file. On Windows, wait a moment while another process reads the target."""
    for pause in (0.01, 0.1, 0.5) if os.name == "nt" else ():
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    source.replace(target)


def _sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk, on systems and filesystems that can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

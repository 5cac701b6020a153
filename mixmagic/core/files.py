"""The user's files: written whole or not at all, and read only if they are sane.

A damaged file is an `OSError` or a `ValueError`, whose `reason` fits into one line. Imports nothing
of the project.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import Any

# Bytes of the longest file that is read, characters of the longest TOML, its deepest nesting.
_MAX_BYTES, _MAX_TOML, _MAX_DEPTH = 64 * 1024 * 1024, 1024 * 1024, 32
# A key of more parts than any has: tomllib takes memory for the square of their number.
_LONG_KEY = (
    r"""(?m)(?:^|[\[{,])[ \t]*+(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    rf"{{{_MAX_DEPTH}}}"
)


def read(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a regular file, is too long, or is not UTF-8.

    Example:
        >>> read(Path("notes.md"))
        'Tea.'
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
        raise ValueError("it is not a regular file")
    if found.st_size > _MAX_BYTES:
        raise ValueError(f"it has over {_MAX_BYTES:,} bytes")
    text = path.read_text("utf-8-sig")
    if "\0" in text:  # as UTF-16 has them, which may be valid UTF-8
        raise ValueError("it is not UTF-8")
    return text


def toml(text: str) -> dict[str, Any]:
    """Parse TOML, nested at most 32 levels deep, with integers of at most 64 bits.

    Raises:
        ValueError: It is not valid, or nested too deep, or too long.

    Example:
        >>> toml("a.b = 1")
        {'a': {'b': 1}}
    """
    import tomllib  # here, because most people have no such file

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
        level = [value for each in level for value in _inside(each)]
    if level:
        raise ValueError("it is nested too deep")
    return table


def _inside(value: Any) -> list[Any]:
    """The values that a table or an array holds."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


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


def write(path: Path, text: str, *, newline: str | None = None) -> None:
    """Write a file in UTF-8, or leave what was there, also if the power fails.

    Args:
        path: The file; its folder is there. If it is a link, what it points to is written.
        text: All of it.
        newline: As for `open`.

    Raises:
        OSError: It cannot be written.
        ValueError: Its name cannot be one.

    Example:
        >>> write(Path("notes.md"), "Tea.")
    """
    real = Path(os.path.realpath(path))
    # A name of its own: two processes may write the same file.
    part = real.parent / f".{real.name}.{os.urandom(4).hex()}.part"
    try:
        with part.open("w", encoding="utf-8", newline=newline) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # or the new name may come to the disk before the text
        part.replace(real)
    finally:
        with contextlib.suppress(OSError, ValueError):  # it has been renamed, or never was
            part.unlink()

"""Writing files whole, or not at all. Imports nothing of the project."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


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

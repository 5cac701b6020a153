"""Writing files whole, or not at all. Imports nothing of the project."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write(path: Path, text: str, *, newline: str | None = None) -> None:
    """Write a file in UTF-8, or leave what was there.

    Args:
        path: The file; its folder is there.
        text: All of it.
        newline: As for `open`.

    Raises:
        OSError: It cannot be written.
        ValueError: Its name cannot be one.

    Example:
        >>> write(Path("notes.md"), "Tea.")
    """
    # A name of its own: two processes may write the same file.
    part = path.parent / f".{path.name}.{os.urandom(4).hex()}.part"
    try:
        part.write_text(text, "utf-8", newline=newline)
        part.replace(path)
    finally:
        with contextlib.suppress(OSError, ValueError):  # it has been renamed, or never was
            part.unlink()

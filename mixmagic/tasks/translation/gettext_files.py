"""Read and write gettext files, by polib."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mixmagic.core import files, lazy
from mixmagic.errors import StoreError

# What comments of mixmagic begin with.
OURS = "mixmagic: "
# A line that begins a string and does not end it: polib would drop a letter.
_OPEN = re.compile(r'^(?:#~ ?)?(?:msg\w+(?:\[\d+\])?[ \t]+)?"(?:[^"\\\n]|\\.)*$', re.MULTILINE)
_WHERE = re.compile(r"^Syntax error in po file.*?\(?(line \d+)\)?:?")


def read_po(path: Path) -> Any:
    """Return a gettext file as polib reads it.

    Raises:
        StoreError: It cannot be read, or is not a gettext file.

    Example:
        >>> read_po(Path("lesson.fr.po")).metadata["Language"]
        'fr'
    """
    try:
        text = files.read(path)
        if match := _OPEN.search(text):
            line = text.count("\n", 0, match.start()) + 1
            raise ValueError(f"line {line}: a quotation mark is missing")
        return lazy.load("polib").pofile(str(path), encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = _WHERE.sub(r"\1:", str(error))
        reason = reason if reason.startswith("line") else files.reason(error)
        raise StoreError(
            f"{path} cannot be read: {reason.strip(' :')}.",
            "Fix the file, or move it away.",
        ) from None


def write_po(path: Path, file: Any) -> None:
    """Write a gettext file: completely, or not at all; its line ends stay.

    Raises:
        StoreError: It cannot be written.

    Example:
        >>> write_po(Path("lesson.fr.po"), file)
    """
    try:
        crlf = path.exists() and b"\r\n" in path.read_bytes()[:4096]
        files.write(path, f"{file}", newline="\r\n" if crlf else "\n")
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be written: {files.reason(error)}.",
            "The translations are not lost if you make room or another folder, and run again.",
        ) from None

"""Text for a terminal, a pipe or a file of any encoding."""

from __future__ import annotations

import codecs
import os
import shutil
import sys
import textwrap

# Characters that an encoding may lack, and their replacements: distinct, of one character each.
_PLAINER = {"≈": "~", "≤": "<", "≥": ">", "→": ">", "·": "-", "✗": "x", "…": "."}
_NOTEBOOK = 72  # columns of text that a cell has room for in a window of 700 pixels


def plainer(error: UnicodeError) -> tuple[str, int]:
    """Return a replacement for characters that an encoding lacks: an error handler for codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAINER.get(letter, "?") for letter in lacking), error.end


ERRORS = "mixmagic"  # for `errors=`
codecs.register_error(ERRORS, plainer)


def encodable(text: str) -> str:
    """Return a text that standard output can write, with replacements for what its encoding lacks.

    The text is unchanged if standard output has an error handler of its own.

    Example:
        >>> encodable("9 → 5 tokens · 中")  # where standard output is ASCII
        '9 > 5 tokens - ?'
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding, getattr(sys.stdout, "errors", None) or "strict")
    except UnicodeEncodeError:
        return text.encode(encoding, ERRORS).decode(encoding)
    return text


def width() -> int | None:
    """Return the columns of standard output; `None` if that is not a terminal."""
    try:
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    except (AttributeError, ValueError):  # replaced, or closed
        return None


def text_width() -> int | None:
    """Return the columns for lines of text: of the terminal, or few enough for a notebook.

    JupyterLab breaks lines that are too long for it inside words.
    """
    kernel = sys.modules.get("ipykernel.kernelapp")
    in_kernel = kernel is not None and kernel.IPKernelApp.initialized()
    return width() or (_NOTEBOOK if in_kernel else None)


def is_dumb() -> bool:
    """Return True if the terminal obeys no control sequences."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def fold(text: str, columns: int | None, indent: str = "") -> str:
    r"""Return a text with its lines wrapped between words to so many columns; `None` for any.

    Args:
        text: The text.
        columns: The width.
        indent: Precedes the continuations of lines.

    Example:
        >>> fold("a long line", 8)
        'a long\nline'
    """
    if columns is None:
        return text
    lines = text.split("\n")
    return "\n".join(
        line if len(line) <= columns else _filled(line, columns, indent) for line in lines
    )


def _filled(line: str, columns: int, indent: str) -> str:
    words = line.lstrip()
    return textwrap.fill(
        words,
        columns,
        initial_indent=line[: len(line) - len(words)],
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def wrapped(text: str) -> str:
    """Return a text for standard output, its lines wrapped between words.

    Lines go on below their own beginning, or below the second column of a list.
    """
    columns = text_width()
    return "\n".join(fold(line, columns, _indent(line, columns)) for line in text.split("\n"))


def _indent(line: str, columns: int | None) -> str:
    """Return the blanks before the continuations of a line."""
    start = len(line) - len(line.lstrip())
    gap = line.find("  ", start)
    second = len(line) - len(line[gap:].lstrip()) if gap > 0 else start
    return " " * (second if columns and second <= columns // 2 else start)


def write(text: str) -> None:
    """Write a text to standard output, at once."""
    print(encodable(text), end="", flush=True)

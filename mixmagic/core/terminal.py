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


def error_width() -> int | None:
    """Return the columns for lines of errors: of the terminal, or few enough for a notebook.

    JupyterLab breaks the lines of a traceback that are too long for it inside words.
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
    wrapper = textwrap.TextWrapper(
        columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    lines = text.split("\n")
    return "\n".join(line if len(line) <= columns else wrapper.fill(line) for line in lines)


def write(text: str) -> None:
    """Write a text to standard output, at once."""
    print(encodable(text), end="", flush=True)

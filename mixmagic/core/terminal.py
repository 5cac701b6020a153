"""Text for a terminal, a pipe or a file of any encoding."""

from __future__ import annotations

import codecs
import sys

# What an encoding may lack, as it can be told apart from the rest, in one letter.
_PLAINER = {"≈": "~", "≤": "<", "≥": ">", "→": ">", "·": "-", "✗": "x", "…": "."}


def plainer(error: UnicodeError) -> tuple[str, int]:
    """Return what to write in place of letters that an encoding lacks: an error handler."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAINER.get(letter, "?") for letter in lacking), error.end


ERRORS = "mixmagic"  # for `errors=`
codecs.register_error(ERRORS, plainer)


def encodable(text: str) -> str:
    """Return a text that standard output can write: what its encoding lacks is replaced.

    Not if standard output replaces it by itself.

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


def write(text: str) -> None:
    """Write a text to standard output, at once."""
    print(encodable(text), end="", flush=True)

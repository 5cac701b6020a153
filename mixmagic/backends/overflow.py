"""How providers say that a prompt is too long for a model's context, and by how much. No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

_CODES = (
    "context_length_exceeded",
    "context_window_exceeded",
    "exceed_context_size_error",
    "model_context_window_exceeded",
    "request_too_large",
)
# Of the prompt alone, for a limit of the answer's own is not the context's.
_WORDS = re.compile(
    r"""context[ _-]?(?:length|size|window|limit|overflow)|max(?:imum)?\ context
      | max_(?:model|seq)_len
      | (?:prompt|input|inputs|request|conversation|messages?)(?:\ tokens)?
        \ (?:is|are|was)?\ ?(?:too\ (?:long|large)|longer\ than)
      | reduce\ (?:the\ (?:length|size)\ of\ )?(?:the|your)\ (?:messages|prompt|inputs?|context)
      | `?inputs`?\ (?:tokens\ \+|must\ have\ less\ than)
      | max(?:imum)?\ (?:prompt|input|model|sequence)\ (?:length|size|tokens?)
      | (?:prompt|input|token|sequence)s?[ _](?:tokens?\ )?(?:count|length)s?\b.{0,60}?
        (?:exceed|greater\ than|longer\ than|too\ (?:long|large))
      | (?:input|prompt)\ (?:tokens?\ )?.{0,40}?(?:can\ ?not\ )?exceeds?\ .{0,40}?(?:limit|maximum)
      | (?:too\ many|exceed\w*\ (?:the\ )?(?:model'?s?\ )?(?:max(?:imum)?\ )?)\ ?
        (?:input\ |prompt\ )?tokens?\b(?!\ per)
      | exceed\w*\ (?:the\ )?(?:model|max(?:imum)?)\ (?:input\ )?(?:token|sequence|context)
      | token\ limit\ exceeded
      | length\ of\ (?:all\ )?(?:messages|prompt\w*).{0,40}?(?:long|less\ than)
      | range\ of\ input\ length
      | string\ too\ long\.\ expected\ a\ string\ with\ maximum\ length\ \d{5}
      | exceed\ max\ message\ tokens
    """,
    re.IGNORECASE | re.VERBOSE,
)
# A limit of the account's, which passes.
_RATE = re.compile(r"per[ _-](?:second|minute|hour|day)|\b[RT]P[MD]\b|rate[ _-]?limit", re.I)
_NUMBER = r"(?<![\w.-])(\d[\d,]{0,14})(?!\d)"
_NUMBERS = re.compile(_NUMBER)
# Where the number of tokens that a model takes stands, the clearest first.
_LIMITS = [
    re.compile(rf"{before}{_NUMBER}{behind}", re.IGNORECASE)
    for before, behind in (
        (r"(?:<=?|>)\s*", ""),
        (r"context (?:length|size|window)(?: limit)?(?: is| of|:)?(?: only)?\s*\(?", ""),
        (r"max(?:imum)? (?:prompt|input|model|sequence) \w+:?(?: is| of)?\s*\(?", ""),
        (r"(?:token limit|limit of|less than|allowed|allowed token size|not exceed):?\s*\(?", ""),
        (r"(?:max_(?:seq|model)_len|tokens limit):?\s*\(?", ""),
        (r"range of input length should be \[1, ?", r"\]"),
        ("", r" (?:tokens? )?max(?:imum)?\b"),
    )
]
_LEAST, _MOST = 16, 10**9  # tokens; what is less or more is another number


class Overflow(NamedTuple):
    """By how much a prompt is too long, as far as a provider has told.

    Attributes:
        tokens: Tokens that it has, or would have with its answer; `None` if unknown.
        limit: Tokens that the model takes; `None` if unknown.
    """

    tokens: int | None = None
    limit: int | None = None


def is_overflow(words: str, codes: str) -> bool:
    """Return True if an error says that the prompt is too long for the model.

    Args:
        words: The provider's own words.
        codes: The machine-readable parts of the error.

    Example:
        >>> is_overflow("prompt is too long: 213462 tokens > 200000 maximum", "")
        True
    """
    if any(code in codes for code in _CODES):
        return True
    return _WORDS.search(words) is not None and not _RATE.search(f"{words} {codes}")


def measured(words: str) -> Overflow:
    """Return the numbers in the words of such an error.

    Example:
        >>> measured("prompt is too long: 213462 tokens > 200000 maximum")
        Overflow(tokens=213462, limit=200000)
    """
    if "string too long" in words.lower():
        return Overflow()  # in characters
    found = next(filter(None, (each.search(words) for each in _LIMITS)), None)
    limit = _count(found[1]) if found else 0
    if not _LEAST <= limit <= _MOST:
        return Overflow()
    most = max(map(_count, _NUMBERS.findall(words)))
    return Overflow(most if limit < most <= _MOST else None, limit)


def _count(text: str) -> int:
    """A number, with or without commas."""
    return int(text.replace(",", ""))

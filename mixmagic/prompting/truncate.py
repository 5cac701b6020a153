"""Excerpts of values: the fullest that fits into so many tokens, or the start of the smallest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

CountTokens = Callable[[str], int]

# A text with more characters per allowed token than this cannot fit: it is not counted.
_MOST_CHARACTERS_PER_TOKEN = 32


class Excerpt(NamedTuple):
    """The text of a value, as a model reads it.

    Attributes:
        text: Inserted into the prompt; says so itself if something is left out.
        cut: For the footer: `20 of 1,000,000 rows`; empty if the value is whole.
    """

    text: str
    cut: str = ""


class Excerpts:
    """The excerpts of one value, from the fullest to the smallest.

    Args:
        excerpts: At least one; each is made only when it is needed.
        most: Tokens that the value may take even if the limit is higher.
    """

    def __init__(self, excerpts: Iterable[Excerpt], most: int | None = None) -> None:
        self._following = iter(excerpts)
        self._current = next(self._following)
        self._most = most

    def within(self, limit: int, count: CountTokens) -> Excerpt:
        """Return the fullest excerpt of at most `limit` tokens, or the start of the smallest one.

        A later call may lower the limit, but not raise it.
        """
        limit = max(limit if self._most is None else min(limit, self._most), 0)
        while not _fits(self._current.text, limit, count):
            smaller = next(self._following, None)
            if smaller is None:
                return _start(self._current, limit, count)
            self._current = smaller
        return self._current


def fair_shares(wanted: list[int], limit: int) -> list[int]:
    """Divide `limit`: small ones get all they want, the others equal parts of the rest.

    Example:
        >>> fair_shares([10, 500, 900], 210)
        [10, 100, 100]
    """
    allowed, remaining = [0] * len(wanted), max(limit, 0)
    smallest_first = sorted(range(len(wanted)), key=wanted.__getitem__)
    for rank, index in enumerate(smallest_first):
        allowed[index] = min(wanted[index], remaining // (len(wanted) - rank))
        remaining -= allowed[index]
    return allowed


def _fits(text: str, limit: int, count: CountTokens) -> bool:
    return len(text) <= limit * _MOST_CHARACTERS_PER_TOKEN and count(text) <= limit


def _start(excerpt: Excerpt, limit: int, count: CountTokens) -> Excerpt:
    """Cut a text, at the end of a line if one is near, and add a line that says so."""
    text, keep = excerpt.text, min(len(excerpt.text), limit * _MOST_CHARACTERS_PER_TOKEN)
    while True:
        line_end = text.rfind("\n", keep * 3 // 4, keep)
        start = text[:keep] if line_end < 0 else text[:line_end]
        cut = f"the first {len(start):,} of {len(text):,} characters"
        shortened = f"{start}\n[cut to {cut}]" if start else f"[cut to {cut}]"
        tokens = count(shortened)
        if tokens <= limit or not keep:
            return Excerpt(shortened, f"{excerpt.cut}, {cut}" if excerpt.cut else cut)
        keep = min(keep - 1, int(keep * 0.97 * limit / tokens))

"""Shorten a text as long as it still acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_AT_ONCE = 50


def minimize(text: str, lives: Callable[[Sequence[str]], Sequence[bool]]) -> str:
    """Cut out of a text whatever can go, from halves down to single characters.

    Args:
        text: A text that lives.
        lives: Says of several texts which of them do.
    """
    size = max(1, len(text) // 2)
    while size:
        shorter = [text[:start] + text[start + size :] for start in range(0, len(text), size)]
        for first in range(0, len(shorter), _AT_ONCE):
            some = shorter[first : first + _AT_ONCE]
            alive = [each for each, does in zip(some, lives(some), strict=True) if does]
            if alive:
                text = alive[0]
                size = min(size, max(1, len(text) // 2))
                break
        else:
            size //= 2
    return text

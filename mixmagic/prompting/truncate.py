"""How much of a value's text is inserted: the fullest form that fits, then its beginning.

May import nothing of the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

Count = Callable[[str], int]

# No text is worth counting that has more characters than this for each token of its room.
_LONGEST = 32


class Shown(NamedTuple):
    """A value as a model reads it.

    Attributes:
        text: What is inserted; where something is left out, it says so.
        cut: What it was cut to, for the footer (`20 of 1,000,000 rows`); empty where it is whole.
    """

    text: str
    cut: str = ""


class Draft:
    """A value's forms, of which the first that fits is inserted.

    Args:
        forms: From the fullest to the smallest, at least one; each is made when it is looked at.
        most: Tokens that the value may take where there is more room.
    """

    def __init__(self, forms: Iterable[Shown], most: int | None = None) -> None:
        self._forms = iter(forms)
        self._form = next(self._forms)
        self._most = most

    def fit(self, room: int, count: Count) -> Shown:
        """The fullest form that fits into `room` tokens; else the smallest one's beginning.

        A later call may ask for less room, not for more.
        """
        room = max(room if self._most is None else min(room, self._most), 0)
        while not _fits(self._form.text, room, count):
            smaller = next(self._forms, None)
            if smaller is None:
                return _beginning(self._form, room, count)
            self._form = smaller
        return self._form


def shares(wanted: list[int], room: int) -> list[int]:
    """What each may take of `room`: small ones what they want, the others equal parts of the rest.

    Example:
        >>> shares([10, 500, 900], 210)
        [10, 100, 100]
    """
    allowed, left = [0] * len(wanted), max(room, 0)
    smallest_first = sorted(range(len(wanted)), key=wanted.__getitem__)
    for place, number in enumerate(smallest_first):
        allowed[number] = min(wanted[number], left // (len(wanted) - place))
        left -= allowed[number]
    return allowed


def _fits(text: str, room: int, count: Count) -> bool:
    return len(text) <= room * _LONGEST and count(text) <= room


def _beginning(form: Shown, room: int, count: Count) -> Shown:
    """As much of a text as fits, up to a line's end where one is near, and a line that says so."""
    text, keep = form.text, min(len(form.text), room * _LONGEST)
    while True:
        line = text.rfind("\n", keep * 3 // 4, keep)
        kept = text[:keep] if line < 0 else text[:line]
        said = f"the first {len(kept):,} of {len(text):,} characters"
        shown = f"{kept}\n[cut to {said}]" if kept else f"[cut to {said}]"
        taken = count(shown)
        if taken <= room or not keep:
            return Shown(shown, f"{form.cut}, {said}" if form.cut else said)
        keep = min(keep - 1, int(keep * 0.97 * room / taken))

"""Lists, dicts, dataclasses and whatever else, within bounds of length, depth and time.

May import `cutting`, `presenting_opaque` and `errors`.
"""

from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mixmagic.errors import BadArguments
from mixmagic.prompting.present.opaque import is_media, item, refusal
from mixmagic.prompting.truncate import Shown

# Characters of the fullest form and of the smallest; between them each has half the last one's.
_FULLEST, _SMALLEST = 64_000, 60
_DEEPEST = 12
# What is no longer than this is never cut: half a number says nothing.
_SHORT = 20
# By their `__repr__`: a subclass with its own presents itself.
_BRACKETS = {
    list.__repr__: "[]",
    tuple.__repr__: "()",
    dict.__repr__: "{}",
    set.__repr__: "{}",
}
_HOLDERS: tuple[type, ...] = (
    frozenset,
    collections.deque,
    collections.OrderedDict,
    collections.defaultdict,
    collections.Counter,
    types.MappingProxyType,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
_NUMBERS = {int, float, complex, bool, type(None)}
_NAMED = {kind.__repr__ for kind in _HOLDERS}


def forms(value: object, name: str) -> Iterator[Shown]:
    """The `repr` of what holds other values, ever shorter; the `str` of everything else.

    Raises:
        BadArguments: A picture, or what holds one; a value whose text does not say what it holds,
            or one that holds only such values.
        Exception: Whatever the value's `str` raises, or the `repr` of all that it holds.
    """
    if _parts(value) is None and not isinstance(value, bytes | bytearray):
        text = str(value)
        if refused := refusal(value, text, name):
            raise refused
        yield Shown(text)
        return
    room = _FULLEST
    while room >= _SMALLEST:
        writer = Writer(name)
        text = writer.write(value, room)
        if writer.refusal:
            raise writer.refusal
        yield Shown(text, ", ".join(filter(None, (writer.cut, *writer.failures))))
        room //= 2


class Writer:
    """Write one value's `repr`, no longer than about so many characters.

    Args:
        name: What the value is called where something in it is refused.

    Attributes:
        cut: What was left out of it, in a few words; empty where it is whole.
    """

    def __init__(self, name: str = "value") -> None:
        self.cut = ""
        self._name = name
        self._picture: BadArguments | None = None
        self._empty: Exception | None = None  # of the first value that says nothing
        self._meaningful = False  # some value in it says what it is; keys say nothing of it
        self._open: list[int] = []
        self._failed: collections.Counter[str] = collections.Counter()

    @property
    def refusal(self) -> Exception | None:
        """Why what was written cannot be sent: a picture in it, or no value that says anything."""
        return self._picture or (None if self._meaningful else self._empty)

    @property
    def failures(self) -> list[str]:
        """Exceptions that values raised instead of writing themselves."""
        return [
            f"{number:,} {'value' if number == 1 else 'values'} that raised {error}"
            for error, number in self._failed.items()
        ]

    def write(self, value: object, room: int) -> str:
        """The `repr` within `room` characters; what is left out is marked by `…`."""
        if isinstance(value, str | bytes | bytearray):
            self._meaningful = True
            if len(value) <= max(room, _SHORT):
                return repr(value)
            self.cut = self.cut or "the beginnings of long texts"
            return f"{value[: max(room, 0)]!r}… ({len(value):,} in all)"
        parts = _parts(value)
        if parts is None:
            text = self._leaf(value)
            if len(text) <= max(room, _SHORT):
                return text
            self.cut = self.cut or "the beginnings of long values"
            return f"{text[: max(room, 0)]}…"
        if id(value) in self._open or len(self._open) == _DEEPEST:
            self.cut = self.cut or "what is not nested deeper"
            return "…"
        self._meaningful = self._meaningful or not parts[2]  # an empty one says so
        self._open.append(id(value))
        text = self._filled(*parts, room)
        self._open.pop()
        return text

    def _leaf(self, value: object) -> str:
        """The `repr` of a value that holds no others."""
        before = self._failed.total()
        text = self.tried(repr, value)
        failed = self._failed.total() > before
        refused = None
        if type(value) not in _NUMBERS:  # there may be very many
            refused = refusal(value, text, item(self._name))
        if refused and is_media(value):
            self._picture = self._picture or refused
        self._empty = self._empty or refused
        self._meaningful = self._meaningful or not (refused or failed)
        return text

    def tried(self, write: Callable[[object], str], value: object) -> str:
        """A value as `write` has it; one that raises costs no more than its own place."""
        try:
            return write(value)
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            self._failed[type(error).__name__] += 1
            self._empty = self._empty or error
            return f"<{type(value).__name__} that raised {type(error).__name__}>"

    def _filled(
        self, opening: str, items: Iterable[tuple[Any, ...]], size: int, closing: str, room: int
    ) -> str:
        """The items between their brackets.

        Each takes at most half of what is left, so that some of what follows a long one is seen.
        """
        written: list[str] = []
        room -= len(opening) + len(closing)
        for number, each in enumerate(items):
            if room <= 0:
                of = "" if len(self._open) > 1 else f"the first {number:,} of {size:,} items"
                self.cut = of or self.cut or "the beginnings of long values"
                written.append(f"… {size - number:,} more")
                break
            share = room if number == size - 1 else room // 2
            *before, value = each
            meaningful = self._meaningful
            named = "".join(
                key if isinstance(key, _Field) else f"{self.write(key, share)}: " for key in before
            )
            self._meaningful = meaningful
            text = named + self.write(value, share - len(named))
            written.append(text)
            room -= len(text) + 2
        comma = "," if opening == "(" and size == 1 else ""
        return f"{opening}{', '.join(written)}{comma}{closing}"


class _Field(str):
    """The name of a field, as it stands before the field's value."""

    __slots__ = ()


def _parts(value: object) -> tuple[str, Iterable[tuple[Any, ...]], int, str] | None:
    """What holds other values: opening, items (a value, or a key and a value), size, closing."""
    kind = type(value)
    holder: Any = value
    shows: Any = kind.__repr__
    named = shows in _NAMED
    if named or shows in _BRACKETS:
        pairs = isinstance(value, dict | types.MappingProxyType)
        items = holder.items() if pairs else ((item,) for item in holder)
        size = len(holder)
        members = isinstance(value, set | frozenset)
        if members and not size:
            return f"{kind.__name__}(", (), 0, ")"
        brackets = ("{}" if pairs or members else "[]") if named else _BRACKETS[shows]
        name = f"{kind.__name__}(" if named else ""
        return name + brackets[0], items, size, brackets[1] + (")" if named else "")
    names = _fields(value)
    if names is None:
        return None
    fields = ((_Field(f"{name}="), getattr(value, name)) for name in names)
    return f"{kind.__qualname__}(", fields, len(names), ")"


def _fields(value: object) -> list[str] | None:
    """The fields that a dataclass or a named tuple shows, where it has no `__repr__` of its own."""
    shows = type(value).__repr__
    if isinstance(value, tuple) and getattr(shows, "__module__", "") == "collections":
        return list(type(value)._fields)  # type: ignore[attr-defined]
    # As pprint finds it out.
    made = getattr(getattr(shows, "__wrapped__", None), "__qualname__", "")
    if dataclasses.is_dataclass(value) and "__create_fn__" in made:
        return [field.name for field in dataclasses.fields(value) if field.repr]
    return None

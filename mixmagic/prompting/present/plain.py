"""Lists, dicts, dataclasses and all other values, limited in length, depth and time."""

from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mixmagic.errors import BadArguments
from mixmagic.prompting.present.opaque import is_media, item, refusal, without_address
from mixmagic.prompting.truncate import Excerpt

# Characters of the fullest excerpt and of the smallest; each has half as many as the last one.
_FULLEST, _SMALLEST = 64_000, 60
_DEEPEST = 12
# Texts of up to this length are never cut: half a number is worthless.
_SHORT = 20
# By `__repr__`, since a subclass may have its own.
_BRACKETS = {
    list.__repr__: "[]",
    tuple.__repr__: "()",
    dict.__repr__: "{}",
    set.__repr__: "{}",
}
_CONTAINERS: tuple[type, ...] = (
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
_NAMED = {kind.__repr__ for kind in _CONTAINERS}


def plain_excerpts(value: object, name: str) -> Iterator[Excerpt]:
    """Yield shorter and shorter `repr`s of a container; the `str` of any other value.

    Raises:
        BadArguments: The value is binary or media, or contains media; its text does not tell its
            content, or it contains only such values.
        Exception: Anything that the value's `str` raises, or the `repr` of all its items.
    """
    if isinstance(value, bytes | bytearray) and (problem := refusal(value, "", name)):
        raise problem
    if _items(value) is None and not isinstance(value, bytes | bytearray):
        text = str(value)
        if problem := refusal(value, text, name):
            raise problem
        yield Excerpt(without_address(text))
        return
    limit = _FULLEST
    while limit >= _SMALLEST:
        writer = ReprWriter(name)
        text = writer.write(value, limit)
        if writer.refusal:
            raise writer.refusal
        yield Excerpt(text, ", ".join(filter(None, (writer.cut, *writer.failures))))
        limit //= 2


class ReprWriter:
    """Writes the `repr` of one value, limited to about so many characters.

    Args:
        name: The value's expression, for error messages.

    Attributes:
        cut: A short note about what is left out; empty if the value is whole.
    """

    def __init__(self, name: str = "value") -> None:
        self.cut = ""
        self._name = name
        self._media: BadArguments | None = None
        self._empty: Exception | None = None  # about the first value whose text is meaningless
        self._meaningful = False  # True if some value, not just a key, has a meaningful text
        self._open: list[int] = []
        self._failed: collections.Counter[str] = collections.Counter()

    @property
    def refusal(self) -> Exception | None:
        """The error if the text cannot be sent: it has media, or no meaningful value."""
        return self._media or (None if self._meaningful else self._empty)

    @property
    def failures(self) -> list[str]:
        """Notes about values whose `repr` raised an exception."""
        return [
            f"{number:,} {'value' if number == 1 else 'values'} that raised {error}"
            for error, number in self._failed.items()
        ]

    def write(self, value: object, limit: int) -> str:
        """Return the `repr` within `limit` characters; `…` marks what is left out."""
        if isinstance(value, str | bytes | bytearray):
            self._meaningful = True
            if len(value) <= max(limit, _SHORT):
                return repr(value)
            self.cut = self.cut or "the starts of long texts"
            return f"{value[: max(limit, 0)]!r}… ({len(value):,} in all)"
        items = _items(value)
        if items is None:
            text = self._leaf(value)
            if len(text) <= max(limit, _SHORT):
                return text
            self.cut = self.cut or "the starts of long values"
            return f"{text[: max(limit, 0)]}…"
        if id(value) in self._open or len(self._open) == _DEEPEST:
            self.cut = self.cut or "the outer levels"
            return "…"
        self._meaningful = self._meaningful or not items[2]  # `[]` is meaningful
        self._open.append(id(value))
        text = self._container(*items, limit)
        self._open.pop()
        return text

    def _leaf(self, value: object) -> str:
        """Return the `repr` of a value that is not a container."""
        before = self._failed.total()
        text = self.convert(repr, value)
        failed = self._failed.total() > before
        problem = None
        if type(value) not in _NUMBERS:  # there may be very many numbers
            problem = refusal(value, text, item(self._name))
        if problem and is_media(value):
            self._media = self._media or problem
        self._empty = self._empty or problem
        self._meaningful = self._meaningful or not (problem or failed)
        return without_address(text)

    def convert(self, to_text: Callable[[object], str], value: object) -> str:
        """Return `to_text(value)`, or a note in its place if that raises an exception."""
        try:
            return to_text(value)
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            self._failed[type(error).__name__] += 1
            self._empty = self._empty or error
            return f"<{type(value).__name__} that raised {type(error).__name__}>"

    def _container(
        self, opening: str, items: Iterable[tuple[Any, ...]], size: int, closing: str, limit: int
    ) -> str:
        """Return the items in their brackets.

        Each takes at most half of the remaining characters, so that items after a long one show.
        """
        written: list[str] = []
        limit -= len(opening) + len(closing)
        for number, entry in enumerate(items):
            if limit <= 0:
                of = "" if len(self._open) > 1 else f"the first {number:,} of {size:,} items"
                self.cut = of or self.cut or "the starts of long values"
                written.append(f"… {size - number:,} more")
                break
            share = limit if number == size - 1 else limit // 2
            *before, value = entry
            meaningful = self._meaningful
            prefix = "".join(
                key if isinstance(key, _Field) else f"{self.write(key, share)}: " for key in before
            )
            self._meaningful = meaningful
            text = prefix + self.write(value, share - len(prefix))
            written.append(text)
            limit -= len(text) + 2
        comma = "," if opening == "(" and size == 1 else ""
        return f"{opening}{', '.join(written)}{comma}{closing}"


class _Field(str):
    """The name of a field, with its `=`."""

    __slots__ = ()


def _items(value: object) -> tuple[str, Iterable[tuple[Any, ...]], int, str] | None:
    """Return a container's opening, items (a value, or key and value), size and closing.

    `None` if the value is not a container.
    """
    kind = type(value)
    container: Any = value
    own_repr: Any = kind.__repr__
    named = own_repr in _NAMED
    if named or own_repr in _BRACKETS:
        pairs = isinstance(value, dict | types.MappingProxyType)
        items = container.items() if pairs else ((item,) for item in container)
        size = len(container)
        members = isinstance(value, set | frozenset)
        if members and not size:
            return f"{kind.__name__}(", (), 0, ")"
        brackets = ("{}" if pairs or members else "[]") if named else _BRACKETS[own_repr]
        name = f"{kind.__name__}(" if named else ""
        return name + brackets[0], items, size, brackets[1] + (")" if named else "")
    names = _repr_fields(value)
    if names is None:
        return None
    fields = ((_Field(f"{name}="), getattr(value, name)) for name in names)
    return f"{kind.__qualname__}(", fields, len(names), ")"


def _repr_fields(value: object) -> list[str] | None:
    """Return the fields of a dataclass or named tuple; `None` if it defines its own `__repr__`."""
    own_repr = type(value).__repr__
    if isinstance(value, tuple) and getattr(own_repr, "__module__", "") == "collections":
        return list(type(value)._fields)  # type: ignore[attr-defined]
    # The check that pprint makes.
    generated_by = getattr(getattr(own_repr, "__wrapped__", None), "__qualname__", "")
    if dataclasses.is_dataclass(value) and "__create_fn__" in generated_by:
        return [field.name for field in dataclasses.fields(value) if field.repr]
    return None

"""Keep keys out of the exceptions that leave the code which handles them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from types import GetSetDescriptorType, MemberDescriptorType, TracebackType
from typing import Any

from mixmagic.errors import MixmagicError, Stopped

Redact = Callable[[Any], Any]


class sealed:  # noqa: N801  # read as the block that it guards
    """Remove everything that may hold a key from every exception that leaves the block.

    That is the frames below the block, with their variables, and the exceptions that caused it. Its
    type stays, and its message, redacted. The frame of the block itself may stay, too: keys belong
    in the functions that it calls.

    Args:
        redact: Removes keys from a text; without it messages stay as they are.

    Example:
        >>> with sealed(credentials.redact):
        ...     response = http.send(request)
    """

    __slots__ = ("_redact",)

    def __init__(self, redact: Redact | None = None) -> None:
        self._redact = redact

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        # First, and without a call, which would fail close to the recursion limit.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        try:
            clean = _clean(error, self._redact)
        except Exception:  # noqa: BLE001  # close to that limit, or an exception of an odd class
            if not isinstance(error, (RecursionError, MemoryError)):  # their messages are Python's
                error.args = ()
            return
        if clean is not error:
            del error, trace
            try:
                raise clean
            finally:
                clean.__context__ = None


def _clean(error: BaseException, redact: Redact | None) -> BaseException:
    """Remove frames and keys from an exception and from those that it groups.

    Returns:
        The same exception; another one if it is a group, whose message cannot be changed.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    if isinstance(error, BaseExceptionGroup):
        members = [_clean(member, redact) for member in error.exceptions]
        message = redact(error.message) if redact is not None else error.message
        if message != error.message or not _same(members, error.exceptions):
            attributes = vars(error)
            error = BaseExceptionGroup.__new__(type(error), message, members)
            vars(error).update(attributes)
    # Our own are made of redacted words.
    if redact is not None and not isinstance(error, (MixmagicError, Stopped)):
        _reword(error, redact)
    return error


def _reword(error: BaseException, redact: Redact) -> None:
    """Redact an exception's arguments, notes and attributes."""
    slots = [
        name
        for kind in type(error).__mro__[:-2]  # but BaseException and object
        for name, slot in vars(kind).items()
        if isinstance(slot, (MemberDescriptorType, GetSetDescriptorType)) and name[:2] != "__"
    ]
    for name in ("args", *vars(error), *slots):
        with contextlib.suppress(AttributeError, TypeError):  # not set, or not to be set
            value = getattr(error, name)
            if (shown := _redacted(value, redact)) is not value:
                setattr(error, name, shown)


def _redacted(value: Any, redact: Redact) -> Any:
    """Return a value without keys: the same object if it has none."""
    if isinstance(value, bytes):
        text = value.decode("latin-1")
        shown = redact(text)
        return value if shown == text else shown.encode("latin-1")
    if type(value) in (tuple, list):
        items = [_redacted(item, redact) for item in value]
        return value if _same(items, value) else type(value)(items)
    if type(value) is dict:
        return {_redacted(name, redact): _redacted(item, redact) for name, item in value.items()}
    text = value if isinstance(value, str) else repr(value)
    shown = redact(text)
    return value if shown == text else shown


def _same(items: Sequence[object], others: Sequence[object]) -> bool:
    """Return True if the items of two sequences are the same objects."""
    return all(new is old for new, old in zip(items, others, strict=True))

"""The JSON value of an answer that fits a schema, with what can be fixed without asking again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mixmagic.errors import AnswerUnusable
from mixmagic.structured import extract

# Values of an answer that are tried, its last ones: each costs a check against the schema.
_MOST = 100
# Fixes that one value may take: out of a string, and out of what it is wrapped in.
_STEPS = 2
_TRAILING = re.compile(r'"(?:\\.|[^"\\])*"?|,(?=\s*[}\]])', re.DOTALL)
_ARGUMENTS = ("arguments", "parameters", "input")  # of a call to a tool


@dataclass(frozen=True, slots=True)
class Fitting:
    """A value that fits.

    Attributes:
        instance: The value, as the schema makes it.
        text: The JSON that it was made of.
        remarks: What was left out, and what was fixed, for the user.
    """

    instance: Any
    text: str
    remarks: tuple[str, ...]


def fitting(answer: str, fits: Callable[[Any], Any], *, cut: bool = False) -> Fitting:
    """Return the last value in an answer that fits.

    A trailing comma is dropped; a value is taken out of a string of JSON, out of a list of one and
    out of an object with one key, or a call to a tool, around it.

    Args:
        answer: What the model wrote; time is linear in its length.
        fits: Makes an instance of a value, or raises `AnswerUnusable`.
        cut: True if the answer was cut off: then a value that was cut is not replaced by an
            earlier one.

    Raises:
        AnswerUnusable: None fits: the problem of the value that `parsing.loads` takes.

    Example:
        >>> fitting('First {"a": 1}, then [{"a": 2,}].', schema.instance).remarks
        ('the last of 2 JSON values', 'a trailing comma dropped', 'taken out of a list')
    """
    texts, listed = extract.texts(answer)
    if listed and (found := _fitted(f"[{', '.join(texts)}]", fits)):
        return found
    texts = texts[-_MOST:]
    for place, text in reversed(list(enumerate(texts))):
        if found := _fitted(text, fits):
            return replace(found, remarks=(*_one_of(place, texts), *found.remarks))
        if cut:
            break
    meant = texts[-1] if cut and texts else answer
    return Fitting(fits(extract.loads(meant, exact=True)), "", ())


def _one_of(place: int, texts: Sequence[str]) -> tuple[str, ...]:
    """A remark on the other values."""
    read = [at for at, text in enumerate(texts) if at == place or _read(text) is not None]
    remark = extract.one_of(read.index(place), len(read), "JSON values")
    return (remark,) if remark else ()


def _fitted(text: str, fits: Callable[[Any], Any]) -> Fitting | None:
    """The value of a text of JSON; `None` if nothing makes it fit."""
    read = _read(text)
    if read is None:
        return None
    value, fixed, remarks = read
    for inner, opened in _opened(value, _STEPS):
        try:
            return Fitting(fits(inner), fixed, (*remarks, *opened))
        except AnswerUnusable:
            continue
    return None


def _read(text: str) -> tuple[Any, str, list[str]] | None:
    """The value of a text of JSON, the text that it was read from, and what was fixed in it."""
    try:
        return extract.value(text), text, []
    except ValueError:
        plain = extract.uncommented(text)
        fixed = _TRAILING.sub(lambda part: "" if part[0] == "," else part[0], plain)
        try:
            value = extract.value(fixed)
        except ValueError:
            return None
        return value, fixed, ["a trailing comma dropped"] if fixed != plain else []


def _opened(value: Any, steps: int) -> Iterator[tuple[Any, list[str]]]:
    """A value, and what it is wrapped around, each with what was fixed."""
    yield value, []
    if not steps:
        return
    inner, remark = None, ""
    if isinstance(value, str):
        try:
            inner, remark = extract.value(value), "read out of a string"
        except ValueError:
            return
    elif isinstance(value, list) and len(value) == 1:
        inner, remark = value[0], "taken out of a list"
    elif isinstance(value, dict):
        names = [name for name in _ARGUMENTS if name in value and "name" in value]
        if len(value) == 1 or (names and len(value) <= 3):
            name = names[0] if names else next(iter(value))
            inner, remark = value[name], f"taken out of {name!r:.40}"
    if remark:
        for deeper, remarks in _opened(inner, steps - 1):
            yield deeper, [remark, *remarks]

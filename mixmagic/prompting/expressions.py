r"""Where a prompt's `{{ expression }}` begin and end. May import `errors`.

* `\{{` is a literal `{{`. So are three or more braces in a row, `{{}}` with nothing in it, and a
  `{{` that never closes: LaTeX's `{{a}_b}`, C's `{{1,2},{3,4}}`, Rust's `{{}}`.
* A `}}` closes where Python would let it: not within a string, a bracket of its own or a comment,
  but a comment does end there where the expression would not end otherwise.
* What closes and is no Python expression is an error: it may be one, mistyped.
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from mixmagic.errors import BadArguments

CURE = r"Write `\{{` for braces that are meant, or give --raw: the text is sent as it stands."

_OPENING = re.compile(r"(\\?)(\{{2,})")
# Where something of Python's may begin: a comment, a string, a bracket.
_SIGN = re.compile(r"""[#'"()\[\]{}]""")
# What ends strings: not behind a backslash that is not itself behind one.
_BARE = r"(?<!\\)(?:\\\\)*"


class Literal(NamedTuple):
    """A text that is sent as it stands."""

    text: str


class Expression(NamedTuple):
    """A Python expression.

    Attributes:
        source: What Python evaluates, alone.
        shown: What stands in the prompt, for messages.
    """

    source: str
    shown: str


def parse(text: str) -> Iterator[Literal | Expression]:
    """The literal texts and the expressions of a prompt, in order.

    Raises:
        BadArguments: What is between `{{` and `}}` is no Python expression.

    Example:
        >>> list(parse("Explain {{ error }}."))
        [Literal(text='Explain '), Expression(source='error', shown='error'), Literal(text='.')]
    """
    readings = [_Reading(text, short_comments=short) for short in (False, True)]
    start = place = 0
    while opening := _OPENING.search(text, place):
        place = opening.end()
        if opening[1]:
            yield Literal(text[start : opening.start()])
            start = opening.start(2)
        elif len(opening[2]) == 2 and (found := _found(text, place, readings)):
            expression, end = found
            yield Literal(text[start : opening.start()])
            yield expression
            start = place = end
    yield Literal(text[start:])


class _Reading:
    """Where the `}}` are; no part of the text is read twice, from wherever it is read.

    Args:
        text: The prompt.
        short_comments: Whether a comment ends at `}}`, too.
    """

    def __init__(self, text: str, *, short_comments: bool) -> None:
        self._text = text
        self._short = short_comments
        # What becomes of the last open bracket, by a place within it and whether it is a brace:
        # whether it closes, or else ends with all that is open; and where.
        self._known: dict[int, tuple[bool, int | None]] = {}
        self._places: dict[str, list[int]] = {}

    def end(self, start: int) -> int | None:
        """Where the `}}` is that closes the expression which begins at `start`."""
        _, place = self._read(start)
        return place if place is not None and self._text.startswith("}}", place) else None

    def _read(self, start: int) -> tuple[bool, int | None]:
        """What becomes of the brace before `start`."""
        braces = [True]  # which of the open brackets are braces
        passed: list[list[int]] = [[]]  # where each of them was the last one
        place = start
        while True:
            key = 2 * place + braces[-1]
            found = self._known.get(key)
            if found is None:
                passed[-1].append(key)
                found = False, None
                if sign := _SIGN.search(self._text, place):
                    place, bracket = sign.start(), sign[0]
                    if bracket in "([{":
                        braces.append(bracket == "{")
                        passed.append([])
                        place += 1
                        continue
                    if bracket in "#'\"" or (bracket != "}" and braces[-1]):
                        place = self._behind(place)
                        continue
                    found = bracket != "}" or braces[-1], place  # else no Python, whatever comes
            closed, at = found
            for _ in range(1 if closed else len(braces)):
                self._known.update(dict.fromkeys(passed.pop(), found))
                braces.pop()
            if at is None or not braces:
                return found
            place = at + 1

    def _behind(self, place: int) -> int:
        """Where a string, a comment or any other sign ends that begins at a place."""
        sign = self._text[place]
        if sign == "#":
            ends = [self._next(r"\n", place)] + [self._next(r"\}(?=\})", place)] * self._short
            return min((end for end in ends if end is not None), default=len(self._text))
        if sign in "'\"":
            if self._text.startswith(sign * 3, place):
                end = self._next(f"{_BARE}{sign}(?={sign * 2})", place + 3)
                if end is not None:
                    return end + 3
            end, line = self._next(_BARE + sign, place + 1), self._next(rf"{_BARE}\n", place + 1)
            if end is not None and (line is None or end < line):
                return end + 1
        return place + 1

    def _next(self, pattern: str, place: int) -> int | None:
        """The next place, from one on, at which a match of a pattern ends with its last sign."""
        if pattern not in self._places:
            found = re.finditer(pattern, self._text)
            self._places[pattern] = [each.end() - 1 for each in found]
        places = self._places[pattern]
        number = bisect_left(places, place)
        return places[number] if number < len(places) else None


def _found(text: str, start: int, readings: list[_Reading]) -> tuple[Expression, int] | None:
    """The expression that begins at `start`, and where the text goes on; `None` for a literal."""
    wrong: tuple[str, object] | None = None
    for reading in readings:
        end = reading.end(start)
        if end is None:
            continue
        inner = text[start:end].strip()
        if not inner:
            return None
        try:
            return Expression(_source(inner), inner), end + 2
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            wrong = inner, getattr(error, "msg", None) or error
    if wrong is None:
        return None
    line = text.count("\n", 0, start) + 1
    said = f"`{{{{ {wrong[0]:.80} }}}}` in line {line} is no Python: {wrong[1]}."
    raise BadArguments(said, f"{_as_awaited(wrong[0]) or _as_format(wrong[0])}{CURE}")


def _as_awaited(inner: str) -> str:
    """How what has to be awaited is inserted; empty if it is not Python in a cell, either."""
    try:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(f"({inner}\n)", "<prompt>", "eval", flags, dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ""
    if not code.co_flags & inspect.CO_COROUTINE:
        return ""
    assigned = f"value = {' '.join(inner.split()):.80}"
    return f"Write `{assigned}` in a line before, and then `{{{{ value }}}}`. "


def _as_format(inner: str) -> str:
    """How a format is written, where what is no expression stands within an f-string's braces."""
    quote = "'" if '"' in inner else '"'
    space = " " if inner.startswith("{") else ""
    formatted = f"f{quote}{{{space}{inner}}}{quote}"
    try:
        compile(formatted, "<prompt>", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ""
    return f"A format is an f-string's: `{{{{ {formatted} }}}}`. "


def _source(expression: str) -> str:
    """The expression as Python takes it: between parentheses where it goes over several lines.

    Raises:
        SyntaxError: It is none.
        ValueError: It has a character that no source may have.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come when it is evaluated
        try:
            compile(expression, "<prompt>", "eval")
        except SyntaxError as error:
            try:
                # `a) + (b` is whole between parentheses, but not between other brackets too;
                # a comment alone is nothing.
                inside = ast.parse(f"[{expression}\n]", mode="eval").body
                if isinstance(inside, ast.List) and not inside.elts:
                    raise
                compile(f"({expression}\n)", "<prompt>", "eval")
            except SyntaxError:
                raise error from None  # it does not speak of our brackets
            return f"({expression}\n)"
    return expression

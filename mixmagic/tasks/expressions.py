r"""Where a prompt's `{{ expression }}` begin and end. May import `errors`.

* `\{{` is a literal `{{`. So are three or more braces in a row, `{{}}` with nothing in it, and a
  `{{` that never closes: LaTeX's `{{a}_b}`, C's `{{1,2},{3,4}}`, Rust's `{{}}`.
* A `}}` closes where Python would let it: not within a string, a bracket of its own or a comment,
  but a comment does end there where the expression would not end otherwise.
* What closes and is no Python expression is an error: it may be one, mistyped.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from mixmagic.errors import BadArguments

CURE = r"Write `\{{` for braces that are meant, or give --raw: the text is sent as it stands."

_OPENING = re.compile(r"(\\?)(\{{2,})")
# Whole strings and comments are stepped over; a quote that is not closed is any other character.
_PIECES = r"""
    (?P<string>'''(?:\\.|[^\\])*?''' | \"""(?:\\.|[^\\])*?\"""
        | '(?:\\.|[^\\'\n])*' | "(?:\\.|[^\\"\n])*")
    | (?P<comment>COMMENT)
    | (?P<bracket>[()\[\]{}])
    """
# Compiled when a `{{` is met. The second kind of comment ends at `}}`.
_COMMENTS = (r"\#[^\n]*", r"\#(?:(?!\}\})[^\n])*")


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
    readings = [_Reading(text, comment) for comment in _COMMENTS]
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
    """Where the `}}` are, with one kind of comments; no part of the text is read twice."""

    def __init__(self, text: str, comment: str) -> None:
        self._text = text
        self._comment = comment
        self._ends: dict[int, int | None] = {}  # by the place of the opening brace

    def end(self, start: int) -> int | None:
        """Where the `}}` is that closes the expression which begins at `start`."""
        if start - 1 not in self._ends:
            self._read(start)
        return self._ends[start - 1]

    def _read(self, start: int) -> None:
        """Read on until the `{` before `start` is closed, or the text ends."""
        pieces = re.compile(_PIECES.replace("COMMENT", self._comment), re.VERBOSE | re.DOTALL)
        opened = [("{", start - 1)]
        for piece in pieces.finditer(self._text, start):
            bracket, place = piece["bracket"], piece.start()
            if bracket is None:
                continue
            if bracket in "([{":
                opened.append((bracket, place))
            elif bracket != "}":
                if opened[-1][0] != "{":
                    opened.pop()
            else:
                end = place if self._text.startswith("}}", place) else None
                if opened[-1][0] != "{":  # no Python, whatever comes
                    self._close(opened, end)
                    return
                self._ends[opened.pop()[1]] = end
                if not opened:
                    return
        self._close(opened, None)

    def _close(self, opened: list[tuple[str, int]], end: int | None) -> None:
        """All that is open has the same end."""
        self._ends.update((place, end) for _, place in opened)


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
    raise BadArguments(f"`{{{{ {wrong[0]:.80} }}}}` in line {line} is no Python: {wrong[1]}.", CURE)


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

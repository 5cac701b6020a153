r"""Find each `{{ expression }}` in a prompt.

* `\{{` is a literal `{{`. So are three or more braces in a row, `{{}}` with nothing in it, and a
  `{{` that never closes: LaTeX's `{{a}_b}`, C's `{{1,2},{3,4}}`, Rust's `{{}}`.
* A `}}` inside of a Python string, bracket or comment does not close the expression. A comment
  ends at `}}` only if the expression would otherwise never end.
* Closed braces around anything but a Python expression are an error: it may be mistyped.
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

LITERAL_BRACES_HINT = r"Write `\{{` for literal braces, or use --raw to send the text as it is."

_OPENING = re.compile(r"(\\?)(\{{2,})")
# Starts of comments, strings and brackets.
_SIGN = re.compile(r"""[#'"()\[\]{}]""")
# Not escaped: behind an even number of backslashes.
_UNESCAPED = r"(?<!\\)(?:\\\\)*"


class Literal(NamedTuple):
    """A text that is sent as it is."""

    text: str


class Expression(NamedTuple):
    """A Python expression.

    Attributes:
        source: The Python source to evaluate.
        text: The expression as written in the prompt, for messages.
    """

    source: str
    text: str


def parse_prompt(text: str) -> Iterator[Literal | Expression]:
    """Yield the literal texts and the expressions of a prompt, in order.

    Raises:
        BadArguments: The text between `{{` and `}}` is not a Python expression.

    Example:
        >>> list(parse_prompt("Explain {{ error }}."))
        [Literal(text='Explain '), Expression(source='error', text='error'), Literal(text='.')]
    """
    finders = [_EndFinder(text, short_comments=short) for short in (False, True)]
    start = position = 0
    while opening := _OPENING.search(text, position):
        position = opening.end()
        if opening[1]:
            yield Literal(text[start : opening.start()])
            start = opening.start(2)
        elif len(opening[2]) == 2 and (found := _expression(text, position, finders)):
            expression, end = found
            yield Literal(text[start : opening.start()])
            yield expression
            start = position = end
    yield Literal(text[start:])


class _EndFinder:
    """Finds the `}}` that closes an expression; time is linear in the text for all expressions.

    Args:
        text: The prompt.
        short_comments: True if a comment also ends at `}}`.
    """

    def __init__(self, text: str, *, short_comments: bool) -> None:
        self._text = text
        self._short = short_comments
        # The fate of the innermost bracket, by a position in it and its kind: True and the position
        # at which it closes; or False and the position at which all open brackets are given up.
        self._known: dict[int, tuple[bool, int | None]] = {}
        self._positions: dict[str, list[int]] = {}

    def end(self, start: int) -> int | None:
        """Return the position of the `}}` that closes the expression starting at `start`."""
        _, position = self._read(start)
        closes = position is not None and self._text.startswith("}}", position)
        return position if closes else None

    def _read(self, start: int) -> tuple[bool, int | None]:
        """Return the fate of the brace before `start`."""
        braces = [True]  # for each open bracket: True if it is a brace
        passed: list[list[int]] = [[]]  # for each: the positions at which it was the innermost
        position = start
        while True:
            key = 2 * position + braces[-1]
            fate = self._known.get(key)
            if fate is None:
                passed[-1].append(key)
                fate = False, None
                if sign := _SIGN.search(self._text, position):
                    position, bracket = sign.start(), sign[0]
                    if bracket in "([{":
                        braces.append(bracket == "{")
                        passed.append([])
                        position += 1
                        continue
                    if bracket in "#'\"" or (bracket != "}" and braces[-1]):
                        position = self._skip(position)
                        continue
                    fate = bracket != "}" or braces[-1], position  # False: a `}` closes a `(`
            closed, at = fate
            for _ in range(1 if closed else len(braces)):
                self._known.update(dict.fromkeys(passed.pop(), fate))
                braces.pop()
            if at is None or not braces:
                return fate
            position = at + 1

    def _skip(self, place: int) -> int:
        """Return the end of the string, the comment or the single sign that starts at `place`."""
        sign = self._text[place]
        if sign == "#":
            ends = [self._next(r"\n", place)] + [self._next(r"\}(?=\})", place)] * self._short
            return min((end for end in ends if end is not None), default=len(self._text))
        if sign in "'\"":
            if self._text.startswith(sign * 3, place):
                end = self._next(f"{_UNESCAPED}{sign}(?={sign * 2})", place + 3)
                if end is not None:
                    return end + 3
            end, line = (
                self._next(_UNESCAPED + sign, place + 1),
                self._next(rf"{_UNESCAPED}\n", place + 1),
            )
            if end is not None and (line is None or end < line):
                return end + 1
        return place + 1

    def _next(self, pattern: str, place: int) -> int | None:
        """Return the last position of the next match of a pattern that ends at `place` or later."""
        if pattern not in self._positions:
            matches = re.finditer(pattern, self._text)
            self._positions[pattern] = [match.end() - 1 for match in matches]
        positions = self._positions[pattern]
        index = bisect_left(positions, place)
        return positions[index] if index < len(positions) else None


def _expression(text: str, start: int, finders: list[_EndFinder]) -> tuple[Expression, int] | None:
    """Return the expression that begins at `start` and its end; `None` for literal braces."""
    wrong: tuple[str, object] | None = None
    for finder in finders:
        end = finder.end(start)
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
    hint = f"{_await_hint(wrong[0]) or _format_hint(wrong[0])}{LITERAL_BRACES_HINT}"
    raise BadArguments(
        f"`{{{{ {wrong[0]:.80} }}}}` in line {line} is not valid Python: {wrong[1]}.", hint
    )


def _await_hint(inner: str) -> str:
    """Return how to insert an expression with `await`; empty if a cell would reject it, too."""
    try:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(f"({inner}\n)", "<prompt>", "eval", flags, dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ""
    if not code.co_flags & inspect.CO_COROUTINE:
        return ""
    assigned = f"value = {' '.join(inner.split()):.80}"
    return f"Write `{assigned}` on a line before, and then `{{{{ value }}}}`. "


def _format_hint(inner: str) -> str:
    """Return how to write a format; empty if `inner` would not be valid in an f-string either."""
    quote = "'" if '"' in inner else '"'
    space = " " if inner.startswith("{") else ""
    formatted = f"f{quote}{{{space}{inner}}}{quote}"
    try:
        compile(formatted, "<prompt>", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return ""
    return f"Formats need an f-string: `{{{{ {formatted} }}}}`. "


def _source(expression: str) -> str:
    """Return valid Python source: in parentheses if the expression spans several lines.

    Raises:
        SyntaxError: It is not an expression.
        ValueError: It has a character that Python source cannot have.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings are shown when it is evaluated
        try:
            compile(expression, "<prompt>", "eval")
        except SyntaxError as error:
            try:
                # `a) + (b` is valid in parentheses, but not in square brackets; a comment alone is
                # an empty list.
                inside = ast.parse(f"[{expression}\n]", mode="eval").body
                if isinstance(inside, ast.List) and not inside.elts:
                    raise
                compile(f"({expression}\n)", "<prompt>", "eval")
            except SyntaxError:
                raise error from None  # its message does not mention our brackets
            return f"({expression}\n)"
    return expression

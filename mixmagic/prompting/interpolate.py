"""`{{ expression }}` in a prompt: evaluated once, in order, inserted as data.

May import `expressions`, `presenting`, `cutting` and `errors`.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from mixmagic.errors import BadArguments, MixmagicError, did_you_mean, one_line
from mixmagic.prompting.expressions import CURE, Expression, Literal, parse
from mixmagic.prompting.present import draft
from mixmagic.prompting.truncate import Count, Draft, Shown, shares

Evaluate = Callable[[str], object]
_T = TypeVar("_T")

# Characters of an expression in messages and in the footer.
_SHOWN, _NOTED = 80, 40
# Tokens: of a context that is not known; of a template, at most.
_CONTEXT, _TEMPLATE = 32_768, 128


class Expanded(NamedTuple):
    """A text whose expressions are replaced.

    Attributes:
        text: The text with the values.
        notes: What was cut, for the footer: `df cut to 20 of 1,000,000 rows`.
    """

    text: str
    notes: tuple[str, ...]


def expand(
    texts: Sequence[str], evaluate: Evaluate, *, names: Iterable[str], room: int, count: Count
) -> list[Expanded]:
    r"""Replace each `{{ expression }}` of a call's texts by its value, as `presenting` writes it.

    A text without `{{` comes back as it is, and so do single braces, three or more in a row, `{{`
    that never closes, `{{}}`, and `\{{` without its backslash: see `expressions`. Values are data:
    braces in them mean nothing. Where not all values fit, the small ones stay whole and the others
    share what is left. Nothing is evaluated unless all expressions of all texts are ones.

    Args:
        texts: Such as its system text and its prompt, in the order in which they are evaluated.
        evaluate: Evaluates one expression, whose source it is given.
        names: The names that there are, for the hint where one is unknown.
        room: The tokens that all values of all texts together may take.
        count: The tokens of a text.

    Returns:
        Each text with its values, and what was cut.

    Raises:
        BadArguments: What is no expression, before any is evaluated; an expression that failed,
            by its type and message; a picture.
        MixmagicError: One that an expression raised.

    Example:
        >>> both = expand(["Be {{ 1 }}.", "{{ 6 * 7 }}?"], eval, names=(), room=9, count=len)
        >>> [one.text for one in both]
        ['Be 1.', '42?']
    """
    parsed = [list(parse(text)) for text in texts]
    known = list(names)
    values = [
        _Value(part, evaluate, known, room, count)
        for parts in parsed
        for part in parts
        if isinstance(part, Expression)
    ]
    wanted = [count(value.shown.text) for value in values]
    if sum(wanted) > room:
        for value, share in zip(values, shares(wanted, room), strict=True):
            value.fit(share, count)
    following = iter(values)
    return [_joined(parts, following) for parts in parsed]


def _joined(parts: list[Literal | Expression], values: Iterable[_Value]) -> Expanded:
    """One text, with its values taken from those that follow."""
    following, written, notes = iter(values), [], []
    for part in parts:
        if isinstance(part, Literal):
            written.append(part.text)
            continue
        shown = next(following).shown
        written.append(shown.text)
        if shown.cut:
            notes.append(f"{one_line(part.shown, _NOTED)} cut to {shown.cut}")
    return Expanded("".join(written), tuple(notes))


class _Value:
    """The value of one expression, read at once: a later expression may change it."""

    def __init__(
        self, expression: Expression, evaluate: Evaluate, names: list[str], room: int, count: Count
    ) -> None:
        self._expression = expression
        self._names = names
        shown = one_line(expression.shown, _SHOWN)
        value = self._tried(lambda: evaluate(expression.source))
        self._draft: Draft = self._tried(lambda: draft(value, shown))
        self.fit(room, count)

    def fit(self, room: int, count: Count) -> None:
        """Fit the value's text into so many tokens."""
        self.shown: Shown = self._tried(lambda: self._draft.fit(room, count))

    def _tried(self, step: Callable[[], _T]) -> _T:
        """What a step returns; what the user's code raises there, as an error of two lines."""
        try:
            return step()
        except MixmagicError:
            raise
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            told = self._failure(error)
        raise told  # outside, so that nothing is chained to it

    def _failure(self, error: Exception) -> BadArguments:
        """An exception of the user's code, in two lines."""
        shown = f"`{{{{ {one_line(self._expression.shown, _SHOWN)} }}}}`"
        name = error.name if isinstance(error, NameError) else None
        # A function's own unknown name is that function's failure.
        if name and name in _words(self._expression.shown) and name not in self._names:
            meant = variable_meant(name, [*self._names, *dir(builtins)])
            return BadArguments(f"{shown}: there is no variable {name!r}.", f"{meant}{CURE}")
        return BadArguments(
            f"{shown} failed: {_message(error)}",
            "Run it in a cell of its own: there it shows where it fails.",
        )


def _words(expression: str) -> list[str]:
    """The names and other words of an expression."""
    import re

    return re.findall(r"\w+", expression)


def _message(error: Exception) -> str:
    """An exception's type and message, even where its `str` fails."""
    import traceback

    return "".join(traceback.format_exception_only(error)).strip()


def room_for(texts: Iterable[str], *, context: int | None, answer: int | None, count: Count) -> int:
    """The tokens that the values of a call's texts may take together.

    Not `chats.room_for`, which leaves the answer as little as may do: a value that is cut still
    says most of what it is, and an answer or a conversation that finds no room is lost. And it is
    always a number: where the context is not known, a value may still be of any length.

    Args:
        texts: The texts as they were written.
        context: Tokens that the model takes; `None` where that is not known.
        answer: Tokens that the answer may have; a quarter of the context where `None`, and never
            more than half of it.
        count: The tokens of a text.

    Returns:
        Tokens, 0 where nothing is left.

    Example:
        >>> room_for(["Explain {{ df }}."], context=4096, answer=1000, count=len)
        2951
    """
    context = context or _CONTEXT
    answer = min(answer or context // 4, context // 2)
    return max(context - answer - _TEMPLATE - sum(map(count, texts)), 0)


def variable_meant(name: str, names: Iterable[str]) -> str:
    """`did_you_mean` for a variable: up to three; private ones only where a private one was meant.

    Example:
        >>> variable_meant("dff", ["df", "x", "_dff"])
        'Did you mean df? '
    """
    known = (each for each in names if name.startswith("_") or not each.startswith("_"))
    return did_you_mean(name, known, 3)

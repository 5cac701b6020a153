"""The tokens of an answer with their probabilities."""

from __future__ import annotations

import math
from typing import NamedTuple

from mixmagic.errors import counted

# Tokens, and alternatives of each, that a table shows.
_MOST, _ALTERNATIVES = 200, 3


class TokenLogprob(NamedTuple):
    """A token with its probability.

    Attributes:
        token: Its text; empty if the provider does not send it, or if it is part of a key.
        logprob: The natural logarithm of its probability.
        top: The likeliest tokens at its place, if they were asked for (`top_logprobs`) and sent.
    """

    token: str
    logprob: float
    top: tuple[TokenLogprob, ...] = ()

    @property
    def probability(self) -> float:
        """The probability, from 0 to 1."""
        return math.exp(min(self.logprob, 0.0))


class Logprobs(tuple[TokenLogprob, ...]):
    """The tokens of an answer, which are shown as a table.

    Example:
        >>> mixmagic.ask("Say hi.", model="local", logprobs=True).logprobs
        token    probability
        'Hi'          97.1 %
        '!'           88.0 %
    """

    __slots__ = ()

    def __repr__(self) -> str:
        shown = self[:_MOST]
        texts = [repr(each.token) if each.token else "?" for each in shown]
        width = max([5, *map(len, texts)])
        others = [", ".join(map(_written, _others(each))) for each in shown]
        title = f"{'token':{width}}  probability" + "  instead" * any(others)
        lines = [
            f"{text:{width}}  {each.probability:>9.1%}".replace("%", " %") + f"  {other}"
            for text, each, other in zip(texts, shown, others, strict=True)
        ]
        more = [f"… {counted(len(self) - _MOST, 'more token')}"] if len(self) > _MOST else []
        return "\n".join(line.rstrip() for line in [title, *lines, *more]) if self else "()"


def _others(token: TokenLogprob) -> list[TokenLogprob]:
    """Return the likeliest alternatives to a token."""
    return [other for other in token.top if other.token != token.token][:_ALTERNATIVES]


def _written(token: TokenLogprob) -> str:
    return f"{token.token!r} {token.probability:.1%}".replace("%", " %")

"""Adds up the token counts and charges that a provider reports in the pieces of a stream.

May import `values` and the packages below it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from mixmagic.core.money import Usage, exact_sum
from mixmagic.core.values import Delta

# More tokens than a call can have; the ledger can price no more.
_MOST_TOKENS = 10**9


class Tally:
    """The provider's counts of one call. No count becomes smaller or is added twice.

    Most providers count the whole call, some repeatedly as it grows. Of several answers, some
    count each one alone: on its own pieces or, like llama.cpp, after its end.

    Args:
        answers: The number of answers that may be received.

    Attributes:
        ended: The answers that have ended.
        behind: The answers of which more was received since they were counted.

    Example:
        >>> tally = Tally(2)
        >>> for choice in (0, 1):
        ...     tally.add(Delta(finish="stop", usage=Usage(9, 5), choice=choice))
        >>> tally.usage
        Usage(prompt_tokens=9, completion_tokens=10, ...)
    """

    def __init__(self, answers: int) -> None:
        self.ended: set[int] = set()
        self.behind: set[int] = set()
        self._answers = answers
        self._whole: Usage | None = None  # the largest count of all answers together
        self._alone: dict[int, Usage] = {}  # the largest count of each one alone
        self._counted_apart = False  # True if answers are surely counted alone
        self._in_turn = False  # True if the count of each one follows its end
        self._uncounted: set[int] = set()  # answers that have ended since the last count

    def add(self, delta: Delta) -> None:
        """Take a piece with a count, or with the end of an answer."""
        if delta.finish:
            self.ended.add(delta.choice)
            self._uncounted.add(delta.choice)
        if delta.usage is not None:
            choice = self._counted_alone(delta, delta.usage)
            if choice is None:
                self._add_whole(delta.usage)
            else:
                self._add_alone(choice, delta.usage)
            self._uncounted.clear()

    @property
    def usage(self) -> Usage | None:
        """The counts so far of all answers together; `None` if there are none."""
        counts = list(self._alone.values())
        charges = [count.charge for count in counts if count.charge is not None]
        usage = self._whole
        for count in counts:
            usage = _largest(usage, count)
        if usage is None or not counts:
            return usage
        together = Usage(
            0,
            min(sum(count.completion_tokens for count in counts), _MOST_TOKENS),
            charge=exact_sum(charges) if charges else None,
            reasoning_tokens=min(sum(count.reasoning_tokens for count in counts), _MOST_TOKENS),
        )
        return _largest(usage, together)

    def missing(self, begun: Set[int]) -> Set[int]:
        """Return the answers that have begun and have no count, if others have one of their own."""
        return begun - self._alone.keys() if self._counted_apart else set()

    def _counted_alone(self, delta: Delta, usage: Usage) -> int | None:
        """Return the answer that is counted alone; `None` if the count is of all of them."""
        if delta.alone:
            self._counted_apart = True
            return delta.choice
        if self._answers == 1 or delta.alone is False or not usage.completion_tokens:
            return None
        early = len(self.ended) < self._answers  # it cannot be of all of them
        if delta.text or delta.reasoning or delta.finish:
            self._counted_apart = self._counted_apart or early
            return delta.choice
        if len(self._uncounted) == 1 and (early or self._in_turn):
            self._counted_apart = self._in_turn = True
            return next(iter(self._uncounted))
        return None

    def _add_whole(self, now: Usage) -> None:
        """Take a count of all answers together."""
        less = any(_less(now, count) for count in (self._whole, *self._alone.values()))
        before = self.usage
        self._whole = _largest(self._whole, now)
        if not less:  # it includes the others
            for count in self._alone.values():
                self._whole = _largest(self._whole, count)
            if before and now.charge is None:
                self._whole = replace(self._whole, charge=before.charge)
            self._alone.clear()
            self._counted_apart = False
        self.behind = {0} if less else set()

    def _add_alone(self, choice: int, now: Usage) -> None:
        """Take a count of one answer."""
        if not self._counted_apart:
            self.behind.clear()  # it may be of all of them
        self.behind.discard(choice)
        was = self._alone.get(choice)
        if _less(now, was):
            self.behind.add(choice)
        self._alone[choice] = _largest(was, now)


def _less(now: Usage, was: Usage | None) -> bool:
    """Return True if fewer tokens are counted than before: one of the counts is wrong."""
    return was is not None and now.completion_tokens < was.completion_tokens


def _largest(one: Usage | None, other: Usage) -> Usage:
    """Return the larger of each count of two."""
    if one is None:
        return other
    prompt = max(one.prompt_tokens, other.prompt_tokens)
    cached = max(one.cached_tokens, other.cached_tokens)
    written = max(one.cache_write_tokens, other.cache_write_tokens)
    charges = [usage.charge for usage in (one, other) if usage.charge is not None]
    return Usage(
        prompt,
        max(one.completion_tokens, other.completion_tokens),
        cached,
        cache_write_tokens=min(written, prompt - cached),
        charge=max(charges, default=None),
        reasoning_tokens=max(one.reasoning_tokens, other.reasoning_tokens),
    )

"""What a provider tells of one call's tokens and charge, put together from the pieces of a stream.

May import `values` and what stands below it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from mixmagic.core.money import Usage, exact_sum
from mixmagic.core.values import Delta

# More tokens than a call can have, and as many as the ledger can price.
_MOST_TOKENS = 10**9


class Tally:
    """The provider's counts of one call: none ever becomes less, and none is added twice.

    Most providers count the whole call, some again and again as it grows. Of several answers, some
    count each one alone: on its own pieces or, as llama.cpp does, behind its end.

    Args:
        answers: How many answers may come.

    Attributes:
        ended: The answers that have ended.
        behind: The answers of which more has come since they were counted.

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
        self._whole: Usage | None = None  # the greatest count of all answers together
        self._alone: dict[int, Usage] = {}  # the greatest count of each one alone
        self._each = False  # whether it is sure that each one is counted alone
        self._in_turn = False  # whether each one's count follows its end
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
        """The counts so far, of all answers together; `None` if there is none."""
        counts = list(self._alone.values())
        charges = [each.charge for each in counts if each.charge is not None]
        usage = self._whole
        for each in counts:
            usage = _greatest(usage, each)
        if usage is None or not counts:
            return usage
        together = Usage(
            0,
            min(sum(each.completion_tokens for each in counts), _MOST_TOKENS),
            charge=exact_sum(charges) if charges else None,
            reasoning_tokens=min(sum(each.reasoning_tokens for each in counts), _MOST_TOKENS),
        )
        return _greatest(usage, together)

    def missing(self, begun: Set[int]) -> Set[int]:
        """Those of the answers that have begun which no count is of, though others have one."""
        return begun - self._alone.keys() if self._each else set()

    def _counted_alone(self, delta: Delta, usage: Usage) -> int | None:
        """The answer that a count is of alone; `None` if it is of all of them."""
        if delta.alone:
            self._each = True
            return delta.choice
        if self._answers == 1 or delta.alone is False or not usage.completion_tokens:
            return None
        early = len(self.ended) < self._answers  # then it cannot be of all of them
        if delta.text or delta.reasoning or delta.finish:
            self._each = self._each or early
            return delta.choice
        if len(self._uncounted) == 1 and (early or self._in_turn):
            self._each = self._in_turn = True
            return next(iter(self._uncounted))
        return None

    def _add_whole(self, now: Usage) -> None:
        """Take a count of all answers together."""
        less = any(_less(now, each) for each in (self._whole, *self._alone.values()))
        before = self.usage
        self._whole = _greatest(self._whole, now)
        if not less:  # the others' sum is in it
            for each in self._alone.values():
                self._whole = _greatest(self._whole, each)
            if before and now.charge is None:
                self._whole = replace(self._whole, charge=before.charge)
            self._alone.clear()
            self._each = False
        self.behind = {0} if less else set()

    def _add_alone(self, choice: int, now: Usage) -> None:
        """Take a count of one answer."""
        if not self._each:
            self.behind.clear()  # for all that is known, it is of all of them
        self.behind.discard(choice)
        was = self._alone.get(choice)
        if _less(now, was):
            self.behind.add(choice)
        self._alone[choice] = _greatest(was, now)


def _less(now: Usage, was: Usage | None) -> bool:
    """True if fewer tokens came out than before: then one of the counts is wrong."""
    return was is not None and now.completion_tokens < was.completion_tokens


def _greatest(one: Usage | None, other: Usage) -> Usage:
    """The greater of each count of two."""
    if one is None:
        return other
    prompt = max(one.prompt_tokens, other.prompt_tokens)
    cached = max(one.cached_tokens, other.cached_tokens)
    written = max(one.cache_write_tokens, other.cache_write_tokens)
    charges = [each.charge for each in (one, other) if each.charge is not None]
    return Usage(
        prompt,
        max(one.completion_tokens, other.completion_tokens),
        cached,
        cache_write_tokens=min(written, prompt - cached),
        charge=max(charges, default=None),
        reasoning_tokens=max(one.reasoning_tokens, other.reasoning_tokens),
    )

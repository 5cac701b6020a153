"""How fast calls to one provider may follow each other: arithmetic, on a clock that is passed in.

There is no pace until a limit is told or found:

* A limit that the provider tells is kept to.
* Refusals that pile up set the rate to that of the calls which got through.
* The rate then grows, slowly at first and ever faster, so that an outdated pace is soon gone. After
  a cut by more than half, which may have gone too far, it doubles every second.
* A single refusal lowers the rate a little if there is a pace. Otherwise it may be chance.

Times are seconds on a monotonic clock, rates are calls per second.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

from mixmagic.core.values import RateLimits


@dataclass(frozen=True, slots=True)
class Tuning:
    """Constants of the algorithm, chosen by simulation: see `tests/layers/test_pace.py`."""

    share: float = 0.95
    """Fraction of a told limit that is used."""

    catch_up: float = 0.04
    """Seconds of lateness that are made up for.

    No second then holds more than 0.95 * 1.04 = 0.988 of the limit: 12 ms are left for the network.
    """

    window: float = 1.0
    """Seconds over which calls and refusals are counted."""

    memory: float = 10.0
    """Seconds for which sent calls are remembered: a slow server refuses late."""

    pile: int = 4
    """Refusals since the last lesson that are too many for chance, if they are also …"""

    pile_share: float = 0.25
    """… this fraction of the calls within the window."""

    cut: float = 0.9
    """Fraction of the measured rate that is used after refusals, to let a full window drain."""

    deep: float = 0.5
    """A cut to less than this fraction of the rate is deep: the rate doubles every second."""

    growth: float = 0.03
    """Doublings of the rate per second squared after any other cut: one in 5.8 s, three in 10 s."""

    shortest: float = 0.1
    """Shortest span, in seconds, over which a rate is measured."""

    longest_block: float = 60.0
    """Longest time, in seconds, without any call: a header may be wrong."""


class Pace:
    """The time at which the next call may be sent."""

    def __init__(self, tuning: Tuning = Tuning()) -> None:
        self._tuning = tuning
        self._told = self._told_tokens = self._found = math.inf
        self._next = self._blocked_until = self._lesson = -math.inf
        self._deep = False  # True if the last lesson was a deep cut
        self._sent: deque[float] = deque()  # when calls were sent, except those refused since
        self._refused: deque[float] = deque()  # when refusals came

    def rate(self, now: float) -> float:
        """Return the current limit; infinity if there is none."""
        quiet = now - self._lesson
        doublings = quiet if self._deep else self._tuning.growth * quiet**2
        return min(self._told, self._found * 2 ** min(doublings, 99.0))

    def blocked(self, now: float) -> float:
        """Return the seconds during which the provider accepts nothing."""
        return max(0.0, self._blocked_until - now)

    def delay(self, now: float) -> float:
        """Return the seconds until the next call may be sent; 0 if it may be sent at once."""
        return max(0.0, self._next - now, self._blocked_until - now)

    def on_sent(self, now: float, tokens: int) -> None:
        """Count a call of about `tokens` tokens."""
        while self._sent and self._sent[0] < now - self._tuning.memory:
            self._sent.popleft()
        self._sent.append(now)
        distance = max(1 / self.rate(now), tokens / self._told_tokens)
        self._next = max(self._next, now - self._tuning.catch_up) + distance

    def on_limits(self, now: float, limits: RateLimits) -> None:
        """Adopt the limits that the provider tells with an answer or a refusal."""
        if limits.requests:
            self._adopt(now, limits.requests * self._tuning.share)
        if limits.tokens:
            self._told_tokens = limits.tokens * self._tuning.share
        if limits.wait:
            self._block(now, limits.wait)

    def on_refused(self, now: float, sent: float, retry_after: float | None) -> bool:
        """Learn from a refusal.

        Args:
            now: The time of the refusal.
            sent: The `now` of the call's `on_sent`.
            retry_after: Seconds that the provider asks this call to wait, if it says so.

        Returns:
            True if other calls get through: then this one will, too, in time.
        """
        tuning, refused = self._tuning, self._refused
        end = bisect_left(self._sent, sent)
        if end < len(self._sent) and self._sent[end] == sent:
            del self._sent[end]
        # Of calls sent later, refusals may be on their way. Answers may take longer than refusals:
        # a call that is not refused counts as accepted.
        start = bisect_left(self._sent, sent - tuning.window)
        accepted = end - start
        while refused and refused[0] < now - tuning.window:
            refused.popleft()
        refused.append(now)
        if sent <= self._lesson:  # it was on its way at the last lesson
            return accepted > 0
        rate = self.rate(now)
        new_refusals = len(refused) - bisect_left(refused, math.nextafter(self._lesson, math.inf))
        if new_refusals >= tuning.pile and len(refused) >= tuning.pile_share * (
            len(refused) + accepted
        ):
            if accepted == 0:
                self._block(now, retry_after or tuning.window)
            span = sent - self._sent[start] if accepted else 0.0
            measured = max(accepted, 1) / max(span, tuning.shortest)
            self._slow_down(now, tuning.cut * min(measured, rate), rate)
        elif self._found < math.inf and (self._deep or now - self._lesson > tuning.window):
            self._slow_down(now, tuning.cut * rate, rate)
        return accepted > 0

    def _adopt(self, now: float, told: float) -> None:
        if self._told == math.inf:  # the calls that were sent before it was known count, too
            window = self._tuning.window
            start = bisect_left(self._sent, now - window)
            if count := len(self._sent) - start:
                until = min(self._sent[start] + count / told, now + max(window, 1 / told))
                self._next = max(self._next, until)
            self._found = math.inf
        else:  # what is found below a told limit, as on a shared account, moves along with it
            change = told / self._told
            self._found *= change
            self._next = now + (self._next - now) / change
        self._told = told

    def _slow_down(self, now: float, rate: float, before: float) -> None:
        self._found, self._lesson = rate, now
        self._deep = rate < self._tuning.deep * before
        self._next = max(self._next, now + 1 / rate)

    def _block(self, now: float, seconds: float) -> None:
        until = now + min(seconds, self._tuning.longest_block)
        self._blocked_until = max(self._blocked_until, until)

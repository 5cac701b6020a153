"""Rate of calls to one provider: arithmetic on a clock that is passed in.

Calls are not delayed until a limit is announced or learned:

* A limit that the provider announces in its headers is kept to.
* Refusals that pile up cut the rate to that of the calls that got through.
* After a cut the rate grows, slowly at first and ever faster, so that an outdated limit is soon
  forgotten. After a deep cut, which may have gone too far, it doubles every second.
* A single refusal lowers a limited rate a little. If there is no limit, it may be chance.

Times are seconds on a monotonic clock, rates are calls per second.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass

from mixmagic.core.values import RateLimits


@dataclass(frozen=True, slots=True)
class Tuning:
    """Constants of the algorithm, chosen by simulation: see `tests/layers/test_pace.py`."""

    announced_share: float = 0.95
    """Fraction of an announced limit that is used."""

    catch_up: float = 0.04
    """Seconds of lateness that are made up for.

    No second then holds more than 0.95 * 1.04 = 0.988 of the limit: 12 ms are left for the network.
    """

    window: float = 1.0
    """Seconds over which calls and refusals are counted."""

    memory: float = 10.0
    """Seconds for which calls are remembered, since a slow server refuses late."""

    min_refusals: int = 4
    """Refusals since the last cut that are too many for chance, if they are also …"""

    min_refused_share: float = 0.25
    """… this fraction of the calls within the window."""

    cut: float = 0.9
    """Fraction of the measured rate that is used after refusals, so that a full window drains."""

    deep_cut: float = 0.5
    """A cut to less than this fraction of the rate before is deep."""

    growth: float = 0.03
    """Doublings per second squared after a cut that is not deep: one in 5.8 s, three in 10 s."""

    min_span: float = 0.1
    """Shortest time, in seconds, over which a rate is measured."""

    max_wait: float = 60.0
    """Longest time, in seconds, between two calls: a header may be wrong."""


class Pace:
    """The time at which the next call may be sent."""

    def __init__(self, tuning: Tuning = Tuning()) -> None:
        self._tuning = tuning
        self._announced = self._announced_tokens = self._learned = math.inf
        self._next = self._blocked_until = self._cut_at = -math.inf
        self._deep = False  # True if the last cut was deep
        self._sent: deque[float] = deque()  # when calls were sent, except refused ones
        self._refused: deque[float] = deque()  # when refusals arrived

    def rate(self, now: float) -> float:
        """Return the current limit; infinity if there is none."""
        elapsed = now - self._cut_at
        doublings = elapsed if self._deep else self._tuning.growth * elapsed**2
        return min(self._announced, self._learned * 2 ** min(doublings, 99.0))

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
        distance = max(1 / self.rate(now), tokens / self._announced_tokens)
        start = max(self._next, now - self._tuning.catch_up)
        self._next = start + min(distance, self._tuning.max_wait)

    def on_limits(self, now: float, limits: RateLimits) -> None:
        """Adopt the limits that the provider announces with an answer or a refusal."""
        share = self._tuning.announced_share
        if limits.requests and limits.requests * share != self._announced:
            self._adopt(now, limits.requests * share)
        if limits.tokens:
            self._announced_tokens = limits.tokens * share
        if limits.wait:
            self._block(now, limits.wait)

    def on_refused(self, now: float, sent: float, retry_after: float | None) -> bool:
        """Learn from a refusal.

        Args:
            now: The time of the refusal.
            sent: The `now` of the call's `on_sent`.
            retry_after: Seconds that the provider asks this call to wait, if it asks for any.

        Returns:
            True if the provider accepts other calls: then this one succeeds later, too.
        """
        tuning, refused = self._tuning, self._refused
        # Compared with the calls of the window before it: refusals of later ones may be on their
        # way. Since answers may take longer than refusals, a call counts as accepted until refused.
        end = bisect_left(self._sent, sent)
        if end < len(self._sent) and self._sent[end] == sent:
            del self._sent[end]
        start = bisect_left(self._sent, sent - tuning.window)
        accepted = end - start
        while refused and refused[0] < now - tuning.window:
            refused.popleft()
        refused.append(now)
        if sent <= self._cut_at:  # it was on its way at the last cut
            return accepted > 0
        rate = self.rate(now)
        enough = len(refused) - bisect_right(refused, self._cut_at) >= tuning.min_refusals
        if enough and len(refused) >= tuning.min_refused_share * (len(refused) + accepted):
            if not accepted:
                self._block(now, retry_after or tuning.window)
            span = sent - self._sent[start] if accepted else 0.0
            measured = max(accepted, 1) / max(span, tuning.min_span)
            self._cut(now, tuning.cut * min(measured, rate), rate)
        elif self._learned < math.inf and (self._deep or now - self._cut_at > tuning.window):
            self._cut(now, tuning.cut * rate, rate)
        return accepted > 0

    def _adopt(self, now: float, rate: float) -> None:
        if self._announced == math.inf:  # calls that were sent before it was known count, too
            window = self._tuning.window
            start = bisect_left(self._sent, now - window)
            if count := len(self._sent) - start:
                until = min(self._sent[start] + count / rate, now + max(window, 1 / rate))
                self._next = max(self._next, until)
            self._learned = math.inf
        else:
            self._next = now + (self._next - now) * self._announced / rate
        self._announced = rate

    def _cut(self, now: float, rate: float, before: float) -> None:
        self._learned, self._cut_at = rate, now
        self._deep = rate < self._tuning.deep_cut * before
        self._next = max(self._next, now + 1 / rate)

    def _block(self, now: float, seconds: float) -> None:
        until = now + min(seconds, self._tuning.max_wait)
        self._blocked_until = max(self._blocked_until, until)

"""How fast calls to one provider may follow each other: arithmetic, on a clock that is given.

For `layers.throttle`. The rate comes from the provider's own headers where it tells its limits.
Where it does not, it grows until a call is refused, is then set to what was accepted, and grows
again, slowly at first.
"""

from __future__ import annotations

import math
from collections import deque

from mixmagic.values import Limits

# The share of a limit that is used: a window of the server's is never met exactly.
_SHARE = 0.96
# Where nothing is known of a provider's limits: calls a second at first, and how much faster
# that gets in a second.
_FIRST_RATE, _GROWTH = 16.0, 2.0
# After a refusal, the rate grows this much in a second, twice as fast every ten seconds.
_CAUTIOUS = 0.01
_DOUBLING = 10.0
_WINDOW = 1.0  # seconds over which accepted calls are counted
_CATCH_UP = 0.06  # seconds of lateness that are made up for
# Refusals in a row after which the provider's wait holds for everybody.
_SUSTAINED = 3
_LONGEST = 20.0  # seconds between two calls, at most


class Pace:
    """When the next call may go out.

    Args:
        unlimited: Whether the provider has no limits before it says so: one's own server.
    """

    def __init__(self, *, unlimited: bool) -> None:
        self._rate = math.inf if unlimited else _FIRST_RATE
        self._tokens: float | None = None
        self._told = False  # whether the rate is the provider's word
        self._ease = 1.0  # how much slower than told, where that was still too fast
        self._next = -math.inf
        self._blocked = -math.inf
        self._grown = math.inf
        self._refused_at = -math.inf
        self._refusals = 0  # in a row
        self._accepted: deque[float] = deque()

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self._rate * self._ease

    def delay(self, now: float) -> float:
        """Seconds until the next call may go out; 0 where it may at once."""
        return max(0.0, self._next - now, self._blocked - now)

    def sent(self, now: float, tokens: int) -> None:
        """A call of about `tokens` tokens goes out."""
        if now - self._next < _CATCH_UP:  # else nobody has waited, and the rate is no limit
            self._grow(now)
        self._grown = now
        seconds = 1 / self.rate
        if self._tokens:
            seconds = max(seconds, tokens / self._tokens)
        self._next = max(self._next, now - _CATCH_UP) + seconds

    def accepted(self, now: float, limits: Limits) -> None:
        """A call was accepted, and the provider said this of its limits."""
        self._refusals = 0
        self._accepted.append(now)
        self._forget(now)
        self._learn(now, limits)

    def refused(self, now: float, limits: Limits, wait: float | None) -> None:
        """A call was refused for the rate; `wait` is what the provider asks for."""
        self._refusals += 1
        self._forget(now)
        self._learn(now, limits)
        if self._told:
            # One refusal can be chance, a share of them is not.
            if self._refusals >= _SUSTAINED:
                self._ease = max(0.1, self._ease * 0.8)
        elif now - self._refused_at > _WINDOW:  # else it was sent before the last was heard of
            slowest = 1 / min(max(wait or 0, _WINDOW), _LONGEST)
            self._rate = max(slowest, _SHARE * len(self._accepted) / _WINDOW)
            self._next = max(self._next, now + 1 / self._rate)
        self._refused_at = self._grown = now
        if self._refusals >= _SUSTAINED and wait:
            self._blocked = max(self._blocked, now + wait)

    def _learn(self, now: float, limits: Limits) -> None:
        if limits.requests:
            self._rate, self._told = limits.requests * _SHARE, True
        if limits.tokens:
            self._tokens = limits.tokens * _SHARE
        if limits.wait:
            self._blocked = max(self._blocked, now + limits.wait)

    def _forget(self, now: float) -> None:
        while self._accepted and self._accepted[0] < now - _WINDOW:
            self._accepted.popleft()

    def _grow(self, now: float) -> None:
        """Try a little more than the last time."""
        passed = max(0.0, min(now - self._grown, 1.0))
        if self._told:
            self._ease = min(1.0, self._ease * 1.05**passed)
        elif self._refused_at == -math.inf:
            # Nobody has said no yet, and calls are waiting.
            self._rate *= _GROWTH**passed
        else:
            quiet = min(now - self._refused_at, 10 * _DOUBLING)
            self._rate *= (1 + min(_CAUTIOUS * 2 ** (quiet / _DOUBLING), 1.0)) ** passed

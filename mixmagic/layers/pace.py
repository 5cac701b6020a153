"""How fast calls to one provider may follow each other: arithmetic, on a clock that is given.

For `layers.throttle`. Calls leave at even distances. Where the provider tells its limit in its
headers, that is the rate. Where it does not, the rate is found and held as TCP does it:

* every call that had to wait makes the rate grow a little, until one is refused;
* refusals that pile up set it to what got through in the last second;
* one refusal after a quiet time lowers it by a twentieth; any other is chance;
* after each of these it grows more carefully, and more boldly again call by call.

A limit that is told is a ceiling to the same rules, for others may use the account too.
"""

from __future__ import annotations

import math
from collections import deque

from mixmagic.core.values import Limits

# The share of a limit that is used, and the seconds of lateness that are made up for: no second
# ever holds more than 0.95 * 1.04 = 0.988 of the limit, which leaves 12 ms for the network.
_SHARE, _CATCH_UP = 0.95, 0.04
# Calls a second while nothing is known: 64 calls are out within two seconds, and a limit of 2 is
# met at the price of a handful of refusals.
_FIRST_RATE = 16.0
# How much a call makes the rate grow: at most (the rate doubles in 17 calls), and at least (5 %
# in 100 calls, with the next line: a limit that is not told costs a refusal as often).
_BOLD, _CAREFUL = 0.04, 0.0002
_BOLDER, _STEPS = 1.02, 20.0
# What is left of the boldness: after refusals that piled up the rate is known, nearly.
_AFTER_PILE, _AFTER_ONE = 0.02, 0.25
# Refusals that are too many for chance; every eight calls take one off, so that 5 % of them
# at random hardly ever get there.
_PILE, _DRAIN = 3.0, 1 / 8
# After so many calls without a refusal, one is news. Of 5 % at random most come sooner.
_QUIET, _LESS = 40, 0.95
# A time too short to measure in: calls are under way whose refusal is not heard of.
_SOON = 0.1
# Seconds to wait where nothing gets through, doubled each time, up to what the provider asks.
_PAUSE = 0.25
# A header can be mistaken: after so many seconds somebody goes and asks again.
_LONGEST = 60.0


class Pace:
    """When the next call may go out.

    Args:
        unlimited: Whether the provider has no limits before it says so: one's own server.

    Attributes:
        rate: Calls a second.
    """

    def __init__(self, *, unlimited: bool) -> None:
        self.rate = math.inf if unlimited else _FIRST_RATE
        self._told = self._told_tokens = math.inf
        self._next = self._blocked = self._slowed = -math.inf
        self._bold, self._pause = _BOLD, _PAUSE
        self._quiet, self._pile = 0, 0.0
        self._through: deque[float] = deque()  # when the last second's calls left, but the refused

    def delay(self, now: float) -> float:
        """Seconds until the next call may go out; 0 where it may at once."""
        return max(0.0, self._next - now, self._blocked - now)

    def sent(self, now: float, tokens: int) -> None:
        """A call of about `tokens` tokens goes out."""
        while self._through and self._through[0] < now - 1:
            self._through.popleft()
        waited = now - self._next <= _CATCH_UP
        # Never to more than twice what is used: what nobody has tried is not known.
        if waited and self.rate <= max(_FIRST_RATE, 2 * len(self._through)):
            # Once a limit was met, by the second: a window of the server's lasts as long.
            step = 1.0 if self._slowed == -math.inf else min(1.0, _STEPS / self.rate)
            self.rate = min(self.rate * (1 + self._bold * step), self._told)
            self._bold = min(self._bold * _BOLDER**step, _BOLD)
        distance = max(1 / self.rate, tokens / self._told_tokens)
        self._next = max(self._next, now - _CATCH_UP) + distance
        self._through.append(now)
        self._quiet += 1
        self._pile = max(0.0, self._pile - _DRAIN)

    def accepted(self, now: float, limits: Limits) -> None:
        """A call was accepted, and the provider said this of its limits."""
        self._pause = _PAUSE
        self._learn(now, limits)

    def refused(self, now: float, sent: float, limits: Limits, wait: float | None) -> None:
        """The call that went out at `sent` was refused for the rate.

        `wait` is the seconds that the provider asks to wait.
        """
        self._learn(now, limits)
        if sent in self._through:
            self._through.remove(sent)
        if sent <= self._slowed:  # it left before the last lesson
            return
        quiet, self._quiet = self._quiet, 0
        self._pile += 1 + _DRAIN
        if self._pile >= _PILE:
            old = sent - self._slowed > _SOON
            rate = self._measured(max(sent - 1, self._slowed if old else -math.inf), sent)
            if rate == 0:  # nothing gets through: the rate is not to blame alone
                wait = min(wait or _LONGEST, self._pause, _LONGEST)
                self._blocked, self._pause = max(self._blocked, now + wait), 2 * self._pause
                rate = self._measured(sent - 1, sent) or self.rate
            self._slow(now, min(rate, self.rate), _AFTER_PILE)
        elif quiet >= _QUIET and self.rate < math.inf == self._told:
            self._slow(now, _LESS * self.rate, _AFTER_ONE)

    def _measured(self, since: float, until: float) -> float:
        """The rate that got through; 0 where no call did."""
        if not self._through:
            return 0.0
        since = max(since, self._through[0] - 1 / self.rate)
        count = sum(since < at < until for at in self._through)
        # A low count is rough: never less than half at once.
        return count and max(
            _SHARE * count / (until - since), min(self.rate, len(self._through)) / 2
        )

    def _slow(self, now: float, rate: float, boldness: float) -> None:
        self.rate = 1.0 if rate == math.inf else rate
        self._bold = max(self._bold * boldness, _CAREFUL)
        self._pile, self._slowed = 0.0, now
        self._next = max(self._next, now + 1 / self.rate)

    def _learn(self, now: float, limits: Limits) -> None:
        if limits.requests and limits.requests * _SHARE != self._told:
            self.rate = self._told = limits.requests * _SHARE
        if limits.tokens:
            self._told_tokens = limits.tokens * _SHARE
        if limits.wait:
            self._blocked = max(self._blocked, now + min(limits.wait, _LONGEST))

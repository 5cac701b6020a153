"""Four ways in which providers limit calls per second, on a given clock."""

from __future__ import annotations

from collections import deque


class Bucket:
    """A token bucket that holds `burst` seconds' worth of calls."""

    burst = 1.0

    def __init__(self, rate: float) -> None:
        self.rate, self.left, self.at = rate, max(1.0, self.burst * rate), 0.0

    def take(self, now: float) -> bool:
        """Return True if a call is allowed now."""
        most = max(1.0, self.burst * self.rate)
        self.left = min(most, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Strict(Bucket):
    """Evenly spaced calls, with 25 ms to spare at 20 per second."""

    burst = 0.075


class Fixed:
    """`rate` calls in each second of the clock."""

    def __init__(self, rate: float) -> None:
        self.rate, self.second, self.count = rate, 0, 0

    def take(self, now: float) -> bool:
        """Return True if a call is allowed now."""
        if int(now) != self.second:
            self.second, self.count = int(now), 0
        self.count += 1
        return self.count <= self.rate


class Sliding:
    """`rate` calls in any second."""

    def __init__(self, rate: float) -> None:
        self.rate, self.calls = rate, deque[float]()

    def take(self, now: float) -> bool:
        """Return True if a call is allowed now."""
        while self.calls and self.calls[0] <= now - 1:
            self.calls.popleft()
        if len(self.calls) >= self.rate:
            return False
        self.calls.append(now)
        return True

"""Calls to one provider share its limits: how many at once, and how many a second."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import closing

from mixmagic import tokens
from mixmagic.errors import RateLimited
from mixmagic.layers import check
from mixmagic.layers.pace import Pace
from mixmagic.values import Delta, Layer, Limits, Provider, Request, Stream

# Seconds after which somebody who waits is told so.
_PATIENCE = 1.0


def throttle() -> Layer:
    """Let calls wait until their provider has room for them, first come, first served.

    All that goes through one layer shares the providers' limits. The rate is what a provider
    tells in its headers, or what it was found to accept: see `layers.pace`.
    """
    lock = threading.Lock()
    gates: dict[str, _Gate] = {}

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            provider = request.model.provider
            with lock:
                gate = gates.get(provider.name)
                if gate is None:
                    gate = gates[provider.name] = _Gate(provider)
            yield from gate.enter(request)
            limits = None
            try:
                with closing(inner(request)) as deltas:
                    for delta in deltas:
                        if delta.limits is None:
                            yield delta
                            continue
                        limits = delta.limits
                        gate.accepted(limits)
                        yield from deltas
            except RateLimited as error:
                if limits is None and isinstance(error.limits, Limits):
                    gate.refused(error.limits, error.retry_after)
                raise
            finally:
                gate.leave()

        return stream

    return layer


class _Gate:
    """One provider's: who is in, who waits, and when the next one may go."""

    def __init__(self, provider: Provider) -> None:
        self._label, self._room = provider.label, provider.max_in_flight
        self._pace = Pace(unlimited=provider.free)
        self._lock = threading.Lock()
        self._inside = 0
        self._queue: deque[threading.Event] = deque()

    def enter(self, request: Request) -> Generator[Delta, None, None]:
        """Wait for room; a stop, or the call's deadline, ends it at once."""
        size = tokens.estimate_prompt(request.messages)
        turn = threading.Event()
        with self._lock:
            self._queue.append(turn)
        patience = time.monotonic() + _PATIENCE
        entered = False
        try:
            with request.stop.calling(turn.set):
                while True:
                    turn.clear()
                    check(request)
                    delay = self._ask(turn, size)
                    if delay == 0:
                        entered = True
                        return
                    now = time.monotonic()
                    if now > patience:
                        yield Delta(progress=self._progress())
                        patience = now + _PATIENCE
                    turn.wait(min(delay, patience - now, request.deadline - now))
        finally:
            if not entered:
                with self._lock:
                    self._queue.remove(turn)
                    self._wake()

    def leave(self) -> None:
        """Make room."""
        with self._lock:
            self._inside -= 1
            self._wake()

    def accepted(self, limits: Limits) -> None:
        """A call was accepted."""
        with self._lock:
            self._pace.accepted(time.monotonic(), limits)
            self._wake()

    def refused(self, limits: Limits, wait: float | None) -> None:
        """A call was refused for the rate."""
        with self._lock:
            self._pace.refused(time.monotonic(), limits, wait)

    def _ask(self, turn: threading.Event, size: int) -> float:
        """Enter, and return 0; or else the seconds after which to ask again."""
        with self._lock:
            if self._queue[0] is not turn or self._inside >= self._room:
                return _PATIENCE  # whoever is before us, or inside, wakes us
            now = time.monotonic()
            delay = self._pace.delay(now)
            if delay == 0:
                self._queue.popleft()
                self._inside += 1
                self._pace.sent(now, size)
                self._wake()
            return delay

    def _wake(self) -> None:
        """Let the first in the queue look again."""
        if self._queue:
            self._queue[0].set()

    def _progress(self) -> str:
        """What somebody who waits is told."""
        with self._lock:
            if self._inside >= self._room:
                return f"waiting: {self._inside} calls to {self._label} are under way …"
            return f"waiting: {self._label} takes about {self._pace.rate:.3g} calls a second …"

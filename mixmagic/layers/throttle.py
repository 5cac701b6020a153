"""Calls to one provider share its limits: how many at once, and how many a second."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import closing

from mixmagic.backends.provider_errors import check
from mixmagic.calls import tokens
from mixmagic.core.cancel import Bell
from mixmagic.core.values import Delta, Layer, Limits, Provider, Request, Stream
from mixmagic.errors import RateLimited, Stopped
from mixmagic.layers.pace import Pace

# Seconds after which somebody who waits is told so.
_PATIENCE = 1.0


def throttle() -> Layer:
    """Let calls wait until their provider has room for them, first come, first served.

    All that goes through one layer shares the providers' limits: a process has one session, so
    one layer; two sessions, as in tests, are two customers. The rate is what a provider
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
            limits, ticket = None, _Ticket()
            try:
                yield from gate.enter(request, ticket)
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
                    gate.refused(ticket.sent, error.limits, error.retry_after)
                raise
            finally:
                gate.leave(ticket)

        return stream

    return layer


class _Ticket:
    """One call's place: in the queue until it was `sent`, and then inside."""

    def __init__(self) -> None:
        self.turn = Bell()
        self.sent = math.nan


class _Gate:
    """One provider's: who is in, who waits, and when the next one may go."""

    def __init__(self, provider: Provider) -> None:
        self._label, self._room = provider.label, provider.max_in_flight
        self._pace = Pace(unlimited=provider.free)
        self._lock = threading.Lock()
        self._inside = 0
        self._queue: deque[_Ticket] = deque()

    def enter(self, request: Request, ticket: _Ticket) -> Generator[Delta, None, None]:
        """Wait for room; a stop, or the call's deadline, ends it at once."""
        size = tokens.estimate_prompt(request.messages)
        with self._lock:
            self._queue.append(ticket)
        patience = time.monotonic() + _PATIENCE
        try:
            with request.control.stop.calling(ticket.turn.ring):
                while True:
                    check(request)
                    now = time.monotonic()
                    delay = self._ask(ticket, now, size)
                    if delay == 0:
                        return
                    if now > patience:
                        yield Delta(progress=self._progress())
                        patience = now + _PATIENCE
                    ticket.turn.wait(min(delay, patience - now, request.control.deadline - now))
        except KeyboardInterrupt:
            raise Stopped(sent=False) from None

    def leave(self, ticket: _Ticket) -> None:
        """Make room, or give up the place in the queue: wherever the call has come to."""
        with self._lock:
            if not math.isnan(ticket.sent):
                self._inside -= 1
            elif ticket in self._queue:
                self._queue.remove(ticket)
            self._wake()

    def accepted(self, limits: Limits) -> None:
        """A call was accepted."""
        with self._lock:
            self._pace.accepted(time.monotonic(), limits)
            self._wake()

    def refused(self, sent: float, limits: Limits, wait: float | None) -> None:
        """The call that went out at `sent` was refused for the rate."""
        with self._lock:
            self._pace.refused(time.monotonic(), sent, limits, wait)

    def _ask(self, ticket: _Ticket, now: float, size: int) -> float:
        """Enter, and return 0; or else the seconds after which to ask again."""
        with self._lock:
            if self._queue[0] is not ticket or self._inside >= self._room:
                return _PATIENCE  # whoever is before us, or inside, wakes us
            delay = self._pace.delay(now)
            if delay == 0:
                self._queue.popleft()
                self._inside, ticket.sent = self._inside + 1, now
                self._pace.sent(now, size)
                self._wake()
            return delay

    def _wake(self) -> None:
        """Let the first in the queue look again."""
        if self._queue:
            self._queue[0].turn.ring()

    def _progress(self) -> str:
        """What somebody who waits is told."""
        with self._lock:
            if self._inside >= self._room:
                return f"waiting: {self._inside} calls to {self._label} are under way …"
            return f"waiting: {self._label} takes about {self._pace.rate:.3g} calls a second …"

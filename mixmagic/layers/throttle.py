"""Calls to one provider share its limits: calls in progress, and calls per second."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Generator
from contextlib import closing

from mixmagic.backends.provider_errors import raise_if_ended
from mixmagic.calls import tokens
from mixmagic.core.cancel import Wakeup
from mixmagic.core.values import Delta, Layer, Provider, RateLimits, Request, Stream
from mixmagic.errors import RateLimited, Stopped, counted
from mixmagic.layers.pace import Pace

# Seconds between two messages to the user of a waiting call.
_PATIENCE = 1.0
_NO_LIMITS = RateLimits()


def throttle() -> Layer:
    """Delay calls until their provider has room for them.

    A provider limits the calls in progress (`max_in_flight`) and the calls per second: see
    `layers.pace`. All calls through one layer share these limits. The call with the earliest
    deadline goes first, so a retried call goes before new ones. An urgent call waits neither for
    other calls nor for the rate, only for a slot or if the provider accepts nothing at all; calls
    that are not urgent wait the longer for it.
    """
    gates: dict[str, _Gate] = {}

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            provider = request.model.provider
            gate = gates.get(provider.name) or gates.setdefault(provider.name, _Gate(provider))
            call, accepted = _ThrottledCall(request), False
            try:
                if wakeup := gate.enter(call):
                    yield from gate.wait(call, wakeup)
                with closing(inner(request)) as deltas:
                    for delta in deltas:
                        if delta.limits is None:
                            yield delta
                            continue
                        accepted = True
                        gate.on_accepted(delta.limits)
                        yield from deltas
            except RateLimited as error:
                if not accepted:
                    gate.on_refused(call, error)
                raise
            finally:
                gate.leave(call)

        return stream

    return layer


class _ThrottledCall:
    """One call: new, perhaps in the queue (it has a wakeup), then inside (it has been sent)."""

    __slots__ = ("rank", "request", "sent_at", "tokens", "urgent", "wakeup")
    _numbers = itertools.count()

    def __init__(self, request: Request) -> None:
        self.request, self.urgent = request, request.control.urgent
        self.tokens = tokens.estimate_prompt(request.messages)
        self.rank = (not self.urgent, request.control.deadline, next(self._numbers))
        self.sent_at = math.inf
        self.wakeup: Wakeup | None = None

    def __lt__(self, other: _ThrottledCall) -> bool:
        return self.rank < other.rank


class _Gate:
    """The calls to one provider: those inside, those in the queue, and their pace."""

    def __init__(self, provider: Provider) -> None:
        self._label, self._slots = provider.label, provider.max_in_flight
        self._pace, self._lock = Pace(), threading.Lock()
        self._inside = 0
        self._queue: list[_ThrottledCall] = []  # a heap

    def enter(self, call: _ThrottledCall) -> Wakeup | None:
        """Let a call in, or queue it and return the wakeup to `wait` with.

        Raises:
            Stopped: The call is stopped.
            TotalTimedOut: The call's deadline has passed.
        """
        raise_if_ended(call.request)
        with self._lock:
            if call.urgent or not self._queue:
                now = time.monotonic()
                if self._delay(call, now) == 0:
                    self._let_in(call, now)
                    return None
            call.wakeup = Wakeup()
            heapq.heappush(self._queue, call)
            return call.wakeup

    def wait(self, call: _ThrottledCall, wakeup: Wakeup) -> Generator[Delta, None, None]:
        """Wait in the queue; a stop, or the call's deadline, ends that at once."""
        control, next_message = call.request.control, time.monotonic() + _PATIENCE
        try:
            with control.stop.calling(wakeup.wake):
                while True:
                    raise_if_ended(call.request)
                    with self._lock:
                        now = time.monotonic()
                        delay = self._delay(call, now) if self._queue[0] is call else _PATIENCE
                        if delay == 0:
                            heapq.heappop(self._queue)
                            self._let_in(call, now)
                            self._wake_first()
                            return
                    if now >= next_message:
                        yield Delta(progress=self._wait_message(now))
                        next_message = now + _PATIENCE
                    wakeup.wait(min(delay, next_message - now, control.deadline - now))
        except KeyboardInterrupt:
            raise Stopped(sent=False) from None

    def leave(self, call: _ThrottledCall) -> None:
        """Give up a call's slot, or its place in the queue."""
        with self._lock:
            if call.sent_at < math.inf:
                self._inside -= 1
            elif call in self._queue:
                self._queue.remove(call)
                heapq.heapify(self._queue)
            self._wake_first()

    def on_accepted(self, limits: RateLimits) -> None:
        """Adopt the limits that the provider announces with an answer."""
        if limits != _NO_LIMITS:
            with self._lock:
                self._pace.on_limits(time.monotonic(), limits)
                self._wake_first()

    def on_refused(self, call: _ThrottledCall, error: RateLimited) -> None:
        """Learn from a refusal; its error then tells if the provider accepts other calls."""
        with self._lock:
            now = time.monotonic()
            if isinstance(error.limits, RateLimits):
                self._pace.on_limits(now, error.limits)
            error.others_accepted = self._pace.on_refused(now, call.sent_at, error.retry_after)

    def _delay(self, call: _ThrottledCall, now: float) -> float:
        """Return the seconds until the call may go in; 0 if it may go in now."""
        if self._inside >= self._slots:
            return _PATIENCE  # unknown: a call that leaves wakes it
        return self._pace.blocked(now) if call.urgent else self._pace.delay(now)

    def _let_in(self, call: _ThrottledCall, now: float) -> None:
        # In one statement, so that no interrupt comes between.
        self._inside, call.sent_at = self._inside + 1, now
        self._pace.on_sent(now, call.tokens)

    def _wake_first(self) -> None:
        if self._queue and (wakeup := self._queue[0].wakeup):
            wakeup.wake()

    def _wait_message(self, now: float) -> str:
        """Return the message to the user of a waiting call."""
        if self._inside >= self._slots:
            calls = counted(self._inside, "call")
            return f"waiting: {self._label} has {calls} in progress …"
        if seconds := math.ceil(self._pace.blocked(now)):
            return f"waiting: {self._label} accepts calls again in {seconds} s …"
        return f"waiting: {self._label} accepts about {self._pace.rate(now):.3g} calls a second …"

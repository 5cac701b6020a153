"""Answer a question that has been answered before, and ask one that is being asked only once.

Below `resolve`, because the model that answers is part of the key. Above `meter`, so that an answer
from the cache costs nothing, and a call that waits for another one holds no money and no slot.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mixmagic.backends.provider_errors import raise_if_ended
from mixmagic.calls import identity, playback
from mixmagic.calls.collector import Collector
from mixmagic.calls.completion import Completion
from mixmagic.calls.events import Event
from mixmagic.calls.interrupts import Calls
from mixmagic.core.control import CachePolicy
from mixmagic.core.values import Delta, Layer, Model, Request, Stream, Timing
from mixmagic.errors import Stopped
from mixmagic.layers.flights import Flight, Flights
from mixmagic.store.cache import AnswerCache

# Seconds between two messages to the user of a waiting call.
_PATIENCE = 1.0
# Seconds between two looks if another process still asks the question, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
# Seconds that a call waits for one of another process, whose reader may have left it open.
_LONGEST_WAIT = 300.0
# Calls without an answer that are followed, one after another, until the question is asked at once.
_MOST_LEADERS = 3
_WAITING = "waiting: the same question is being asked already …"
_NOTHING = Delta(origin="cache")
_OFF = "the answer cache is off"

# Returns the base URL of a model's provider, or the file of a local model.
Endpoint = Callable[[Model], str | Path]


def cache(answers: AnswerCache, endpoint: Endpoint, calls: Calls) -> Layer:
    """Yield the stored answer to a question, and store the whole answers to others.

    By default (`control.cache` is `auto`) that is for repeatable questions alone: the temperature
    is 0, or there is a seed. Calls with the same question that are made at the same time, in any
    thread or process, send it once: one of them leads. In its process, the others receive its
    pieces as it does; in other processes, the whole answer. If it fails or is stopped, the next one
    leads.

    Args:
        answers: The stored answers.
        endpoint: Part of a question's key.
        calls: The registry of calls under way, in which calls that wait are, too.
    """
    flights = Flights()

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            policy = _policy(request)
            if policy != "off" and not answers.on:
                if request.control.cache != "auto":
                    yield Delta(note=_OFF)
                policy = "off"
            key = "" if policy == "off" else _key(request, endpoint)
            if not key:
                yield from inner(request)
                return
            call = _CachedCall(request, key, inner, answers=answers, flights=flights, calls=calls)
            yield from call.asked() if policy == "refresh" else call.answered()

        return stream

    return layer


def _policy(request: Request) -> CachePolicy:
    """Return the use of the cache for a request: never `auto`."""
    policy = request.control.cache
    if policy != "auto":
        return policy
    return "use" if is_repeatable(request) else "off"


def is_repeatable(request: Request) -> bool:
    """Return True if the same answer is wanted each time: temperature 0, or a seed, is given.

    A temperature that is not given is the provider's default, which is not 0.
    """
    body = {
        **request.params,
        **request.model.provider.dialect.always,
        **request.params.get("extra_body", {}),
    }
    temperature = body.get("temperature")
    greedy = temperature == 0 and not isinstance(temperature, bool)
    return greedy or body.get("seed") is not None


def _key(request: Request, endpoint: Endpoint) -> str:
    """Return the key of a request; empty if its model's file cannot be read, or is not there."""
    try:
        return identity.cache_key(request, endpoint(request.model))
    except OSError:
        return ""


class _CachedCall:
    """One call whose answer may be stored, or may be shared with other calls."""

    def __init__(
        self,
        request: Request,
        key: str,
        inner: Stream,
        *,
        answers: AnswerCache,
        flights: Flights,
        calls: Calls,
    ) -> None:
        self._request, self._key, self._inner = request, key, inner
        self._answers, self._flights, self._calls = answers, flights, calls
        self._locked = False

    def answered(self) -> Generator[Delta, None, None]:
        """Yield the answer: the stored one, that of the same call under way, or a new one."""
        collector: Collector | None = None
        for leaders in itertools.count():
            stored = self._answers.find(self._key, self._request)
            if stored is not None:
                completion = stored.completion
                self._answers.note_use(stored, completion.usage, completion.model.price)
                yield from playback.deltas(completion, "cache", stored.recorded, pieces=1)
                return
            # Its times are those that the user sees: it begins before any wait.
            collector = collector or Collector(self._request)
            if leaders >= _MOST_LEADERS:
                yield from self._asked(Flight(), collector)
                return
            flight, leads = self._flights.join(self._key)
            if (yield from self._lead(flight, collector) if leads else self._follow(flight)):
                return

    def asked(self) -> Generator[Delta, None, None]:
        """Make the call, and store its answer."""
        return self._asked(Flight(), Collector(self._request))

    def _asked(self, flight: Flight, collector: Collector) -> Generator[Delta, None, None]:
        """Make the call, and store its answer, which others may follow."""
        completion = None
        try:
            with closing(flight.led(self._inner(self._request))) as deltas:
                for delta in deltas:
                    if not delta.passing:
                        collector.add(delta)
                    yield delta
            completion = collector.completion()
            if self._may_store(collector, completion):
                self._answers.put(self._key, completion)
            if not self._may_share(collector):
                completion = None
        finally:
            flight.end(completion)

    def _lead(self, flight: Flight, collector: Collector) -> Generator[Delta, None, bool]:
        """Make the call unless another process does; return False if that has answered it."""
        try:
            yield from flight.led(self._lock())
            # It may have been answered while we waited, or just before we joined.
            if self._answers.find(self._key, self._request) is not None:
                return False
            yield from self._asked(flight, collector)
            return True
        finally:
            flight.end(flight.completion)
            self._flights.remove(self._key, flight)
            if self._locked:
                self._locked = False
                self._answers.locks.release(bytes.fromhex(self._key))

    def _lock(self) -> Generator[Delta, None, None]:
        """Wait until no other process asks the question, if that does not take too long."""
        if self._try_lock():
            return
        control, pause, started = self._request.control, _FIRST_PAUSE, time.monotonic()
        next_message = started + _PATIENCE
        try:
            with self._registered(Collector(self._request)):
                while not self._try_lock():
                    raise_if_ended(self._request)
                    if (now := time.monotonic()) - started > _LONGEST_WAIT:
                        return
                    if now >= next_message:
                        yield Delta(progress=_WAITING)
                        next_message = now + _PATIENCE
                    control.stop.wait(max(min(pause, control.deadline - now), 0))
                    pause = min(2 * pause, _LONGEST_PAUSE)
        except KeyboardInterrupt:
            raise Stopped(sent=False) from None

    def _try_lock(self) -> bool:
        """Return True if no other process asks the question."""
        self._locked = self._answers.locks.acquire(bytes.fromhex(self._key))
        return self._locked

    def _follow(self, flight: Flight) -> Generator[Delta, None, bool]:
        """Yield the pieces of a call under way; return False if that was not the whole answer."""
        collector = Collector(self._request)
        try:
            with self._registered(collector), closing(self._pieces(flight)) as pieces:
                for piece in pieces:
                    collector.add(piece)
                    yield piece
        except KeyboardInterrupt:
            raise Stopped(sent=False) from None
        if collector.timing is not None:
            usage = collector.completion().usage
            self._answers.note_use(None, usage, self._request.model.price)
            return True
        if collector.begun or collector.finish:
            yield Delta(restarted=True)
        return False

    def _pieces(self, flight: Flight) -> Generator[Delta, None, None]:
        """Yield the pieces of a call under way; the last one has the times, if it is whole."""
        control, taken, next_message = self._request.control, 0, time.monotonic() + _PATIENCE
        with flight.followed() as wakeup, control.stop.calling(wakeup.wake):
            while True:
                raise_if_ended(self._request)
                ended = flight.ended  # before the pieces are read
                for delta in flight.deltas[taken:]:
                    taken += 1
                    if (piece := _shared(delta)) != _NOTHING:
                        yield piece
                if ended or flight.stalled:
                    break
                if (now := time.monotonic()) >= next_message:
                    next_message = now + _PATIENCE
                    if not taken:
                        yield Delta(progress=_WAITING)
                wakeup.wait(min(next_message, control.deadline) - now)
        if ended and (whole := flight.completion) is not None:
            timing = Timing(whole.elapsed, whole.ttft, whole.thinking, datetime.now(UTC))
            yield Delta(origin="cache", usage=whole.usage, timing=timing)

    @contextmanager
    def _registered(self, collector: Collector) -> Iterator[None]:
        """List the call among those under way while it waits: an interrupt stops it, too."""
        running = self._calls.begin(collector)
        try:
            yield
        finally:
            self._calls.end(running)
            completion = None if collector.timing is None else collector.completion()
            self._calls.events.emit(Event("end", running, completion=completion))

    def _may_store(self, collector: Collector, completion: Completion) -> bool:
        """Return True for a whole answer that is not empty, and that the caller does not refuse."""
        empty = not "".join([completion.text, *completion.others]).strip()
        if not collector.whole or (empty and completion.finish == "stop"):
            return False
        keep = self._request.control.keep
        return keep is None or keep(completion)

    def _may_share(self, collector: Collector) -> bool:
        """Return True if calls that follow may have the answer, too.

        One that was cut off may have been so by the budget of this call alone.
        """
        if collector.finish is None:
            return False
        return collector.finish != "length" or self._request.control.budget is None


def _shared(delta: Delta) -> Delta:
    """Return a piece as those receive it who do not pay for it."""
    if delta.passing:
        return _NOTHING
    own: dict[str, Any] = {"usage": None, "alone": None, "tried": None, "failed": None}
    return delta._replace(origin="cache", limits=None, **own)

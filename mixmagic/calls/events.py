"""Events of a session's calls for its subscribers, which can neither slow nor break a call.

A call only appends to a queue; each subscriber is called on its own daemon thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from mixmagic.core.cancel import Wakeup

if TYPE_CHECKING:
    from mixmagic.calls.completion import Completion
    from mixmagic.calls.interrupts import Running

# Seconds between two checks of the calls: progress is reported at most 20 times a second.
_INTERVAL = 0.05
# Events that wait for a slow subscriber; if there are more, the oldest are dropped.
_MOST_WAITING = 10_000
_IDLE = 3600.0
_log = logging.getLogger("mixmagic")


class Event(NamedTuple):
    """A change in a session's calls.

    Attributes:
        kind: `begin`, `progress` or `end` of a call, or `money`: what the session has spent or
            reserved has changed.
        call: The call; `None` for `money`.
        characters: Length of the answer so far, thoughts included.
        tokens: Pieces of the answer so far: about one token each.
        completion: For `end`, the call's result; `None` if nothing was sent.
    """

    kind: Literal["begin", "progress", "end", "money"]
    call: Running | None = None
    characters: int = 0
    tokens: int = 0
    completion: Completion | None = None


Subscriber = Callable[[Event], object]


class Events:
    """The subscribers to a session's calls.

    Args:
        running: Returns the calls under way.
    """

    def __init__(self, running: Callable[[], Iterable[Running]]) -> None:
        self._running = running
        self._subscriptions: tuple[_Subscription, ...] = ()
        self._lock = threading.Lock()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with each event from now on; return a function to unsubscribe."""
        subscription = _Subscription(subscriber, self._running)

        def unsubscribe() -> None:
            with self._lock:
                others = (other for other in self._subscriptions if other is not subscription)
                self._subscriptions = tuple(others)
            subscription.close()

        with self._lock:
            self._subscriptions += (subscription,)
        subscription.start()
        return unsubscribe

    def emit(self, event: Event) -> None:
        """Queue an event for all subscribers."""
        for subscription in self._subscriptions:
            subscription.put(event)


class _Subscription:
    """One subscriber, its queue and its thread."""

    def __init__(self, subscriber: Subscriber, running: Callable[[], Iterable[Running]]) -> None:
        self._subscriber, self._running = subscriber, running
        self._waiting: deque[Event] = deque(maxlen=_MOST_WAITING)
        self._wakeup = Wakeup()
        self._closed = self._overflowed = self._failed = False
        # Calls whose `begin` was delivered, and `end` was not, with their last progress.
        self._open: dict[int, Event] = {}
        self._thread = threading.Thread(target=self._run, name="mixmagic-events", daemon=True)

    def start(self) -> None:
        """Begin to deliver events."""
        self._thread.start()

    def put(self, event: Event) -> None:
        """Queue an event."""
        self._overflowed = self._overflowed or len(self._waiting) == _MOST_WAITING
        self._waiting.append(event)
        self._wakeup.wake()

    def close(self) -> None:
        """Deliver no more events."""
        self._closed = True
        self._wakeup.wake()

    def _run(self) -> None:
        for call in self._running():
            self._begin(call)
        while not self._closed:
            self._deliver()
            time.sleep(_INTERVAL)
            if not (self._waiting or self._open):
                self._wakeup.wait(_IDLE)

    def _deliver(self) -> None:
        """Deliver the events that are waiting, then the progress of the calls under way."""
        money = False
        for _ in range(len(self._waiting)):
            event = self._waiting.popleft()
            if event.kind == "money" or event.call is None:
                money = True
            elif event.kind == "begin":
                self._begin(event.call)
            else:
                self._open.pop(id(event.call), None)
                self._send(event)
        running = {id(call): call for call in self._running()}
        for key, call in running.items():
            progress = Event("progress", call, *call.collector.received)
            if self._open.get(key, progress) != progress:
                self._open[key] = progress
                self._send(progress)
        if self._overflowed:  # the ends of some calls are lost
            self._overflowed = False
            self._open = {key: event for key, event in self._open.items() if key in running}
        if money:
            self._send(Event("money"))

    def _begin(self, call: Running) -> None:
        """Deliver the `begin` of a call, once."""
        if id(call) not in self._open:
            self._open[id(call)] = Event("progress", call)
            self._send(Event("begin", call))

    def _send(self, event: Event) -> None:
        """Call the subscriber; log its first exception."""
        if self._closed:
            return
        try:
            self._subscriber(event)
        except Exception as error:  # noqa: BLE001  # it may raise anything
            if not self._failed:
                self._failed = True
                _log.warning("A subscriber to calls raised %s: %s", type(error).__name__, error)

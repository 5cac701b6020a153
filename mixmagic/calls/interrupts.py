"""The calls of a session that are under way, and which of them an interrupt stops."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from mixmagic.calls.events import Event, Events

if TYPE_CHECKING:  # `%load_ext` stays light
    from mixmagic.calls.collector import Collector
    from mixmagic.calls.completion import Completion
    from mixmagic.core.values import Request

# Set in a thread that reads a call for another one: the identifier of that.
asker: ContextVar[int | None] = ContextVar("asker", default=None)


class Running(NamedTuple):
    """One call under way, as others see it.

    Attributes:
        request: The question.
        collector: What has come so far.
        since: When it began, on the monotonic clock.
        thread: The identifier of the thread that asks.
    """

    request: Request
    collector: Collector
    since: float
    thread: int

    def stop(self) -> None:
        """Stop the call; what has come is kept."""
        self.request.control.stop.set()


class Calls:
    """The calls under way: an interrupt stops those that have begun since the running cell did.

    Attributes:
        stopped: What had come of the calls that were stopped last, in one cell or at once.
        events: The subscribers to these calls.
    """

    def __init__(self) -> None:
        # These change in single steps, without a lock: a signal handler looks at them.
        self._running: dict[int, Running] = {}
        self._cells: dict[int, float] = {}  # when the one of each thread began
        self._spared: set[int] = set()  # threads whose calls go on after an interrupt
        self._interrupted = False
        self.stopped: list[Completion] = []
        self._fresh = True  # no call of this cell has been stopped yet
        self.events = Events(lambda: self)

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self._running.values()))

    def begin(self, collector: Collector) -> Running:
        """Note a call.

        It is stopped at once if an interrupted cell has begun its thread, or used it: a pool, whose
        queue may be long, does not go on. That ends when the next cell begins.
        """
        thread = asker.get() or threading.get_ident()
        running = Running(collector.request, collector, time.monotonic(), thread)
        self._running[id(running)] = running
        self.events.emit(Event("begin", running))
        if self._interrupted and thread not in self._spared:
            running.stop()
        return running

    def end(self, running: Running) -> None:
        """Forget a call: it is over."""
        self._running.pop(id(running), None)

    def begin_cell(self) -> None:
        """Note that a cell begins to run in this thread."""
        if not self._cells:
            self._spared = {thread.ident for thread in threading.enumerate() if thread.ident}
            self._interrupted, self._fresh = False, True
        self._cells[threading.get_ident()] = time.monotonic()

    def end_cell(self) -> None:
        """Note that it is over: the next interrupt does not mean its calls."""
        self._cells.pop(threading.get_ident(), None)

    def interrupt(self) -> None:
        """Stop all calls that have begun since the running cells did.

        A signal handler may call it: whoever stops a call may need a lock, so a thread does it,
        begun without one.
        """
        if cells := dict(self._cells):
            self._interrupted = True
            _thread.start_new_thread(self._stop, (cells, time.monotonic()))

    def keep(self, completion: Completion) -> None:
        """Keep what had come of a call that was stopped."""
        if self._fresh:
            self._fresh, self.stopped = False, []
        self.stopped.append(completion)

    def _stop(self, cells: dict[int, float], now: float) -> None:
        """Stop the calls that have begun between the first of some cells and the interrupt."""
        for running in self:
            if min(cells.values()) <= running.since <= now:
                if running.thread not in cells:
                    self._spared.discard(running.thread)
                running.stop()

"""The running calls of a session, and the choice of those that an interrupt stops."""

from __future__ import annotations

import _thread
import itertools
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from mixmagic.calls.events import Event, Events

if TYPE_CHECKING:  # `%load_ext` stays light
    from mixmagic.calls.background import BackgroundCall
    from mixmagic.calls.collector import Collector
    from mixmagic.calls.completion import Completion
    from mixmagic.core.values import Request

# In a thread that makes a call for another thread: the identifier of that thread.
asker: ContextVar[int | None] = ContextVar("asker", default=None)


class Running(NamedTuple):
    """A running call.

    Attributes:
        request: The question.
        collector: The answer so far.
        since: The time when it began, on the monotonic clock.
        thread: The identifier of the thread that waits for it.
        number: Its number among the calls of the session, or that of its background cell.
    """

    request: Request
    collector: Collector
    since: float
    thread: int
    number: int

    def stop(self) -> None:
        """Stop the call; the answer so far is kept."""
        self.request.control.stop.set()


class Calls:
    """The running calls. An interrupt stops those that began after the running cell did.

    Attributes:
        stopped: The answers so far of the calls that were stopped last, in one cell or at once.
        background: The background cells that have not ended, the oldest first.
        events: The subscribers to these calls.
    """

    def __init__(self) -> None:
        # These change in single atomic steps, without a lock, since a signal handler reads them.
        self._running: dict[int, Running] = {}
        self._cells: dict[int, float] = {}  # times when the cell of each thread began
        self._spared: set[int] = set()  # threads whose calls continue after an interrupt
        self._interrupted = False
        self._numbers = itertools.count(1)
        self.stopped: list[Completion] = []
        self.background: tuple[BackgroundCall, ...] = ()
        self._fresh = True  # True until a call of this cell is stopped
        self.events = Events(lambda: self)

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self._running.values()))

    def begin(self, collector: Collector) -> Running:
        """Register a call.

        The call is stopped at once if its thread was started or used by an interrupted cell, so
        that a thread pool with a long queue stops, too. This lasts until the next cell. A call of a
        background cell is stopped if that cell was.
        """
        thread = asker.get() or threading.get_ident()
        background = collector.request.control.background
        number = self.next_number() if background is None else background.number
        running = Running(collector.request, collector, time.monotonic(), thread, number)
        self._running[id(running)] = running
        self.events.emit(Event("begin", running))
        if background is not None:
            if background.stop.is_set():
                running.stop()
        elif self._interrupted and thread not in self._spared:
            running.stop()
        return running

    def next_number(self) -> int:
        """Return the number of one more call."""
        return next(self._numbers)

    def end(self, running: Running) -> None:
        """Unregister a call that is over."""
        self._running.pop(id(running), None)

    def begin_cell(self) -> None:
        """Register the cell that begins to run in this thread."""
        if not self._cells:
            self._spared = {thread.ident for thread in threading.enumerate() if thread.ident}
            self._interrupted, self._fresh = False, True
        self._cells[threading.get_ident()] = time.monotonic()

    def end_cell(self) -> None:
        """Unregister the cell of this thread: the next interrupt does not stop its calls."""
        self._cells.pop(threading.get_ident(), None)

    def interrupt(self) -> None:
        """Stop all calls that began after the running cells did.

        A signal handler may call it. Stopping a call may need a lock, so it happens in a thread
        that is started without one.
        """
        if cells := dict(self._cells):
            self._interrupted = True
            _thread.start_new_thread(self._stop, (cells, time.monotonic()))

    def keep(self, completion: Completion) -> None:
        """Keep the answer of a call that was stopped."""
        if self._fresh:
            self._fresh, self.stopped = False, []
        self.stopped.append(completion)

    def _stop(self, cells: dict[int, float], now: float) -> None:
        """Stop the calls that began between the first of the cells and the interrupt."""
        for running in self:
            if running.request.control.background is not None:
                continue
            if min(cells.values()) <= running.since <= now:
                if running.thread not in cells:
                    self._spared.discard(running.thread)
                running.stop()

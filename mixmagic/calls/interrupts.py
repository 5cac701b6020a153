"""The calls of a session that are under way, and which of them an interrupt stops."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # `%load_ext` stays light
    from mixmagic.completion import Collector, Completion
    from mixmagic.values import Request


class Running(NamedTuple):
    """One call under way, as others see it.

    Attributes:
        request: The question.
        collector: What has come so far.
        since: When it began, on the monotonic clock.
    """

    request: Request
    collector: Collector
    since: float

    def stop(self) -> None:
        """Stop the call; what has come is kept."""
        self.request.stop.set()


class Calls:
    """The calls under way: an interrupt stops those that have begun since the running cell did.

    Attributes:
        stopped: What had come of the calls that were stopped last, in one cell or at once.
    """

    def __init__(self) -> None:
        # These change in single steps, without a lock: a signal handler looks at them.
        self._running: dict[int, Running] = {}
        self._cells: dict[int, float] = {}  # when the one of each thread began
        self._interrupted = False
        self._interrupts: queue.SimpleQueue[tuple[float, float]] = queue.SimpleQueue()
        self._stopper: threading.Thread | None = None
        self.stopped: list[Completion] = []
        self._fresh = True  # no call of this cell has been stopped yet

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self._running.values()))

    def begin(self, collector: Collector) -> Running:
        """Note a call; one that another thread begins in an interrupted cell is stopped at once."""
        running = Running(collector.request, collector, time.monotonic())
        self._running[id(running)] = running
        if self._interrupted and threading.current_thread() is not threading.main_thread():
            running.stop()
        if self._stopper is None:
            self._stopper = threading.Thread(
                target=self._stop_calls, name="mixmagic-stop", daemon=True
            )
            self._stopper.start()
        return running

    def end(self, running: Running) -> None:
        """A call is over."""
        self._running.pop(id(running), None)

    def begin_cell(self) -> None:
        """A cell begins to run in this thread."""
        self._cells[threading.get_ident()] = time.monotonic()
        self._interrupted, self._fresh = False, True

    def end_cell(self) -> None:
        """It is over: what other threads ask from now on is not its business."""
        self._cells.pop(threading.get_ident(), None)
        self._interrupted = False

    def interrupt(self) -> None:
        """Stop all calls that have begun since the running cells did.

        A signal handler may call it.
        """
        now, cells = time.monotonic(), list(self._cells.values())
        self._interrupted = bool(cells)
        self._interrupts.put((min(cells, default=now), now))

    def keep(self, completion: Completion) -> None:
        """Keep what had come of a call that was stopped."""
        if self._fresh:
            self._fresh, self.stopped = False, []
        self.stopped.append(completion)

    def _stop_calls(self) -> None:
        """Stop calls, in a thread of its own: a signal handler could meet a lock."""
        while True:
            first, last = self._interrupts.get()
            for running in self:
                if first <= running.since <= last:
                    running.stop()

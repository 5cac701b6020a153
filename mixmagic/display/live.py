"""Drives a stream in a thread and draws it, at a bounded rate, on the main one."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from mixmagic.completion import Collector, Completion, dollars, stopped_with
from mixmagic.display.screens import Screen
from mixmagic.errors import StoreError
from mixmagic.layers.settling import settled
from mixmagic.money import Usage
from mixmagic.sessions import Session
from mixmagic.values import Delta, Request, Stream

# Seconds between two looks at what has come while nothing comes.
_TICK = 0.05
# Seconds that a stopped call has to let go of its connection before it is left to itself.
_GRACE = 0.08
# Seconds without a word after which the user is told that we are waiting.
_PATIENCE = 1.0


def show(
    session: Session, request: Request, screen: Screen, notes: Sequence[str] = ()
) -> Completion:
    """Ask, draw the answer on `screen` as it comes, and return it; `notes` go into its footer.

    Ctrl-C stops the call, keeps what has come, and fails the cell in one line.

    Raises:
        Stopped: The user stopped it; the text so far has been shown, and priced.
        MixmagicError: What went wrong; the text so far has been shown.
    """
    pump = _Pump(session.stream, request)
    pump.collector.notes += notes
    with _interrupts(pump):
        try:
            pump.start()
            _draw(pump, request, screen)
        except KeyboardInterrupt:  # where no handler could be installed
            request.stop.set()
        except BaseException:  # the screen's: nobody would read the rest of the answer
            request.stop.set()
            raise
        stopped = (request.stop.is_set() and pump.error is not None) or not pump.ended
        if stopped:
            sent = getattr(pump.error, "sent", True)
            completion = settled(pump.collector, "stopped", sent=sent)
        else:
            completion = settled(pump.collector, "" if pump.error is None else "broken off")
        if stopped or pump.collector.begun or pump.error is None:
            screen.finish(completion, session_total(session))
        else:
            screen.abandon()
    if stopped:
        raise stopped_with(completion)
    if pump.error is not None:
        raise pump.error
    if pump.interrupted:  # while the whole answer was drawn
        raise stopped_with(completion)
    return completion


def session_total(session: Session) -> str:
    """What the session has cost, and may; calls of unknown price make it a lower bound."""
    from mixmagic.store.budgets import exactly
    from mixmagic.store.spend import total

    try:
        ledger = session.ledger
        spent = total(ledger.spent(patience=ledger.patience))
        limit = ledger.budgets.session
    except StoreError:
        return "unknown"
    of = "" if limit is None else f" of {exactly(limit)}"
    return f"{'≥ ' if spent.unpriced else ''}{dollars(spent.cost)}{of}"


def _draw(pump: _Pump, request: Request, screen: Screen) -> None:
    """Draw what comes until the stream ends, or has been stopped and will not let go."""
    deadline, said = 0.0, ""
    patience = time.monotonic() + _PATIENCE
    while not pump.ended:
        text, progress = [], ""
        for delta in pump.take(_TICK):
            text.append("" if delta.choice else delta.text)
            progress = delta.progress or progress
        if progress:
            # Whoever counts down speaks again within a second.
            patience = time.monotonic() + 2 * _PATIENCE
        elif not pump.collector.begun and time.monotonic() > patience:
            progress = f"waiting for {request.model.name} …"
        screen.draw("".join(text), "" if progress == said else progress)
        said = progress or said
        if pump.interrupted:
            request.stop.set()
        if request.stop.is_set():
            deadline = deadline or time.monotonic() + _GRACE
            if time.monotonic() > deadline:
                return
        elif not pump.ended:
            pump.pause(screen.interval)


class _Pump(threading.Thread):
    """The thread that drives a stream into a queue.

    The main thread waits in queues alone: a signal's handler may put something into a
    `SimpleQueue` whatever its own thread is doing, while any lock might be in its own hands.
    """

    def __init__(self, stream: Stream, request: Request) -> None:
        super().__init__(name="mixmagic-call", daemon=True)
        self.error: BaseException | None = None
        self.ended = self.interrupted = False
        # Filled by this thread, so that its times are those of the call, not of the drawing.
        self.collector = Collector(request)
        self._stream, self._request = stream, request
        self._queue: queue.SimpleQueue[Delta | None] = queue.SimpleQueue()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def run(self) -> None:
        try:
            with closing(self._stream(self._request)) as deltas:
                for delta in deltas:
                    self.collector.add(delta)
                    self._queue.put(delta)
        except BaseException as error:  # noqa: BLE001  # raised again on the main thread
            self.error = error
            usage = getattr(error, "usage", None)
            if isinstance(usage, Usage):
                self.collector.add(Delta(usage=usage))
        finally:
            self._queue.put(None)
            self._wake.put(None)

    def interrupt(self) -> None:
        """Wake the main thread to stop the call; what a signal's handler may call."""
        self.interrupted = True
        self._queue.put(Delta())
        self._wake.put(None)

    def take(self, timeout: float) -> Iterator[Delta]:
        """All that has come; waits for at most `timeout` seconds where nothing has."""
        with contextlib.suppress(queue.Empty):
            delta = self._queue.get(timeout=timeout)
            while True:
                if delta is None:
                    self.ended = True
                    return
                yield delta
                delta = self._queue.get_nowait()

    def pause(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the stream or an interrupt."""
        with contextlib.suppress(queue.Empty):
            self._wake.get(timeout=seconds)


@contextlib.contextmanager
def _interrupts(pump: _Pump) -> Iterator[None]:
    """Let the first Ctrl-C stop the call; a second one interrupts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.getsignal(signal.SIGINT)

    def handler(signum: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        pump.interrupt()

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

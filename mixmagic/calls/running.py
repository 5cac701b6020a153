"""One call under way, in a thread of its own."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from contextlib import closing

from mixmagic.calls.collector import Collector, stopped_with
from mixmagic.calls.completion import Completion
from mixmagic.calls.final_cost import finalize
from mixmagic.calls.interrupts import Calls, asker
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta, Request, Stream


def outcome(collector: Collector, error: BaseException | None, *, stopped: bool) -> Completion:
    """Return what has come of a call that is over.

    Args:
        collector: What has come.
        error: What ended the call; `None` if it ended by itself.
        stopped: True if the user stopped it.
    """
    if stopped:
        return finalize(collector, "stopped", sent=getattr(error, "sent", True))
    return finalize(collector, "" if error is None else "broken off")


def run(stream: Stream, request: Request, calls: Calls) -> Completion:
    """Make a call in this thread, and return its completion.

    Args:
        stream: How to ask.
        request: The question.
        calls: Keeps the completion if the user stops the call.

    Raises:
        Stopped: The user stopped the call; its `completion` is what was received.
        MixmagicError: The call failed.
    """
    collector = Collector(request)
    try:
        with closing(stream(request)) as deltas:
            for delta in deltas:
                collector.add(delta)
    except KeyboardInterrupt as stop:
        completion = outcome(collector, stop, stopped=True)
        calls.keep(completion)
        raise stopped_with(completion, where="mixmagic.stopped()") from None
    return outcome(collector, None, stopped=False)


class Call:
    """One call, driven in a thread of its own: any thread may look at it, or stop it.

    Whoever reads it waits in queues alone. A signal handler may put something into a
    `SimpleQueue`, whatever its own thread is doing, while that thread might hold any lock.

    Args:
        stream: How to ask.
        request: The question.

    Attributes:
        request: The question.
        collector: What has come so far; its times are those of the call, not of its reader.
        error: What ended the call, if it did not end by itself.
        ended: True if a reader has seen the end.

    Example:
        >>> call = Call(session.stream, session.request("Count to ten.", model="local"))
        >>> call.start()
        >>> for delta in call.deltas():
        ...     print(delta, end="")
        >>> call.result().cost
    """

    def __init__(self, stream: Stream, request: Request) -> None:
        self.request, self.collector = request, Collector(request)
        self.error: BaseException | None = None
        self.ended = False
        self._stream, self._asker = stream, threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="mixmagic-call", daemon=True)
        self._deltas: queue.SimpleQueue[Delta | None] = queue.SimpleQueue()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the call; what has come is kept."""
        self.request.control.stop.set()

    def deltas(self) -> Iterator[Delta]:
        """Yield the pieces as they come.

        Raises:
            Stopped: The call was stopped.
            MixmagicError: What went wrong.
        """
        while not self.ended:
            yield from self.take(3600.0)
        if self.error is not None:
            raise self.error

    def result(self, timeout: float | None = None) -> Completion:
        """Wait for the end; return the answer.

        Args:
            timeout: Seconds to wait; no limit if `None`.

        Raises:
            TimeoutError: It has not ended yet.
            Stopped: The call was stopped; its `completion` is what had come.
            MixmagicError: What went wrong.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError("The call has not ended yet.")
        if self.stopped:
            raise stopped_with(self.outcome())
        if self.error is not None:
            raise self.error
        return self.outcome()

    @property
    def stopped(self) -> bool:
        """True if the call was stopped before it had ended."""
        stopped = self.request.control.stop.is_set()
        return stopped and (self.error is not None or self._thread.is_alive())

    def outcome(self) -> Completion:
        """Return what has come of it, whole or not."""
        return outcome(self.collector, self.error, stopped=self.stopped)

    def take(self, timeout: float) -> Iterator[Delta]:
        """Yield all that has come; wait for at most `timeout` seconds if nothing has."""
        with contextlib.suppress(queue.Empty):
            delta = self._deltas.get(timeout=timeout)
            while True:
                if delta is None:
                    self.ended = True
                    return
                yield delta
                delta = self._deltas.get_nowait()

    def pause(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the call, or beyond `wake`."""
        with contextlib.suppress(queue.Empty):
            self._wake.get(timeout=seconds)

    def wake(self) -> None:
        """Wake whoever waits in `take` or `pause`; a signal handler may call it."""
        self._deltas.put(Delta())
        self._wake.put(None)

    def _run(self) -> None:
        asker.set(self._asker)
        try:
            with closing(self._stream(self.request)) as deltas:
                for delta in deltas:
                    self.collector.add(delta)
                    self._deltas.put(delta)
        except BaseException as error:  # noqa: BLE001  # raised again in its reader's thread
            self.error = error
            usage = getattr(error, "usage", None)
            if isinstance(usage, Usage):
                self.collector.add(Delta(usage=usage))
        finally:
            self._deltas.put(None)
            self._wake.put(None)

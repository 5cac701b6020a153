"""Run a call: in this thread, or in a separate thread that others can watch and stop."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

from mixmagic.calls.collector import Collector, finalize, stopped_with
from mixmagic.calls.completion import Completion
from mixmagic.calls.interrupts import Calls, asker
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta, Request, Stream


def outcome(collector: Collector, error: BaseException | None, *, stopped: bool) -> Completion:
    """Return the answer of a call that has ended, complete or not.

    Args:
        collector: The answer that was received.
        error: The exception that ended the call; `None` if the answer is complete.
        stopped: True if the user stopped the call.
    """
    if stopped:
        return finalize(collector, "stopped", sent=getattr(error, "sent", True))
    return finalize(collector, "" if error is None else "broken off")


def run(stream: Stream, request: Request, calls: Calls) -> Completion:
    """Make a call in this thread, and return its completion.

    Args:
        stream: The function that makes the call.
        request: The question.
        calls: Keeps the completion if the user stops the call.

    Raises:
        Stopped: The user stopped the call; its `completion` is the answer so far.
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
    """A call in a separate thread: any thread may watch or stop it.

    Readers wait only on instances of `SimpleQueue`: it is reentrant, unlike locks, so that a signal
    handler can call `put` at any time.

    Args:
        stream: The function that makes the call, in a copy of the caller's context.
        request: The question.
        notify: Called in the call's thread with each piece, and with `None` when it is over.

    Attributes:
        request: The question.
        collector: The answer so far; its times are those of the call, not of its reader.
        error: The exception that ended the call; `None` if the answer is complete.
        over: True once the call is over, and recorded.
        ended: True once a reader has reached the end.

    Example:
        >>> call = Call(session.stream, session.request("Count to ten.", model="local"))
        >>> call.start()
        >>> for delta in call.deltas():
        ...     print(delta, end="")
        >>> call.result().cost
    """

    def __init__(
        self,
        stream: Stream,
        request: Request,
        notify: Callable[[Delta | None], object] = lambda delta: None,
    ) -> None:
        self.request, self.collector = request, Collector(request)
        self.error: BaseException | None = None
        self.over = self.ended = False
        self._stream, self._notify, self._asker = stream, notify, threading.get_ident()
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=[self._run], name="mixmagic-call", daemon=True
        )
        self._deltas: queue.SimpleQueue[Delta | None] = queue.SimpleQueue()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the call."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the call; the answer so far is kept."""
        self.request.control.stop.set()

    def deltas(self) -> Iterator[Delta]:
        """Yield the pieces as they are received.

        Raises:
            Stopped: The call was stopped.
            MixmagicError: The call failed.
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
            Stopped: The call was stopped; its `completion` is the answer so far.
            MixmagicError: The call failed.
        """
        if not self.wait(timeout):
            raise TimeoutError("The call has not ended yet.")
        if self.stopped:
            raise stopped_with(self.outcome())
        if self.error is not None:
            raise self.error
        return self.outcome()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the call's thread has ended; return True if it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        """True if the call was stopped before it had ended."""
        stopped = self.request.control.stop.is_set()
        return stopped and (self.error is not None or not self.over)

    def outcome(self) -> Completion:
        """Return the answer, complete or not."""
        return outcome(self.collector, self.error, stopped=self.stopped)

    def take(self, timeout: float) -> Iterator[Delta]:
        """Yield the pieces received so far; wait up to `timeout` seconds if there are none."""
        with contextlib.suppress(queue.Empty):
            delta = self._deltas.get(timeout=timeout)
            while True:
                if delta is None:
                    self.ended = True
                    return
                yield delta
                delta = self._deltas.get_nowait()

    def pause(self, seconds: float) -> None:
        """Sleep for some seconds, or until the call ends or `wake` is called."""
        with contextlib.suppress(queue.Empty):
            self._wake.get(timeout=seconds)

    def wake(self) -> None:
        """Wake the readers in `take` and `pause`; a signal handler may call it."""
        self._deltas.put(Delta())
        self._wake.put(None)

    def _run(self) -> None:
        asker.set(self._asker)
        try:
            with closing(self._stream(self.request)) as deltas:
                for delta in deltas:
                    self.collector.add(delta)
                    self._deltas.put(delta)
                    self._notify(delta)
        except BaseException as error:  # noqa: BLE001  # raised again in its reader's thread
            self.error = error
            usage = getattr(error, "usage", None)
            if isinstance(usage, Usage):
                self.collector.add(Delta(usage=usage))
        finally:
            self.over = True
            self._deltas.put(None)
            self._wake.put(None)
            self._notify(None)

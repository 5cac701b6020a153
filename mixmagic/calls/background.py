"""The answer of a cell that runs in the background: a value that can be waited for."""

from __future__ import annotations

import atexit
import contextvars
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mixmagic.calls.completion import Completion
from mixmagic.core import lazy
from mixmagic.core.control import Background
from mixmagic.core.terminal import encodable
from mixmagic.core.values import Request
from mixmagic.errors import MixmagicError, Stopped, counted, received

if TYPE_CHECKING:
    from mixmagic.calls.interrupts import Calls, Running

# The public attributes of a completion.
_OF_COMPLETION = frozenset(name for name in dir(Completion) if not name.startswith("_"))
# Seconds between two looks at the end: on Windows, a signal does not wake a thread that waits.
_TICK = 0.05
# Seconds that calls may take to end, and to be recorded, when the process ends.
_AT_EXIT = 3.0


class BackgroundCall:
    """The answer of a background cell, under way or complete.

    `result()`, and all attributes of a `Completion` (`text`, `value`, `usage`, `cost`, …), wait for
    its end; `repr` tells how far it is, without waiting. In a prompt, `{{ answer }}` is its text.
    A copy of it, and what is unpickled, is its completion.

    Args:
        work: Makes the call and shows it; returns the completion and its value.
        request: The question.
        background: The cell, and the number of its calls.
        calls: The calls of the session.
        chat: The conversation that the answer belongs to; empty if it belongs to none.
        cell: The identity of the cell in its front end, if known.

    Attributes:
        request: The question.
        background: The cell.
        chat: The conversation.
        cell: The identity of the cell.
        since: The time when it began, on the monotonic clock.

    Example:
        >>> answer
        <Call to together:8x7b: 12 s, 340 tokens so far>
        >>> answer.text
        'Kettles were sold most in March.'
    """

    def __init__(
        self,
        work: Callable[[], tuple[Completion, Any]],
        request: Request,
        background: Background,
        calls: Calls,
        *,
        chat: str = "",
        cell: Any = None,
    ) -> None:
        self.request, self.background = request, background
        self.chat, self.cell = chat, cell
        self.since = time.monotonic()
        self._work, self._calls = work, calls
        # The completion and its value, or an exception; `None` until the end.
        self._outcome: tuple[Completion, Any] | BaseException | None = None
        self._over = threading.Event()

    def start(self) -> None:
        """Begin, in a thread."""
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=[self.run], name="mixmagic-background", daemon=True
        )
        with lazy.lock:
            self._calls.background = (*self._calls.background, self)
            if not _under_way:
                atexit.register(_stop_all, os.getpid())
            _under_way.append(self)
        thread.start()

    def run(self) -> None:
        """Make the call in this thread; its exceptions are raised by `result`."""
        try:
            self._outcome = self._work()
        except BaseException as error:  # noqa: BLE001  # raised again by `result`
            self._outcome = error
        finally:
            with lazy.lock:
                others = (each for each in self._calls.background if each is not self)
                self._calls.background = tuple(others)
                if self in _under_way:
                    _under_way.remove(self)
            self._over.set()

    @property
    def done(self) -> bool:
        """True if it has ended, in whatever way; it does not wait."""
        return self._over.is_set()

    @property
    def running(self) -> Running | None:
        """Its call that is under way; `None` if it waits for something else, or is done."""
        calls = (call for call in self._calls if call.request.control.background is self.background)
        return next(calls, None)

    def stop(self) -> None:
        """Stop the call; the answer so far is kept."""
        self.background.stop.set()
        if (running := self.running) is not None:
            running.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, for at most `timeout` seconds; return True if it has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._over.wait(_TICK):
            if deadline is not None and time.monotonic() >= deadline:
                return self.done
        return True

    def result(self, timeout: float | None = None) -> Completion:
        """Wait for the end; return the answer.

        Args:
            timeout: Seconds to wait; no limit if `None`.

        Raises:
            TimeoutError: It has not ended yet.
            Stopped: The call was stopped, or the wait was.
            MixmagicError: The call failed. `partial` of the call is what was received.
        """
        try:
            ended = self.wait(timeout)
        except KeyboardInterrupt:
            raise Stopped(
                "Stopped waiting; the call goes on (`%mixmagic running` stops it).", sent=False
            ) from None
        if isinstance(self._outcome, tuple):
            return self._outcome[0]
        error = self._outcome if ended else None
        raise (error or TimeoutError("The call has not ended yet.")).with_traceback(None)

    @property
    def partial(self) -> Completion | None:
        """The answer so far of a call that was stopped or failed; `None` if there is none."""
        outcome = self._outcome
        found = received(outcome) if isinstance(outcome, BaseException) else None
        return found if isinstance(found, Completion) else None

    @property
    def value(self) -> Any:
        """The value that a format or a schema read from the answer; it waits like `result`."""
        self.result()
        return self._outcome[1] if isinstance(self._outcome, tuple) else None

    def __getattr__(self, name: str) -> Any:
        if name in _OF_COMPLETION:
            return getattr(self.result(), name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_OF_COMPLETION})

    def __reduce__(self) -> tuple[object, ...]:
        return _itself, (self.result(),)

    def __str__(self) -> str:
        return self.result().text

    _repr_prompt_ = __str__

    def __repr__(self) -> str:
        return encodable(f"<Call to {self.request.model.name}: {self._progress()}>")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if isinstance(self._outcome, tuple):
            return self._outcome[0].bundle()
        return {"text/plain": repr(self)}

    def _progress(self) -> str:
        """Return how far it is."""
        outcome = self._outcome
        if isinstance(outcome, tuple):
            return repr(outcome[0])
        if outcome is not None:
            return error_lines(outcome)[0]
        running = self.running
        tokens = 0 if running is None else running.collector.received[1]
        return f"{time.monotonic() - self.since:,.0f} s, {counted(tokens, 'token')} so far"


def error_lines(error: BaseException) -> list[str]:
    """Return an exception as the lines that a cell shows: two, or one if it was stopped."""
    if isinstance(error, MixmagicError | Stopped):
        return error._render_traceback_()  # of ours
    return [f"{type(error).__name__}: {error}"]


def _itself(completion: Completion) -> Completion:
    """Return a completion that was pickled."""
    return completion


_under_way: list[BackgroundCall] = []


def _stop_all(process: int) -> None:
    """Stop all background calls of a process that ends, and let them be recorded."""
    if process != os.getpid():
        return
    calls = list(_under_way)
    for call in calls:
        call.stop()
    deadline = time.monotonic() + _AT_EXIT
    for call in calls:
        call.wait(max(deadline - time.monotonic(), 0))

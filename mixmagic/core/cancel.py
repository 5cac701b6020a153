"""A flag that any thread raises and the thread inside a call obeys at once.

It travels on `Request.control.stop`, so that every layer and backend can wait on it.
Imports nothing of the project.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Bell:
    """Wakes one who waits, or is about to; a signal handler may ring it.

    Not an event, which has a lock of its own around it that is not re-entrant.
    """

    def __init__(self) -> None:
        self._silent = threading.Lock()
        self._silent.acquire()

    def ring(self) -> None:
        """Wake whoever waits, or the next one who will."""
        with contextlib.suppress(RuntimeError):  # it has rung already
            self._silent.release()

    def wait(self, timeout: float) -> bool:
        """Sleep until it rings, for at most `timeout` seconds; return True if it has rung."""
        return self._silent.acquire(timeout=max(timeout, 0))


class Stop:
    """A cancellation token: set once, never cleared.

    It has no lock: a signal handler may call `set` whatever its own thread is doing here, so
    what is shared is changed in single steps.
    """

    def __init__(self) -> None:
        self._stopped = False
        # Whoever takes a callback out runs it, so that it runs once.
        self._callbacks: list[Callable[[], None]] = []

    def __reduce__(self) -> tuple[type[Stop], tuple[()]]:
        """Copied and pickled as a new one: a call is stopped where it is made."""
        return Stop, ()

    def set(self) -> None:
        """Stop the call: wake whoever waits and run what `calling` registered."""
        self._stopped = True
        while True:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return
            callback()

    def is_set(self) -> bool:
        """Whether the call is to stop."""
        return self._stopped

    def wait(self, timeout: float) -> bool:
        """Sleep for `timeout` seconds, less where the call is stopped; return `is_set()`."""
        bell = Bell()
        with self.calling(bell.ring):
            bell.wait(timeout)
        return self._stopped

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Run `callback` when the call is stopped while the block runs, or before it."""
        try:
            self._callbacks.append(callback)
            if self._stopped and self._taken(callback):
                callback()
            yield
        finally:
            self._taken(callback)

    def _taken(self, callback: Callable[[], None]) -> bool:
        """Take `callback` out; whether it was still there."""
        try:
            self._callbacks.remove(callback)
        except ValueError:
            return False
        return True

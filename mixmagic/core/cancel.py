"""Cancellation: a token that any thread can set, and that ends all waiting in a call.

`Request.control.stop` carries it through every layer and backend.
Imports nothing of the project.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Wakeup:
    """Wakes one waiting thread, now or when it begins to wait; a signal handler may call it.

    Not a `threading.Event`: a signal handler could deadlock on its lock, which is not reentrant.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wake(self) -> None:
        """Wake the waiting thread, or the next one that waits."""
        with contextlib.suppress(RuntimeError):  # `wake` was called before
            self._lock.release()

    def wait(self, timeout: float) -> bool:
        """Sleep until `wake`, for at most `timeout` seconds; return True if `wake` was called."""
        return self._lock.acquire(timeout=max(timeout, 0))


class Stop:
    """A cancellation token: set once, never cleared.

    It has no lock, because a signal handler may call `set` while its thread is running a method of
    this class: shared state changes in single atomic steps.
    """

    def __init__(self) -> None:
        self._stopped = False
        # The thread that removes a callback runs it, so that it runs only once.
        self._callbacks: list[Callable[[], None]] = []

    def __reduce__(self) -> tuple[type[Stop], tuple[()]]:
        """Copy and pickle as a new token: a call is stopped in the process that makes it."""
        return Stop, ()

    def set(self) -> None:
        """Stop the call: run the callbacks that `calling` registered."""
        self._stopped = True
        while True:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return
            callback()

    def is_set(self) -> bool:
        """Return True if the call was stopped."""
        return self._stopped

    def wait(self, timeout: float) -> bool:
        """Sleep for `timeout` seconds, or until the call is stopped; return `is_set()`."""
        wakeup = Wakeup()
        with self.calling(wakeup.wake):
            wakeup.wait(timeout)
        return self._stopped

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Run `callback` if the call is stopped while the block runs, or was before it."""
        try:
            self._callbacks.append(callback)
            if self._stopped and self._removed(callback):
                callback()
            yield
        finally:
            self._removed(callback)

    def _removed(self, callback: Callable[[], None]) -> bool:
        """Remove `callback`; return True if it was still there."""
        try:
            self._callbacks.remove(callback)
        except ValueError:
            return False
        return True

"""A flag that any thread raises and the thread inside a call obeys at once.

It travels on `Request.stop`, so that every layer and backend can wait on it.
Imports nothing of the project.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Stop:
    """A cancellation token: set once, never cleared."""

    def __init__(self) -> None:
        self._event = threading.Event()
        # Re-entrant: a signal handler may call `set` while its own thread holds the lock.
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []

    def __reduce__(self) -> tuple[type[Stop], tuple[()]]:
        """Copied and pickled as a new one: a call is stopped where it is made."""
        return Stop, ()

    def set(self) -> None:
        """Stop the call: wake whoever waits and run what `calling` registered."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        """Whether the call is to stop."""
        return self._event.is_set()

    def wait(self, timeout: float) -> bool:
        """Sleep for `timeout` seconds, less where the call is stopped; return `is_set()`."""
        return self._event.wait(timeout)

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Run `callback` when the call is stopped while the block runs, or before it."""
        with self._lock:
            late = self._event.is_set()
            if not late:
                self._callbacks.append(callback)
        if late:
            callback()
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

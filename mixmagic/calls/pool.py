"""Threads for many calls: so many at the same time, not counting those that wait for a retry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

from mixmagic.calls.interrupts import asker

_Item = TypeVar("_Item")


class Pool(Generic[_Item]):
    """Works on items in threads.

    A slot is a token in a queue. A thread that waits puts its token back, and a new thread works
    with it meanwhile. Afterwards it takes the token of a thread that has ended its own item.

    Args:
        take: Returns the next item, one thread at a time; `None` if there is none.
        work: Works on an item; it raises nothing.
        ended: Called by the last thread when all work is done.
        slots: The number of items at the same time.

    Example:
        >>> pool = Pool(partial(next, iter(rows), None), ask, over.set, 64)
        >>> pool.start()
    """

    def __init__(
        self,
        take: Callable[[], _Item | None],
        work: Callable[[_Item], None],
        ended: Callable[[], None],
        slots: int,
    ) -> None:
        self._take, self._do, self._ended, self._slots = take, work, ended, slots
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._lock, self._taking = threading.Lock(), threading.Lock()
        self._threads = self._returning = 0
        self._asker = threading.get_ident()

    def start(self) -> None:
        """Start the threads."""
        with self._lock:
            self._threads += self._slots  # at once: the first may have ended before the last begins
        for _ in range(self._slots):
            self._tokens.put(None)
            self._begin()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Lend the slot of this thread to another while the block waits: for `Control.pause`."""
        self._tokens.put(None)
        with self._lock:
            self._threads += 1
        self._begin()
        try:
            yield
        finally:
            with self._lock:
                self._returning += 1
            self._tokens.get()

    def _begin(self) -> None:
        threading.Thread(target=self._run, name="mixmagic-pool", daemon=True).start()

    def _run(self) -> None:
        asker.set(self._asker)
        self._tokens.get()
        while (item := self._next()) is not None:
            self._do(item)
            with self._lock:
                if self._returning:  # an item whose wait is over goes on instead
                    self._returning -= 1
                    break
        self._tokens.put(None)
        with self._lock:
            self._threads -= 1
            if self._threads:
                return
        self._ended()

    def _next(self) -> _Item | None:
        with self._taking:
            return self._take()

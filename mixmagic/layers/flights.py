"""Calls under way that others with the same question follow: see `layers.cache`."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

from mixmagic.calls.completion import Completion
from mixmagic.core import lazy
from mixmagic.core.cancel import Wakeup
from mixmagic.core.values import Delta

# Seconds after which a call is not followed any more whose own reader does not read on.
_STALLED = 5.0


class Flight:
    """One call under way: its leader makes it, and others read its pieces.

    Attributes:
        deltas: The pieces so far.
        completion: The answer, once it is complete and may be shared.
        ended: True if there are no more pieces.
    """

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.completion: Completion | None = None
        self.ended = False
        self._followers: list[Wakeup] = []
        self._thread = threading.get_ident()
        # Since when the leader's reader has not asked for the next piece; 0 while it waits for it.
        self._idle_since = time.monotonic()

    def led(self, deltas: Generator[Delta, None, None]) -> Generator[Delta, None, None]:
        """Yield the pieces of a stream to the leader, and keep them for the followers."""
        with closing(deltas):
            while True:
                self._thread, self._idle_since = threading.get_ident(), 0.0
                delta = next(deltas, None)
                if delta is None:
                    return
                self.deltas.append(delta)
                self._wake()
                self._idle_since = time.monotonic()
                yield delta

    def end(self, completion: Completion | None) -> None:
        """Tell the followers that the call is over.

        Args:
            completion: The answer; `None` if the followers have to ask themselves.
        """
        self.completion, self.ended = completion, True
        self._wake()

    @contextmanager
    def followed(self) -> Iterator[Wakeup]:
        """Yield a `Wakeup` that wakes its thread at each piece and at the end."""
        wakeup = Wakeup()
        self._followers.append(wakeup)
        try:
            yield wakeup
        finally:
            self._followers.remove(wakeup)

    @property
    def stalled(self) -> bool:
        """True if there may never be another piece: the leader's reader does not ask for one.

        It may be the very thread that would follow.
        """
        idle_since = self._idle_since
        if self.ended or not idle_since:
            return False
        own = self._thread == threading.get_ident()
        return own or time.monotonic() - idle_since > _STALLED

    def _wake(self) -> None:
        for wakeup in list(self._followers):
            wakeup.wake()


class Flights:
    """The calls under way, by their keys."""

    def __init__(self) -> None:
        self._open: dict[str, Flight] = {}

    def join(self, key: str) -> tuple[Flight, bool]:
        """Return the call with a key, and True if the caller leads it: it is a new one.

        The leader calls `remove` at its end.
        """
        flight = Flight()
        with lazy.lock:  # no fork comes between
            current = self._open.get(key)
            if current is not None and not current.stalled:
                return current, False
            self._open[key] = flight
        return flight, True

    def remove(self, key: str, flight: Flight) -> None:
        """Remove a call that is over, if it is still the one with this key."""
        with lazy.lock:
            if self._open.get(key) is flight:
                del self._open[key]

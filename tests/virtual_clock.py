"""A virtual clock for real threads: one of them runs at a time, and time passes when all wait."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections.abc import Callable

from mixmagic.core.cancel import Stop

_TIMEOUT = 20.0  # real seconds that a test may wait for a thread's turn


class Clock:
    """Stands for the module `time` in what is tested; `wakeup()` and `stop()` sleep on it, too.

    It begins so late that a deadline on it never ends by the real clock.
    """

    def __init__(self, now: float = 1e9) -> None:
        self._now = now
        self._numbers = itertools.count()
        self._queue: list[tuple[float, int, _Turn]] = []
        self._failures: list[BaseException] = []
        self._over = threading.Event()

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.wait(_Turn(), seconds)

    def run(self, *functions: Callable[[], object]) -> None:
        """Run functions in a thread each until all are over; raise what one of them raised."""
        threads = []
        for function in functions:
            turn = _Turn()
            self.wake(turn)
            thread = threading.Thread(target=self._run, args=(turn, function), daemon=True)
            threads.append(thread)
            thread.start()
        self._pass_turn()
        assert self._over.wait(_TIMEOUT), "a thread never got its turn"
        for thread in threads:
            thread.join(_TIMEOUT)
        if self._failures:
            raise self._failures[0]

    def wait(self, turn: _Turn, seconds: float) -> None:
        """Sleep until the time is over, or `wake`."""
        later = math.nextafter(self._now, math.inf) if seconds > 0 else self._now
        self._enqueue(turn, max(self._now + seconds, later))  # so little may be lost in rounding
        self._pass_turn()
        assert turn.lock.acquire(timeout=_TIMEOUT), "a thread never got its turn"

    def wake(self, turn: _Turn) -> None:
        self._enqueue(turn, self._now)

    def wakeup(self) -> VirtualWakeup:
        return VirtualWakeup(self)

    def stop(self) -> VirtualStop:
        return VirtualStop(self)

    def _run(self, turn: _Turn, function: Callable[[], object]) -> None:
        try:
            assert turn.lock.acquire(timeout=_TIMEOUT), "a thread never got its turn"
            function()
        except BaseException as error:  # noqa: BLE001  # the test shall see it
            self._failures.append(error)
        self._pass_turn()

    def _enqueue(self, turn: _Turn, at: float) -> None:
        turn.number = next(self._numbers)  # an older entry of this turn is void
        heapq.heappush(self._queue, (at, turn.number, turn))

    def _pass_turn(self) -> None:
        while self._queue:
            at, number, turn = heapq.heappop(self._queue)
            if turn.number == number:
                turn.number = -1
                self._now = max(self._now, at)
                turn.lock.release()
                return
        self._over.set()


class _Turn:
    """One thread's wait for its turn."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.number = -1


class VirtualWakeup:
    """A `Wakeup` on a virtual clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._rung = clock, False
        self._turn: _Turn | None = None

    def wake(self) -> None:
        self._rung = True
        if self._turn is not None:
            self._clock.wake(self._turn)
            self._turn = None

    def wait(self, timeout: float) -> bool:
        if not self._rung:
            self._turn = _Turn()
            self._clock.wait(self._turn, timeout)
            self._turn = None
        rung, self._rung = self._rung, False
        return rung


class VirtualStop(Stop):
    """A `Stop` on a virtual clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float) -> bool:
        wakeup = self._clock.wakeup()
        with self.calling(wakeup.wake):
            wakeup.wait(timeout)
        return self.is_set()


class Core:
    """A processor on a virtual clock: what runs on it takes turns."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._free = clock, 0.0

    def work(self, seconds: float) -> None:
        now = self._clock.monotonic()
        self._free = max(self._free, now) + seconds
        self._clock.sleep(self._free - now)

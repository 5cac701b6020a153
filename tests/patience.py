"""Time limits of tests, and the time that a stop takes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from mixmagic.errors import Stopped


def soon(seconds: float) -> float:
    """Return a limit for something that takes far less than `seconds` on a quiet machine.

    On a loaded one, whose processes wait for each other, it is longer in proportion.
    """
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(1.0, 2 * waiting)


def stopped_after(session: Any, begun: Callable[[], object]) -> float:
    """Return the milliseconds that a call takes to end if it is stopped once `begun()` is true."""
    request = session.request("Hello", model="8x7b")
    ended: list[BaseException] = []

    def call() -> None:
        try:
            list(session.stream(request))
        except BaseException as error:  # noqa: BLE001  # looked at below
            ended.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    deadline = time.monotonic() + 10
    while not begun() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)
    started = time.monotonic()
    request.control.stop.set()
    thread.join(10)
    took = (time.monotonic() - started) * 1000
    assert [type(error) for error in ended] == [Stopped]
    assert not ended[0].sent
    print(f"stopped in {took:.0f} ms")
    return took

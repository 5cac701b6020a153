"""Time limits of tests."""

from __future__ import annotations

import os


def soon(seconds: float) -> float:
    """Return a limit for something that takes far less than `seconds` on a quiet machine.

    On a loaded one, whose processes wait for each other, it is longer in proportion.
    """
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(1.0, 2 * waiting)

"""Checks that a reader takes time linear in its text, in a way that bears a loaded machine.

CPU time of this thread is measured, not the clock's; what looks slow is measured again.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

# Ten times the text may take so many times as long, and what is below is noise.
_MOST, _NOISE = 14, 0.1


def took(read: Callable[[str], object], text: str) -> float:
    """Return the seconds of CPU that reading takes, without garbage collection."""
    gc.disable()
    try:
        started = time.thread_time()
        read(text)
        return time.thread_time() - started
    finally:
        gc.enable()


def is_linear(
    read: Callable[[str], object], make: Callable[[int], str], size: int, most: float
) -> bool:
    """True if a text of `size` takes at most `most` seconds, and 14 times as long as a tenth.

    Of several measurements the slowest of the tenth and the fastest of the whole count: others
    use the machine, too. A quadratic reader takes a hundred times as long.
    """
    slowest, fastest = 0.0, most
    for _ in range(4):
        slowest = max(slowest, took(read, make(size // 10)))
        if slowest > most:  # nobody waits for what takes a hundred times as long
            return False
        fastest = min(fastest, took(read, make(size)))
        if fastest < most and fastest <= max(_MOST * slowest, _NOISE):
            return True
    return False

"""Which process made a row, and whether it still lives. For the modules of this room."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from typing import Any

from mixmagic import forks

# Seconds by which a process's start may seem to move: it is reckoned from the clock.
_SLACK = 2.0


def owner() -> str:
    """This process, as no other one is called: its host, number and start."""
    return _owner(os.getpid())


def gone(name: str | None) -> bool | None:
    """Whether a process has ended; `None` where it ran on another host.

    Args:
        name: What `owner` called it there; `None` for one that left no name.
    """
    if name is None:
        return True
    host, _, rest = name.rpartition("/")
    if host != platform.node():
        return None
    number, _, start = rest.partition("@")
    psutil = _psutil()
    with contextlib.suppress(psutil.AccessDenied):
        try:
            process = psutil.Process(int(number))
            moved = abs(float(process.create_time()) - float(start)) > _SLACK
            return moved or bool(process.status() == psutil.STATUS_ZOMBIE)
        except (psutil.NoSuchProcess, ValueError):
            return True
    return False  # it is there, and somebody else's


def _psutil() -> Any:
    with forks.lock:  # its modules are imported
        import psutil
    return psutil


@functools.lru_cache(maxsize=2)  # a forked child has another number
def _owner(number: int) -> str:
    psutil = _psutil()
    return f"{platform.node()}/{number}@{psutil.Process(number).create_time():.2f}"

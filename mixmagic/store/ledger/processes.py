"""Ids of processes and of the sessions that they work in.

For the modules of this package and for `parts`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import time
from typing import Any

from mixmagic.core import lazy

# Seconds by which a process's start may seem to move: it is reckoned from the clock.
_SLACK = 2.0
# How dask names the processes of its workers, which may be children of the notebook's kernel.
_WORKER = "Dask Worker process"


def this() -> str:
    """Return an id of this process, as no other one has: its host, number and start."""
    return _id(os.getpid())


def gone(name: str | None) -> bool | None:
    """Return True if a process has ended, `None` if it ran on another host.

    Args:
        name: Its id, as `this` returned it there; `None` for one that left none.
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


def age(name: str) -> float:
    """Return the seconds since a process started."""
    with contextlib.suppress(ValueError):
        return time.time() - float(name.rpartition("@")[2])
    return float("inf")


def session() -> str:
    """Return the id of the session that this process works in.

    A session is a process with all that it starts through multiprocessing or loky, in whatever
    way (spawn, forkserver, fork) and depth: they have a random key in common, which other
    processes, such as another kernel or a subprocess, have not. The worker of a cluster has a
    session of its own.
    """
    process = _multiprocessing().current_process()
    key = bytes(process.authkey)
    if process.name.startswith(_WORKER):
        key += this().encode()
    return hashlib.blake2b(key, digest_size=8, person=b"mixmagic").hexdigest()


def parent() -> str:
    """Return the id of the process whose worker this one is; of this one if it is nobody's."""
    process = _multiprocessing().parent_process()
    with contextlib.suppress(_psutil().Error):
        if process is not None:
            return _id(process.pid)
    return this()


def _multiprocessing() -> Any:
    return lazy.load("multiprocessing.process")


def _psutil() -> Any:
    return lazy.load("psutil")


@functools.lru_cache(maxsize=4)  # a forked child has another number
def _id(number: int) -> str:
    return f"{platform.node()}/{number}@{_psutil().Process(number).create_time():.2f}"

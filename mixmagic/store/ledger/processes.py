"""Ids of processes and of the sessions that they work in."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import time
from typing import Any

from mixmagic.core import lazy

# Seconds by which a process's start time may seem to differ: it is computed from the clock.
_SLACK = 2.0
# The name that dask gives to its workers, which may be children of the notebook's kernel.
_WORKER = "Dask Worker process"


def own_process_id() -> str:
    """Return an id of this process that no other process has: host, number and start time."""
    return _id(os.getpid())


def has_exited(process_id: str | None) -> bool | None:
    """Return True if a process has ended, `None` if it ran on another host.

    Args:
        process_id: As `own_process_id` returned it there; `None` if unknown.
    """
    if process_id is None:
        return True
    host, _, rest = process_id.rpartition("/")
    if host != platform.node():
        return None
    number, _, start = rest.partition("@")
    psutil = _psutil()
    with contextlib.suppress(psutil.AccessDenied):
        try:
            process = psutil.Process(int(number))
            other = abs(float(process.create_time()) - float(start)) > _SLACK
            return other or bool(process.status() == psutil.STATUS_ZOMBIE)
        except (psutil.NoSuchProcess, ValueError):
            return True
    return False  # it runs, as another user


def age(process_id: str) -> float:
    """Return the seconds since a process started; infinity if the id does not say."""
    with contextlib.suppress(ValueError):
        return time.time() - float(process_id.rpartition("@")[2])
    return float("inf")


def session_id() -> str:
    """Return the id of the session that this process works in.

    A session is a process with all processes that it starts through multiprocessing or loky (by
    spawn, forkserver or fork, at any depth): they share a random key, which other kernels and
    subprocesses do not have. Each worker of a cluster has a session of its own.
    """
    process = _multiprocessing().current_process()
    key = bytes(process.authkey)
    if process.name.startswith(_WORKER):
        key += own_process_id().encode()
    return hashlib.blake2b(key, digest_size=8, person=b"mixmagic").hexdigest()


def parent_process_id() -> str:
    """Return the id of the process whose worker this one is; its own id if it is not a worker."""
    process = _multiprocessing().parent_process()
    with contextlib.suppress(_psutil().Error):
        if process is not None:
            return _id(process.pid)
    return own_process_id()


def _multiprocessing() -> Any:
    return lazy.load("multiprocessing.process")


def _psutil() -> Any:
    return lazy.load("psutil")


@functools.lru_cache(maxsize=4)  # a forked child has another number
def _id(number: int) -> str:
    return f"{platform.node()}/{number}@{_psutil().Process(number).create_time():.2f}"

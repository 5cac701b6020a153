"""What a forked child must find whole: it has its parent's locks and memory, but not its threads.

Imports nothing of the project.
"""

from __future__ import annotations

import logging  # noqa: F401  # takes its lock before a fork: behind ours, as imports do
import os
import threading
from collections.abc import Callable

# No process forks while another thread holds it. Whoever takes other locks too takes it first.
lock = threading.RLock()
_around: list[tuple[Callable[[], None], Callable[[], None]]] = []
_this = threading.local()


def across(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Call `before` in front of every fork, and `after` behind it in the parent and the child."""
    _around.append((before, after))


def _before() -> None:
    lock.acquire()
    _this.owed = []
    for before, after in _around:
        _this.owed.append(after)
        before()


def _after() -> None:
    # A fork that began before this module was there owes nothing.
    if (owed := _this.__dict__.pop("owed", None)) is not None:
        while owed:
            owed.pop()()
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)

"""Fork safety: lazy values and imports that no fork can interrupt.

A forked child has its parent's memory and locks, but not its threads: a lock that another thread
held, or an import that it had begun, never ends in the child. Imports nothing of the project.
"""

from __future__ import annotations

import contextlib
import importlib
import logging  # noqa: F401  # it acquires its own lock before a fork, which must happen after ours
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, Self, TypeVar, overload

# No process forks while another thread holds this lock. Code that needs other locks acquires it
# first. Never wait for the network, a keyring or another thread's transaction while holding it.
lock = threading.RLock()
_around: list[tuple[Callable[[], None], Callable[[], None]]] = []
_this = threading.local()

_Owner = TypeVar("_Owner")
_Made = TypeVar("_Made")
_Key = TypeVar("_Key")


class cached(Generic[_Owner, _Made]):  # noqa: N801  # used as a decorator
    """A property whose value is computed at its first use: once, by one thread, not during a fork.

    Imports in the function are safe, too. The value is in the instance's `__dict__`; delete it
    there to compute it again. The standard library's `cached_property` has had no lock since
    Python 3.12.
    """

    def __init__(self, make: Callable[[_Owner], _Made]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: _Owner, owner: type) -> _Made: ...

    def __get__(self, instance: _Owner | None, owner: type) -> Self | _Made:
        if instance is None:
            return self
        # Later accesses find the value in the instance's `__dict__`, without calling this method.
        made: dict[str, _Made] = instance.__dict__
        return get_or_make(made, self._name, lambda: self._make(instance))


def get_or_make(values: dict[_Key, _Made], key: _Key, make: Callable[[], _Made]) -> _Made:
    """Return `values[key]`; make it first if it is missing: once, by one thread, not in a fork.

    `None` is not cached: it is computed again the next time.
    """
    if (value := values.get(key)) is None:
        with lock:
            if (value := values.get(key)) is None:
                value = values[key] = make()
    return value


def load(name: str) -> Any:
    """Import a module at its first use, so that no fork can interrupt the import.

    Example:
        >>> load("json").dumps([1])
        '[1]'
    """
    if name in sys.modules:
        return importlib.import_module(name)  # waits for a thread that is still importing it
    with lock, _without_lost_folder():
        return importlib.import_module(name)


@contextlib.contextmanager
def _without_lost_folder() -> Iterator[None]:
    """Remove a deleted working folder from `sys.path`: `pkgutil` would fail on it."""
    try:
        os.getcwd()  # noqa: PTH109  # pathlib would be imported for it
        lost = []
    except OSError:
        lost = [index for index, folder in enumerate(sys.path) if folder == ""]
    for index in reversed(lost):
        del sys.path[index]
    try:
        yield
    finally:
        for index in lost:
            sys.path.insert(index, "")


def on_fork(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Call `before` before every fork, and `after` after it, in the parent and in the child."""
    _around.append((before, after))


def _before() -> None:
    lock.acquire()
    _this.owed = []
    for before, after in _around:
        _this.owed.append(after)
        before()


def _after() -> None:
    # A fork that began before this module was imported has nothing to undo.
    if (owed := _this.__dict__.pop("owed", None)) is not None:
        while owed:
            owed.pop()()
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)

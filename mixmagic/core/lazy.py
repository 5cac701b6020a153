"""What a forked child must find whole: it has its parent's locks and memory, but not its threads.

Imports nothing of the project.
"""

from __future__ import annotations

import contextlib
import importlib
import logging  # noqa: F401  # takes its lock before a fork: behind ours, as imports do
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, Self, TypeVar, overload

# No process forks while another thread holds it. Whoever takes other locks too takes it first.
lock = threading.RLock()
_around: list[tuple[Callable[[], None], Callable[[], None]]] = []
_this = threading.local()

_Owner = TypeVar("_Owner")
_Made = TypeVar("_Made")


class once(Generic[_Owner, _Made]):  # noqa: N801  # read as the decorator that it is
    """A property that is made when first needed: once, whatever the threads, and before any fork.

    The standard library's `cached_property` has no lock since Python 3.12.
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
        made: dict[str, _Made] = instance.__dict__  # what is in there is found without us
        with lock:
            if self._name not in made:
                made[self._name] = self._make(instance)
            return made[self._name]


def load(name: str) -> Any:
    """Import a module when it is needed, such that no fork meets a half-finished import.

    Example:
        >>> load("json").dumps([1])
        '[1]'
    """
    if name in sys.modules:
        return importlib.import_module(name)  # waits for a thread that is importing it
    with lock, _without_lost_folder():
        return importlib.import_module(name)


@contextlib.contextmanager
def _without_lost_folder() -> Iterator[None]:
    """Take the working folder out of `sys.path` if it has been deleted: `pkgutil` fails on it."""
    try:
        os.getcwd()  # noqa: PTH109  # pathlib would be imported for it
        lost = []
    except OSError:
        lost = [place for place, each in enumerate(sys.path) if each == ""]
    for place in reversed(lost):
        del sys.path[place]
    try:
        yield
    finally:
        for place in lost:
            sys.path.insert(place, "")


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

"""Locks of keys, which exclude other processes; the system frees them when a process ends.

A key is one byte of a lock file, which stays empty: no byte is ever written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import threading
import weakref
from pathlib import Path

from mixmagic.core import lazy
from mixmagic.store.sqlite import network_filesystem

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    _BITS = 31  # of an offset
    _ENDS_AT_CLOSE = False
else:
    import fcntl

    # On Linux, a lock of the open file, which ends when no process has it open any more. A lock of
    # the process (elsewhere) ends when the process closes any descriptor of the file.
    _COMMAND = getattr(fcntl, "F_OFD_SETLK", None)
    _ENDS_AT_CLOSE = _COMMAND is not None
    _BITS = 62

    def _set(descriptor: int, kind: int, offset: int) -> None:
        if _COMMAND is None:
            own = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
            fcntl.lockf(descriptor, own, 1, offset, os.SEEK_SET)
        else:
            fcntl.fcntl(descriptor, _COMMAND, struct.pack("hhqqi", kind, os.SEEK_SET, offset, 1, 0))

    def _lock(descriptor: int, offset: int) -> None:
        _set(descriptor, fcntl.F_WRLCK, offset)

    def _unlock(descriptor: int, offset: int) -> None:
        _set(descriptor, fcntl.F_UNLCK, offset)


# The errors that say that another process has the lock.
_LOCKED = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


class KeyLocks:
    """Locks of keys in one lock file. They exclude other processes, not the threads of this one.

    If the file cannot be opened or locked, or is on a network folder, where the locks of a machine
    that has failed may stay, every key is free.

    Args:
        path: The lock file; it is created if need be, in a folder that exists.

    Example:
        >>> locks = KeyLocks(folder / "cache.locks")
        >>> if locks.acquire(key):
        ...     locks.release(key)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._descriptor: int | None = None  # one for life: see above
        self._usable = True
        self._held: dict[int, int] = {}  # times that each offset is held
        _all.add(self)

    def acquire(self, key: bytes) -> bool:
        """Return True if the key is this process's now; as often as that, `release` it."""
        offset = _offset(key)
        with self.lock:
            if offset not in self._held and not self._acquired(offset):
                return False
            self._held[offset] = self._held.get(offset, 0) + 1
            return True

    def release(self, key: bytes) -> None:
        """Free a key, if it is held no more often."""
        offset = _offset(key)
        with self.lock:
            times = self._held.pop(offset, 0)
            if times > 1:
                self._held[offset] = times - 1
            elif times and self._descriptor is not None:
                with contextlib.suppress(OSError):
                    _unlock(self._descriptor, offset)

    def close(self) -> None:
        """Close the file, unless keys are held, or other locks of this process would end."""
        with self.lock:
            if not self._held and _ENDS_AT_CLOSE:
                self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _acquired(self, offset: int) -> bool:
        """Lock a byte; return False if another process has it."""
        if not self._usable:
            return True
        try:
            if self._descriptor is None:
                if network_filesystem.network_type(self.path):
                    self._usable = False
                    return True
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            _lock(self._descriptor, offset)
        except OSError as error:
            if error.errno in _LOCKED and self._descriptor is not None:
                return False
            self._usable = False
        return True

    def after_fork(self, *, child: bool) -> None:
        """Go on; a child drops its copy of the file, which would keep its parent's locks."""
        if child:
            self._held.clear()
            if _ENDS_AT_CLOSE:
                self._close()
        self.lock.release()


def _offset(key: bytes) -> int:
    """Return the byte that stands for a key."""
    return int.from_bytes(key[:8]) >> (64 - _BITS)


_all: weakref.WeakSet[KeyLocks] = weakref.WeakSet()
_held: list[KeyLocks] = []  # by the fork that is under way: there is one at a time
_process = os.getpid()


def _before_fork() -> None:
    for locks in list(_all):
        locks.lock.acquire()
        _held.append(locks)


def _after_fork() -> None:
    global _process  # noqa: PLW0603  # which process this is
    child = os.getpid() != _process
    _process = os.getpid()
    while _held:
        _held.pop().after_fork(child=child)


lazy.on_fork(_before_fork, _after_fork)

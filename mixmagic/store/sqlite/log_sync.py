"""Sync of a write-ahead log to the disk soon after each commit, off the path of calls.

A commit survives any kill of the process as soon as it returns: the system has it. The sync is for
power cuts, and takes milliseconds: one thread does it for all commits of a moment.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from mixmagic.core.cancel import Wakeup

# Seconds from a commit to its sync.
_DELAY = 0.05

if sys.platform == "darwin":
    import fcntl

    def _fsync(descriptor: int) -> None:
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync leaves it in the disk's own memory
else:

    def _fsync(descriptor: int) -> None:
        os.fsync(descriptor)


class LogSync:
    """Sync the log of one database soon after each commit.

    The thread starts at the first commit, and at the next one after `close`.

    Attributes:
        log: The path of the log.
    """

    def __init__(self) -> None:
        self.log = ""
        self._due = False
        self._syncing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wakeup, self._closing = Wakeup(), Wakeup()

    def committed(self) -> None:
        """Sync soon."""
        if self._due:  # the thread clears this before it syncs, so it syncs this commit, too
            return
        self._due = True
        if self._thread is None:
            if sys.is_finalizing():  # no thread starts any more, and waiting for one never ends
                self.sync()
                return
            self._wakeup, self._closing = Wakeup(), Wakeup()
            args = (self._wakeup, self._closing)
            thread = threading.Thread(
                target=self._run, args=args, name="mixmagic-log-sync", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the process is ending
                self.sync()
                return
            self._thread = thread
        self._wakeup.wake()

    def sync(self) -> None:
        """Return when all commits have been synced."""
        with self._syncing:
            if not self._due:
                return
            self._due = False  # first: what is committed from here on needs another sync
            # A process that closes any descriptor of a file loses its locks on that file. SQLite
            # locks the database and the shared memory, never the log: nothing else is opened here.
            with contextlib.suppress(OSError):  # the log is gone: it is in the database, synced
                descriptor = os.open(self.log, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
                try:
                    _fsync(descriptor)
                finally:
                    os.close(descriptor)

    def close(self) -> None:
        """Sync what is due, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closing.wake()
            self._wakeup.wake()
            if thread is not threading.current_thread():  # the garbage collector may run there
                thread.join()
        self.sync()

    def _run(self, wakeup: Wakeup, closing: Wakeup) -> None:
        while True:
            wakeup.wait(threading.TIMEOUT_MAX)
            if closing.wait(_DELAY):
                return
            self.sync()

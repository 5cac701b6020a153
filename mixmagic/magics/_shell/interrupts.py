"""An interrupt of a cell stops all calls that the cell has begun, in any thread."""

from __future__ import annotations

import signal
import threading
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from mixmagic.magics._shell.hooks import Hooks
from mixmagic.sessions import Session


class Interrupts:
    """Tells the session's calls when cells begin, end and are interrupted."""

    def __init__(self, shell: InteractiveShell, session: Session, hooks: Hooks) -> None:
        self._shell, self._calls = shell, session.calls
        self._before: Any = None  # the handler of a cell without us
        self._depth = 0  # of cells that run cells
        hooks.on("pre_run_cell", self._begin)
        hooks.on("post_run_cell", self._end)
        hooks.at_close(self._release)
        if shell.displayhook.exec_result is not None:  # in the cell that loads the extension
            self._begin()

    def _release(self) -> None:
        """Restore the signal handlers."""
        kernel: Any = getattr(self._shell, "kernel", None)
        if getattr(kernel, "saved_sigint_handler", None) == self._idle:
            kernel.saved_sigint_handler = signal.SIG_IGN
        self._depth = min(self._depth, 1)
        self._end()

    def _begin(self, info: object = None) -> None:
        if threading.current_thread() is not threading.main_thread():
            self._calls.begin_cell()  # in a subshell
            return
        if signal.getsignal(signal.SIGINT) == self._interrupted:
            self._depth += 1
            return
        self._depth = 1
        # A handler that was not set from Python is unknown, and cannot be restored.
        self._before = signal.getsignal(signal.SIGINT) or signal.default_int_handler
        if callable(self._before):
            self._calls.begin_cell()
            signal.signal(signal.SIGINT, self._interrupted)
        kernel: Any = getattr(self._shell, "kernel", None)
        # ipykernel's handler for when the main thread runs no cell: a subshell may run one.
        if getattr(kernel, "saved_sigint_handler", None) == signal.SIG_IGN:
            kernel.saved_sigint_handler = self._idle

    def _end(self, result: object = None) -> None:
        if threading.current_thread() is not threading.main_thread():
            self._calls.end_cell()
            return
        self._depth -= 1
        if self._depth != 0:
            return
        self._calls.end_cell()
        if signal.getsignal(signal.SIGINT) == self._interrupted:
            signal.signal(signal.SIGINT, self._before)

    def _interrupted(self, signum: int, frame: Any) -> None:
        self._calls.interrupt()
        self._before(signum, frame)

    def _idle(self, signum: int, frame: Any) -> None:
        self._calls.interrupt()

"""Hooks of the extension in a shell, each removed when the extension is unloaded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any


class Hooks:
    """Adds callbacks and other things to a shell's lists, and removes them again."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._undo = ExitStack()

    def on(self, event: str, callback: Callable[..., None]) -> None:
        """Call a function at an event, such as `pre_run_cell`."""
        self.shell.events.register(event, callback)
        self.at_close(_remove, self.shell.events.callbacks[event], callback)

    def append(self, items: list[Any], item: object) -> None:
        """Append an item to one of the shell's lists."""
        items.append(item)
        self.at_close(_remove, items, item)

    def at_close(self, undo: Callable[..., object], *arguments: object) -> None:
        """Call a function when the extension is unloaded."""
        self._undo.callback(undo, *arguments)

    def close(self) -> None:
        """Remove everything that was added, in reverse order."""
        self._undo.close()


def _remove(items: list[Any], item: object) -> None:
    with suppress(ValueError):  # the user may have removed it
        items.remove(item)

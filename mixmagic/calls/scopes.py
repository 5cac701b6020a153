"""The scope of a request: the cell that makes it, where equal requests are numbered.

Imports `core.lazy` alone.
"""

from __future__ import annotations

from mixmagic.core import lazy


class Scopes:
    """Numbers equal requests within the cell that makes them, so that a cell can be run again.

    A cell is known by its source, and of several cells with one source by their order.
    """

    def __init__(self) -> None:
        self.current = "process"
        self._cells: dict[str, dict[object, int]] = {}  # of each source, the cells' numbers
        self._next: dict[tuple[str, str], int] = {}  # of each scope and key

    def begin_cell(self, name: str, identity: object = None) -> None:
        """Begin a cell, or run it again.

        Args:
            name: A short hash of its source.
            identity: Its identity in the front end; `None` if unknown: then each run is a cell.
        """
        with lazy.lock:
            cells = self._cells.setdefault(name, {})
            number = cells.setdefault(identity or object(), len(cells))
            self.current = f"{name}-{number + 1}" if number else name
            for known in [known for known in self._next if known[0].startswith(self.current)]:
                if known[0].partition(".")[0] == self.current:
                    del self._next[known]

    def count(self, key: str, tag: str, cell: str = "") -> tuple[str, int]:
        """Return the scope of a request, and its number among equal requests there.

        Args:
            key: The request's key.
            tag: The task within the cell that makes the request; empty if there is none.
            cell: The cell's scope, if it may not be the running one.
        """
        with lazy.lock:
            cell = cell or self.current
            scope = f"{cell}.{tag}" if tag else cell
            number = self._next.get((scope, key), 0)
            self._next[scope, key] = number + 1
        return scope, number

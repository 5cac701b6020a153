"""An answer that is shown while it comes, in segments of bounded size.

Only the last segment is sent again, so that the bytes are linear in the answer's length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mixmagic.text.sanitize import joined

Bundle = dict[str, str]  # MIME types and what is shown for each

# Characters of a segment.
LONGEST = 6 * 1024


class Reader(Protocol):
    """Reads a text that comes in pieces: `Sanitizer`, or `PlainText`."""

    tail: str

    def feed(self, piece: str) -> str:
        """Take the next piece; return what it closes."""

    def cut(self) -> str:
        """Close what is open; return that."""


class Segments:
    """The segments of one answer.

    Args:
        reader: Reads the pieces.
        bundle: Makes MIME types of what it returns.
    """

    def __init__(self, reader: Reader, bundle: Callable[[str], Bundle]) -> None:
        self._reader, self._bundle = reader, bundle
        self._closed = ""  # in the last segment

    @property
    def length(self) -> int:
        """Characters of the last segment."""
        return len(self._closed) + len(self._reader.tail)

    @property
    def last(self) -> Bundle:
        """The last segment."""
        return self._bundle(joined(self._closed, self._reader.tail))

    def feed(self, piece: str) -> list[Bundle]:
        """Take the next piece; return the last segment as it is now, and those behind it."""
        self._closed = joined(self._closed, self._reader.feed(piece))
        full: list[Bundle] = []
        while self.length > LONGEST:
            if not self._closed:
                if len(self._reader.tail) <= 2 * LONGEST:
                    break
                self._closed = self._reader.cut()
            full.append(self._bundle(self._closed))
            self._closed = ""
        return [*full, self.last] if self.length else full


class PlainText:
    """Reads a plain text: what is open is all of it."""

    def __init__(self) -> None:
        self.tail = ""

    def feed(self, piece: str) -> str:
        self.tail += piece
        return ""

    def cut(self) -> str:
        closed, end, rest = self.tail.rpartition("\n")
        closed, self.tail = (closed, rest) if end else (rest, "")
        return closed

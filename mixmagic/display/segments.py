"""An answer that is shown while it comes, in segments of bounded size.

Only the last segment is sent again, so that the bytes are linear in the answer's length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mixmagic.display.bundles import Bundle
from mixmagic.text.sanitize import Closed

# Characters of a segment.
LONGEST = 6 * 1024


class Reader(Protocol):
    """Reads a text that comes in pieces: `Sanitizer`, or `PlainText`."""

    tail: Closed

    def feed(self, piece: str) -> Closed:
        """Take the next piece; return what it closes."""

    def cut(self) -> Closed:
        """Close what is open; return that."""


class Segments:
    """The segments of one answer.

    Args:
        reader: Reads the pieces.
        bundle: Makes MIME types of what is shown; one of them alone while it may change.
    """

    def __init__(self, reader: Reader, bundle: Callable[[Closed, bool], Bundle]) -> None:
        self._reader, self._bundle = reader, bundle
        self._closed = Closed()  # in the last segment

    @property
    def length(self) -> int:
        """Characters of the last segment."""
        return len(self._closed.markdown) + len(self._reader.tail.markdown)

    def feed(self, piece: str) -> list[Bundle]:
        """Take the next piece; return the last segment as it is now, and those behind it."""
        self._closed += self._reader.feed(piece)
        full: list[Bundle] = []
        while self.length > LONGEST:
            if not self._closed.markdown:
                if len(self._reader.tail.markdown) <= 2 * LONGEST:
                    break
                self._closed = self._reader.cut()
            if not self._reader.tail.markdown:
                break  # nothing stands behind it: it is the last one
            full.append(self._bundle(self._closed, True))
            self._closed = Closed()
        return (
            [*full, self._bundle(self._closed + self._reader.tail, False)] if self.length else full
        )

    def last(self) -> Bundle:
        """Return the last segment, when nothing more comes."""
        return self._bundle(self._closed + self._reader.tail, True)


class PlainText:
    """Reads a plain text: what is open is all of it."""

    def __init__(self) -> None:
        self.tail = Closed()

    def feed(self, piece: str) -> Closed:
        text = self.tail.source + piece
        self.tail = Closed(text, text)
        return Closed()

    def cut(self) -> Closed:
        closed, end, rest = self.tail.source.rpartition("\n")
        closed, rest = (closed, rest) if end else (rest, "")
        self.tail = Closed(rest, rest)
        return Closed(closed, closed)

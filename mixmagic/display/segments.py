"""Split a streaming answer into segments of bounded size.

Only the last segment is sent again, so the bytes sent are linear in the answer's length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mixmagic.display.bundles import Bundle
from mixmagic.text.sanitize import Closed

# Characters of a segment.
LONGEST = 6 * 1024


class Reader(Protocol):
    """Reads a text piece by piece: `Sanitizer` or `PlainText`."""

    tail: Closed

    def feed(self, piece: str) -> Closed:
        """Take the next piece; return the part that cannot change any more."""

    def cut(self) -> Closed:
        """Close the open part and return it."""


class Segments:
    """The segments of one answer.

    Args:
        reader: Reads the pieces.
        bundle: Returns the bundle of a part; the flag is True when it cannot change any more.
    """

    def __init__(self, reader: Reader, bundle: Callable[[Closed, bool], Bundle]) -> None:
        self._reader, self._bundle = reader, bundle
        self._closed = Closed()  # in the last segment

    @property
    def length(self) -> int:
        """Characters of the last segment."""
        return len(self._closed.markdown) + len(self._reader.tail.markdown)

    def feed(self, piece: str) -> list[Bundle]:
        """Take the next piece; return the last segment as it is now, and new ones after it."""
        self._closed += self._reader.feed(piece)
        bundles: list[Bundle] = []
        while self.length > LONGEST:
            if not self._closed.markdown:
                if len(self._reader.tail.markdown) <= 2 * LONGEST:
                    break
                self._closed = self._reader.cut()
            if not self._reader.tail.markdown:
                break  # nothing follows: it is the last one
            bundles.append(self._bundle(self._closed, True))
            self._closed = Closed()
        if self.length:
            bundles.append(self._bundle(self._closed + self._reader.tail, False))
        return bundles

    def last(self) -> Bundle:
        """Return the last segment at the end of the answer."""
        return self._bundle(self._closed + self._reader.tail, True)


class PlainText:
    """Reads a plain text: all of it stays open until `cut`."""

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

"""The end of an HTTP response, found in the bytes of its connection. No I/O.

HTTP/1.1 reuses a connection. Bytes after the end of a response would be read as the beginning of
the next one, so a connection that has any is not reused. httpcore's parser hides such bytes, so
they are never passed to it.
"""

from __future__ import annotations

import re

_BLANK_LINE = re.compile(rb"\n\r?\n")
# The line of the empty last chunk, or the beginning of that line.
_LAST_CHUNK = re.compile(rb"(?:\A|\n)0+(?:[ \t;\r]|\Z)")


class ResponseCutter:
    r"""Splits received bytes wherever a response may end, so that a reader can stop there.

    The reader parses one piece, and takes the next one only if the response continues. When it has
    read the whole response, `rest` has the bytes after it.

    Attributes:
        rest: Bytes that have been received, but not returned.

    Example:
        >>> cutter = ResponseCutter()
        >>> cutter.cut(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHi!?")
        b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n'
        >>> cutter.begin_body(2)
        >>> cutter.cut(cutter.rest), cutter.rest
        (b'Hi', b'!?')
    """

    __slots__ = ("_in_chunks", "_in_head", "_left", "_line_by_line", "_tail", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._in_head = True
        self._tail = b""  # the last bytes of a head that has not ended
        self._left: int | None = None  # bytes of a body whose length is known
        self._in_chunks = False  # True if the last chunk has not begun
        self._line_by_line = False  # True if it may have begun

    def begin_head(self) -> None:
        """Expect the head of the next response."""
        self._in_head, self._tail, self._left, self._line_by_line = True, b"", None, False
        self._in_chunks = False

    def begin_body(self, length: int | None) -> None:
        """Expect a body: of `length` bytes, or in chunks or up to the connection's end if None."""
        self._in_head, self._left = False, length
        self._in_chunks = length is None

    def cut(self, data: bytes) -> bytes:
        """Return the part of `data`, all the bytes at hand, to parse next; keep the rest."""
        if self._in_chunks and data[:1] != b"0" and b"\n0" not in data:
            self.rest = b""  # as for nearly all pieces of an answer
            return data
        if self._in_head:
            return self._cut_head(data)
        if self._left is not None:
            data, self.rest = data[: self._left], data[self._left :]
            self._left -= len(data)
            return data
        if not self._line_by_line:
            self._line_by_line = _LAST_CHUNK.search(data) is not None
            self._in_chunks = not self._line_by_line
        end = data.find(b"\n") + 1 if self._line_by_line else 0
        end = end or len(data)
        self.rest = data[end:]
        return data[:end]

    def _cut_head(self, data: bytes) -> bytes:
        """Split after the blank line that ends a head."""
        before = len(self._tail)
        blank = _BLANK_LINE.search(self._tail + data)
        end = blank.end() - before if blank else len(data)
        self._tail = b"" if blank else (self._tail + data)[-2:]
        self.rest = data[end:]
        return data[:end]

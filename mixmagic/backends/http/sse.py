"""Server-sent events: bytes in any chunking to events. No I/O.

Follows the WHATWG rules (https://html.spec.whatwg.org/multipage/server-sent-events.html), with two
exceptions for real servers: an `error:` field (llama.cpp) is an event, and so is a last event
without its blank line. Events with empty data are dropped.
"""

from __future__ import annotations

from typing import NamedTuple

# The longest event, in bytes: far more than a model sends at once, but little memory.
MAX_EVENT = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its type (`message` by default) and its data."""

    type: str
    data: str


class EventTooLong(ValueError):
    """An event is longer than `MAX_EVENT`; `events` has the complete ones before it."""

    events: list[Event]


class Decoder:
    r"""Splits a stream of bytes into events; time and memory are linear in the bytes.

    Attributes:
        at_rest: True between two events.

    Example:
        >>> Decoder().feed(b"data: one\n\ndata: two\n\n")
        [Event(type='message', data='one'), Event(type='message', data='two')]
    """

    def __init__(self) -> None:
        self._start = b""  # the first bytes, while they may be a part of a BOM
        self._started = False
        self._tail: list[bytes] = []  # a line that has not ended
        self._tail_size = 0
        self._size = 0  # bytes in the complete lines of an event that has not ended
        self._after_cr = False
        self._type = ""
        self._data: list[bytes] = []
        self.at_rest = False

    def whole(self, chunk: bytes) -> str | None:
        """Return the data of bytes that are one event of one line; None if `feed` must read them.

        A fast path: nearly all servers send each event as one chunk.
        """
        if not (self.at_rest and chunk.startswith(b"data: ") and chunk.endswith(b"\n\n")):
            return None
        data = chunk[6:-2]
        return None if b"\n" in data or b"\r" in data else data.decode("utf-8", "replace")

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; return the events that they complete.

        Raises:
            EventTooLong: An event is longer than `MAX_EVENT`.
        """
        events: list[Event] = []
        try:
            self._take(chunk, events)
        except EventTooLong as error:
            error.events = events
            raise
        return events

    def _take(self, chunk: bytes, events: list[Event]) -> None:
        """Take the next bytes; append the events that they complete."""
        if not self._started:
            chunk = self._start = self._start + chunk
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                return
            self._started, self._start = True, b""
            chunk = chunk.removeprefix(_BOM)
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()
        rest = b"" if chunk.endswith((b"\n", b"\r")) else lines.pop()
        if self._tail and lines:
            lines[0] = b"".join((*self._tail, lines[0]))
            self._tail.clear()
            self._tail_size = 0
        for line in lines:
            if line or self._type or len(self._data) != 1:
                self._line(line, events)
            else:  # the blank line after one line of data: nearly every event
                self._size = 0
                if data := self._data.pop():
                    events.append(Event("message", data.decode("utf-8", "replace")))
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
            self._measure()
        self.at_rest = not (self._tail or self._data or self._type or self._after_cr)

    def close(self) -> list[Event]:
        """Return the last, unfinished event, if there is one: the stream has ended."""
        events: list[Event] = []
        last = self._start.removeprefix(_BOM) + b"".join(self._tail)
        if last:
            self._line(last, events)
        self._line(b"", events)
        self._tail.clear()
        return events

    def _measure(self) -> None:
        """Refuse an event that has become too long."""
        if self._size + self._tail_size > MAX_EVENT:
            raise EventTooLong(f"an event of over {MAX_EVENT:,} bytes")

    def _line(self, line: bytes, events: list[Event]) -> None:
        """Take one whole line."""
        if not line:
            if self._data:
                data = b"\n".join(self._data).decode("utf-8", "replace")
                self._data.clear()
                if data:
                    events.append(Event(self._type or "message", data))
            self._type = ""
            self._size = 0
            return
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._measure()
        elif name == b"event":
            self._type = value.decode("utf-8", "replace")
        elif name == b"error":
            events.append(Event("error", value.decode("utf-8", "replace")))

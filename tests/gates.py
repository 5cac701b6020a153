"""A streamed answer of the scripted server whose end waits for the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from server import CUT, Raw, Received, chunk, chunked, frames, head, usage

TEXT = "Hello there"
STREAM = {"content_type": "text/event-stream", "transfer_encoding": "chunked"}


class Gate:
    """An answer whose first word is sent at once, and whose rest waits for `open`.

    Args:
        rest: Steps of the server after the first word.
        finish: The finish reason, if there is no other `rest`.
    """

    def __init__(self, *rest: bytes | str, finish: str = "stop") -> None:
        self._open = threading.Event()
        self._rest = rest or (chunked(frames(chunk(" there"), chunk("", finish, **usage(9, 2)))),)

    def open(self) -> None:
        self._open.set()

    def fail(self) -> None:
        """Break the connection off instead."""
        self._rest = (CUT,)
        self._open.set()

    def __call__(self, received: Received) -> Raw:
        return Raw(self._steps())

    def _steps(self) -> Iterator[bytes | str]:
        yield head(200, **STREAM) + chunked(frames(chunk("Hello"), done=False))
        assert self._open.wait(60)
        yield from self._rest
        yield chunked(b"")

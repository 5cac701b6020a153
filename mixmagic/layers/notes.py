"""The entry to the stack: a call's deadline, and the notes that are known before it is made."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

from mixmagic.core.settings import Settings
from mixmagic.core.values import Delta, Layer, Request, Stream


def notes(settings: Settings) -> Layer:
    """Set the deadline for all layers below, and yield the request's own notes first."""

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            control = request.control
            yield from (Delta(note=note) for note in control.notes)
            deadline = time.monotonic() + (control.timeout or settings.total_timeout)
            yield from inner(replace(request, control=replace(control, deadline=deadline)))

        return stream

    return layer

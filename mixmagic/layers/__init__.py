"""What can happen to a call: one file each, a function around the stream.

A layer may import `backends`, `store` and what stands below them. It uses `yield from` or
closes its inner stream explicitly: a bare `for` would settle before the backend lets go.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from mixmagic.backends import faults
from mixmagic.errors import Stopped
from mixmagic.values import Layer, Request, Stream


def stack(layers: Sequence[Layer], stream: Stream) -> Stream:
    """Fold `layers`, outermost first, around `stream`."""
    for layer in reversed(layers):
        stream = layer(stream)
    return stream


def check(request: Request) -> None:
    """Refuse to go on with a call that is stopped, or has had all its time.

    Raises:
        Stopped: It is stopped.
        TotalTimedOut: It has had all its time.
    """
    if request.stop.is_set():
        raise Stopped(sent=False)
    if time.monotonic() > request.deadline:
        raise faults.total(request.model.provider.label)

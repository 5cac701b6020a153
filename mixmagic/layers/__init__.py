"""Layers: functions around the stream of a call, one file each, named after what they do.

May be imported by `sessions`, whose `stream` lists them in order: a new layer is one more file,
and one more line there. A layer uses `yield from`, or closes its inner stream explicitly: after a
bare `for` it would end before the backend has closed its connection.
"""

from __future__ import annotations

from collections.abc import Sequence

from mixmagic.core.values import Layer, Stream


def stack(layers: Sequence[Layer], stream: Stream) -> Stream:
    """Fold `layers`, outermost first, around `stream`."""
    for layer in reversed(layers):
        stream = layer(stream)
    return stream

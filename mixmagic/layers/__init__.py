"""What can happen to a call: one file each, a function around the stream.

A layer may import `backends`, `store` and what stands below them. It uses `yield from` or
closes its inner stream explicitly: a bare `for` would settle before the backend lets go.
"""

from __future__ import annotations

from collections.abc import Sequence

from mixmagic.core.values import Layer, Stream


def stack(layers: Sequence[Layer], stream: Stream) -> Stream:
    """Fold `layers`, outermost first, around `stream`."""
    for layer in reversed(layers):
        stream = layer(stream)
    return stream

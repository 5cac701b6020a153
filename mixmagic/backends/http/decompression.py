"""The content codings of HTTP, decoded in slices of bounded size. No I/O.

A few kilobytes can decompress to gigabytes. So a reader can stop after each slice, before the next
one is decompressed, and an excessive ratio is an error.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from mixmagic.backends.http import sse

# The value of the request's Accept-Encoding. Not br or zstd: their decoders' output has no limit.
ACCEPTED = "gzip, deflate"
# Bytes of the longest slice.
SLICE = 64 * 1024
# Decompressed bytes per received byte: 5 to 20 for JSON, over 100 for a model that repeats itself.
# `ALWAYS` bytes are allowed at any ratio: the same token 60,000 times, or the longest event.
MAX_RATIO, ALWAYS = 200, sse.MAX_EVENT + 1024 * 1024
# Codings applied to one body; urllib3 and curl have the same limit.
_MOST_CODINGS = 5
_GZIP = ("gzip", "x-gzip")
_GZIP_MAGIC = b"\x1f\x8b"
# Other compressions; any other word (`identity`, `utf-8`) is ignored.
_NOT_REQUESTED = frozenset(("br", "zstd", "compress", "x-compress", "dcb", "dcz"))


class Undecodable(ValueError):
    """A body that is not valid in its coding, or decompresses to too much."""


class Decoder:
    """Decodes the body of one response.

    A truncated body is decoded as far as possible, and bytes after a complete body are ignored, as
    in gzip, curl and browsers.

    Args:
        codings: The response's Content-Encoding.

    Raises:
        Undecodable: It names a coding that was not requested, or too many of them.

    Example:
        >>> b"".join(Decoder("gzip").feed(gzip.compress(b"Tea.")))
        b'Tea.'
    """

    def __init__(self, codings: str) -> None:
        names = [name.strip().lower() for name in codings.split(",")]
        if unknown := _NOT_REQUESTED.intersection(names):
            raise Undecodable(f"it is encoded as {min(unknown)}, which was not requested")
        # Listed in the order in which they were applied: the last one is removed first.
        self._stages = [
            _Inflater(gzip=name in _GZIP)
            for name in reversed(names)
            if name in _GZIP or name == "deflate"
        ]
        if len(self._stages) > _MOST_CODINGS:
            raise Undecodable(f"it is compressed {len(self._stages)} times")
        self._received = 0

    @property
    def codings(self) -> int:
        """The number of codings; 0 if the body is not compressed."""
        return len(self._stages)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes; yield them decompressed, in slices of at most `SLICE` bytes.

        Some slices are empty: the reader may stop there, too. Without a coding the chunk is
        returned unchanged.

        Raises:
            Undecodable: It is not valid in its coding, or decompresses to too much.
        """
        self._received += len(chunk)
        slices: Iterable[bytes] = (chunk,)
        for stage in self._stages:
            slices = self._taken_off(stage, slices)
        return iter(slices)

    def _taken_off(self, stage: _Inflater, slices: Iterable[bytes]) -> Iterator[bytes]:
        """Remove one coding."""
        for data in slices:
            for piece in stage.feed(data):
                if stage.size > max(ALWAYS, MAX_RATIO * self._received):
                    raise Undecodable(f"it decompresses to over {MAX_RATIO} times its size")
                yield piece


class _Inflater:
    """One coding: gzip with all of its members, or deflate with or without zlib's header.

    Attributes:
        size: Bytes that it has decompressed.
    """

    def __init__(self, *, gzip: bool) -> None:
        self.size = 0
        self._gzip = gzip
        self._begun = self._ended = False
        self._head = b""  # the first bytes, until there are enough to identify the format
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes; yield slices, one at least, the last of which may be empty."""
        while not self._ended:
            if self._inflate is None:
                self._head += data
                if len(self._head) < len(_GZIP_MAGIC):
                    break
                data, self._head = self._head, b""
                self._inflate = self._opened(data)
                if self._inflate is None:
                    self._ended = True
                    break
            try:
                piece = self._inflate.decompress(data, SLICE)
            except zlib.error:
                name = "gzip" if self._gzip else "deflate"
                raise Undecodable(f"it is not valid {name}") from None
            self.size += len(piece)
            yield piece
            if self._inflate.eof:
                data, self._inflate = self._inflate.unused_data, None
                self._ended = not self._gzip
            else:
                data = self._inflate.unconsumed_tail
                # If the slice is full, there may be more.
                if not data and len(piece) < SLICE:
                    return
        yield b""

    def _opened(self, data: bytes) -> zlib._Decompress | None:
        """The decompressor for data that begins here; `None` for bytes after the body's end."""
        begun, self._begun = self._begun, True
        if self._gzip:
            follows = begun and not data.startswith(_GZIP_MAGIC)
            return None if follows else zlib.decompressobj(zlib.MAX_WBITS | 16)
        # RFC 1950's header: its method, and a checksum. Some servers leave it out.
        wrapped = data[0] & 15 == zlib.DEFLATED and (data[0] << 8 | data[1]) % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)

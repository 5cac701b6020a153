"""Content codings: any chunking gives the same bytes, in bounded slices, and bombs are refused."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.backends.http.decompression import (
    ALWAYS,
    MAX_RATIO,
    SLICE,
    Decoder,
    Undecodable,
)

WORDS = b" ".join(b"%d words" % number for number in range(5000))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    " GZip ": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    "deflate,gzip": lambda data: gzip.compress(zlib.compress(data)),
    "gzip, deflate": lambda data: raw_deflate(gzip.compress(data)),
    "": bytes,
    "identity": bytes,
    "utf-8": bytes,
    "identity, gzip": gzip.compress,
}


def decoded(codings: str, *chunks: bytes) -> bytes:
    decoder = Decoder(codings)
    return b"".join(piece for chunk in chunks for piece in decoder.feed(chunk))


def split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("codings", PACKED)
@pytest.mark.parametrize("size", [1, 2, 7, 4096, 10**6])
def test_any_chunking_gives_the_bytes_that_were_encoded(codings, size):
    assert decoded(codings, *split(PACKED[codings](WORDS), size)) == WORDS


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 40), st.binary(max_size=9))
def test_gzip_members_are_joined_and_bytes_after_the_last_are_ignored(parts, size, rest):
    packed = b"".join(map(gzip.compress, parts))
    if not parts or rest.startswith(b"\x1f"):
        rest = b""
    assert decoded("gzip", *split(packed + rest, size)) == b"".join(parts)


def test_gzip_padded_with_zeros_is_complete():
    assert decoded("gzip", gzip.compress(WORDS) + bytes(512)) == WORDS


@pytest.mark.parametrize("size", [1, 3, 10**6])
def test_bytes_after_a_deflate_body_are_ignored(size):
    assert decoded("deflate", *split(zlib.compress(WORDS) + WORDS, size)) == WORDS


@pytest.mark.parametrize("codings", ["gzip", "deflate", "gzip, deflate"])
def test_a_truncated_body_is_decoded_as_far_as_possible(codings):
    packed = PACKED[codings](WORDS)
    for end in range(0, len(packed), 97):
        assert WORDS.startswith(decoded(codings, packed[:end]))
    assert len(decoded(codings, packed[:-20])) > len(WORDS) / 2
    assert decoded(codings) == decoded(codings, b"") == b""


def test_data_after_a_full_slice_is_not_lost():
    packed = zlib.compress(bytes(9 * SLICE), 1)
    for end in range(len(packed)):
        assert decoded("deflate", packed[:end]) == zlib.decompressobj().decompress(packed[:end])


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        ("gzip", WORDS),
        ("gzip", zlib.compress(WORDS)),
        ("gzip", gzip.compress(WORDS)[:40] + b"\xff" * 99),
        ("gzip", gzip.compress(WORDS)[:-8] + bytes(8)),
        ("gzip", gzip.compress(WORDS) + gzip.compress(WORDS)[:40] + b"\xff" * 99),
        ("deflate", b"\xff" * 99),
        ("deflate", gzip.compress(WORDS)),
        ("deflate", zlib.compress(WORDS)[:-4] + bytes(4)),
        ("gzip, gzip", gzip.compress(WORDS)),
        ("deflate, gzip", gzip.compress(WORDS)),
    ],
)
def test_invalid_data_is_an_error_in_any_chunking(codings, body):
    for size in (1, 5, 10**6):
        with pytest.raises(Undecodable, match=r"it is not valid (gzip|deflate)"):
            decoded(codings, *split(body, size))


@pytest.mark.parametrize("codings", ["br", "gzip, br", "ZSTD", "compress", "x-compress,gzip"])
def test_a_coding_that_was_not_requested_is_an_error(codings):
    with pytest.raises(Undecodable, match="which was not requested"):
        Decoder(codings)


def test_too_many_codings_are_an_error():
    assert decoded("gzip," * 5, *[gzip.compress(b"")]) == b""
    with pytest.raises(Undecodable, match="compressed 6 times"):
        Decoder("gzip," * 6)
    with pytest.raises(Undecodable):
        Decoder("deflate, " * 100_000)


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


BOMBS = {
    "zeros": ("gzip", gzip.compress(bytes(4 * ALWAYS))),
    "pings": ("deflate", zlib.compress(b": ping\n\n" * (ALWAYS // 2))),
    "raw": ("deflate", raw_deflate(bytes(4 * ALWAYS))),
    "twice": ("gzip, gzip", gzip.compress(gzip.compress(bytes(8 * ALWAYS)))),
    "members": ("gzip", gzip.compress(bytes(2**20)) * 200),
    "noise first": ("gzip", gzip.compress(noise(2**16) + bytes(4 * ALWAYS))),
    "inner": ("gzip, deflate", raw_deflate(gzip.compress(b"") + bytes(4 * ALWAYS))),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("size", [999, 65536])
def test_a_bomb_is_refused_in_bounded_slices_and_bounded_memory(name, size):
    codings, body = BOMBS[name]
    decoder, made, received = Decoder(codings), 0, 0

    def read() -> None:
        nonlocal made, received
        for chunk in split(body, size):
            received += len(chunk)
            for piece in decoder.feed(chunk):
                assert len(piece) <= SLICE
                made += len(piece)
                assert made <= max(ALWAYS, MAX_RATIO * received)

    tracemalloc.start()
    try:
        with pytest.raises(Undecodable, match="over 200 times its size"):
            read()
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_data_that_compresses_well_is_not_a_bomb():
    """Any ratio is allowed up to `ALWAYS` bytes, and every plausible one beyond it."""
    same = b'data: {"choices": [{"index": 0, "delta": {"content": " the"}}]}\n\n'
    for body in (same * (ALWAYS // len(same)), noise(2**20) + bytes(2 * ALWAYS)):
        assert decoded("gzip", gzip.compress(body)) == body


def test_there_is_a_slice_to_stop_at_even_if_it_is_empty():
    empty = gzip.compress(b"")
    assert sum(1 for _ in Decoder("gzip").feed(empty * 1000)) >= 1000
    decoder = Decoder("gzip, deflate")
    assert list(decoder.feed(raw_deflate(gzip.compress(b"x") + bytes(10 * SLICE))))
    assert sum(1 for _ in Decoder("gzip, deflate").feed(
        raw_deflate(gzip.compress(b"x") + bytes(10 * SLICE)))) >= 10  # fmt: skip

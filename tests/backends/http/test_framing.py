"""The end of a response is found in its bytes: none after it reach the parser."""

from __future__ import annotations

import h11
import pytest

from mixmagic.backends.http.framing import ResponseCutter

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
NEXT = HEAD + b"content-length: 5\r\n\r\nstale"
RESPONSES = {
    "a length": (HEAD + b"content-length: 2\r\n\r\nHi", 2),
    "a length of zero": (HEAD + b"content-length: 0\r\n\r\n", 0),
    "chunks": (CHUNKED + b"2\r\nHi\r\n3\r\n 0\n\r\n0\r\n\r\n", None),
    "a chunk that looks like the last one": (CHUNKED + b"7\r\n\n0\r\n\r\n!\r\n0\r\n\r\n", None),
    "sizes with leading zeros": (CHUNKED + b"0002\r\nHi\r\n000\r\n\r\n", None),
    "a last chunk with an extension": (CHUNKED + b"2\r\nHi\r\n0;a=b\r\n\r\n", None),
    "trailers": (CHUNKED + b"2\r\nHi\r\n0\r\na: b\r\nc: d\r\n\r\n", None),
    "line ends of one byte": (HEAD + b"content-length: 2\n\nHi", 2),
    "an early hint": (b"HTTP/1.1 103 Early\r\na: b\r\n\r\n" + CHUNKED + b"0\r\n\r\n", None),
}


def read(pieces: list[bytes], length: int | None) -> tuple[bytes, bytes]:
    """Parse a response as httpcore does; return the remaining bytes, and the parser's."""
    cutter, parser, pieces = ResponseCutter(), h11.Connection(h11.CLIENT), [*pieces]
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    parser.send(h11.EndOfMessage())
    while not isinstance(event := parser.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            cutter.begin_body(length)
        elif event is h11.NEED_DATA:
            parser.receive_data(cutter.cut(cutter.rest or pieces.pop(0)))
    return cutter.rest + b"".join(pieces), parser.trailing_data[0]


@pytest.mark.parametrize("behind", [b"", b"\r\n", b"0\r\n\r\n", b"x", NEXT])
@pytest.mark.parametrize("name", RESPONSES)
def test_the_parser_never_gets_bytes_after_a_response(name, behind):
    response, length = RESPONSES[name]
    data = response + behind
    assert read([data], length) == (behind, b"")
    assert read([data[at : at + 1] for at in range(len(data))], length) == (behind, b"")
    for at in range(1, len(data)):
        assert read([data[:at], data[at:]], length) == (behind, b"")


def test_an_ordinary_chunk_is_returned_unchanged():
    cutter = ResponseCutter()
    cutter.begin_body(None)
    chunk = b"19\r\n" + b'data: {"a":\n "b 0"}\n\n' + b"\r\n"
    assert cutter.cut(chunk) is chunk
    assert cutter.rest == b""

"""Faults of the connection: answers that are cut, have a wrong length, or are not HTTP."""

from __future__ import annotations

import gzip
import zlib

from faults.table import (
    DONE,
    FINAL,
    HI,
    JSON,
    STOP,
    Fault,
    body,
    document,
    events_head,
    raw,
    streamed,
)
from server import CUT, GOODBYE, RESET, chunked, head

from mixmagic.errors import StreamBroken

CHUNKED = events_head(transfer_encoding="chunked")
GZIP = {"content-encoding": "gzip"}
ANSWER = HI + FINAL
HALF_EVENT = b'data: {"choices": [{"del'
STALE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale"


def gzipped(*parts: bytes) -> list[bytes]:
    """Compress the parts so that each can be read as soon as its bytes arrive."""
    packer = zlib.compressobj(wbits=31)
    return [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts]


def broken(name: str, *answers, text: str | None = None, **options) -> Fault:
    return Fault(name, StreamBroken, answers, text, **options)


# Before any of the answer has come: for streamed and whole calls alike.
_HEADS = [
    broken("the connection ends before the head", raw(CUT), stream=None, silent=True),
    broken("the connection is reset before the head", raw(RESET), stream=None, silent=True),
    broken("TLS says goodbye before the head", raw(GOODBYE), stream=None, silent=True),
    broken("half a status line", raw(b"HTTP/1.1 20", CUT), stream=None),
    broken("half a status line, then reset", raw(b"HTTP/1.1 20", RESET), stream=None),
    broken("half a header", raw(b"HTTP/1.1 200 OK\r\ncontent-ty", CUT), stream=None),
    broken("a head without its end", raw(CHUNKED[:-2], CUT), stream=None),
    broken("a head and nothing", raw(CHUNKED, CUT), stream=None),
    broken("a head and a reset", raw(CHUNKED, RESET), stream=None),
    broken("another protocol", raw(b"SSH-2.0-OpenSSH_9.6\r\n", CUT), stream=None),
    broken("HTML without a head", raw(b"<html>Bad gateway</html>\r\n\r\n", CUT), stream=None),
    broken("a status that is no number", raw(b"HTTP/1.1 OK\r\n\r\n", CUT), stream=None),
    broken("a header without a colon", raw(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), stream=None),
    broken("a head of a megabyte", raw(events_head(x="y" * 1024 * 1024)), stream=None),
    broken("two lengths", raw(head(content_length="5\r\ncontent-length: 6")), stream=None),
    broken("a length that is no number", raw(head(content_length="many")), stream=None),
    broken("a chunk size that is no number", raw(CHUNKED, b"size\r\n"), stream=None),
    broken("an unknown transfer encoding", raw(head(transfer_encoding="gzip")), stream=None),
]

_STREAMED = [
    broken("cut behind text", streamed(HI, CUT), text="Hi"),
    broken("reset behind text", streamed(HI, RESET), text="Hi"),
    broken("a TLS goodbye behind text", streamed(HI, GOODBYE), text="Hi"),
    broken("cut inside an event", streamed(HI, HALF_EVENT, CUT), text="Hi"),
    broken("reset inside an event", streamed(HI, HALF_EVENT, RESET), text="Hi"),
    broken("an event that is whole but for its blank line", streamed(HI[:-2], RESET), text="Hi"),
    broken("the end behind text", streamed(HI), text="Hi"),
    broken("the end inside an event", streamed(HI, HALF_EVENT), text="Hi"),
    broken("no length, cut", raw(events_head(), HI, CUT), text="Hi"),
    broken("no length, a TLS goodbye", raw(events_head(), HI, GOODBYE), text="Hi"),
    broken("a length that is too long", raw(events_head(content_length="999"), HI, CUT), text="Hi"),
    broken(
        "a length that is too short",
        raw(events_head(content_length=str(len(HI))) + HI + FINAL),
        text="Hi",
    ),
    broken("a chunk that is longer than it says", raw(CHUNKED, b"5\r\n" + HI)),
    broken("a chunk that is shorter than it says", raw(CHUNKED, b"ffff\r\n" + HI, CUT), text="Hi"),
    broken("a later chunk without a size", raw(CHUNKED, chunked(HI), b"?\r\n"), text="Hi"),
    broken("gzip, cut", streamed(*gzipped(HI, ANSWER)[:1], CUT, headers=GZIP), text="Hi"),
    broken("gzip, ended early", streamed(*gzipped(HI, ANSWER)[:1], headers=GZIP), text="Hi"),
    broken("gzip, corrupt", streamed(*gzipped(HI), b"\xff" * 99, headers=GZIP), text="Hi"),
    broken("gzip that is none", streamed(HI, FINAL, headers=GZIP)),
    broken("an encoding nobody asked for", streamed(gzip.compress(ANSWER)), says="invalid JSON"),
]

_WHOLE = [
    broken("JSON, cut", body(document()[:-9], CUT), stream=False),
    broken("JSON, reset", body(document()[:-9], RESET), stream=False),
    broken("JSON, ended early", body(document()[:-9]), stream=False, says="invalid JSON"),
    broken("JSON, no length, cut", raw(head(), document()[:-9], CUT), stream=False),
    broken("JSON, a length too long, cut inside",
           raw(head(content_length="999"), document()[:-9], CUT), stream=False),
    broken("JSON, a length too short",
           raw(head(content_length="9") + document()), stream=False, says="invalid JSON"),
    broken("JSON, gzip, cut", streamed(gzip.compress(document())[:30], CUT, headers=GZIP,
           type=JSON), stream=False),
    broken("JSON, gzip, corrupt", streamed(gzip.compress(document())[:30], b"\xff" * 99,
           headers=GZIP, type=JSON), stream=False),
]  # fmt: skip

# The answer had said that it was whole before the connection misbehaved.
_WHOLE_ANYWAY = [
    Fault("cut behind the finish reason", None, (streamed(HI, STOP, CUT),), "Hi"),
    Fault("reset behind the finish reason", None, (streamed(HI, STOP, RESET),), "Hi"),
    Fault("cut inside the event behind the finish reason", None,
          (streamed(HI, STOP, HALF_EVENT, CUT),), "Hi"),
    Fault("the end inside the event behind the finish reason", None,
          (streamed(HI, STOP, HALF_EVENT),), "Hi"),
    Fault("the counts without their blank line, cut", None,
          (streamed(HI, FINAL.removesuffix(DONE)[:-2], CUT),), "Hi", bill="counted"),
    Fault("[DONE] without its blank line", None, (streamed(HI, DONE[:-2]),), "Hi"),
    Fault("[DONE] without its blank line, cut", None, (streamed(HI, DONE[:-2], CUT),), "Hi"),
    Fault("reset behind [DONE]", None, (streamed(HI, FINAL, RESET),), "Hi", bill="counted"),
    Fault("no length, the whole answer, cut", None,
          (raw(events_head(), ANSWER, CUT),), "Hi", bill="counted"),
    Fault("a length that is too long, the whole answer, cut", None,
          (raw(events_head(content_length="999"), ANSWER, CUT),), "Hi", bill="counted"),
    Fault("bytes behind [DONE]", None,
          (streamed(HI, FINAL, b"\x00\xff<html>", HI, b'data: {"error": "x"}\n\n'),),
          "Hi", bill="counted"),
    Fault("bytes behind the last chunk", None,
          (raw(CHUNKED, chunked(ANSWER) + chunked(b"") + b"\x00garbage\r\n\r\n"),),
          "Hi", bill="counted"),
    Fault("a second response behind the first", None,
          (raw(CHUNKED, chunked(ANSWER) + chunked(b"") + STALE),), "Hi", bill="counted"),
    Fault("100 and 103 before the answer", None,
          (raw(head(100), head(103, link="<x>"), CHUNKED, chunked(ANSWER), chunked(b"")),),
          "Hi", bill="counted"),
    Fault("JSON, whole, its last chunk cut", None, (body(document(), CUT),), "Hi", stream=False),
    Fault("JSON, whole, its last chunk reset", None, (body(document(), RESET),), "Hi",
          stream=False),
    Fault("JSON, whole, of a length too long", None,
          (raw(head(content_length="999"), document(), CUT),), "Hi", stream=False),
    Fault("JSON, whole, no length", None, (raw(head(), document(), CUT),), "Hi", stream=False),
    Fault("JSON, whole, with a second response behind it", None,
          (raw(head(content_length=str(len(document()))) + document() + STALE),), "Hi",
          stream=False),
]  # fmt: skip

TABLE = [*_HEADS, *_STREAMED, *_WHOLE, *_WHOLE_ANYWAY]

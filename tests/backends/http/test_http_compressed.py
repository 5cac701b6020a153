"""Compressed answers over a real socket: the time and memory for bombs are bounded."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib

import pytest
from server import HANG, Answer, chunk, frames, refusal, usage

from mixmagic.backends.http import decompression, reading
from mixmagic.errors import MissingKey, Stopped, StreamBroken, TotalTimedOut

HI = frames(chunk("Hi"), done=False)
FINAL = frames(chunk("", "stop", **usage(9, 1)))
EMPTY = b"data: {}\n\n"
SAID = frames(chunk("word "), done=False)


def packed(coding: str, body: bytes) -> bytes:
    """A body in a coding; `raw` is deflate without a header."""
    wbits = {"gzip": 31, "deflate": 15, "raw": -15}
    for name in coding.split(", "):
        packer = zlib.compressobj(wbits=wbits[name])
        body = packer.compress(body) + packer.flush()
    return body


def answer(coding: str, *bodies: bytes, **options) -> Answer:
    headers = {"content-encoding": coding.replace("raw", "deflate")}
    return Answer([packed(coding, body) for body in bodies], headers=headers, **options)


class Fed:
    """Records the sizes passed to the reader of answers, and if a condition held at its end."""

    def __init__(self, monkeypatch, condition=lambda: False, after=lambda size: None):
        self.total = self.late = self.longest = 0
        feed = reading.ResponseReader.feed

        def noted(answer, piece):
            self.total += len(piece)
            self.longest = max(self.longest, len(piece))
            after(self.total)
            try:
                yield from feed(answer, piece)
            finally:
                self.late += len(piece) if condition() else 0

        monkeypatch.setattr(reading.ResponseReader, "feed", noted)


def test_only_codings_that_are_decoded_in_slices_are_requested(session, together):
    together.plan = [Answer([HI, FINAL])]
    session.ask("Hello", model="8x7b")
    assert together.received[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw", "gzip, deflate", "gzip, gzip"])
@pytest.mark.parametrize("whole", [False, True])
def test_an_answer_in_any_requested_coding_is_read(session, together, coding, whole):
    if whole:
        message = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
        body, kind = json.dumps({"choices": [message]}).encode(), "application/json"
    else:
        body, kind = HI + FINAL, "text/event-stream"
    together.plan = [answer(coding, body, type=kind)]
    assert session.ask("Hello", model="8x7b", stream=not whole).text == "Hi"


def test_each_piece_is_received_as_soon_as_its_bytes_are(session, together):
    packer = zlib.compressobj(wbits=31)
    first = packer.compress(HI) + packer.flush(zlib.Z_SYNC_FLUSH)
    together.plan = [Answer([first, HANG], headers={"content-encoding": "gzip"})]
    request = session.request("Hello", model="8x7b", timeout=20)
    deltas = session.stream(request)
    assert next(delta.text for delta in deltas if delta.text) == "Hi"
    deltas.close()


@pytest.mark.parametrize(
    ("line", "coding"),
    [
        (EMPTY, "gzip"),
        (b": ping\n\n", "deflate"),
        (b"data:\n\n", "raw"),
        (b"event: x\r\n", "gzip"),
        (b"\n", "gzip"),
        (SAID, "gzip"),
        (b": ping\n\n", "gzip, gzip"),
    ],
    ids=["empty", "pings", "no data", "types", "line ends", "words", "twice"],
)
def test_a_bomb_is_one_of_our_errors_in_bounded_slices(
    session, together, monkeypatch, line, coding
):
    """It would decompress to 50 MB."""
    monkeypatch.setattr(decompression, "ALWAYS", 2**21)
    fed = Fed(monkeypatch)
    together.plan = [answer(coding, HI + line * (50 * 2**20 // len(line)))]
    received = len(together.plan[0].steps[0])
    with pytest.raises(StreamBroken, match="over 200 times its size") as caught:
        session.ask("Hello", model="8x7b")
    assert len(caught.value._render_traceback_()) == 2
    assert caught.value.partial.text.startswith("Hi")
    assert fed.longest <= decompression.SLICE
    assert fed.total <= max(decompression.ALWAYS, decompression.MAX_RATIO * received)


@pytest.mark.parametrize("line", [EMPTY, b": ping\n\n", b"\n"], ids=["empty", "pings", "line ends"])
def test_the_memory_that_a_bomb_takes_is_bounded(session, together, line):
    together.plan = [answer("gzip", HI + FINAL), answer("gzip", HI + line * (2**21 // len(line)))]
    session.ask("Hello", model="8x7b")  # created once
    tracemalloc.start()
    try:
        with pytest.raises(StreamBroken):
            session.ask("Hello", model="8x7b")
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("line", "coding"), [(EMPTY, "gzip"), (b": ping\n\n", "gzip"), (SAID, "deflate"), (SAID, "")]
)
def test_a_stop_ends_a_flood_at_its_next_slice(session, together, monkeypatch, line, coding):
    """A flood of 7 MB, whose ratio is allowed."""
    request = session.request("Hello", model="8x7b")

    def stop(size):
        if size > 2**20:
            request.control.stop.set()

    fed = Fed(monkeypatch, request.control.stop.is_set, stop)
    body = HI + line * (7 * 2**20 // len(line))
    together.plan = [answer(coding, body) if coding else Answer([body])]
    with pytest.raises(Stopped):
        list(session.stream(request))
    assert fed.late <= decompression.SLICE


@pytest.mark.parametrize("line", [EMPTY, b": ping\n\n", SAID], ids=["empty", "pings", "words"])
def test_the_time_of_a_call_ends_a_flood_at_its_next_slice(session, together, monkeypatch, line):
    request = session.request("Hello", model="8x7b", timeout=0.5)
    together.plan = [answer("gzip", HI + line * (7 * 2**20 // len(line)))]
    until = time.monotonic() + 0.6
    fed = Fed(monkeypatch, lambda: time.monotonic() > until, lambda size: time.sleep(0.01))
    with pytest.raises(TotalTimedOut):
        list(session.stream(request))
    assert fed.late <= decompression.SLICE


def test_a_flood_after_the_end_of_an_answer_is_not_waited_for(session, together, monkeypatch):
    fed = Fed(monkeypatch)
    together.plan = [answer("gzip", HI + FINAL + EMPTY * (100 * 2**20 // len(EMPTY)))]
    completion = session.ask("Hello", model="8x7b")
    assert (completion.text, completion.finish) == ("Hi", "stop")
    assert fed.total < 40 * 2**20
    assert fed.longest <= decompression.SLICE


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_an_error_page_is_decompressed_only_as_far_as_it_is_read(session, together, coding):
    page = b'{"error": {"message": "no such key"}}'
    together.plan = [
        answer(coding, page, status=401),
        answer(coding, page + b" " * (200 * 2**20), status=401),
    ]
    with pytest.raises(MissingKey, match="no such key"):
        session.ask("Hello", model="8x7b")
    tracemalloc.start()
    try:
        with pytest.raises(MissingKey):
            session.ask("Hello", model="8x7b")
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "headers", [{"content-encoding": "br"}, {"content-encoding": "gzip, zstd"}]
)
def test_a_coding_that_was_not_requested_is_one_of_our_errors(session, together, headers):
    together.plan = [Answer([HI, FINAL], headers=headers)]
    with pytest.raises(StreamBroken, match=r"(br|zstd), which was not requested"):
        session.ask("Hello", model="8x7b")
    together.plan = [refusal(401, {"error": {"message": "no"}}, content_encoding="br")]
    with pytest.raises(MissingKey):
        session.ask("Hello", model="8x7b")


@pytest.mark.parametrize("coding", ["identity", "utf-8", "none"])
def test_an_unknown_coding_is_ignored(session, together, coding):
    together.plan = [Answer([HI, FINAL], headers={"content-encoding": coding})]
    assert session.ask("Hello", model="8x7b").text == "Hi"


@pytest.mark.parametrize(
    "end", [b"\0" * 99, b"garbage", gzip.compress(b"")], ids=["zeros", "garbage", "gzip"]
)
def test_bytes_after_a_complete_gzip_body_are_not_an_error(session, together, end):
    body = packed("gzip", HI) + packed("gzip", FINAL) + end
    together.plan = [Answer([body], headers={"content-encoding": "gzip"})]
    assert session.ask("Hello", model="8x7b").text == "Hi"


def listed(session) -> list:
    return session.backends.models(session.catalog.providers["together"], timeout=10)


def test_a_listing_is_read_compressed_and_is_bounded(session, together):
    models = json.dumps([{"id": f"model-{number}"} for number in range(2000)]).encode()
    together.plan = [answer("gzip", models, type="application/json")]
    assert len(listed(session)) == 2000
    together.plan = [answer("gzip", models + b" " * (200 * 2**20), type="application/json")]
    tracemalloc.start()
    try:
        assert len(listed(session)) == 2000
        assert tracemalloc.get_traced_memory()[1] < 80 * 2**20
    finally:
        tracemalloc.stop()
    together.plan = [Answer([b"no gzip"], headers={"content-encoding": "gzip"})]
    with pytest.raises(StreamBroken, match="cannot be decompressed: it is not valid gzip"):
        listed(session)

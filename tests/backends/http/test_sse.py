from __future__ import annotations

import doctest
import itertools
import json
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mixmagic.backends.http import sse
from mixmagic.backends.http.sse import Decoder, Event, EventTooLong

BOM = b"\xef\xbb\xbf"
CASES = {
    "nothing": (b"", []),
    "one event": (b"data: a\n\n", ["a"]),
    "two events": (b"data: a\n\ndata: b\n\n", ["a", "b"]),
    "CR": (b"data: a\r\rdata: b\r\r", ["a", "b"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
    "all line ends": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\rdata: d\n\r", ["a", "b", "c", "d"]),
    "lines of data": (b"data: a\ndata: b\ndata:\ndata: c\n\n", ["a\nb\n\nc"]),
    "lines of data, CR": (b"data: a\rdata: b\r\r", ["a\nb"]),
    "lines of data, CRLF": (b"event: x\r\ndata: a\r\ndata: b\r\n\r\n", [("x", "a\nb")]),
    "data without a colon": (b"data\ndata\n\n", ["\n"]),
    "no blank": (b"data:a\n\n", ["a"]),
    "one blank goes": (b"data:  a \n\n", [" a "]),
    "a tab stays": (b"data:\ta\n\n", ["\ta"]),
    "further colons": (b"data: a: b:c\n\n", ["a: b:c"]),
    "BOM": (BOM + b"data: a\n\n", ["a"]),
    "only one BOM": (BOM + BOM + b"data: a\n\ndata: b\n\n", ["b"]),
    "a BOM inside is text": (b"data: " + BOM + b"a\n\n", ["\ufeffa"]),
    "a BOM later is no BOM": (b"\n" + BOM + b"data: a\n\ndata: b\n\n", ["b"]),
    "a broken BOM": (b"\xef\xbbdata: a\n\ndata: b\n\n", ["b"]),
    "comments": (b": OPENROUTER PROCESSING\n\n:\n\ndata: a\n: b\ndata: c\n\n: ping\n\n", ["a\nc"]),
    "event only": (b"event: ping\n\ndata: a\n\n", ["a"]),
    "retry only": (b"retry: 3000\n\nretry: -5\n\ndata: a\n\n", ["a"]),
    "id only": (b"id: 1\n\n: ping\n\n\n\ndata: a\n\n\n\n: ping\n\n", ["a"]),
    "id with NUL": (b"id: 1\x002\ndata: a\n\n", ["a"]),
    "type": (b"event: tick\ndata: a\n\ndata: b\n\n", [("tick", "a"), "b"]),
    "last type wins": (b"event: x\nevent: tick\ndata: a\n\n", [("tick", "a")]),
    "empty type": (b"event:\ndata: a\n\n", ["a"]),
    "unknown fields": (b"foo: a\nDATA: b\n data: c\ndata : d\ndata: e\n\n", ["e"]),
    "Unicode's line ends": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(),
        ["a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"],
    ),
    "UTF-8": ("data: Grüße, 世界 🎈\n\n".encode(), ["Grüße, 世界 🎈"]),
    "Latin-1 is replaced": (b"data: Gr\xfc\xdfe\n\n", ["Gr\ufffd\ufffde"]),
    "NUL stays": (b"data: a\x00b\n\n", ["a\x00b"]),
    "blank lines": (b"\n\n\r\n\r\ndata: a\n\n\n\n", ["a"]),
    "unfinished end": (b"data: a\n\ndata: [DONE]", ["a", "[DONE]"]),
    "end without a blank line": (b'data: a\n\ndata: {"b": 1}\n', ["a", '{"b": 1}']),
    "end in CR": (b"data: a\r\rdata: [DONE]\r", ["a", "[DONE]"]),
    "unfinished type": (b"event: error\ndata: a", [("error", "a")]),
    "end in a comment": (b"data: a\n\n: pi", ["a"]),
    "end in a type": (b"data: a\n\nevent: tick", ["a"]),
    "end in a BOM": (BOM, []),
    "end in half a BOM": (BOM[:2], []),
    "error field": (b'error: {"code": 500}\n\n', [("error", '{"code": 500}')]),
    "error field at the end": (b"data: a\n\nerror: {}", ["a", ("error", "{}")]),
}  # fmt: skip


def decode(chunks) -> list[Event]:
    decoder = Decoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.close()


def cut(raw: bytes, size: int) -> list[bytes]:
    return [raw[i : i + size] for i in range(0, len(raw), size)]


def cut_at(raw: bytes, places) -> list[bytes]:
    places = [0, *sorted(places), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(places)]


def chunkings(raw: bytes):
    """The same bytes in many chunkings, empty chunks among them."""
    yield from (cut(raw, size) for size in (1, 2, 3, 7, len(raw) or 1))
    yield from ([raw[:i], raw[i:]] for i in range(len(raw) + 1))
    chance = random.Random(4711)
    for _ in range(20):
        yield cut_at(raw, chance.choices(range(len(raw) + 1), k=8))


@pytest.mark.parametrize("name", CASES)
def test_every_case_in_every_chunking(name):
    raw, expected = CASES[name]
    events = [Event("message", e) if isinstance(e, str) else Event(*e) for e in expected]
    for chunks in chunkings(raw):
        assert decode(chunks) == events, chunks


BYTES = st.binary(max_size=80) | st.lists(
    st.sampled_from(
        [b"data", b"event", b"error", b"id", b": ", b":", b"\n", b"\r", b"\r\n", b"x", BOM, b"\xc3"]
    ),
    max_size=40,
).map(b"".join)  # fmt: skip


@given(BYTES, st.lists(st.integers(0, 80), max_size=20))
@example(BOM + b"data:x", [1, 2])
@example(b"data:x\r\n\r\n", [7, 8, 9])
def test_chunking_never_matters(raw, places):
    assert decode(cut_at(raw, [place for place in places if place <= len(raw)])) == decode([raw])


@given(
    st.lists(st.text(min_size=1, max_size=30), max_size=8), st.sampled_from(["\n", "\r", "\r\n"])
)
def test_json_comes_out_as_it_went_in(texts, end):
    raw = "".join(f"data: {json.dumps(text, ensure_ascii=False)}{end}{end}" for text in texts)
    events = decode(cut(raw.encode("utf-8", "replace"), 5))
    expected = [text.encode("utf-8", "replace").decode() for text in texts]
    assert [json.loads(event.data) for event in events] == expected


def test_events_are_returned_with_the_chunk_that_ends_them():
    """No event is held back: a CR ends a line, even if its LF comes later."""
    decoder = Decoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\ndata: b\r") == [Event("message", "a")]
    assert decoder.feed(b"\r") == [Event("message", "b")]
    assert decoder.feed(b"\ndata: c\n\n") == [Event("message", "c")]
    assert decoder.close() == []


def test_decoders_share_nothing():
    first, second = Decoder(), Decoder()
    first.feed(b"event: tick\ndata: a")
    assert second.feed(b"data: b\n\n") == [Event("message", "b")]
    assert first.close() == [Event("tick", "a")]


def test_a_long_line_is_joined_once():
    """Linear: the parts of a line are joined only when it ends."""
    decoder, chunk = Decoder(), b"x" * 4096
    decoder.feed(b"data: ")
    for _ in range(2048):
        assert decoder.feed(chunk) == []
    assert len(decoder._tail) == 2049
    assert all(part is chunk for part in decoder._tail[1:])
    assert [len(event.data) for event in decoder.feed(b"\n\n")] == [2048 * 4096]
    assert decoder._tail == []


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT", 100)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "raw",
    [
        b"data: " + b"x" * 101 + b"\n\n",
        b"data: x\n" * 101 + b"\n",
        b"x" * 1000,
        b": " + b"x" * 1000,
    ],
    ids=["one line", "many lines", "no line end", "a comment without end"],
)
def test_an_endless_event_is_refused(small, raw, size):
    with pytest.raises(EventTooLong, match="an event of over 100 bytes"):
        decode(cut(raw, size))


@pytest.mark.parametrize("size", [1, 7, 60, 1000])
@pytest.mark.parametrize(
    "raw",
    [b"data: " + b"x" * 90 + b"\n\n", b"data: xxxxxxxx\n" * 9 + b"\n"],
    ids=["one line", "many lines"],
)
def test_an_event_below_the_limit_passes_in_any_chunking(small, raw, size):
    """Each byte counts once in any chunking, and the count starts again with each event."""
    assert len(decode(cut(raw * 5, size))) == 5


def test_comments_between_events_do_not_add_up(small):
    decoder = Decoder()
    for _ in range(100):
        assert decoder.feed(b": pi") == decoder.feed(b"ng\n\n") == []
    assert decoder.feed(b"data: a\n\n") == [Event("message", "a")]


def test_the_limit_is_far_above_any_model_s_answer():
    assert sse.MAX_EVENT >= 8 * 1024 * 1024


def test_examples_hold():
    assert doctest.testmod(sse).failed == 0

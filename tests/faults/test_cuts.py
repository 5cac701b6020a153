"""A good answer, cut at every byte: whole and right, or an error with the partial answer."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.table import EVENTS, JSON, document, outcome, rows
from server import CUT, RESET, Answer, Raw, frames, usage, wire

from mixmagic.errors import StreamBroken

# Short, for every byte of it is a call.
_TEXTS = ("Grüße", ", ", "Welt")
_PIECES = [{"choices": [{"delta": {"content": text}}]} for text in _TEXTS]
_LAST = {"choices": [{"delta": {}, "finish_reason": "stop"}], **usage(9, 3)}
_EVENTS = [frames(piece, done=False) for piece in _PIECES] + [frames(_LAST)]
STREAMED = b"".join(wire(Answer(_EVENTS, type=EVENTS)))
WHOLE = b"".join(wire(Answer([document("Grüße")], type=JSON)))
THREADS = 8


def received(raw: bytes) -> bytes:
    """Return the part of the body that a cut response holds, read chunk by chunk."""
    _, _, rest = raw.partition(b"\r\n\r\n")
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return body


def expected(raw: bytes) -> tuple[bool, str | None]:
    """Return whether a cut response is whole, and its text, by an independent reader."""
    text, finished = None, False
    for line in received(raw).decode("utf-8", "ignore").split("\n"):
        try:
            choice = json.loads(line.removeprefix("data: "))["choices"][0]
        except ValueError:  # cut
            continue
        part = choice.get("delta") or choice.get("message") or {}
        text = (text or "") + part["content"] if part.get("content") else text
        finished = finished or choice.get("finish_reason") == "stop"
    return finished, text


def position(request) -> int:
    return int(request.body["messages"][-1]["content"])


def test_the_expectation_itself_is_right():
    assert expected(STREAMED) == (True, "Grüße, Welt")
    assert expected(STREAMED[: STREAMED.index(b"Welt") + 4]) == (False, "Grüße, ")
    assert expected(WHOLE) == (True, "Grüße")
    assert expected(b"HTTP/1.1 200") == (False, None)


@pytest.mark.parametrize("how", [CUT, RESET])
@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_at_any_byte(place, stream, how):
    wired = STREAMED if stream else WHOLE
    place.server.plan = [lambda request: Raw([wired[: position(request)], how])]
    before = len(rows(place.home))
    positions = range(len(wired) + 1)
    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = pool.map(lambda at: outcome(place.session, str(at), stream), positions)
        for at, (error, text) in zip(positions, outcomes, strict=True):
            is_whole, partial = expected(wired[:at])
            assert (type(error), text) == (type(None) if is_whole else StreamBroken, partial), at
    listed = rows(place.home)[before:]
    assert len(listed) == len(positions)
    assert {row["status"] for row in listed} == {"ok", "failed"}
    assert all(row["cost_nanodollars"] > 0 for row in listed)


@pytest.mark.parametrize("stream", [True, False])
def test_a_seam_at_any_byte(place, stream):
    """An answer in two chunks is the same answer, wherever it is split."""
    body = b"".join(_EVENTS) if stream else document("Grüße")
    place.server.plan = [
        lambda request: Answer([body[: position(request)], body[position(request) :]])
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        texts = list(
            pool.map(lambda at: outcome(place.session, str(at), stream), range(len(body) + 1))
        )
    assert texts == [(None, "Grüße, Welt" if stream else "Grüße")] * len(texts)

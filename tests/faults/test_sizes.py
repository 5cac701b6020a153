"""Answers over the size limit: an event, a document, a comment, a gzip; each is a named error."""

from __future__ import annotations

import gzip

import pytest
from faults.table import HI, Fault, Script, body, check_outcome, check_row, good, outcome, rows
from faults.table import streamed as events

from mixmagic.backends.http.sse import MAX_EVENT
from mixmagic.errors import StreamBroken

_LINE = b"x" * 1024 * 1024
_LINES = [_LINE] * (MAX_EVENT // len(_LINE) + 1)
_GZIP = {"content-encoding": "gzip"}
TABLE = [
    Fault("an event", StreamBroken, (events(HI, b"data: ", *_LINES),), "Hi", says="16,777,216"),
    Fault("a comment", StreamBroken, (events(HI, b":", *_LINES),), "Hi", says="16,777,216"),
    Fault("lines of an event", StreamBroken,
          (events(HI, *(b"data: " + line + b"\n" for line in _LINES)),), "Hi", says="16,777,216"),
    Fault("a document", StreamBroken, (body(b'{"choices": "', *_LINES),), None, stream=False,
          says="16,777,216"),
    Fault("a gzip of an event", StreamBroken,
          (events(gzip.compress(HI + b"data: " + b"".join(_LINES)), headers=_GZIP),), "Hi",
          says="16,777,216"),
    Fault("a gzip of an event that ends", StreamBroken,
          (events(gzip.compress(HI + b"data: " + b"".join(_LINES) + b"\n\n"), headers=_GZIP),),
          "Hi", says="16,777,216"),
]  # fmt: skip


@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.name)
def test_an_answer_over_the_size_limit_is_a_named_error(place, fault):
    before = len(rows(place.home))
    place.server.received.clear()
    place.server.plan = [Script(fault.answers)]
    check_outcome(fault, *outcome(place.session, "Hi", fault.stream))
    assert len(place.server.received) == 1
    place.server.wait(lambda: place.server.received[0].closed_at)
    place.server.plan = [good(stream=True)]
    assert outcome(place.session, "Hi again", True) == (None, "All well")
    row, after = rows(place.home)[before:]
    check_row(fault, row)
    assert after["status"] == "ok"

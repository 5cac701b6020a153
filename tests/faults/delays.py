"""Faults of time: answers that are late, never start or never end. One table per setting."""

from __future__ import annotations

from faults.broken import CHUNKED
from faults.table import DONE, FINAL, HI, STOP, Fault, body, document, events_head, raw, streamed
from server import HANG, Answer, chunked

from mixmagic.errors import FirstByteTimedOut, IdleTimedOut, KeyRejected, TotalTimedOut

_LONG = 400  # steps, each after `_PAUSE` seconds: far longer than any timeout of the tests
_PAUSE = 0.05


def for_ever(step: bytes) -> list[bytes | float]:
    return [step, _PAUSE] * _LONG


FIRST_BYTE = [
    Fault(name, FirstByteTimedOut, (answer,), stream=stream, says="sent no part of an answer")
    for name, answer, stream in [
        ("nothing", streamed(HANG), None),
        ("half a head", raw(CHUNKED[:20], HANG), None),
        ("a head that does not end", raw(CHUNKED[:-2], *for_ever(b"x: y\r\n")), None),
        ("a head and nothing", raw(CHUNKED, HANG), None),
        ("half a chunk size", raw(CHUNKED, b"5", HANG), None),
        ("pings", streamed(*for_ever(b": ping\n\n")), True),
        ("blank lines", body(*for_ever(b"\n")), False),
        ("half an event", streamed(HI[:20], HANG), True),
        ("an event that does not end", streamed(HI[:20], *for_ever(b"x")), True),
    ]
]
# It is no data while its end is not clear; it is not lost, though.
FIRST_BYTE.append(
    Fault("an event but for its blank line", FirstByteTimedOut, (streamed(HI[:-2], HANG),), "Hi")
)

IDLE = [
    Fault(name, IdleTimedOut, (answer,), text, stream=stream, says="sent nothing more")
    for name, answer, text, stream in [
        ("silence behind text", streamed(HI, HANG), "Hi", True),
        ("silence inside a chunk", raw(CHUNKED, b"fff\r\n" + HI, HANG), "Hi", True),
        ("silence, no length", raw(events_head(), HI, HANG), "Hi", True),
        ("pings behind text", streamed(HI, *for_ever(b": ping\n\n")), "Hi", True),
        ("blank lines behind text", streamed(HI, *for_ever(b"\n")), "Hi", True),
        ("an event behind text that does not end", streamed(HI, *for_ever(b"x")), "Hi", True),
        ("half of JSON", body(document()[:-9], HANG), None, False),
        ("half of JSON and blank lines", body(document()[:-9], *for_ever(b" ")), None, False),
    ]
]
# Nothing but its connection's end says that a document has ended.
IDLE.append(
    Fault("JSON, whole, and an open line", None, (body(document(), HANG),), "Hi", stream=False)
)
IDLE.append(
    Fault("JSON without a finish reason, and an open line", None,
          (body(document(finish=None), HANG),), "Hi", stream=False)
)  # fmt: skip

TOTAL = [
    Fault("text for ever", TotalTimedOut, (streamed(*for_ever(HI)),), "Hi", says="took too long"),
    Fault("empty pieces for ever", TotalTimedOut, (streamed(*for_ever(b"data: {}\n\n")),),
          says="took too long"),
    Fault("JSON for ever", TotalTimedOut, (body(document()[:-9], *for_ever(b"1")),), stream=False,
          says="took too long"),
]  # fmt: skip

# The answer is whole, but its end does not come: that is not waited for as long as for data.
ENDLESS = [
    Fault("a finish reason and an open line", None, (streamed(HI, STOP, HANG),), "Hi"),
    Fault("a finish reason and pings for ever", None,
          (streamed(HI, STOP, *for_ever(b": ping\n\n")),), "Hi"),
    Fault("[DONE] and an open line", None, (streamed(HI, FINAL, HANG),), "Hi", bill="counted"),
    Fault("[DONE] and pings for ever", None, (streamed(HI, DONE, *for_ever(b": ping\n\n")),), "Hi"),
    Fault("[DONE] and chunks for ever", None,
          (raw(CHUNKED, chunked(HI + DONE), *for_ever(chunked(b"x"))),), "Hi"),
    Fault("a refusal and half a body", KeyRejected, (Answer([b'{"error', HANG], 401),), bill="free",
          stream=None),
    Fault("a refusal for ever", KeyRejected, (Answer(for_ever(b"x"), 401),), bill="free",
          stream=None),
]  # fmt: skip

"""Faults told by the HTTP status: every refusal, whatever its body."""

from __future__ import annotations

import gzip

from faults.table import TRIES, Fault, good, raw
from server import CUT, RESET, Answer, head, refusal

from mixmagic.errors import (
    KeyRejected,
    MixmagicError,
    ProviderError,
    RateLimited,
    StreamBroken,
    Unavailable,
    UnknownModel,
)

SOON = {"retry_after_ms": "10"}
_NEVER: dict[int, type[MixmagicError]] = {
    400: ProviderError,
    401: KeyRejected,
    402: ProviderError,
    403: ProviderError,
    404: UnknownModel,
    422: ProviderError,
}
_AGAIN: dict[int, type[MixmagicError]] = {
    408: Unavailable,
    409: Unavailable,
    429: RateLimited,
    500: Unavailable,
    501: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    524: Unavailable,
    529: Unavailable,
}
# Neither in the one list nor in the other: sent again only where the provider says so.
_ASKED: dict[int, type[MixmagicError]] = dict.fromkeys((405, 410, 413, 418, 425), ProviderError)


# What has not begun to work says so; other troubles may come in the middle of it.
_BILLED = (408, 500, 501, 502, 504, 524, 599)


def refused(name: str, kind: type[MixmagicError], answer, requests: int, **options) -> Fault:
    billed = isinstance(answer, Answer) and answer.status in _BILLED
    bill = "estimated" if billed else "free"
    return Fault(name, kind, (answer,), requests=requests, bill=bill, stream=None, **options)


def statuses(word: str | None) -> list[Fault]:
    """Every status, with this `x-should-retry`."""
    listed = []
    said = {} if word is None else {"x_should_retry": word}
    for again, kinds in ((False, _NEVER), (True, _AGAIN), (None, _ASKED)):
        for status, kind in kinds.items():
            retried = again is not False and (word == "true" or (again is True and word is None))
            answer = refusal(status, {"error": {"message": "why"}}, **SOON, **said)
            name = f"{status}, told {'nothing' if word is None else word}"
            listed.append(refused(name, kind, answer, TRIES if retried else 1, says="why"))
    return listed


STATUSES = statuses(None)
# The same with the provider's word on it: it changes the decision alone.
TOLD = [*statuses("true"), *statuses("false")]

_GZIP = {"content-encoding": "gzip", "retry-after-ms": "10"}
_PAGE = b"<html><body>Bad gateway</body></html>"


def _both(name: str, *answers) -> list[Fault]:
    """A refusal with 503, which is retried, and one with 401, which is not."""
    kinds = ((503, Unavailable, TRIES), (401, KeyRejected, 1))
    return [
        refused(f"{status} with {name}", kind, answer, requests)
        for (status, kind, requests), answer in zip(kinds, answers, strict=True)
    ]


def _bodies() -> list[Fault]:
    """Refusals whose body is broken: the status alone decides."""
    made = []
    for name, steps in {
        "an empty body": [b""],
        "HTML": [_PAGE],
        "half a body": [b'{"error": {"mess', CUT],
        "a body that is reset": [b'{"error": {"mess', RESET],
        "a body of no known shape": [b'[[["x"]], {"error": [7, {}]}]'],
        "half a surrogate": [b'{"error": "\\ud83d"}'],
        "a body nested 450 deep": [b'{"error":' * 450 + b"7" + b"}" * 450],
        "a body nested 900 deep": [b"[" * 900 + b"]" * 900],
        "a body of no UTF-8": [b"\xff\xfe\x00"],
        "a body over a megabyte": [b"x" * 700_000] * 2,
    }.items():
        answers = [Answer(steps, s, {"retry-after-ms": "10"}) for s in (503, 401)]
        made += _both(name, *answers)
    squeezed = gzip.compress(_PAGE * 99)
    for name, content in {"half of a gzip": squeezed[:50], "no gzip": _PAGE}.items():
        made += _both(name, *(Answer([content], status, _GZIP) for status in (503, 401)))
    short = [
        raw(head(status, content_length="99", retry_after_ms="10"), b"why", CUT)
        for status in (503, 401)
    ]
    return made + _both("a length too long", *short)


_REDIRECTS = [
    refused(f"a redirect {name}", ProviderError, answer, 1, says=says)
    for name, answer, says in [
        ("302", refusal(302, b"", location="https://elsewhere.example/v1"), "elsewhere.example"),
        ("308 to the same place", refusal(308, b"", location="/v1/chat/completions"), "308"),
        ("to nowhere", refusal(302, b""), "302"),
        ("to another scheme", refusal(301, b"", location="gopher://x"), "301"),
    ]
]

_OTHERS = [
    refused("a redirect to no URL", ProviderError, refusal(302, b"", location="http://[::1/"), 1),
    Fault("204", StreamBroken, (raw(head(204)),), says="empty answer", stream=None),
    Fault("206 without an answer", StreamBroken, (Answer([b"{}"], 206),),
          says="without content", stream=None),
    refused("304", ProviderError, raw(head(304)), 1),
    refused("599", Unavailable, refusal(599, b"", **SOON), TRIES),
    Fault("503, then an answer", None, (refusal(503, b"", **SOON), good(True)), "All well", 2,
          "counted"),
    Fault("503, then a whole answer", None, (refusal(503, b"", **SOON), good(False)), "All well",
          2, "counted", stream=False),
    Fault("503 and 429, then an answer", None,
          (refusal(503, b"", **SOON), refusal(429, b"", **SOON), good(True)), "All well", 3,
          "counted"),
    Fault("503, then 401", KeyRejected, (refusal(503, b"", **SOON), refusal(401, b"")), None, 2,
          "free", stream=None),
]  # fmt: skip

TABLE = [*_bodies(), *_REDIRECTS, *_OTHERS]

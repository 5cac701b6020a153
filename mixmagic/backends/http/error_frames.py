"""Errors that a provider sends under status 200, by what they mean. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mixmagic.backends import error_bodies, provider_errors
from mixmagic.core.values import Model
from mixmagic.errors import MixmagicError, StreamBroken

# Fields of an error that hold a number or a word for its kind.
_CODES = ("code", "status", "status_code", "http_status", "type", "error_type")
_DEEPEST = 5
# What is refused before the work begins, and may be sent again; `insufficient_quota` may not.
_STATUSES = (
    (402, re.compile(r"insufficient[ _](?:quota|balance|credit|funds)|billing")),
    (429, re.compile(r"rate[ _]?limit|too[ _]many[ _]requests|resource[ _]exhausted|throttl")),
    (503, re.compile(r"overload|unavailable|capacity|(?:engine|server|system)[ _]busy")),
    (500, re.compile(r"^(?:internal[ _])?(?:server[ _])?error$|^api[ _]error$|^internal$")),
)


def is_error(frame: Any) -> bool:
    """True if a frame is an error, in OpenAI's form or in Mistral's flat one."""
    return bool(_fields(frame).get("error")) or _fields(frame).get("object") == "error"


def error(model: Model, frame: Any, *, begun: bool) -> MixmagicError:
    """Return the error that a frame is, or holds, without keys.

    Args:
        model: Who was asked.
        frame: The frame, in which gateways put one error into another.
        begun: True if a piece of the answer has come: then the answer has broken off.

    Example:
        >>> error(model, {"error": {"code": "rate_limit_exceeded", "message": "slow"}}, begun=False)
        RateLimited('… answered 429, too many requests: slow')
    """
    levels = list(_levels(frame))
    inner = levels[-1]
    status = None if begun else _status(levels)
    said = error_bodies.says(inner) or error_bodies.says(frame)
    if status is not None:
        return provider_errors.from_status(model, status, {**_fields(frame), "error": said})
    failure = provider_errors.in_stream(model, {**_fields(inner), "message": said}, _fields(frame))
    if begun or not isinstance(failure, StreamBroken):
        return failure
    empty = StreamBroken(
        f"{model.provider.label} sent an error in the place of an answer:"
        f" {said or 'it gave no reason'}",
        "Nothing of an answer came: run the cell again, or check the model and the parameters.",
    )
    empty.usage = failure.usage
    return empty


def _fields(value: Any) -> Mapping[str, Any]:
    """The fields of an object; none of anything else."""
    return value if isinstance(value, Mapping) else {}


def _levels(frame: Any) -> Iterator[Any]:
    """A frame and the errors in it, the innermost last."""
    yield frame
    for _ in range(_DEEPEST):
        if not isinstance(frame, Mapping) or not frame.get("error"):
            return
        frame = frame["error"]
        yield frame


def _status(levels: list[Any]) -> int | None:
    """The HTTP status that the codes of an error mean, numbers or words."""
    codes = [_fields(level).get(name) for level in reversed(levels) for name in _CODES]
    for code in codes:
        if isinstance(code, (int, str)) and re.fullmatch("[45][0-9][0-9]", str(code)):
            return int(code)
    texts = [code.lower() for code in codes if isinstance(code, str)]
    return next((status for status, sign in _STATUSES for text in texts if sign.search(text)), None)

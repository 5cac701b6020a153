"""What a provider says when it fails, as errors with hints. No I/O.

Sorted by status and by the machine-readable code, never by one provider's wording alone.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

from mixmagic.backends import counts
from mixmagic.errors import (
    ConnectTimedOut,
    ContextTooLong,
    FirstByteTimedOut,
    MissingKey,
    MixmagicError,
    ProviderError,
    RateLimited,
    Stopped,
    StreamBroken,
    TimedOut,
    TotalTimedOut,
    Unavailable,
    UnknownModel,
    one_line,
)
from mixmagic.keys.missing import key_hint
from mixmagic.settings import Settings
from mixmagic.values import Model, Request

_CONTEXT_CODES = ("context_length_exceeded", "exceed_context_size_error")
_CONTEXT_WORDS = ("context length", "context size", "context window", "maximum context")
# Refusals that the same call would meet again.
NEVER_AGAIN = (400, 401, 402, 403, 404, 422)
_NOT_SERVED = ("non-serverless", "model_not_available", "model_not_found")
_HALF = re.compile("[\ud800-\udfff]")
_parse = json.JSONDecoder().decode  # json.loads without its looks at options


def loads(text: str) -> Any:
    """Parse JSON; half a surrogate pair, which nobody could write down, is replaced.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    value = _parse(text)
    if "\\ud" in text or "\\uD" in text:
        value = _parse(_HALF.sub("\ufffd", json.dumps(value, ensure_ascii=False)))
    return value


def parse(raw: bytes) -> Any:
    """The body of a refusal: JSON, or else its text."""
    text = raw.decode("utf-8-sig", "replace")
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def says(body: Any, depth: int = 5) -> str:
    """The provider's own words in an error body: JSON of any known shape, text or HTML."""
    if isinstance(body, Mapping) and depth:
        for name in ("error", "message", "detail", "msg"):
            if body.get(name):
                return says(body[name], depth - 1)
        return ""
    if isinstance(body, list) and depth:
        return "; ".join(filter(None, (says(each, depth - 1) for each in body)))
    # A gateway's page is no message; its status says enough.
    is_page = isinstance(body, str) and body.lstrip()[:1] == "<"
    return one_line(body, 200) if body and not is_page else ""


def _codes(body: Any) -> str:
    """The machine-readable parts of an error body, in one text."""
    if not isinstance(body, Mapping):
        return ""
    inner = body.get("error")
    own = " ".join(str(body[name]) for name in ("type", "code", "error_type") if body.get(name))
    return f"{own} {_codes(inner)}" if isinstance(inner, Mapping) else own


def from_status(
    model: Model, status: int, body: Any, retry_after: float | None = None
) -> MixmagicError:
    """The error that an HTTP status and its body, as `parse` gives it, mean."""
    error = _refused(model, status, body, retry_after)
    error.usage = counts.in_error(body)
    return error


def _refused(model: Model, status: int, body: Any, retry_after: float | None) -> MixmagicError:
    """The error of a status, without what its body tells of tokens."""
    provider = model.provider
    words = says(body)
    quoted = f": {words}" if words else "."
    if status in (400, 403, 413, 422) and _is_context(words, _codes(body)):
        return _too_long(model, words)
    if status in (400, 404) and any(
        sign in f"{words} {_codes(body)}".lower() for sign in _NOT_SERVED
    ):
        note = f" {model.note}" if model.note else ""
        return UnknownModel(
            f"{provider.label} does not serve {model.id} to this account{quoted}{note}",
            provider.hint or "`%mixmagic models --live` lists what it serves.",
        )
    if status in (401, 403):
        source = f" ({provider.key_env})" if provider.key_env else ""
        return MissingKey(
            f"{provider.label} answered {status}: the key{source} is missing or not accepted"
            f"{f' ({words})' if words else '.'}",
            key_hint(model),
        )
    if status == 402:
        return ProviderError(
            f"{provider.label} answered 402: no credit, or its spending limit is reached{quoted}",
            "Add credit or raise the limit there, or take another provider's row.",
            status=status,
        )
    if status == 404 and not model.id:  # its `/models` was asked for
        return ProviderError(
            f"{provider.label} answered 404 for the list of its models{quoted}",
            "It may have none; else check its URL in its catalog file"
            f"{provider.url_env and f' or in {provider.url_env}'}.",
            status=status,
        )
    if status == 404:
        return UnknownModel(
            f"{provider.label} answered 404 for {model.id}{quoted}",
            provider.hint or "Check the model's name and the URL: `%mixmagic models --live`.",
        )
    if status == 429:
        wait = f" It asks to wait {retry_after:g} s." if retry_after else ""
        return RateLimited(
            f"{provider.label} answered 429, too many requests{quoted}{wait}",
            "Wait a moment and run the cell again.",
            status=status,
            retry_after=retry_after,
            retryable=True,
        )
    if status >= 500 or status in (408, 409):
        return Unavailable(
            f"{provider.label} answered {status}{quoted}",
            "The trouble is on its side: run the cell again in a moment.",
            status=status,
            retry_after=retry_after,
            retryable=True,
        )
    if 300 <= status < 400:
        return ProviderError(
            f"{provider.label} answered {status}: it sends calls elsewhere{quoted}",
            f"Set {provider.url_env or 'its URL'} to where its API is: a key is not sent on.",
            status=status,
        )
    return ProviderError(
        f"{provider.label} answered {status}{quoted}",
        "Check the model's name and the parameters.",
        status=status,
    )


def in_stream(model: Model, error: Any, codes: Mapping[str, Any] | None = None) -> MixmagicError:
    """The error that an object inside a stream means: a status of its own, or a broken answer."""
    body = {"error": error} if codes is None else {**codes, "error": error}
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        return from_status(model, code, body)
    words = says(body) or "it gave no reason"
    failure: MixmagicError
    if _is_context(words, _codes(body)):
        failure = _too_long(model, words)
    else:
        failure = StreamBroken(
            f"{model.provider.label} broke the answer off: {words}",
            "What came until then is kept; run the cell again for a whole answer.",
        )
    failure.usage = counts.in_error(body)
    return failure


def total(label: str) -> TotalTimedOut:
    """The error of a call that has had all its time."""
    return TotalTimedOut(
        f"The call to {label} was not over in its time.",
        "Allow more: total_timeout in config.toml, or timeout for one call.",
    )


def late(label: str, kind: type[TimedOut], settings: Settings) -> TimedOut:
    """The error of a wait that took too long."""
    if kind is ConnectTimedOut:
        return ConnectTimedOut(
            f"{label} cannot be reached: no connection within {settings.connect_timeout:g} s.",
            "Check the network and the proxy; connect_timeout in config.toml allows more.",
            retryable=True,
        )
    if kind is TotalTimedOut:
        return total(label)
    if kind is FirstByteTimedOut:
        return FirstByteTimedOut(
            f"{label} sent nothing of an answer for {settings.first_byte_timeout:g} s.",
            "Run the cell again; first_byte_timeout in config.toml allows more.",
        )
    return kind(
        f"{label} sent nothing more for {settings.idle_timeout:g} s.",
        "What came until then is kept; idle_timeout in config.toml allows more.",
    )


def _is_context(words: str, codes: str) -> bool:
    """Whether an error says that the prompt is too long."""
    lowered = words.lower()
    return any(code in codes for code in _CONTEXT_CODES) or any(
        w in lowered for w in _CONTEXT_WORDS
    )


def _too_long(model: Model, words: str) -> ContextTooLong:
    """The error of a prompt that does not fit."""
    context = f" takes {model.context:,} tokens in all" if model.context else "'s context is full"
    return ContextTooLong(
        f"The prompt is too long: {model.name}{context} ({words}).",
        "Shorten the prompt, lower --max-tokens, or take a model with a longer context"
        " (8x22b: 65,536).",
    )


def check(request: Request) -> None:
    """Refuse to go on with a call that is stopped, or has had all its time.

    Raises:
        Stopped: It is stopped.
        TotalTimedOut: It has had all its time.
    """
    if request.stop.is_set():
        raise Stopped(sent=False)
    if time.monotonic() > request.deadline:
        raise total(request.model.provider.label)

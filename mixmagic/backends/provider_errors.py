"""Errors with hints for the failures that a provider reports. No I/O.

They are classified by status and machine-readable code, never only by one provider's wording.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mixmagic.backends import reported_usage
from mixmagic.backends.error_bodies import codes, is_overflow, measured, provider_message
from mixmagic.core.settings import Settings
from mixmagic.core.values import Model, Provider, Request
from mixmagic.errors import (
    ConnectTimedOut,
    ContextTooLong,
    FirstByteTimedOut,
    ImagesUnsupported,
    KeyRejected,
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
from mixmagic.keys.credentials import key_hint

# Statuses that a retry would get again.
NEVER_AGAIN = (400, 401, 402, 403, 404, 422)
_NOT_SERVED = ("non-serverless", "model_not_available", "model_not_found")
_LONGEST = 2000  # characters of an error's message that are searched for a reason
_QUOTA_CODES = (
    "insufficient_quota", "billing_hard_limit", "billing_not_active", "credit_balance_exhausted",
    "exceeded_current_quota", "insufficient_balance", "insufficient_credits", "arrearage",
)  # fmt: skip
_CREDIT = re.compile(
    r"billing hard limit|insufficient (?:account )?(?:balance|credits?|funds)|in arrears"
    r"|credit balance is too low|(?:no|not enough|out of|run out of) credits?\b"
)
_PASSES = re.compile(r"retry[_ ]?(?:delay|in|after)|per[_ -]?(?:second|minute|hour|day)")
_BAD_KEY = re.compile(r"api[_ -]?key[_ ]?(?:is )?(?:invalid|not valid|not found|expired)"
                      r"|(?:incorrect|invalid|wrong|expired) (?:api[_ -]?)?key")  # fmt: skip
_OF_KEYS = re.compile(
    r"\b(?:api|access|secret|subscription|authentication)[_ -]?keys?\b|\bkey\b|credential"
    r"|(?:access|auth\w*|bearer|invalid|missing|expired)[_ -]?token"
    r"|token (?:is )?(?:invalid|expired)"
    r"|authenticat|unauthenticated|unauthori[sz]ed|\blog ?in\b"
)
# Things that a valid key may not be allowed to do.
_OF_RIGHTS = re.compile(
    r"country|region|territory|location|moderat|flagged|polic|blocked|not have access"
    r"|not permitted|permission|not allowed|not enabled|access to (?:the |this )?model"
)

# A refusal of images as such, unless it is of this image: of its size or its format.
_OF_IMAGES = re.compile(
    r"""(?:image|vision|multi-?modal|modalit).{0,80}(?:support|allow|accept|enabled|available)
      | (?:support|accept|allow|unknown\ variant|unexpected|not\ an?).{0,60}
        (?:image|vision|multi-?modal|modalit)
      | at\ most\ 0\ image | required\ for\ image
      | content.{0,60}(?:must\ be|should\ be|expected|valid).{0,20}str""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_OF_THIS_IMAGE = re.compile(
    r"format|too (?:large|big|small|many)|exceed|corrupt|decod|pixel|dimension|resol|base64"
    r"|media.?type|process|maximum|at most (?!0)|limit",
    re.IGNORECASE,
)
_REFUSES_IMAGES = (400, 404, 415, 422, 500, 501)
# Fields of an error that hold its status, as a number or a word.
_STATUS_FIELDS = ("code", "status", "status_code", "http_status", "type", "error_type")
_DEEPEST = 5
# Statuses for errors that have only a name; an exhausted quota is not retried.
_STATUSES = (
    (402, re.compile(r"insufficient[ _](?:quota|balance|credit|funds)|billing")),
    (429, re.compile(r"rate[ _]?limit|too[ _]many[ _]requests|resource[ _]exhausted|throttl")),
    (503, re.compile(r"overload|unavailable|capacity|(?:engine|server|system)[ _]busy")),
    (500, re.compile(r"^(?:internal[ _])?(?:server[ _])?error$|^api[ _]error$|^internal$")),
)


class Asked(NamedTuple):
    """The target of a call, without secrets.

    Attributes:
        url: The URL.
        key: The source of the key that was sent; empty if none was sent, `None` if unknown.
    """

    url: str = ""
    key: str | None = None


_NOT_KNOWN = Asked()


def from_status(
    model: Model,
    status: int,
    body: Any,
    retry_after: float | None = None,
    asked: Asked = _NOT_KNOWN,
) -> MixmagicError:
    """Return the error for an HTTP status and its body; it carries both.

    Args:
        model: The model that was called.
        status: The status.
        body: The result of `error_bodies.parse_body`, without keys.
        retry_after: Seconds that the provider asks to wait.
        asked: The target of the call.
    """
    error = _refused(model, status, body, retry_after, asked)
    error.usage, error.status, error.body = reported_usage.in_error(body), status, body
    return error


def of_images(model: Model, error: MixmagicError) -> MixmagicError:
    """Return the error of a request with images: another one if it refuses all images."""
    words = provider_message(error.body, _LONGEST) if error.status in _REFUSES_IMAGES else ""
    if not _OF_IMAGES.search(words) or _OF_THIS_IMAGE.search(words):
        return error
    refused = ImagesUnsupported(
        f"{model.name} does not see images: {model.provider.label} answered {error.status}:"
        f" {provider_message(error.body)}",
        "Use a model that sees images (`%mixmagic models`), or leave the images out.",
    )
    for name in ("usage", "status", "body", "sent", "transmitted"):
        setattr(refused, name, getattr(error, name))
    return refused


def _refused(
    model: Model, status: int, body: Any, retry_after: float | None, asked: Asked
) -> MixmagicError:
    """The error for a status, without the token counts of its body."""
    provider, words, error_codes = model.provider, provider_message(body), codes(body)
    all_words = provider_message(body, _LONGEST)
    everything = f"{all_words} {error_codes}".lower()
    quoted = f": {words}" if words else "."
    if status in (400, 403, 413, 422) and is_overflow(all_words, error_codes):
        return _too_long(model, all_words)
    if status == 402 or (status in (400, 403, 429) and _is_quota(everything, status, retry_after)):
        return ProviderError(
            f"{provider.label} answered {status}: no credit, or its quota or spending limit is used"
            f" up{quoted}",
            "Add credit or raise the limit there, or use another provider.",
            status=status,
        )
    if status in (400, 404) and any(sign in everything for sign in _NOT_SERVED):
        end = "" if quoted.endswith((".", "!", "?", "…")) else "."
        note = f"{end} {model.note}" if model.note else ""
        return UnknownModel(
            f"{provider.label} does not serve {model.id} to this account{quoted}{note}",
            provider.hint or f"`%mixmagic models {provider.name} --live` lists what it serves.",
        )
    if status == 401 or (status == 400 and _BAD_KEY.search(everything)):
        return _bad_key(model, status, quoted, asked.key)
    if status == 403:
        # A page without a message is a gateway's, and says nothing about the key.
        is_empty = not words and not (isinstance(body, str) and body.strip())
        if is_empty or (_OF_KEYS.search(everything) and not _OF_RIGHTS.search(everything)):
            return _bad_key(model, status, quoted, asked.key)
        return ProviderError(
            f"{provider.label} answered 403: it refuses this call{quoted}",
            "The key itself may be fine: check the permissions of your account and your network,"
            " or use another model or provider (`%mixmagic models`).",
            status=status,
        )
    if status == 404 and not model.id:  # the request was for `/models`
        return ProviderError(
            f"{provider.label} answered 404 for the list of its models{_at(asked.url)}{quoted}",
            f"It may not have one; otherwise check {_url_of(provider)}.",
            status=status,
        )
    if status == 404:
        return UnknownModel(
            f"{provider.label} answered 404 for {model.id}{_at(asked.url)}{quoted}",
            provider.hint
            or f"Check the model's name (`%mixmagic models {provider.name} --live`) and"
            f" {_url_of(provider)}.",
        )
    if status == 429:
        wait = f" It asks to wait {_duration(retry_after)}." if retry_after else ""
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
            "The problem is on its side: run the cell again in a moment.",
            status=status,
            retry_after=retry_after,
            retryable=True,
        )
    if 300 <= status < 400:
        return ProviderError(
            f"{provider.label} answered {status}, a redirect{quoted}",
            f"Set {provider.url_env or 'its URL'} to the API's URL: redirects are not followed.",
            status=status,
        )
    return ProviderError(
        f"{provider.label} answered {status}{quoted}",
        "Check the model's name and the parameters.",
        status=status,
    )


def _bad_key(model: Model, status: int, quoted: str, key: str | None) -> MissingKey:
    """The error of a key that is missing or not accepted."""
    provider, name = model.provider, model.provider.key_env
    if key:
        return KeyRejected(
            f"{provider.label} answered {status}: the key was rejected ({key}){quoted}",
            f"Replace it by a key from {provider.key_url or provider.label}: it may be mistyped,"
            " expired or another account's.",
        )
    if key is None:
        problem = f"the key{f' ({name})' if name else ''} is missing or not accepted"
    else:
        problem = f"it needs a key{f', and {name} is not set' if name else ''}"
    return MissingKey(f"{provider.label} answered {status}: {problem}{quoted}", key_hint(model))


def _is_quota(everything: str, status: int, retry_after: float | None) -> bool:
    """True if an error is about an exhausted quota, not about a rate limit.

    Google calls both a quota, but says when to try again for a rate limit.
    """
    if any(code in everything for code in _QUOTA_CODES):
        return True
    if _CREDIT.search(everything):
        return True
    is_temporary = retry_after is not None or _PASSES.search(everything) is not None
    return status == 429 and not is_temporary and "exceeded your current quota" in everything


def _at(url: str) -> str:
    """The URL of the call, for a message."""
    return f" at {url}" if url else ""


def _url_of(provider: Provider) -> str:
    """The setting of a provider's URL, for a hint."""
    return f"its URL in its catalog file{f' or in {provider.url_env}' if provider.url_env else ''}"


def _duration(seconds: float) -> str:
    """A duration in words."""
    for unit, size in (("year", 31_557_600), ("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}s" if seconds < 1e12 else "forever"
    return f"{seconds:g} s"


def in_stream(model: Model, error: Any, frame: Mapping[str, Any] | None = None) -> MixmagicError:
    """Return the error for an object inside a stream: by its status, or as a broken answer."""
    body = {"error": error} if frame is None else {**frame, "error": error}
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        return from_status(model, code, body)
    failure: MixmagicError
    all_words = provider_message(body, _LONGEST)
    if is_overflow(all_words, codes(body)):
        failure = _too_long(model, all_words)
    else:
        words = provider_message(body) or "it gave no reason"
        failure = StreamBroken(
            f"{model.provider.label} broke off the answer: {words}",
            "The part received is kept; run the cell again for a complete answer.",
        )
    failure.usage, failure.body = reported_usage.in_error(body), body
    return failure


def is_error_frame(frame: Any) -> bool:
    """True if a frame is an error, in OpenAI's form or in Mistral's flat one."""
    return bool(_fields(frame).get("error")) or _fields(frame).get("object") == "error"


def from_frame(model: Model, frame: Any, *, begun: bool) -> MixmagicError:
    """Return the error that a frame of a stream is or contains.

    Args:
        model: The model that was called.
        frame: The frame, without keys; gateways nest one error inside another.
        begun: True if a part of the answer was received: then the answer is broken off.

    Example:
        >>> frame = {"error": {"code": "rate_limit_exceeded", "message": "slow"}}
        >>> from_frame(model, frame, begun=False)
        RateLimited('… answered 429, too many requests: slow')
    """
    levels = list(_levels(frame))
    inner = levels[-1]
    status = None if begun else _status(levels)
    words = provider_message(inner) or provider_message(frame)
    if status is not None:
        return from_status(model, status, {**_fields(frame), "error": words})
    failure = in_stream(model, {**_fields(inner), "message": words}, _fields(frame))
    if begun or not isinstance(failure, StreamBroken):
        return failure
    empty = StreamBroken(
        f"{model.provider.label} sent an error instead of an answer:"
        f" {words or 'it gave no reason'}",
        "No answer was received: run the cell again, or check the model and the parameters.",
    )
    empty.usage, empty.body = failure.usage, failure.body
    return empty


def _fields(value: Any) -> Mapping[str, Any]:
    """The fields of an object; empty for anything else."""
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
    """The HTTP status for the codes of an error, which may be numbers or words."""
    values = [_fields(level).get(name) for level in reversed(levels) for name in _STATUS_FIELDS]
    for code in values:
        if isinstance(code, (int, str)) and re.fullmatch("[45][0-9][0-9]", str(code)):
            return int(code)
    texts = [code.lower() for code in values if isinstance(code, str)]
    return next((status for status, sign in _STATUSES for text in texts if sign.search(text)), None)


def deadline_error(label: str) -> TotalTimedOut:
    """Return the error of a call that has reached its deadline."""
    return TotalTimedOut(
        f"The call to {label} took too long.",
        "Allow more: total_timeout in config.toml, or timeout for one call.",
    )


def timeout_error(label: str, kind: type[TimedOut], settings: Settings) -> TimedOut:
    """Return the error for a timeout."""
    if kind is ConnectTimedOut:
        return ConnectTimedOut(
            f"{label} cannot be reached: no connection within {settings.connect_timeout:g} s.",
            "Check the network and the proxy; connect_timeout in config.toml allows more.",
            retryable=True,
        )
    if kind is TotalTimedOut:
        return deadline_error(label)
    if kind is FirstByteTimedOut:
        return FirstByteTimedOut(
            f"{label} sent no part of an answer for {settings.first_byte_timeout:g} s.",
            "Run the cell again; first_byte_timeout in config.toml allows more.",
        )
    return kind(
        f"{label} sent nothing more for {settings.idle_timeout:g} s.",
        "The part received is kept; idle_timeout in config.toml allows more.",
    )


def _too_long(model: Model, words: str) -> ContextTooLong:
    """The error for a prompt that is too long; a reported limit overrides the catalog's."""
    overflow = measured(words)
    limit = overflow.limit or model.context
    context = f" takes {limit:,} tokens in all" if limit else "'s context is full"
    needed = f", and this call needs {overflow.tokens:,}" if overflow.tokens else ""
    return ContextTooLong(
        f"The prompt is too long: {model.name}{context}{needed} ({one_line(words, 200)}).",
        "Shorten the prompt, lower --max-tokens, or use a model with a longer context"
        " (8x22b: 65,536).",
    )


def raise_if_ended(request: Request) -> None:
    """Raise if a call has been stopped or has reached its deadline.

    Raises:
        Stopped: It has been stopped.
        TotalTimedOut: It has reached its deadline.
    """
    if request.control.stop.is_set():
        raise Stopped(sent=False)
    if time.monotonic() > request.control.deadline:
        raise deadline_error(request.model.provider.label)

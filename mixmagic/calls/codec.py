"""The one JSON form of requests, completions, usage and errors.

The cache, cassettes, jobs and saved comparisons use it. Every object has a version, `v`. Defaults
are left out, and dollars are strings. A provider is its name alone: no key, header or URL is
written.

May import `completion` and the packages below it.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import wraps
from typing import Any, TypeVar, get_args

from mixmagic import errors
from mixmagic.calls.completion import Completion
from mixmagic.calls.identity import image_hash, without_folder
from mixmagic.core.logprobs import Logprobs, TokenLogprob
from mixmagic.core.money import Counted, Price, Usage
from mixmagic.core.params import without_defaults
from mixmagic.core.values import (
    Image,
    Message,
    Model,
    Origin,
    Part,
    Provider,
    Request,
    Role,
    Text,
)
from mixmagic.errors import MixmagicError, Stopped, UnreadableRecord, received

VERSION = 1

# Returns the catalog row of a provider's name and a model's id.
FindModel = Callable[[str, str], Model | None]
_T = TypeVar("_T")

# Digits of dollars before the decimal point, at most.
_MOST_DIGITS = 12


def _reads(what: str) -> Callable[[Callable[..., _T]], Callable[..., _T]]:
    """Make a reader raise `UnreadableRecord` if its JSON is damaged, or of a newer version."""

    def decorate(read: Callable[..., _T]) -> Callable[..., _T]:
        @wraps(read)
        def checked(data: object, *args: Any, **options: Any) -> _T:
            version: Any = data.get("v") if isinstance(data, dict) else None
            if type(version) is int and version > VERSION:
                raise UnreadableRecord(
                    f"A recorded {what} has format {version}, and this mixmagic reads {VERSION}.",
                    "Update mixmagic: pip install -U mixmagic.",
                )
            try:
                if type(version) is not int or version < 1:
                    raise ValueError("v")
                return read(data, *args, **options)
            except UnreadableRecord:
                raise
            except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
                raise UnreadableRecord(
                    f"A recorded {what} is damaged: {error or type(error).__name__!s:.80}.",
                    "Record it again, or restore the file.",
                ) from None

        return checked

    return decorate


def dumps(value: Any, separators: tuple[str, str] | None = None) -> str:
    """Return JSON as a text that can be written in UTF-8: half of a surrogate pair is escaped.

    Args:
        value: The JSON.
        separators: As for `json.dumps`.
    """
    text = json.dumps(value, ensure_ascii=False, separators=separators)
    try:
        text.encode()
    except UnicodeEncodeError:
        return re.sub(r"[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
    return text


def request_to_json(request: Request, *, portable: bool = False) -> dict[str, Any]:
    """Return a question as JSON, without the settings of the call that are in `control`.

    Args:
        request: The question.
        portable: True to leave out the folder of a local model's file and the data of images, for
            which their hashes stand.

    Example:
        >>> request_to_json(session.request("Hi", model="8x7b", temperature=0))["params"]
        {'temperature': 0}
    """
    model = request.model
    name, asked = f"{model.provider.name}:{model.id}", request.asked
    if portable:
        name, asked = without_folder(name, model), without_folder(asked, model)
    row = _filled(
        provider=model.provider.name,
        id=name.partition(":")[2],
        context=model.context,
        price=None if model.price is None else _price_to_json(model.price),
    )
    return _filled(
        v=VERSION,
        asked=asked,
        model=row,
        messages=[_message_to_json(message, portable=portable) for message in request.messages],
        params=without_defaults(request.params),
        stream=None if request.stream else False,
    )


@_reads("request")
def request_from_json(data: Any, find: FindModel | None = None) -> Request:
    """Return a question that `request_to_json` wrote.

    Args:
        data: The JSON.
        find: Returns the catalog row of the model; if there is none, the recorded values are used.

    Raises:
        UnreadableRecord: The JSON is damaged, or of a newer version.
    """
    row = _get(data, "model", dict)
    provider, id_ = _get(row, "provider", str), _get(row, "id", str)
    model = None if find is None else find(provider, id_)
    if model is None:
        price = _price_from_json(_get(row, "price", dict)) if "price" in row else None
        context = _get(row, "context", int, None)
        model = Model(id_, Provider(provider, provider), context=context, price=price)
    return Request(
        model,
        tuple(map(_message_from_json, _get(data, "messages", list, []))),
        _get(data, "params", dict, {}),
        stream=_get(data, "stream", bool, True),
        asked=_get(data, "asked", str, ""),
    )


def completion_to_json(completion: Completion) -> dict[str, Any]:
    """Return an answer as JSON, without its question and without `value`."""
    recorded = completion.recorded
    return _filled(
        v=VERSION,
        text=completion.text,
        others=list(completion.others),
        reasoning=completion.reasoning,
        finish=completion.finish,
        usage=usage_to_json(completion.usage),
        cost=_decimal_to_json(completion.cost),
        billed_tries=completion.billed_tries or None,
        logprobs=list(map(_token_to_json, completion.logprobs)),
        notes=list(completion.notes),
        excerpt=completion.excerpt,
        timing=_filled(
            elapsed=completion.elapsed, ttft=completion.ttft, thinking=completion.thinking
        ),
        origin=None if completion.origin == "live" else completion.origin,
        recorded=None if recorded is None else recorded.isoformat(),
    )


@_reads("answer")
def completion_from_json(data: Any, request: Request) -> Completion:
    """Return an answer that `completion_to_json` wrote.

    Raises:
        UnreadableRecord: The JSON is damaged, or of a newer version.
    """
    timing, recorded = _get(data, "timing", dict), _get(data, "recorded", str, "")
    return Completion(
        text=_get(data, "text", str, ""),
        usage=usage_from_json(_get(data, "usage", dict)),
        cost=_decimal(data, "cost"),
        finish=_get(data, "finish", str),
        request=request,
        elapsed=_seconds(timing, "elapsed", 0.0) or 0.0,
        ttft=_seconds(timing, "ttft"),
        reasoning=_get(data, "reasoning", str, ""),
        thinking=_seconds(timing, "thinking"),
        notes=tuple(_items(data, "notes", str)),
        origin=_one_of(data, "origin", get_args(Origin), "live"),
        others=tuple(_items(data, "others", str)),
        logprobs=Logprobs(map(_token_from_json, _get(data, "logprobs", list, []))),
        billed_tries=_get(data, "billed_tries", int, 0),
        excerpt=_get(data, "excerpt", str, ""),
        recorded=datetime.fromisoformat(recorded) if recorded else None,
    )


def _token_to_json(token: TokenLogprob) -> list[Any]:
    """Return a token as its text, its logarithm and, if there are any, its alternatives."""
    top = [[other.token, other.logprob] for other in token.top]
    return [token.token, token.logprob, *([top] if top else [])]


def _token_from_json(data: Any) -> TokenLogprob:
    """Return a token that `_token_to_json` wrote; older records have only the logarithm."""
    if type(data) in (float, int):
        return TokenLogprob("", float(data))
    text, number, *top = data
    others = tuple(map(_token_from_json, top[0])) if top else ()
    if type(text) is not str or type(number) not in (float, int) or len(top) > 1:
        raise TypeError("logprobs")
    return TokenLogprob(text, float(number), others)


def usage_to_json(usage: Usage) -> dict[str, Any]:
    """Return token counts as JSON."""
    written = _filled(
        v=VERSION,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
        reasoning_tokens=usage.reasoning_tokens or None,
        charge=_decimal_to_json(usage.charge),
    )
    return written if usage.counted == "server" else {**written, "counted": usage.counted}


@_reads("usage")
def usage_from_json(data: Any) -> Usage:
    """Return token counts that `usage_to_json` wrote.

    Raises:
        UnreadableRecord: The JSON is damaged, or of a newer version.
    """
    return Usage(
        _get(data, "prompt_tokens", int),
        _get(data, "completion_tokens", int),
        _get(data, "cached_tokens", int, 0),
        _one_of(data, "counted", (*get_args(Counted), None), "server"),
        _get(data, "cache_write_tokens", int, 0),
        _decimal(data, "charge"),
        _get(data, "reasoning_tokens", int, 0),
    )


def error_to_json(error: MixmagicError | Stopped) -> dict[str, Any]:
    """Return an error as JSON, with the part of the answer that was received."""
    kind = next(base for base in type(error).__mro__ if hasattr(errors, base.__name__))
    written: dict[str, Any] = {"v": VERSION, "type": kind.__name__, "message": error.message}
    plain = Stopped() if kind is Stopped else kind("", "")
    for name in _ERROR_FIELDS:
        value = getattr(error, name, None)
        if value != getattr(plain, name, None):
            written[name] = str(value) if isinstance(value, Decimal) else value
    usage, partial = getattr(error, "usage", None), _partial(error)
    return written | _filled(
        hint=getattr(error, "hint", ""),
        body=getattr(error, "body", None),
        usage=usage_to_json(usage) if isinstance(usage, Usage) else None,
        partial=None if partial is None else completion_to_json(partial),
    )


@_reads("error")
def error_from_json(data: Any, request: Request | None = None) -> MixmagicError | Stopped:
    """Return an error that `error_to_json` wrote, of the same class.

    Args:
        data: The JSON.
        request: The question; without it, the part of the answer is not read.

    Raises:
        UnreadableRecord: The JSON is damaged, or of a newer version.
    """
    kind, message = getattr(errors, _get(data, "type", str), None), _get(data, "message", str)
    partial = None
    if request is not None and "partial" in data:
        partial = completion_from_json(data["partial"], request)
    error: MixmagicError | Stopped
    if kind is Stopped:
        error = Stopped(message, partial)
    elif isinstance(kind, type) and issubclass(kind, MixmagicError):
        error = kind(message, _get(data, "hint", str, ""))
        error.partial, error.body = partial, data.get("body")
        error.usage = usage_from_json(data["usage"]) if "usage" in data else None
    else:
        raise ValueError("type")
    for name, type_ in _ERROR_FIELDS.items():
        if name in data:
            setattr(error, name, _decimal(data, name) if type_ is str else _get(data, name, type_))
    return error


# Attributes of some errors, and their types in JSON; dollars are strings.
_ERROR_FIELDS: Mapping[str, type] = {
    "status": int, "retry_after": float, "retryable": bool, "sent": bool, "transmitted": bool,
    "most": str, "remaining": str,
}  # fmt: skip


def _partial(error: MixmagicError | Stopped) -> Completion | None:
    """Return the part of the answer that was received before an error."""
    partial = received(error)
    return partial if isinstance(partial, Completion) else None


def _message_to_json(message: Message, *, portable: bool = False) -> dict[str, Any]:
    if isinstance(message.content, str):
        return {"role": message.role, "content": message.content}
    content = [_part_to_json(part, portable=portable) for part in message.content]
    return {"role": message.role, "content": content}


def _part_to_json(part: Part, *, portable: bool) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if portable:
        return _filled(image_hash=image_hash(part), type=part.type, size=list(part.size or ()))
    return {"image": base64.b64encode(part.data).decode(), "type": part.type}


def _message_from_json(data: Any) -> Message:
    role: Role = _one_of(data, "role", get_args(Role))
    if isinstance(data.get("content"), str):
        return Message(role, data["content"])
    return Message(role, tuple(map(_part_from_json, _get(data, "content", list))))


def _part_from_json(data: Any) -> Part:
    if "text" in data:
        return Text(_get(data, "text", str))
    return Image(base64.b64decode(_get(data, "image", str), validate=True), _get(data, "type", str))


def _price_to_json(price: Price) -> dict[str, Any]:
    return _filled(
        input=str(price.input),
        output=str(price.output),
        batch=None if price.batch == 1 else str(price.batch),
        cached=_decimal_to_json(price.cached),
        cache_write=_decimal_to_json(price.cache_write),
        since=None if price.since is None else price.since.isoformat(),
        source=price.source,
        above=price.above,
        long=None if price.long is None else _price_to_json(price.long),
    )


def _price_from_json(data: Any) -> Price:
    input_, output, since = _decimal(data, "input"), _decimal(data, "output"), data.get("since")
    if input_ is None or output is None:
        raise ValueError("price")
    return Price(
        input_,
        output,
        _decimal(data, "batch") or Decimal(1),
        _decimal(data, "cached"),
        None if since is None else date.fromisoformat(since),
        _get(data, "source", str, ""),
        _decimal(data, "cache_write"),
        _get(data, "above", int, None),
        _price_from_json(data["long"]) if "long" in data else None,
    )


def _filled(**values: Any) -> dict[str, Any]:
    """Return the values that are not empty; 0 and `False` are not."""
    return {
        name: value
        for name, value in values.items()
        if not (value is None or (isinstance(value, str | list | dict) and not value))
    }


def _get(data: Any, name: str, type_: type, *default: Any) -> Any:
    """Return a field of JSON, after a check of its type.

    Raises:
        KeyError: It is missing.
        TypeError: It is of another type, or a negative count.
    """
    if default and name not in data:
        return default[0]
    value = data[name]
    if type_ is float and type(value) is int:
        value = float(value)
    if type(value) is not type_ or (isinstance(value, int) and value < 0):
        raise TypeError(name)
    return value


def _items(data: Any, name: str, type_: type) -> list[Any]:
    """Return a list of JSON, after a check of the types of its items."""
    items = _get(data, name, list, [])
    return [_get({name: item}, name, type_) for item in items]


def _one_of(data: Any, name: str, values: tuple[Any, ...], *default: Any) -> Any:
    """Return a field that has one of some values."""
    value = default[0] if default and name not in data else data[name]
    if value not in values:
        raise ValueError(name)
    return value


def _seconds(data: Any, name: str, *default: float) -> float | None:
    """Return a duration; `None` if there is none."""
    seconds: float | None = _get(data, name, float, *(default or (None,)))
    if seconds is not None and not 0 <= seconds < math.inf:
        raise ValueError(name)
    return seconds


def _decimal_to_json(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(data: Any, name: str) -> Decimal | None:
    """Return dollars; `None` if there are none."""
    if name not in data:
        return None
    value = Decimal(_get(data, name, str))
    if not value.is_finite() or value < 0 or value.adjusted() > _MOST_DIGITS:
        raise ValueError(name)
    return value

"""Validate messages and sampling parameters.

May import `values` and the packages below it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mixmagic.core.values import Image, Message, Text
from mixmagic.errors import BadArguments, did_you_mean

# A text, an image, texts and images, or a conversation: see `prompting.parts`.
Prompt = str | Image | Sequence[object]
_ROLES = ("system", "user", "assistant")


def is_number(value: Any) -> bool:
    """Return True if a value is a number, and not a boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def canonical(value: Any) -> Any:
    """Return a JSON value in one form: whole numbers as integers, lists for tuples, string keys.

    So 0, 0.0 and -0.0 are one. A boolean is not a number.

    Raises:
        TypeError: A key cannot be one in JSON.

    Example:
        >>> canonical({"temperature": 1.0, "stop": ("END",)})
        {'temperature': 1, 'stop': ['END']}
    """
    if isinstance(value, Mapping):
        return {_json_key(name): canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _json_key(name: Any) -> str:
    """Return a key as `json.dumps` writes it."""
    if isinstance(name, str):
        return name
    if name is None or isinstance(name, int | float):
        return json.dumps(name)
    raise TypeError(name)


def _number_between(low: float, high: float) -> Callable[[Any], bool]:
    """Return a check for a number from `low` to `high`."""
    return lambda value: is_number(value) and low <= value <= high


def _integer(low: int, high: float = math.inf) -> Callable[[Any], bool]:
    """Return a check for a whole number from `low` to `high`."""
    return lambda value: type(value) is int and low <= value <= high


def is_json(value: Any) -> bool:
    """Return True if a value can be sent: JSON, in UTF-8."""
    try:
        # Half a surrogate pair, from pasting or a bad decoding, is not Unicode text.
        json.dumps(canonical(value), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _object(value: Any) -> bool:
    """Return True if a value is a dict, and JSON."""
    return isinstance(value, dict) and is_json(value)


def _texts(value: Any) -> bool:
    """Return True if a value is a list of texts."""
    texts = isinstance(value, list) and all(isinstance(text, str) and text for text in value)
    return texts and is_json(value)


# The check of each parameter, and its description. A provider may accept less, and says so.
_KNOWN: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (_number_between(0, 2), "a number from 0 to 2"),
    "max_tokens": (_integer(1, 10**9), "a whole number of at least 1 and at most 1,000,000,000"),
    "top_p": (_number_between(0, 1), "a number from 0 to 1"),
    "top_k": (_integer(0), "a whole number of at least 0"),
    "min_p": (_number_between(0, 1), "a number from 0 to 1"),
    "seed": (_integer(0), "a whole number of at least 0"),
    "stop": (_texts, "a string or a list of strings"),
    "n": (_integer(1, 128), "a whole number from 1 to 128"),
    "logprobs": (lambda value: isinstance(value, bool), "a boolean"),
    "top_logprobs": (_integer(0, 20), "a whole number from 0 to 20"),
    "presence_penalty": (_number_between(-2, 2), "a number from -2 to 2"),
    "frequency_penalty": (_number_between(-2, 2), "a number from -2 to 2"),
    "repetition_penalty": (_number_between(0, 10), "a number from 0 to 10"),
    "schema": (_object, "a JSON Schema, as a dict"),
    "response_format": (_object, "a dict, as in OpenAI's API"),
    "extra_body": (_object, "a dict that is merged into the request's JSON"),
}

_EMPTY_IS_DEFAULT = ("stop", "extra_body", "response_format")


def check(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are set, in their canonical form.

    Numbers are as `canonical` has them, and `stop` is a list. Defaults are dropped: `None`, `n=1`,
    `logprobs=False`, and an empty `stop`, `extra_body` or `response_format`. `logprobs` and
    `top_logprobs` come together only, as OpenAI's API takes them.

    Raises:
        BadArguments: There is no such parameter, or its value is invalid.

    Example:
        >>> check({"temperature": 0.0, "stop": "END", "seed": None})
        {'temperature': 0, 'stop': ['END']}
    """
    given = {name: value for name, value in params.items() if value is not None}
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    elif isinstance(given.get("stop"), tuple):
        given["stop"] = list(given["stop"])
    for name, value in given.items():
        if name not in _KNOWN:
            raise BadArguments(
                f"There is no parameter {name!r}.",
                f"{did_you_mean(name, _KNOWN)}Parameters are {', '.join(_KNOWN)};"
                " parameters of one provider alone go into extra_body.",
            )
        accepts, takes = _KNOWN[name]
        if not accepts(value):
            raise BadArguments(f"{name} cannot be {_quoted(value)}.", f"It takes {takes}.")
    return without_defaults(given)


def _quoted(value: Any) -> str:
    """Return a value, shortened for a message."""
    try:
        return f"{value!r:.80}"
    except (RecursionError, ValueError):  # or an integer of too many digits
        return f"a {type(value).__name__} of this size"


def without_defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return valid parameters in their canonical form: see `check`.

    A provider's own default of `temperature`, `top_p` or a penalty is not known here, so that no
    value of these is dropped.
    """
    given = {name: canonical(value) for name, value in params.items() if value is not None}
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    for name in _EMPTY_IS_DEFAULT:
        if name in given and not given[name]:
            del given[name]
    if given.get("n") == 1:
        del given["n"]
    top_logprobs = given.pop("top_logprobs", None)
    if given.pop("logprobs", top_logprobs is not None):
        given |= {"logprobs": True, "top_logprobs": 1 if top_logprobs is None else top_logprobs}
    return given


def _is_content(content: object) -> bool:
    """Return True if a message may have this content."""
    return isinstance(content, str) or (
        isinstance(content, tuple) and all(isinstance(part, Text | Image) for part in content)
    )


def _has_content(message: Message) -> bool:
    """Return True if a message has text or an image."""
    if isinstance(message.content, tuple) and _is_content(message.content):
        return bool(message.text.strip() or message.images)
    return bool(str(message.content).strip())


def conversation(prompt: Any, system: str | None) -> tuple[Message, ...]:
    """Return a prompt as a conversation, the system prompt first.

    Args:
        prompt: A text, or a list of `Message`s and of dicts with `role` and `content`.
        system: The system prompt.

    Raises:
        BadArguments: The prompt is empty, or is not a conversation.

    Example:
        >>> conversation("Hi", "Be brief.")[1]
        Message(role='user', content='Hi')
    """
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message("user", prompt),)
    else:
        try:
            messages = tuple(m if isinstance(m, Message) else Message(**m) for m in prompt)
        except TypeError:
            raise BadArguments(
                f"A prompt cannot be {prompt!r:.60}.",
                'It is a string, or a list of {"role": "user", "content": "…"}.',
            ) from None
    if not any(_has_content(message) for message in messages):
        raise BadArguments(
            "The prompt is empty.",
            "Write it after %mixtral, or below a line %%mixtral.",
        )
    if system:
        messages = (Message("system", system), *messages)
    for message in messages:
        if message.role not in _ROLES or not _is_content(message.content):
            raise BadArguments(
                f"A message cannot be {message!r:.80}.",
                f"Its role is one of {', '.join(_ROLES)}, its content a string or parts.",
            )
        if message.images and message.role != "user":
            raise BadArguments(
                f"A message with the role {message.role} cannot have an image.",
                "Providers take images in messages with the role user alone.",
            )
        if not is_json(message.text):
            raise BadArguments(
                "The prompt is not Unicode text: it has half a surrogate pair.",
                "Read the text with the right encoding.",
            )
    return messages

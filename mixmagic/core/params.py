"""What a call may carry: its conversation and its sampling parameters, and what each may be.

May import `values` and what stands below it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mixmagic.core.values import Image, Message, Text
from mixmagic.errors import BadArguments, did_you_mean

Prompt = str | Sequence[Message | Mapping[str, str]]
_ROLES = ("system", "user", "assistant")


def is_number(value: Any) -> bool:
    """Whether a value is a number, and not a truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(low: float, high: float) -> Callable[[Any], bool]:
    """A check for a number from `low` to `high`."""
    return lambda value: is_number(value) and low <= value <= high


def _integer(low: int, high: float = math.inf) -> Callable[[Any], bool]:
    """A check for a whole number from `low` to `high`."""
    return lambda value: type(value) is int and low <= value <= high


def is_json(value: Any) -> bool:
    """Whether a value can be sent: JSON, in UTF-8."""
    try:
        # Half a surrogate pair, from pasting or a bad decoding, is no Unicode text.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _object(value: Any) -> bool:
    """A check for a dict that is JSON."""
    return isinstance(value, dict) and is_json(value)


def _texts(value: Any) -> bool:
    """A check for a list of texts."""
    texts = isinstance(value, list) and all(isinstance(text, str) and text for text in value)
    return texts and is_json(value)


# Name: check, what it takes. Providers' own limits may be narrower; they say so themselves.
_KNOWN: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (_number(0, 2), "a number from 0 to 2"),
    "max_tokens": (_integer(1, 10**9), "a whole number of at least 1 and at most 1,000,000,000"),
    "top_p": (_number(0, 1), "a number from 0 to 1"),
    "top_k": (_integer(0), "a whole number of at least 0"),
    "min_p": (_number(0, 1), "a number from 0 to 1"),
    "seed": (_integer(0), "a whole number of at least 0"),
    "stop": (_texts, "a text or a list of texts"),
    "n": (_integer(1, 128), "a whole number from 1 to 128"),
    "logprobs": (lambda value: isinstance(value, bool), "a truth value"),
    "top_logprobs": (_integer(0, 20), "a whole number from 0 to 20"),
    "presence_penalty": (_number(-2, 2), "a number from -2 to 2"),
    "frequency_penalty": (_number(-2, 2), "a number from -2 to 2"),
    "repetition_penalty": (_number(0, 10), "a number from 0 to 10"),
    "schema": (_object, "a JSON Schema, as a dict"),
    "response_format": (_object, "a dict, as in OpenAI's API"),
    "extra_body": (_object, "a dict that is merged into the request's JSON"),
}


def check(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are set, in their canonical form.

    No `None`; `stop` as a list; `logprobs` and `top_logprobs` only together, as OpenAI's API takes
    them; one answer, or no probabilities, said by nothing.

    Raises:
        BadArguments: A parameter that does not exist, or whose value makes no sense.

    Example:
        >>> check({"temperature": 0, "stop": "END", "seed": None})
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
                " what only one provider knows goes into extra_body.",
            )
        accepts, takes = _KNOWN[name]
        if not accepts(value):
            raise BadArguments(f"{name} cannot be {value!r:.80}.", f"It takes {takes}.")
    return _usual(given)


def _usual(given: dict[str, Any]) -> dict[str, Any]:
    """Parameters without those that say what is so anyway."""
    if given.get("n") == 1:
        del given["n"]
    told = given.pop("top_logprobs", None)
    wanted = given.pop("logprobs", told is not None)
    if wanted:
        given |= {"logprobs": True, "top_logprobs": 1 if told is None else told}
    return given


def _is_content(content: object) -> bool:
    """True if a message may have this content."""
    return isinstance(content, str) or (
        isinstance(content, tuple) and all(isinstance(part, Text | Image) for part in content)
    )


def _has_content(message: Message) -> bool:
    """True if a message says anything, or shows an image."""
    if isinstance(message.content, tuple) and _is_content(message.content):
        return bool(message.text.strip() or message.images)
    return bool(str(message.content).strip())


def conversation(prompt: Prompt, system: str | None) -> tuple[Message, ...]:
    """A prompt as a conversation, its instructions first.

    Raises:
        BadArguments: It is empty, or no conversation.

    Example:
        >>> conversation("Hi", "Be brief.")[1]
        Message(role='user', content='Hi')
    """
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message("user", prompt),)
    else:
        try:
            messages = tuple(m if isinstance(m, Message) else Message(**m) for m in prompt)  # type: ignore[arg-type]  # checked below
        except TypeError:
            raise BadArguments(
                f"A prompt cannot be {prompt!r:.60}.",
                'It is a text, or a list of {"role": "user", "content": "…"}.',
            ) from None
    if not any(_has_content(message) for message in messages):
        raise BadArguments(
            "The prompt is empty.",
            "Write it behind %mixtral, or below a line %%mixtral.",
        )
    if system:
        messages = (Message("system", system), *messages)
    for message in messages:
        if message.role not in _ROLES or not _is_content(message.content):
            raise BadArguments(
                f"A message cannot be {message!r:.80}.",
                f"Its role is one of {', '.join(_ROLES)}, its content a text or parts.",
            )
        if not is_json(message.text):
            raise BadArguments(
                "The prompt is no Unicode text: it has half a surrogate pair.",
                "Read the text with the right encoding.",
            )
    return messages

"""OpenAI-style JSON to values and back, with each provider's dialect. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixmagic import tokens
from mixmagic.backends import counts, dialects, faults
from mixmagic.money import Usage
from mixmagic.params import is_number
from mixmagic.values import Delta, Model, Request

# Words for the same thing.
_FINISH = {"eos": "stop", "end_turn": "stop", "max_tokens": "length", "model_length": "length"}
# What a frame says once, for all of its answers.
_ONCE = {"usage", *counts.ELSEWHERE}
# What most frames, and most pieces in them, do not have.
_UNCOMMON = counts.ELSEWHERE | {"error"}
_BESIDE_TEXT = frozenset({"reasoning", "reasoning_content", "tool_calls", "function_call"})
# No probability has such a logarithm; OpenAI's smallest is -9999.
_LEAST_LIKELY = 1e6
# More answers than anybody gives.
_MOST_ANSWERS = 1024


def encode(request: Request) -> dict[str, Any]:
    """Return the JSON body of a request, as the catalog says that its model takes it."""
    return dialects.adapted(body(request), dialects.known(request.model)).body


def body(request: Request) -> dict[str, Any]:
    """Return the JSON body of a request under its provider's names; `extra_body` as it is."""
    model = request.model
    dialect, names, params = model.provider.dialect, model.wire_names, dict(request.params)
    extra = params.pop("extra_body", {})
    sent: dict[str, Any] = {
        "model": model.id,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
    }
    sent |= {names.get(name, name): value for name, value in params.items()}
    sent |= dialect.always
    if request.stream:
        sent |= {"stream": True, **dialect.streaming}
    sent |= extra
    return sent


def answers(frame: Any) -> list[Any]:
    """A frame with a piece of each of several answers as frames with one piece each.

    The last one has the token counts. `decode` reads one piece of a frame.
    """
    choices = frame.get("choices") if isinstance(frame, Mapping) else None
    if not isinstance(choices, list) or len(choices) < 2:
        return [frame]
    if len({each.get("index") for each in choices if isinstance(each, Mapping)}) < len(choices):
        # They do not say which is which: then it is their order.
        choices = [
            {**each, "index": place} if isinstance(each, Mapping) else each
            for place, each in enumerate(choices)
        ]
    bare = {name: value for name, value in frame.items() if name not in _ONCE}
    return [{**bare, "choices": [each]} for each in choices[:-1]] + [
        {**frame, "choices": choices[-1:]}
    ]


def decode(model: Model, frame: Any) -> Delta:
    """One JSON frame, of a stream or a whole answer, as a piece of the answer.

    Raises:
        MixmagicError: The frame is, or holds, an error.
    """
    try:
        return _decode(model, frame)
    except (AttributeError, IndexError, KeyError, TypeError):
        raise faults.in_stream(model, f"it sent {frame!r:.80}") from None


def _decode(model: Model, frame: Mapping[str, Any]) -> Delta:
    """One JSON frame; fails in many ways where the frame is not what it should be."""
    told: Any = frame.get("usage")
    if not _UNCOMMON.isdisjoint(frame):
        if frame.get("error"):
            raise faults.in_stream(model, frame["error"], frame)
        groq = frame.get("x_groq")
        if groq and groq.get("error"):
            raise faults.in_stream(model, groq["error"], frame)
        told = True
    choices = frame.get("choices")
    if not choices:
        if frame.get("object") == "error":  # Mistral's flat form
            raise faults.in_stream(model, frame.get("message"), frame)
        return Delta(usage=counts.told(frame)) if told else Delta()
    choice = choices[0]
    part = choice.get("delta") or choice.get("message") or {}
    finish = choice.get("finish_reason")
    content = part.get("content")
    thought = calls = None
    if not _BESIDE_TEXT.isdisjoint(part):
        thought = part.get("reasoning") or part.get("reasoning_content")
        calls = part.get("tool_calls") or part.get("function_call")
    index, logprobs = choice.get("index"), choice.get("logprobs")
    more = told or calls or choice.get("usage")
    if content and type(content) is str and not more and finish is thought is logprobs is None:
        if index:
            return Delta(content, choice=_index(index))
        # The common case, cheaply.
        return Delta(content)
    if finish == "error":
        raise faults.in_stream(model, choice.get("error") or "finish_reason: error", frame)
    text, reasoning = _content(content if content is not None else choice.get("text"))
    usage, alone = counts.told(frame) if told else None, None
    if choice.get("usage") or part.get("usage"):
        alone = usage is None or not counts.says(usage)
        usage = counts.told(choice) if alone else usage
    return Delta(
        text=text,
        reasoning=reasoning or _text(thought),
        finish=_FINISH.get(finish, finish) if isinstance(finish, str) and finish else None,
        usage=usage or (_called(calls) if calls else None),
        choice=_index(index),
        logprobs=() if logprobs is None else _logprobs(logprobs),
        alone=alone,
    )


def _index(value: Any) -> int:
    """Which of several answers a piece belongs to; the first where it does not say."""
    return value if type(value) is int and 0 <= value < _MOST_ANSWERS else 0


def _logprobs(told: Any) -> tuple[float, ...]:
    """The logarithms of a piece's probabilities: numbers alone, for a text could hold a key.

    OpenAI's form; Together's: one number of a streamed piece, a list of a whole answer.
    """
    numbers: Any = [told]
    if isinstance(told, Mapping):
        tokens = told.get("content")
        numbers = told.get("token_logprobs")
        if isinstance(tokens, list):
            numbers = [each.get("logprob") for each in tokens if isinstance(each, Mapping)]
    if not isinstance(numbers, list):
        return ()
    return tuple(float(each) for each in numbers if is_number(each) and abs(each) < _LEAST_LIKELY)


def _text(value: Any) -> str:
    """A text, where it is one."""
    return value if isinstance(value, str) else ""


def _content(content: Any) -> tuple[str, str]:
    """Text and reasoning of a message's content: a text, or a list of typed parts."""
    if not isinstance(content, list):
        return (content if isinstance(content, str) else ""), ""
    text, reasoning = [], []
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif part.get("type") == "thinking":
            inner = part.get("thinking")
            reasoning.append(inner if isinstance(inner, str) else _content(inner or [])[0])
        else:
            text.append(part.get("text") or "")
    return "".join(text), "".join(reasoning)


def _called(calls: Any) -> Usage | None:
    """Our count of what a piece has of calls to tools, where it has some: nobody is shown it."""
    written = ""
    for call in calls if isinstance(calls, list) else [calls]:
        if isinstance(call, Mapping):
            function = call.get("function", call)
            if isinstance(function, Mapping):
                said = (function.get("name"), function.get("arguments"))
                written += "".join(str(each) for each in said if each)
    return Usage(0, tokens.estimate(written), counted="estimate") if written else None

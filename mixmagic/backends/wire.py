"""OpenAI-style JSON to values and back, with each provider's dialect. No I/O."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from mixmagic.backends import dialects, provider_errors, reported_usage
from mixmagic.calls import tokens
from mixmagic.core.money import Usage
from mixmagic.core.params import is_number
from mixmagic.core.values import Delta, Message, Model, Part, Request, Text
from mixmagic.errors import one_line

# Why an answer ended: in our words, and in those of all providers.
_FINISH_WORDS = {
    "": "null none nil undefined unspecified in_progress",
    "stop": """
        eos eos_token eos_token_found end_turn end_of_turn end_of_text endoftext im_end
        stop_sequence stop_token stop_word stop_words complete completed finish finished done end
        success normal
        """,
    "length": """
        max_tokens max_output_tokens max_completion_tokens max_new_tokens max_length
        max_tokens_reached model_length model_context_window_exceeded context_length
        context_length_exceeded context_window_exceeded token_limit length_limit
        length_limit_reached truncated
        """,
    "content_filter": """
        content_filtered content_filtering content_policy_violation safety sensitive blocked
        blocklist prohibited_content spii recitation image_safety moderation guardrail_intervened
        guardrails error_toxic violation
        """,
    "refusal": "refused",
    "tool_calls": "tool_call tool_use tool function_call unexpected_tool_call",
    "error": """
        errored failed failure abort aborted cancel cancelled canceled interrupted network_error
        server_error internal_error internal_server_error model_error engine_error upstream_error
        provider_error timeout timed_out insufficient_system_resource overloaded model_overloaded
        unavailable service_unavailable malformed_function_call
        """,
}
_FINISHES = {word: end for end, words in _FINISH_WORDS.items() for word in [end, *words.split()]}
_FEEDBACK = ("promptFeedback", "prompt_feedback")  # Gemini's: why it refuses a prompt
_LONGEST_REASON = 80  # characters of a reason
# Fields of a choice with content, besides its end.
_SAYING = frozenset({"delta", "message", "text", "logprobs"})
_LONGEST_NAME, _MOST_NAMES = 60, 8  # of the tools that an answer calls
# Fields of a frame that hold for all of its answers.
_ONCE = {"usage", "error", *reported_usage.ELSEWHERE, *_FEEDBACK}
# Fields that most frames do not have.
_UNCOMMON = reported_usage.ELSEWHERE | {"error", *_FEEDBACK}
_BESIDE_TEXT = frozenset(
    {"reasoning", "reasoning_content", "tool_calls", "function_call", "refusal", "usage"}
)
# A bound for logarithms of probabilities; OpenAI's smallest is -9999.
_LEAST_LIKELY = 1e6
# The highest index of an answer that is believed.
_MOST_ANSWERS = 1024


def encode(request: Request) -> dict[str, Any]:
    """Return the JSON body of a request, in the form that the catalog gives for its model."""
    return dialects.adapted(body(request), dialects.known(request.model)).body


def body(request: Request) -> dict[str, Any]:
    """Return the JSON body of a request under its provider's names; `extra_body` as it is."""
    model = request.model
    dialect, names, params = model.provider.dialect, model.wire_names, dict(request.params)
    extra = params.pop("extra_body", {})
    sent: dict[str, Any] = {
        "model": model.id,
        "messages": [{"role": m.role, "content": _message_content(m)} for m in request.messages],
    }
    sent |= {names.get(name, name): value for name, value in params.items()}
    sent |= dialect.always
    if request.stream:
        sent |= {"stream": True, **dialect.streaming}
    sent |= extra
    return sent


def _message_content(message: Message) -> str | list[dict[str, Any]]:
    """Return a message's text or parts, as OpenAI's API takes them."""
    if isinstance(message.content, str):
        return message.content
    return [_part(part) for part in message.content]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    url = f"data:{part.type};base64,{base64.b64encode(part.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def answers(frame: Any) -> list[Any]:
    """Return a frame with pieces of several answers as frames with one piece each.

    The last one has the token counts. `decode` reads one piece of a frame. The end of an answer
    that failed becomes two frames: its text, and its failure.
    """
    choices = frame.get("choices") if type(frame) is dict else None
    if not isinstance(choices, list) or not choices:
        return [frame]
    if len(choices) > 1:
        if len({each.get("index") for each in choices if isinstance(each, Mapping)}) < len(choices):
            # They do not say which is which: then it is their order.
            choices = [
                {**each, "index": place} if isinstance(each, Mapping) else each
                for place, each in enumerate(choices)
            ]
    elif not _fails(choices[0]):
        return [frame]
    parts = [part for each in choices for part in (_parted(each) if _fails(each) else (each,))]
    bare = {name: value for name, value in frame.items() if name not in _ONCE}
    return [{**bare, "choices": [each]} for each in parts[:-1]] + [{**frame, "choices": parts[-1:]}]


def _fails(choice: Any) -> bool:
    """True if a piece says that its answer has failed."""
    if type(choice) is not dict or (word := choice.get("finish_reason")) is None:
        return False
    return finish_reason(word)[0] == "error"


def _parted(choice: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The last piece of an answer that failed: what it says, and that it failed."""
    silent = {name: value for name, value in choice.items() if name not in _SAYING}
    return {**choice, "finish_reason": None}, silent


def plain_text(frame: Any) -> str | None:
    """Return the text of a frame that has nothing else, as nearly all have; None if it has more."""
    if type(frame) is not dict or not _UNCOMMON.isdisjoint(frame) or frame.get("usage"):
        return None
    choices = frame.get("choices")
    if type(choices) is not list or len(choices) != 1 or type(choice := choices[0]) is not dict:
        return None
    get = choice.get
    if get("finish_reason") or get("index") or get("logprobs") or get("usage"):
        return None
    if type(part := get("delta")) is not dict:
        return None
    content = part.get("content")
    if type(content) is not str or not _BESIDE_TEXT.isdisjoint(part):
        return None
    return content or None


def decode(model: Model, frame: Any) -> Delta:
    """Return one JSON frame, of a stream or a whole answer, as a piece of the answer.

    Raises:
        MixmagicError: The frame is, or holds, an error.
    """
    try:
        return _decode(model, frame)
    except (AttributeError, IndexError, KeyError, TypeError):
        raise provider_errors.in_stream(model, f"it sent {frame!r:.80}") from None


def _decode(model: Model, frame: Mapping[str, Any]) -> Delta:
    """Decode a frame; raise all kinds of errors if it is malformed."""
    told: Any = frame.get("usage")
    blocked = ""
    if not _UNCOMMON.isdisjoint(frame):
        if frame.get("error"):
            raise provider_errors.in_stream(model, frame["error"], frame)
        groq = frame.get("x_groq")
        if groq and groq.get("error"):
            raise provider_errors.in_stream(model, groq["error"], frame)
        told, blocked = True, _block_reason(frame)
    choices = frame.get("choices")
    if not choices:
        if frame.get("object") == "error":  # Mistral's flat form
            raise provider_errors.in_stream(model, frame.get("message"), frame)
        usage = reported_usage.read(frame) if told else None
        finish = "content_filter" if blocked else None
        return Delta(finish=finish, usage=usage, note=_reason_note(blocked))
    choice = choices[0]
    part = choice.get("delta") or choice.get("message") or {}
    finish = choice.get("finish_reason")
    content = part.get("content")
    thought = calls = refusal = None
    if not _BESIDE_TEXT.isdisjoint(part):
        thought = part.get("reasoning") or part.get("reasoning_content")
        calls = part.get("tool_calls") or part.get("function_call")
        refusal = part.get("refusal")
    index, logprobs = choice.get("index"), choice.get("logprobs")
    end, word = finish_reason(finish)
    if end == "error":
        raise provider_errors.in_stream(
            model, choice.get("error") or f"finish_reason: {word}", frame
        )
    text, reasoning, refused = _content(content if content is not None else choice.get("text"))
    usage, alone = reported_usage.read(frame) if told else None, None
    if choice.get("usage") or part.get("usage"):
        alone = usage is None or not reported_usage.says(usage)
        usage = reported_usage.read(choice) if alone else usage
    if end == "content_filter":
        blocked = blocked or _filters(choice, word)
    return Delta(
        text=text + _text(refusal),
        reasoning=reasoning or _text(thought),
        finish=end or None,
        usage=usage or (_called(calls) if calls else None),
        note=_reason_note(blocked),
        choice=_index(index),
        logprobs=() if logprobs is None else _logprobs(logprobs),
        alone=alone,
        refusal=refused or bool(_text(refusal)),
        tool=_tools(calls) if calls else "",
    )


def _index(value: Any) -> int:
    """The index of the answer that a piece belongs to; 0 if it does not say."""
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
    """A value if it is a text, otherwise an empty text."""
    return value if isinstance(value, str) else ""


def _content(content: Any) -> tuple[str, str, bool]:
    """Text and reasoning of a message's content, and whether the text is a refusal.

    The content is a text, or a list of typed parts.
    """
    if not isinstance(content, list):
        return _text(content), "", False
    text, reasoning, refused = [], [], False
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif part.get("type") == "thinking":
            inner = part.get("thinking")
            reasoning.append(inner if isinstance(inner, str) else _content(inner or [])[0])
        elif part.get("type") == "refusal":
            text.append(_text(part.get("refusal")))
            refused = True
        else:
            text.append(part.get("text") or "")
    return "".join(text), "".join(reasoning), refused


def _tools(calls: Any) -> str:
    """The names of the tools that a piece calls."""
    names = []
    for call in calls if isinstance(calls, list) else [calls]:
        if isinstance(call, Mapping):
            function = call.get("function", call)
            name = function.get("name") if isinstance(function, Mapping) else None
            if isinstance(name, str) and name.strip():
                names.append(one_line(name, _LONGEST_NAME))
    return ", ".join(dict.fromkeys(names[:_MOST_NAMES]))


def _called(calls: Any) -> Usage | None:
    """Estimated tokens of tool calls: billed, never displayed."""
    written = ""
    for call in calls if isinstance(calls, list) else [calls]:
        if isinstance(call, Mapping):
            function = call.get("function", call)
            if isinstance(function, Mapping):
                said = (function.get("name"), function.get("arguments"))
                written += "".join(str(each) for each in said if each)
    return Usage(0, tokens.estimate(written), counted="estimate") if written else None


def finish_reason(finish: Any) -> tuple[str, str]:
    """Return why an answer ended in our words and in the provider's; empty if it has not.

    Ours are `stop`, `length`, `content_filter`, `refusal`, `tool_calls`, and `error` if the answer
    is not whole; a word that is not known stays as it is.

    Example:
        >>> finish_reason("FinishReason.MAX_TOKENS")
        ('length', 'MAX_TOKENS')
    """
    if not isinstance(finish, str):
        return "", ""
    word = finish.strip().strip("<|>").rpartition("FinishReason.")[2].removeprefix("FINISH_REASON_")
    return _FINISHES.get(word.lower().replace("-", "_").replace(" ", "_"), word), word


def _block_reason(frame: Mapping[str, Any]) -> str:
    """Return why the provider has refused the prompt, in Gemini's form; empty if it has not."""
    for name in _FEEDBACK:
        feedback = frame.get(name)
        if isinstance(feedback, Mapping):
            reason = feedback.get("blockReason") or feedback.get("block_reason")
            if finish_reason(reason)[0]:
                return finish_reason(reason)[1]
    return ""


def _filters(choice: Mapping[str, Any], word: str) -> str:
    """Return what a filter ended an answer for: its categories, as Azure has them, or the word."""
    results = choice.get("content_filter_results")
    found = results.items() if isinstance(results, Mapping) else ()
    names = [name for name, value in found if isinstance(value, Mapping) and value.get("filtered")]
    return ", ".join(map(str, names)) or ("" if word == "content_filter" else word)


def _reason_note(reason: str) -> str:
    """Return a note on the reason that a provider gives; empty if it gives none."""
    return f"the provider's reason: {one_line(reason, _LONGEST_REASON)}" if reason else ""

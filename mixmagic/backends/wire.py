"""OpenAI-style JSON to values and back, with each provider's dialect. No I/O."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from mixmagic.backends import dialects, provider_errors, reported_usage, token_texts
from mixmagic.calls import tokens
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta, Message, Model, Part, Request, Text
from mixmagic.errors import one_line

# Finish reasons: ours, and the words of all providers for each.
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
OUR_FINISHES = frozenset(_FINISH_WORDS)
_FEEDBACK = ("promptFeedback", "prompt_feedback")  # Gemini's reason for refusing a prompt
_LONGEST_REASON = 80  # characters of a reason
# Fields of a choice with content; the others are about its end.
_CONTENT = frozenset({"delta", "message", "text", "logprobs"})
_LONGEST_NAME, _MOST_NAMES = 60, 8  # of the tools that an answer calls
# Fields of a frame that apply to all of its answers.
_ONCE = {"usage", "error", *reported_usage.ELSEWHERE, *_FEEDBACK}
# Fields that most frames do not have.
_UNCOMMON = reported_usage.ELSEWHERE | {"error", *_FEEDBACK}
_BESIDE_TEXT = frozenset(
    {"reasoning", "reasoning_content", "tool_calls", "function_call", "refusal", "usage"}
)
# Indexes of answers from here on are not believed.
_MOST_ANSWERS = 1024


def encode(request: Request) -> dict[str, Any]:
    """Return the JSON body of a request, without the parts that the catalog says are refused."""
    return dialects.adapted(body(request), dialects.known(request.model)).body


def body(request: Request) -> dict[str, Any]:
    """Return the JSON body of a request under its provider's names, with `extra_body` as is."""
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
    """Split a frame with pieces of several answers into frames with one piece each.

    `decode` reads only one piece of a frame. The last frame has the token counts. The end of an
    answer that failed is split into two frames: its text, and its failure.
    """
    choices = frame.get("choices") if type(frame) is dict else None
    if not isinstance(choices, list) or not choices:
        return [frame]
    if len(choices) > 1:
        indexes = {choice.get("index") for choice in choices if isinstance(choice, Mapping)}
        if len(indexes) < len(choices):  # they are not told apart: number them in order
            choices = [
                {**choice, "index": index} if isinstance(choice, Mapping) else choice
                for index, choice in enumerate(choices)
            ]
    elif not _fails(choices[0]):
        return [frame]
    pieces = [
        piece
        for choice in choices
        for piece in (_content_and_failure(choice) if _fails(choice) else (choice,))
    ]
    bare = {name: value for name, value in frame.items() if name not in _ONCE}
    first = [{**bare, "choices": [piece]} for piece in pieces[:-1]]
    return [*first, {**frame, "choices": pieces[-1:]}]


def _fails(choice: Any) -> bool:
    """True if a piece says that its answer has failed."""
    if type(choice) is not dict or (word := choice.get("finish_reason")) is None:
        return False
    return finish_reason(word)[0] == "error"


def _content_and_failure(choice: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Split the last piece of an answer that failed: its content, and its failure."""
    failure = {name: value for name, value in choice.items() if name not in _CONTENT}
    return {**choice, "finish_reason": None}, failure


def plain_text(frame: Any) -> str | None:
    """Return the text of a frame with nothing else, as in nearly all; None if it has more."""
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
    """Decode a frame; raise any of the errors that `decode` catches if it is malformed."""
    has_usage: Any = frame.get("usage")
    blocked = ""
    if not _UNCOMMON.isdisjoint(frame):
        if frame.get("error"):
            raise provider_errors.in_stream(model, frame["error"], frame)
        groq = frame.get("x_groq")
        if groq and groq.get("error"):
            raise provider_errors.in_stream(model, groq["error"], frame)
        has_usage, blocked = True, _block_reason(frame)
    choices = frame.get("choices")
    if not choices:
        if frame.get("object") == "error":  # Mistral's flat form
            raise provider_errors.in_stream(model, frame.get("message"), frame)
        usage = reported_usage.usage_in(frame) if has_usage else None
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
    index, likely = choice.get("index"), choice.get("logprobs")
    end, word = finish_reason(finish)
    if end == "error":
        raise provider_errors.in_stream(
            model, choice.get("error") or f"finish_reason: {word}", frame
        )
    text, reasoning, refused = _content(content if content is not None else choice.get("text"))
    usage, alone = reported_usage.usage_in(frame) if has_usage else None, None
    if choice.get("usage") or part.get("usage"):
        alone = usage is None or not reported_usage.is_informative(usage)
        usage = reported_usage.usage_in(choice) if alone else usage
    if end == "content_filter":
        blocked = blocked or _filters(choice, word)
    return Delta(
        text=text + _string(refusal),
        reasoning=reasoning or _string(thought),
        finish=end or None,
        usage=usage or (_tool_usage(calls) if calls else None),
        note=_reason_note(blocked),
        choice=_index(index),
        logprobs=() if likely is None else token_texts.logprobs(likely, text),
        alone=alone,
        refusal=refused or bool(_string(refusal)),
        tool=_tool_names(calls) if calls else "",
    )


def _index(value: Any) -> int:
    """The index of the answer that a piece belongs to; 0 if it is not given."""
    return value if type(value) is int and 0 <= value < _MOST_ANSWERS else 0


def _string(value: Any) -> str:
    """A value if it is a string, otherwise an empty string."""
    return value if isinstance(value, str) else ""


def _content(content: Any) -> tuple[str, str, bool]:
    """Text and reasoning of a message's content, and True if the text is a refusal.

    The content is a string, or a list of typed parts.
    """
    if not isinstance(content, list):
        return _string(content), "", False
    text, reasoning, refused = [], [], False
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif part.get("type") == "thinking":
            inner = part.get("thinking")
            reasoning.append(inner if isinstance(inner, str) else _content(inner or [])[0])
        elif part.get("type") == "refusal":
            text.append(_string(part.get("refusal")))
            refused = True
        else:
            text.append(part.get("text") or "")
    return "".join(text), "".join(reasoning), refused


def _tool_names(calls: Any) -> str:
    """The names of the tools that a piece calls."""
    names = [function.get("name") for function in _functions(calls)]
    lines = [one_line(n, _LONGEST_NAME) for n in names if isinstance(n, str) and n.strip()]
    return ", ".join(dict.fromkeys(lines[:_MOST_NAMES]))


def _tool_usage(calls: Any) -> Usage | None:
    """Estimated tokens of tool calls, which are billed, but not displayed."""
    fields = [f.get(name) for f in _functions(calls) for name in ("name", "arguments")]
    written = "".join(str(field) for field in fields if field)
    return Usage(0, tokens.estimate(written), counted="estimate") if written else None


def _functions(calls: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the functions of tool calls, or of one call in OpenAI's older form."""
    for call in calls if isinstance(calls, list) else [calls]:
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield function


def finish_reason(finish: Any) -> tuple[str, str]:
    """Return an answer's finish reason, in our words and in the provider's; empty if unfinished.

    Ours are `stop`, `length`, `content_filter`, `refusal`, `tool_calls`, and `error` if the answer
    is incomplete. An unknown word is returned as is.

    Example:
        >>> finish_reason("FinishReason.MAX_TOKENS")
        ('length', 'MAX_TOKENS')
    """
    if not isinstance(finish, str):
        return "", ""
    word = finish.strip().strip("<|>").rpartition("FinishReason.")[2].removeprefix("FINISH_REASON_")
    return _FINISHES.get(word.lower().replace("-", "_").replace(" ", "_"), word), word


def _block_reason(frame: Mapping[str, Any]) -> str:
    """Return the provider's reason for refusing a prompt, in Gemini's form; empty if it did not."""
    for name in _FEEDBACK:
        feedback = frame.get(name)
        if isinstance(feedback, Mapping):
            reason = feedback.get("blockReason") or feedback.get("block_reason")
            if finish_reason(reason)[0]:
                return finish_reason(reason)[1]
    return ""


def _filters(choice: Mapping[str, Any], word: str) -> str:
    """Return a content filter's categories, in Azure's form, or its own word."""
    results = choice.get("content_filter_results")
    items = results.items() if isinstance(results, Mapping) else ()
    names = [name for name, value in items if isinstance(value, Mapping) and value.get("filtered")]
    return ", ".join(map(str, names)) or ("" if word == "content_filter" else word)


def _reason_note(reason: str) -> str:
    """Return a note on the reason that a provider gives; empty if it gives none."""
    return f"the provider's reason: {one_line(reason, _LONGEST_REASON)}" if reason else ""

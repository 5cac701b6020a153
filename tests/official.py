"""The providers' official packages, asked as `mixmagic` is."""

from __future__ import annotations

from typing import Any, NamedTuple

import openai
import together

MODEL = "org/Model-1"
HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
CLIENTS = {"together": together.Together, "openai": openai.OpenAI}
NAMES = tuple(CLIENTS)
ERRORS = (together.TogetherError, openai.OpenAIError)


class Said(NamedTuple):
    """A client's view of an answer."""

    text: str
    reasoning: str
    finish: str | None
    usage: tuple[int, int] | None


def send(name: str, *, retries: int = 0, **call: Any) -> Any:
    """A call as the package makes it, with what it finds in the environment; closed at its end."""
    with CLIENTS[name](max_retries=retries) as client:
        answer = client.chat.completions.create(**{"model": MODEL, "messages": HELLO, **call})
        return list(answer) if call.get("stream") else answer


def read(answer: Any) -> Said:
    """What an answer, or the chunks of one, says: the last of what can be there once."""
    texts, thoughts, finish, usage = [], [], None, None
    for frame in answer if isinstance(answer, list) else [answer]:
        usage = frame.usage or usage
        for choice in (frame.choices or [])[:1]:
            finish = choice.finish_reason or finish
            part = choice.delta if isinstance(answer, list) else choice.message
            texts.append(part.content or "")
            thoughts.append(
                getattr(part, "reasoning", None) or getattr(part, "reasoning_content", None) or ""
            )
    counts = None if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    return Said("".join(texts), "".join(thoughts), finish, counts)

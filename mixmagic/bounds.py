"""What a call can cost at most, before it is made.

May import `tokens` and what stands below it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mixmagic import tokens
from mixmagic.money import nano
from mixmagic.values import Request

# What a body may hold besides its parameters: it changes neither the price nor, but by its own
# length, the tokens.
_HARMLESS = {
    "best_of",
    "cache_prompt",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "min_p",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "safe_prompt",
    "seed",
    "stop",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
}
_ANSWERS = ("n", "best_of")
_COUNTS = (*_ANSWERS, "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that a call can take.

    Attributes:
        prompt_tokens: Tokens in.
        completion_tokens: Tokens out, of all its answers together; `None` where nothing limits
            them.
        cost: US dollars; `None` where they cannot be known.
        reason: Why they cannot.
        hint: What would make them known.
        answers: How many answers are asked for.
    """

    prompt_tokens: int = 0
    completion_tokens: int | None = None
    cost: Decimal | None = None
    reason: str = ""
    hint: str = ""
    answers: int = 1


def bound(request: Request) -> Bound:
    """The most that `request` can take and cost.

    The prompt at its upper bound, plus `max_tokens` or what the context leaves, at the price of
    tokens that are in no cache.

    Example:
        >>> bound(session.request("Hi", model="8x7b", max_tokens=100)).cost
        Decimal('0.000065400')
    """
    model, params = request.model, request.params
    if model.provider.free:
        return Bound(cost=Decimal(0))
    dialect = model.provider.dialect
    # What `wire.encode` puts over the parameters.
    always, extra = dialect.always, params.get("extra_body", {})
    over: dict[Any, Any] = {**always, **(dialect.streaming if request.stream else {}), **extra}
    prompt = tokens.count(request.messages, model)
    # What describes the answer's form may be read with the question.
    beside = [params[name] for name in ("schema", "response_format") if name in params]
    most = prompt.most + sum(len(json.dumps(each)) for each in [*beside, always, extra] if each)
    name = dialect.rename.get("max_tokens", "max_tokens")
    limit = over.get(name, params.get("max_tokens"))
    counts = {key: over[key] for key in (name, *_COUNTS) if key in over}
    asked: list[Any] = [params.get("n"), *(over.get(key) for key in _ANSWERS)]
    answers: int = max([1, *(each for each in asked if _whole(each))])
    reason = hint = ""
    if model.price is None:
        reason = f"the price of {model.name} is not known"
        hint = "Give it in a catalog file (README, Models)"
    elif unknown := sorted(str(key) for key in over.keys() - _HARMLESS - {name}):
        reason = f"what {unknown[0]!r} in the request costs is not known"
        hint = "Leave it out of extra_body"
    elif odd := [key for key, value in counts.items() if not _whole(value)]:
        reason = f"{odd[0]!r} in the request is no number of tokens or answers"
        hint = "Give a whole number from 1 up"
    elif limit is None and model.context is None:
        reason = f"nothing limits what {model.name} may answer"
        hint = "Give --max-tokens"
    if model.price is None or reason:
        return Bound(most, None, None, reason, hint, answers)
    if limit is not None:
        # Which of two limits a provider obeys is its own business.
        each = max(limit, over.get("max_completion_tokens", 0))
    else:
        # An estimate of the prompt can be several times too high.
        each = max((model.context or 0) - (prompt.tokens if prompt.exact else 1), 1)
    completion = each * answers
    return Bound(most, completion, model.price.most(most, completion), answers=answers)


def _whole(value: object) -> bool:
    """Whether a value is a number of tokens or answers."""
    return type(value) is int and value >= 1


def fitting(request: Request, bound: Bound, left: Decimal) -> int:
    """The `max_tokens` that `left` US dollars are enough for; 0 where they are for none."""
    price = request.model.price
    if price is None or not price.output:
        return 0
    rest = nano(left) - nano(price.most(bound.prompt_tokens, 0))
    return max(rest * 1_000_000 // nano(price.output) // bound.answers, 0)

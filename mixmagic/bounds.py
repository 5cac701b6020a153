"""What a call can cost at most, before it is made.

May import `tokens` and what stands below it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mixmagic import tokens
from mixmagic.values import Request

# What `extra_body` may hold: it changes neither the price nor, but by its own length, the tokens.
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
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
}
_ANSWERS = ("n", "best_of")
_LIMITS = ("max_tokens", "max_completion_tokens")


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
    extra: dict[str, Any] = params.get("extra_body", {})
    if model.provider.free:
        return Bound(cost=Decimal(0))
    prompt = tokens.count(request.messages, model)
    # What describes the answer's form may be read with the question.
    beside = [params[name] for name in ("schema", "response_format") if name in params]
    most = prompt.most + sum(len(json.dumps(each)) for each in [*beside, extra] if each)
    answers = 1
    for name in _ANSWERS:
        if type(asked := extra.get(name)) is int:
            answers = max(answers, asked)
    limits = [
        limit
        for limit in (params.get("max_tokens"), *(extra.get(name) for name in _LIMITS))
        if type(limit) is int
    ]
    each: int | None = None
    if limits:
        # Which of them a provider obeys is its own business.
        each = max(limits)
    elif model.context is not None:
        # An estimate can be several times too high: see `layers.fit`.
        least = prompt.tokens if prompt.exact else prompt.tokens // 4
        each = max(model.context - least, 1)
    completion = None if each is None else each * answers
    unknown = sorted(extra.keys() - _HARMLESS)
    reason = hint = ""
    if model.price is None:
        reason = f"the price of {model.name} is not known"
        hint = "Give it in a catalog file (README, Models)"
    elif unknown:
        reason = f"what {unknown[0]!r} in extra_body costs is not known"
        hint = "Leave it out"
    elif completion is None:
        reason = f"nothing limits what {model.name} may answer"
        hint = "Give --max-tokens"
    if model.price is None or completion is None or unknown:
        return Bound(most, completion, None, reason, hint, answers)
    return Bound(most, completion, model.price.most(most, completion), answers=answers)


def fitting(request: Request, bound: Bound, left: Decimal) -> int:
    """The `max_tokens` that `left` US dollars are enough for; 0 where they are for none."""
    price = request.model.price
    if price is None or not price.output:
        return 0
    rest = left - price.most(bound.prompt_tokens, 0)
    return max(int(rest * 1_000_000 / price.output) // bound.answers, 0)

"""What a call can cost at most, before it is made.

May import `tokens` and what stands below it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from mixmagic.calls import tokens
from mixmagic.core.money import NANO, to_nano
from mixmagic.core.values import Model, Request

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
    "return_progress",
    "safe_prompt",
    "seed",
    "stop",
    "stream_options",
    "temperature",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
}
_ANSWERS = ("n", "best_of")
_LIMITS = ("max_tokens", "max_completion_tokens")
# Tokens that a hosted provider's own chat template may have more than the model's published one:
# for each message, and for the prompt. An estimate's upper bound has them already.
_PER_MESSAGE, _PER_PROMPT = 24, 96
# What is over these is a mistake, and too much for the ledger: tokens or answers, and dollars.
_MOST, _DEAREST = 10**9, Decimal(1_000_000)
# As many tokens as the budgets buy.
UNLIMITED = _MOST


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
        limit: Under a budget, which sends one with every call, the `max_tokens` that each answer
            gets if there is money enough: as asked for, or what the context leaves. `UNLIMITED` if
            neither is known; `None` if no `max_tokens` would bound the cost.
        most: US dollars that the call can cost with that limit; `None` if nothing but a budget
            limits it.
    """

    prompt_tokens: int = 0
    completion_tokens: int | None = None
    cost: Decimal | None = None
    reason: str = ""
    hint: str = ""
    answers: int = 1
    limit: int | None = None
    most: Decimal | None = None


def bound(request: Request) -> Bound:
    """The most that `request` can take and cost.

    The prompt at its upper bound, plus `max_tokens` or what the context leaves, at the price of
    tokens that are in no cache.

    Example:
        >>> bound(session.request("Hi", model="8x7b", max_tokens=100)).cost
        Decimal('0.000137400')
    """
    model, params, over = request.model, request.params, _over(request)
    asked: list[Any] = [params.get("n"), *(over.get(key) for key in _ANSWERS)]
    answers: int = max([1, *(each for each in asked if _whole(each))])
    if _free(model):
        return Bound(cost=Decimal(0), answers=answers)
    always, extra = model.provider.dialect.always, params.get("extra_body", {})
    prompt = tokens.count(request.messages, model)
    # What describes the answer's form may be read with the question.
    beside = [params.get("response_format"), always, extra]
    most = prompt.most + sum(len(json.dumps(each)) for each in beside if each)
    if prompt.exact and not model.provider.counts_exactly:
        most += len(request.messages) * _PER_MESSAGE + _PER_PROMPT
    name = _limit(model)
    counts = {key: over[key] for key in (name, *_ANSWERS, *_LIMITS) if key in over}
    limits = {key: counts[key] for key in (name, *_LIMITS) if key in counts}
    if name not in limits and "max_tokens" in params:
        room = _MOST if model.context is None else max(model.context - prompt.tokens, 1)
        limits[name] = min(params["max_tokens"], room)  # as `layers.fit` sends it
    reason = hint = ""
    if model.price is None:
        reason = f"the price of {model.name} is not known"
        hint = "Give it in a catalog file (README, Models)"
    elif unknown := sorted(str(key) for key in _unbounded(over) - {name}):
        reason = f"what {unknown[0]!r} in the request costs is not known"
        hint = "Leave it out of extra_body"
    elif odd := [key for key, value in counts.items() if not _whole(value)]:
        reason = f"{odd[0]!r} in the request is no number of tokens or answers"
        hint = f"Give a whole number from 1 to {_MOST:,}"
    if model.price is None or reason:
        return Bound(most, None, None, reason, hint, answers)
    if name in limits:
        # Which of several limits a provider obeys is its own business.
        each = limit = max(limits.values())
    elif model.context is not None:
        # An estimate of the prompt can be several times too high.
        each = max(model.context - (prompt.tokens if prompt.exact else 1), 1)
        # What is sent must leave room for the prompt; one that is much longer than it seems is
        # rather refused than all others left half of their room.
        limit = max(model.context - most, (model.context - prompt.tokens) // 2, 1)
    else:
        reason = f"nothing limits what {model.name} may answer"
        limit = UNLIMITED if model.price.output else None
        return Bound(most, None, None, reason, "Give --max-tokens", answers, limit)
    completion = each * answers
    cost = model.price.most(most, completion)
    if cost > _DEAREST:
        reason = f"the call could cost over ${_DEAREST:,}"
        return Bound(most, completion, None, reason, "Ask for less", answers)
    needed = cost if limit == each else model.price.most(most, limit * answers)
    return Bound(most, completion, cost, answers=answers, limit=limit, most=needed)


def limited(request: Request, limit: int) -> Request:
    """The request, such that no answer of it can have more than `limit` tokens, whatever it holds.

    Example:
        >>> limited(session.request("Hi", extra_body={"max_tokens": 900}), 100).params
        {'extra_body': {'max_tokens': 100}, 'max_tokens': 100}
    """
    name, params = _limit(request.model), request.params
    over = _over(request)
    lowered = {key: limit for key in (name, *_LIMITS) if over.get(key, 0) > limit}
    if not lowered and params.get("max_tokens", _MOST + 1) <= limit:
        return request
    extra = {**params.get("extra_body", {}), **lowered}
    sent = {**params, "max_tokens": min(params.get("max_tokens", limit), limit)}
    return replace(request, params={**sent, "extra_body": extra} if extra else sent)


def _free(model: Model) -> bool:
    """Return True if a provider gives its model away, and the user has set no price on it."""
    return model.provider.free and (model.price is None or model.price.free)


def _over(request: Request) -> dict[Any, Any]:
    """Return the fields that `wire.encode` puts over a call's parameters."""
    dialect = request.model.provider.dialect
    streaming = dialect.streaming if request.stream else {}
    return {**dialect.always, **streaming, **request.params.get("extra_body", {})}


def _unbounded(over: Mapping[Any, Any]) -> set[Any]:
    """Return the fields of a body that may cost more than its tokens, or unforeseeable ones."""
    unknown = over.keys() - _HARMLESS
    # The user's own functions are answered here; a provider's tools search and read by themselves.
    tools = over.get("tools", [])
    if isinstance(tools, list) and all(_function(each) for each in tools):
        unknown.discard("tools")
    choice = over.get("tool_choice")
    if choice is None or isinstance(choice, str) or _function(choice):
        unknown.discard("tool_choice")
    return unknown


def _function(tool: Any) -> bool:
    """Return True if a tool is a function of the user's own."""
    return isinstance(tool, Mapping) and tool.get("type") == "function"


def _limit(model: Model) -> str:
    """Return a provider's name for `max_tokens`."""
    return model.wire_names.get("max_tokens", "max_tokens")


def _whole(value: object) -> bool:
    """Return True if a value is a number of tokens or answers."""
    return type(value) is int and 1 <= value <= _MOST


def fitting(request: Request, bound: Bound, left: Decimal) -> int:
    """The `max_tokens` that `left` US dollars are enough for; 0 where they are for none."""
    price = request.model.price
    if price is None or not price.output:
        return 0
    rest = to_nano(left) - to_nano(price.most(bound.prompt_tokens, 0))
    return max(Fraction(rest, NANO) * 1_000_000 // (Fraction(price.output) * bound.answers), 0)


def cheaper(request: Request, bound: Bound, left: Decimal) -> str:
    """How a call that is too dear can be made one that `left` US dollars are enough for.

    Empty where it cannot, for nothing is left.
    """
    if left <= 0:
        return ""
    room = fitting(request, bound, left)
    if not room:
        schema = " with its schema" if "response_format" in request.params else ""
        return f"ask less: no --max-tokens is low enough, the prompt{schema} costs too much"
    name, over = _limit(request.model), _over(request)
    # What stands there is sent in any case, and one of them in the place of `max_tokens`.
    fixed = [key for key in dict.fromkeys((name, *_LIMITS)) if over.get(key, 0) > room]
    ways = [f"a {' and a '.join(map(repr, fixed))} of {room} in extra_body"] if fixed else []
    if name not in over and request.params.get("max_tokens", _MOST) > room:
        ways.append(f"--max-tokens {room}")
    return f"ask for less: {' and '.join(ways)} would fit"

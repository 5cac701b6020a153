"""The most that a call can cost, before it is made.

May import `tokens` and the packages below it.
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

# Fields of a body that change neither the price nor, except by their own length, the tokens.
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
# Tokens or answers, and dollars: more is a mistake, and too much for the ledger.
_MOST, _MOST_DOLLARS = 10**9, Decimal(1_000_000)
# A limit of as many tokens as the budgets pay for.
UNLIMITED = _MOST


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most that a call can take and cost.

    Attributes:
        prompt_tokens: Tokens in.
        completion_tokens: Tokens out, of all answers together; `None` if nothing limits them.
        cost: US dollars; `None` if unknown.
        reason: Reason why the cost is unknown.
        hint: Advice that would make it known.
        answers: Number of answers that are asked for.
        limit: The `max_tokens` that each answer gets under a budget that has enough money: as asked
            for, or what the context leaves. `UNLIMITED` if neither is known; `None` if no
            `max_tokens` would limit the cost.
        most: US dollars that the call can cost with that limit; `None` if only a budget limits it.
    """

    prompt_tokens: int = 0
    completion_tokens: int | None = None
    cost: Decimal | None = None
    reason: str = ""
    hint: str = ""
    answers: int = 1
    limit: int | None = None
    most: Decimal | None = None


def worst_case(request: Request) -> WorstCase:
    """Return the most that a call can take and cost.

    That is the most tokens that the prompt can have, plus `max_tokens` or what the context leaves,
    at uncached prices.

    Example:
        >>> worst_case(session.request("Hi", model="8x7b", max_tokens=100)).cost
        Decimal('0.000137400')
    """
    model, params, overrides = request.model, request.params, _overrides(request)
    counts_asked: list[Any] = [params.get("n"), *(overrides.get(key) for key in _ANSWERS)]
    answers: int = max([1, *(count for count in counts_asked if _is_count(count))])
    if model.free:
        return WorstCase(cost=Decimal(0), answers=answers)
    always, extra = model.provider.dialect.always, params.get("extra_body", {})
    prompt = tokens.count(request.messages, model)
    # The model may read a description of the answer's form with the prompt.
    forms = [params.get("response_format"), always, extra]
    most = prompt.most + sum(len(json.dumps(form)) for form in forms if form)
    if prompt.exact and not model.provider.counts_exactly:
        # A provider's own chat template may exceed the model's published one; an estimate has that.
        most += len(request.messages) * tokens.PER_MESSAGE_MOST + tokens.PER_PROMPT_MOST
    name = _limit_name(model)
    counts = {key: overrides[key] for key in (name, *_ANSWERS, *_LIMITS) if key in overrides}
    limits = {key: counts[key] for key in (name, *_LIMITS) if key in counts}
    if name not in limits and "max_tokens" in params:
        room = _MOST if model.context is None else max(model.context - prompt.tokens, 1)
        limits[name] = min(params["max_tokens"], room)  # as `layers.fit` sends it
    reason = hint = ""
    if model.price is None:
        reason = f"the price of {model.name} is not known"
        hint = "Give it in a catalog file (README, Models)"
    elif unknown := sorted(str(key) for key in _unpriced(overrides) - {name}):
        reason = f"the cost of {unknown[0]!r} in the request is not known"
        hint = "Leave it out of extra_body"
    elif odd := [key for key, value in counts.items() if not _is_count(value)]:
        reason = f"{odd[0]!r} in the request is not a number of tokens or answers"
        hint = f"Give a whole number from 1 to {_MOST:,}"
    if model.price is None or reason:
        return WorstCase(most, None, None, reason, hint, answers)
    if name in limits:
        # Providers differ in which of several limits they obey.
        longest = limit = max(limits.values())
    elif (bounds := _room(model, prompt, most)) is not None:
        longest, limit = bounds
    else:
        reason = f"nothing limits what {model.name} may answer"
        limit = UNLIMITED if model.price.output else None
        return WorstCase(most, None, None, reason, "Give --max-tokens", answers, limit)
    completion = longest * answers
    cost = model.price.most(most, completion)
    if cost > _MOST_DOLLARS:
        reason = f"the call could cost over ${_MOST_DOLLARS:,}"
        return WorstCase(most, completion, None, reason, "Ask for less", answers)
    needed = cost if limit == longest else model.price.most(most, limit * answers)
    return WorstCase(most, completion, cost, answers=answers, limit=limit, most=needed)


def _room(model: Model, prompt: tokens.Count, most: int) -> tuple[int, int] | None:
    """Return the most tokens that an answer can have, and the limit to send; `None` if unknown.

    Args:
        model: The model.
        prompt: The tokens of the prompt.
        most: The tokens of the prompt, and of the answer's form, at most.
    """
    if model.context is None:
        return None if model.answer is None else (model.answer, model.answer)
    # An estimate of the prompt can be several times too high.
    longest = max(model.context - (prompt.tokens if prompt.exact else 1), 1)
    # The limit that is sent must leave room for the prompt. A prompt that is much longer than
    # estimated is refused; otherwise every answer would lose half of its room.
    limit = max(model.context - most, (model.context - prompt.tokens) // 2, 1)
    if model.answer is not None:  # a higher limit is refused
        return min(longest, model.answer), min(limit, model.answer)
    return longest, limit


def with_limit(request: Request, limit: int) -> Request:
    """Return the request with every limit in it lowered to `limit` tokens for each answer.

    Example:
        >>> with_limit(session.request("Hi", extra_body={"max_tokens": 900}), 100).params
        {'extra_body': {'max_tokens': 100}, 'max_tokens': 100}
    """
    name, params = _limit_name(request.model), request.params
    overrides = _overrides(request)
    lowered = {key: limit for key in (name, *_LIMITS) if overrides.get(key, 0) > limit}
    if not lowered and params.get("max_tokens", _MOST + 1) <= limit:
        return request
    extra = {**params.get("extra_body", {}), **lowered}
    sent = {**params, "max_tokens": min(params.get("max_tokens", limit), limit)}
    return replace(request, params={**sent, "extra_body": extra} if extra else sent)


def _overrides(request: Request) -> dict[Any, Any]:
    """Return the fields that override a call's parameters when `wire` encodes it."""
    dialect = request.model.provider.dialect
    streaming = dialect.streaming if request.stream else {}
    return {**dialect.always, **streaming, **request.params.get("extra_body", {})}


def _unpriced(overrides: Mapping[Any, Any]) -> set[Any]:
    """Return the fields of a body that may cost more than the tokens of prompt and answer."""
    unknown = overrides.keys() - _HARMLESS
    # Nothing runs the user's functions; a provider's own tools search and read at a price.
    tools = overrides.get("tools", [])
    if isinstance(tools, list) and all(_is_function(tool) for tool in tools):
        unknown.discard("tools")
    choice = overrides.get("tool_choice")
    if choice is None or isinstance(choice, str) or _is_function(choice):
        unknown.discard("tool_choice")
    return unknown


def _is_function(tool: Any) -> bool:
    """Return True if a tool is one of the user's functions."""
    return isinstance(tool, Mapping) and tool.get("type") == "function"


def _limit_name(model: Model) -> str:
    """Return a provider's name for `max_tokens`."""
    return model.wire_names.get("max_tokens", "max_tokens")


def _is_count(value: object) -> bool:
    """Return True if a value is a number of tokens or answers."""
    return type(value) is int and 1 <= value <= _MOST


def affordable_tokens(request: Request, worst: WorstCase, remaining: Decimal) -> int:
    """Return the `max_tokens` that `remaining` US dollars pay for; 0 if they pay for none."""
    price = request.model.price and request.model.price.at(worst.prompt_tokens)
    if price is None or not price.output:
        return 0
    rest = to_nano(remaining) - to_nano(price.most(worst.prompt_tokens, 0))
    return max(Fraction(rest, NANO) * 1_000_000 // (Fraction(price.output) * worst.answers), 0)


def advice(request: Request, worst: WorstCase, remaining: Decimal) -> str:
    """Return the change to a request that makes `remaining` US dollars enough for it.

    Empty if nothing remains.
    """
    if remaining <= 0:
        return ""
    room = affordable_tokens(request, worst, remaining)
    if not room:
        schema = " with its schema" if "response_format" in request.params else ""
        return f"ask less: no --max-tokens is low enough, the prompt{schema} costs too much"
    name, overrides = _limit_name(request.model), _overrides(request)
    # These are sent in any case, one of them instead of `max_tokens`.
    fixed = [key for key in dict.fromkeys((name, *_LIMITS)) if overrides.get(key, 0) > room]
    ways = [f"a {' and a '.join(map(repr, fixed))} of {room} in extra_body"] if fixed else []
    if name not in overrides and request.params.get("max_tokens", _MOST) > room:
        ways.append(f"--max-tokens {room}")
    return f"ask for less: {' and '.join(ways)} would fit"

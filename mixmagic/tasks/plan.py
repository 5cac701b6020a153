"""Tokens and cost of a call before it is made; nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from mixmagic.calls.tokens import Count
from mixmagic.calls.worst_case import WorstCase, with_limit, worst_case
from mixmagic.core.money import Usage
from mixmagic.core.values import Request
from mixmagic.layers.fit import fitted
from mixmagic.store.ledger.budgets import Balance, Grant, grant

# Tokens of an answer of a model without earlier answers.
_USUAL = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """Tokens and cost of a call.

    Attributes:
        request: The call, as it would be sent now: a budget may lower its `max_tokens`.
        prompt: Tokens of the prompt.
        worst_case: The most that it can take and cost.
        answer: Likely tokens of each answer: `usual`, or the limit if that is lower.
        usual: The mean tokens of the model's earlier answers; an assumption if there are none.
        limit: Their limit; `None` if there is none.
        answers: Number of those earlier answers.
        likely: Likely cost in US dollars; `None` if the price is unknown.
        balances: The balances of the limits that apply to it.
        refused: The balance that forbids the call, if any.
        waits: The balance that the call would wait for, until other calls release their
            reservations; `None` if it would not wait.
        clamped: The balance that buys fewer tokens than requested, if any.
    """

    request: Request
    prompt: Count
    worst_case: WorstCase
    answer: int
    usual: int
    limit: int | None
    answers: int
    likely: Decimal | None
    balances: tuple[Balance, ...]
    refused: Balance | None
    waits: Balance | None
    clamped: Balance | None


def plan(
    request: Request,
    prompt: Count,
    balances: Sequence[Balance],
    answers: int,
    answered: int,
    *,
    floor: int = 64,
) -> Plan:
    """Return the tokens and cost of a call.

    Args:
        request: The call.
        prompt: Tokens of the prompt.
        balances: The balances of the limits that apply to it.
        answers: Number of known answers of the model.
        answered: Their tokens in total.
        floor: Tokens of the shortest useful answer.

    Raises:
        ContextTooLong: The prompt does not fit into the model's context.

    Example:
        >>> plan(request, tokens.count(request.messages, request.model), [], 0, 0).worst_case.cost
        Decimal('0.019732800')
    """
    request = fitted(request)
    model, most = request.model, worst_case(request)
    got, refused = _granted(request, most, balances, floor)
    if got.tokens:
        request = with_limit(request, got.tokens)
        out = got.tokens * most.answers
        cost = None if model.price is None else model.price.most(most.prompt_tokens, out)
        most = replace(most, completion_tokens=out, cost=cost, reason="", hint="")
    limit = request.params.get("max_tokens")
    if most.completion_tokens is not None:
        limit = most.completion_tokens // most.answers
    usual = round(answered / answers) if answers else _USUAL
    answer = usual if limit is None else min(usual, limit)
    usage = Usage(prompt.tokens, answer * most.answers)
    likely = None if model.price is None else model.price.cost(usage)
    return Plan(
        request,
        prompt,
        most,
        answer,
        usual,
        limit,
        answers,
        likely,
        tuple(balances),
        refused,
        waits=got.tightest if got.waits else None,
        clamped=got.tightest if got.tokens else None,
    )


def _granted(
    request: Request, most: WorstCase, balances: Sequence[Balance], floor: int
) -> tuple[Grant, Balance | None]:
    """Return what a call would get of its budgets now, and which of them would refuse it."""
    if not balances or most.cost == 0:
        return Grant(0), None
    if most.limit is None:
        return Grant(0), balances[0]
    got = grant(request, most, balances, floor)
    return got, None if got.tokens or got.waits else got.tightest

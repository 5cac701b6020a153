"""What a call would take and cost, before it is made. Nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from mixmagic.bounds import Bound, bound
from mixmagic.layers.fit import fitted
from mixmagic.money import Usage
from mixmagic.store.budgets import Left
from mixmagic.tokens import Count
from mixmagic.values import Request

# Tokens of an answer, where nothing is known of its model's.
_USUAL = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call would take and cost.

    Attributes:
        request: The call, as it would be sent.
        prompt: Its tokens in.
        bound: The most that it can take and cost.
        answer: The likely tokens out, of each of its answers.
        limit: Their limit; `None` where nothing limits them.
        answers: The model's earlier answers that `answer` is the mean of; 0 where it is assumed.
        likely: US dollars that it is likely to cost; `None` where no price is known.
        left: What the limits that hold for it have left now.
    """

    request: Request
    prompt: Count
    bound: Bound
    answer: int
    limit: int | None
    answers: int
    likely: Decimal | None
    left: tuple[Left, ...]

    @property
    def refused(self) -> Left | None:
        """The limit that forbids the call; `None` where none does."""
        most = self.bound.cost
        forbids = (left for left in self.left if most is None or (most and most > left.left))
        return next(forbids, None)


def plan(
    request: Request, prompt: Count, left: Sequence[Left], answers: int, answered: int
) -> Plan:
    """What `request` would take and cost.

    Args:
        request: The call.
        prompt: Its tokens in.
        left: What the limits that hold for it have left.
        answers: How many answers of the model are known.
        answered: Their tokens, in all.

    Raises:
        ContextTooLong: The prompt does not fit into the model's context.

    Example:
        >>> plan(request, tokens.count(request.messages, request.model), [], 0, 0).bound.cost
        Decimal('0.019732800')
    """
    request = fitted(request)
    model, most = request.model, bound(request)
    limit = request.params.get("max_tokens")
    if most.completion_tokens is not None:
        limit = most.completion_tokens // most.answers
    answer = round(answered / answers) if answers else _USUAL
    answer = answer if limit is None else min(answer, limit)
    usage = Usage(prompt.tokens, answer * most.answers)
    likely = None if model.price is None else model.price.cost(usage)
    return Plan(request, prompt, most, answer, limit, answers, likely, tuple(left))

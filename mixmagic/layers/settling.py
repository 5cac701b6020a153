"""What a call came to: one rule for its row in the ledger, its cell and whoever asked."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from mixmagic.bounds import bound
from mixmagic.completion import Collector, Completion
from mixmagic.money import Usage


def settled(collector: Collector, finish: str = "", *, sent: bool = True) -> Completion:
    """What has come of a call, priced; where we counted, at no more than it could cost.

    Args:
        collector: What has come.
        finish: Why it ended, where the stream itself did not say: `stopped`, `broken off`.
        sent: Whether the provider may have read the question, as what ended it says.

    Example:
        >>> settled(collector, "stopped", sent=False).cost
        Decimal('0')
    """
    completion = collector.completion(finish)
    request, usage, price = collector.request, completion.usage, completion.model.price
    if not (sent or collector.begun or collector.usage):
        # A call that was refused costs nothing, and nobody has counted anything.
        return replace(completion, usage=Usage(0, 0, counted=None), cost=Decimal(0))
    if not usage.estimated or usage.charge is not None or price is None:
        return completion
    most = bound(request)
    if completion.at_most and collector.usage is None:
        # Nobody saw what was generated, and its end may not have been waited for.
        return replace(completion, cost=most.cost)
    answer = most.completion_tokens
    if answer is None or usage.completion_tokens <= answer:
        return completion
    usage = replace(usage, completion_tokens=answer, counted="estimate")
    charge = collector.usage and collector.usage.charge  # for what had come when it was told
    return replace(completion, usage=usage, cost=max(price.cost(usage), charge or Decimal(0)))

"""What a call came to: one rule for its row in the ledger, its cell and whoever asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from mixmagic.calls.collector import Collector
from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import bound
from mixmagic.core.money import Usage, exact_sum
from mixmagic.core.values import Tried


def settled(
    collector: Collector, finish: str = "", *, sent: bool = True, seen: bool = True
) -> Completion:
    """What has come of a call, priced; where we counted, at no more than it could cost.

    Args:
        collector: What has come.
        finish: Why it ended, where the stream itself did not say: `stopped`, `broken off`.
        sent: Whether the provider may have read the question, as what ended it says.
        seen: Whether what has come is all that the provider may bill.

    Example:
        >>> settled(collector, "stopped", sent=False).cost
        Decimal('0')
    """
    completion = _of_the_last_try(collector, finish, sent=sent, seen=seen)
    return _with_tries(completion, collector.tried) if collector.tried else completion


def _with_tries(completion: Completion, tried: Sequence[Tried]) -> Completion:
    """Add what the tries that failed may have cost."""
    usage, costs = completion.usage, [completion.cost, *(each.cost for each in tried)]
    unsure = sum(not each.told for each in tried)
    if unsure and not usage.total_tokens:
        usage = replace(usage, counted="estimate")  # nobody has told what was generated
    notes = list(completion.notes)
    for count, what in ((unsure, "may have been"), (len(tried) - unsure, "was")):
        if count:
            tries = "1 earlier try" if count == 1 else f"{count} earlier tries"
            notes.append(f"{tries} {'were' if what == 'was' and count > 1 else what} billed")
    return replace(
        completion,
        usage=usage,
        cost=None if None in costs else exact_sum(filter(None, costs)),
        billed_tries=completion.billed_tries + unsure,
        notes=tuple(notes),
    )


def _of_the_last_try(collector: Collector, finish: str, *, sent: bool, seen: bool) -> Completion:
    """What has come of the try that was not followed by another."""
    completion = collector.completion(finish)
    if completion.origin != "live":
        return completion
    request, usage, price = collector.request, completion.usage, completion.model.price
    if not (sent or collector.begun or collector.usage):
        # A call that was refused costs nothing, and nobody has counted anything.
        return replace(completion, usage=Usage(0, 0, counted=None), cost=Decimal(0))
    if not usage.estimated or usage.charge is not None or price is None:
        return completion
    most = bound(request)
    if (completion.at_most or not seen) and collector.usage is None:
        # Nobody saw what was generated, and its end may not have been waited for.
        return replace(completion, cost=most.cost, billed_tries=int(most.cost != 0))
    answer = most.completion_tokens
    if answer is None or usage.completion_tokens <= answer:
        return completion
    usage = replace(usage, completion_tokens=answer, counted="estimate")
    charge = collector.usage and collector.usage.charge  # for what had come when it was told
    return replace(completion, usage=usage, cost=max(price.cost(usage), charge or Decimal(0)))

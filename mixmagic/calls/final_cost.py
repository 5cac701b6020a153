"""The final cost of a call: one rule for its row in the ledger, its cell and its caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from mixmagic.calls.collector import Collector
from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.core.money import Usage, exact_sum
from mixmagic.core.values import Tried


def finalize(
    collector: Collector, finish: str = "", *, sent: bool = True, unseen: bool = False
) -> Completion:
    """Return the answer of a call that is over, priced; our own counts at most at the worst case.

    Args:
        collector: The answer that was received.
        finish: Reason why the call ended, if the stream itself did not end: `stopped`,
            `broken off`.
        sent: True if the provider may have received the question.
        unseen: True if the provider may have generated, and may bill, more than was received.

    Example:
        >>> finalize(collector, "stopped", sent=False).cost
        Decimal('0')
    """
    completion = collector.completion(finish)
    if completion.origin != "live":
        return completion  # nothing was sent
    completion = _last_try(collector, completion, sent=sent, unseen=unseen)
    return _with_tries(completion, collector.tried) if collector.tried else completion


def _with_tries(completion: Completion, tried: Sequence[Tried]) -> Completion:
    """Add the possible costs of the tries that failed."""
    usage, costs = completion.usage, [completion.cost, *(each.cost for each in tried)]
    unsure = sum(not each.reported for each in tried)
    if unsure and not usage.total_tokens:
        usage = replace(usage, counted="estimate")  # nobody knows what was generated
    notes = list(completion.notes)
    for count, verb in ((unsure, "may have been"), (len(tried) - unsure, "was")):
        if count:
            tries = "1 earlier try" if count == 1 else f"{count} earlier tries"
            notes.append(f"{tries} {'were' if verb == 'was' and count > 1 else verb} billed")
    return replace(
        completion,
        usage=usage,
        cost=None if None in costs else exact_sum(filter(None, costs)),
        billed_tries=completion.billed_tries + unsure,
        notes=tuple(notes),
    )


def _last_try(
    collector: Collector, completion: Completion, *, sent: bool, unseen: bool
) -> Completion:
    """Return the answer with the cost of the last try, without those before it."""
    request, usage, price = collector.request, completion.usage, completion.model.price
    if not (sent or collector.begun or collector.usage):
        # A call that was refused costs nothing, and nobody has counted anything.
        return replace(completion, usage=Usage(0, 0, counted=None), cost=Decimal(0))
    if not usage.estimated or usage.charge is not None or price is None:
        return completion
    worst = worst_case(request)
    if (completion.at_most or unseen) and collector.usage is None:
        # Nobody saw what was generated, and the provider may have gone on.
        return replace(completion, cost=worst.cost, billed_tries=int(worst.cost != 0))
    most = worst.completion_tokens
    if most is None or usage.completion_tokens <= most:
        return completion
    usage = replace(usage, completion_tokens=most, counted="estimate")
    charge = collector.usage and collector.usage.charge  # of the answer when it was told
    return replace(completion, usage=usage, cost=max(price.cost(usage), charge or Decimal(0)))

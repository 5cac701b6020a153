"""What a call gets of what its budgets have left: all that it asks for, less, or nothing.

May be imported by `tasks` and what stands above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from mixmagic.bounds import Bound, fitting
from mixmagic.store.budgets import Left
from mixmagic.values import Request


class Grant(NamedTuple):
    """What a call gets.

    Attributes:
        tokens: The `max_tokens` that each of its answers gets; 0 if it gets nothing now.
        least: The limit that allows the least, if that is less than the call asks for.
        waits: True if other calls hold money that would give it more: it waits for them.
    """

    tokens: int
    least: Left | None = None
    waits: bool = False


def grant(request: Request, bound: Bound, lefts: Sequence[Left], floor: int) -> Grant:
    """Decide what a call gets under its budgets.

    Args:
        request: The call.
        bound: What it can cost; its `limit` is known.
        lefts: What each of its budgets has left, at least one.
        floor: Tokens of the shortest useful answer; one that was asked to be shorter is useful.

    Example:
        >>> grant(request, bound(request), ledger.left(None), 64).tokens
        4096
    """
    wanted = bound.limit or 0
    rest = min(left.left for left in lefts)
    if bound.most is not None and bound.most <= rest:
        return Grant(wanted)
    least = next(left for left in lefts if bound.most is None or left.left < bound.most)
    now = min(wanted, fitting(request, bound, max(rest, Decimal(0))))
    later = min(left.left + left.moving for left in lefts)
    best = min(wanted, fitting(request, bound, max(later, Decimal(0))))
    useful = min(floor, wanted)
    if best > now and best >= useful:
        return Grant(0, least, waits=True)
    return Grant(now if now >= useful else 0, least)

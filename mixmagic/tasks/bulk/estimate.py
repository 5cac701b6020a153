"""A sample of rows by their lengths, and what all rows cost, given the cost of the sample."""

from __future__ import annotations

import bisect
import itertools
import math
from array import array
from collections.abc import Collection, Sequence
from typing import NamedTuple

# Normal quantile of the interval: 95 % of such intervals hold what it comes to.
_Z = 1.96


class Interval(NamedTuple):
    """An estimate of a sum.

    Attributes:
        likely: The estimate.
        low: Its lower end.
        high: Its upper end.
    """

    likely: float
    low: float
    high: float


class Lengths:
    """The lengths of all questions, for a sample that stands for them.

    Half of the sample's weight is on the number of rows, half on their length: few long rows may
    cost as much as all others.

    Args:
        lengths: The length of each row, such as its tokens.

    Example:
        >>> lengths = Lengths([5, 900, 7, 40])
        >>> lengths.estimate([0, 1, 3], [0.1, 2.0, 0.3]).likely
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = array("Q", lengths)
        self._order = sorted(range(len(lengths)), key=self._lengths.__getitem__)
        self._sums = array("d", itertools.accumulate(self._sorted(), initial=0))
        self._ranks: dict[int, int] = {}

    def _sorted(self) -> list[int]:
        return [self._lengths[position] for position in self._order]

    def sample(self, count: int, kept: Collection[int] = ()) -> list[int]:
        """Return the positions of so many rows, of all lengths, in order; the same each time.

        Args:
            count: Rows of the sample.
            kept: Positions of rows that come first, such as those of another sample.
        """
        total = len(self._order)
        if count >= total:
            return sorted(self._order)
        weights = self._weights()
        centers = [
            min(bisect.bisect_left(weights, (number + 0.5) * weights[-1] / count), total - 1)
            for number in range(count)
        ]
        ranks = {position: rank for rank, position in enumerate(self._order)}
        chosen = sorted(ranks[position] for position in kept)
        if len(chosen) > count:
            chosen = [
                chosen[(2 * number + 1) * len(chosen) // (2 * count)] for number in range(count)
            ]
        free = [rank for rank in dict.fromkeys(centers) if rank not in chosen]
        while len(chosen) < count and free:
            rank = max(free, key=lambda rank: _distance(weights, chosen, rank))
            free.remove(rank)
            bisect.insort(chosen, rank)
        taken = set(chosen)
        rest = (rank for rank in range(total - 1, -1, -1) if rank not in taken)
        chosen += itertools.islice(rest, count - len(chosen))
        return sorted(self._order[rank] for rank in chosen)

    def _weights(self) -> array[float]:
        """Return the weight of the rows up to each one, the shortest first."""
        mean = max(self._sums[-1] / len(self._order), 1)
        return array("d", itertools.accumulate(1 + length / mean for length in self._sorted()))

    def estimate(self, positions: Sequence[int], costs: Sequence[float]) -> Interval:
        """Return what all rows cost, given the cost of some of them.

        The cost is a line over the length: each row of the sample stands for the rows of about
        its length.
        """
        total = len(self._order)
        if len(positions) == total:
            return Interval(*[math.fsum(costs)] * 3)
        shares = self._shares(positions)
        line = _fitted([self._lengths[each] for each in positions], costs, shares)
        likely = max(line[0] * total + line[1] * self._sums[-1], 0.0)
        error = math.sqrt(
            sum(
                share * (share - 1) * (cost - line[0] - line[1] * self._lengths[position]) ** 2
                for position, cost, share in zip(positions, costs, shares, strict=True)
            )
        )
        free = len(positions) - 2  # degrees of freedom
        if free < 1:
            return Interval(likely, math.fsum(costs), math.inf)
        half = _quantile(free) * error * math.sqrt(len(positions) / free)
        return Interval(likely, max(likely - half, math.fsum(costs)), likely + half)

    def _shares(self, positions: Sequence[int]) -> list[int]:
        """Return how many rows each row of a sample stands for: those nearest by rank."""
        if not self._ranks:
            self._ranks = {position: rank for rank, position in enumerate(self._order)}
        ranks = sorted(self._ranks[position] for position in positions)
        between = [(low + high + 1) // 2 for low, high in itertools.pairwise(ranks)]
        edges = [0, *between, len(self._order)]
        shares = dict(zip(ranks, (b - a for a, b in itertools.pairwise(edges)), strict=True))
        return [shares[self._ranks[position]] for position in positions]


def _distance(weights: Sequence[float], chosen: Sequence[int], rank: int) -> float:
    """Return how far a row is from the nearest chosen one."""
    at = bisect.bisect(chosen, rank)
    return min((abs(weights[rank] - weights[near]) for near in chosen[max(at - 1, 0) : at + 1]),
               default=math.inf)  # fmt: skip


def _fitted(
    lengths: Sequence[int], costs: Sequence[float], shares: Sequence[int]
) -> tuple[float, float]:
    """Return the line of costs over lengths that fits best: its height at 0, and its slope."""
    total = sum(shares)
    mean_length = sum(s * x for s, x in zip(shares, lengths, strict=True)) / total
    mean_cost = sum(s * y for s, y in zip(shares, costs, strict=True)) / total
    spread = sum(s * (x - mean_length) ** 2 for s, x in zip(shares, lengths, strict=True))
    if not spread:
        return mean_cost, 0.0
    together = sum(
        s * (x - mean_length) * (y - mean_cost)
        for s, x, y in zip(shares, lengths, costs, strict=True)
    )
    slope = together / spread
    return mean_cost - slope * mean_length, slope


def _quantile(free: int) -> float:
    """Return Student's quantile for the interval, by its expansion around the normal one."""
    z = _Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / free + second / free**2 + third / free**3

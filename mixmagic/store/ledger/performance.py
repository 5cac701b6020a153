"""Speed and errors of models, from the ledger's calls."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field

from mixmagic.store.ledger.spend import Period, days_of
from mixmagic.store.sqlite.database import Database

_QUERY = """
    SELECT provider || ':' || model AS name, day, status, latency_ms, first_token_ms,
        completion_tokens
    FROM calls
    WHERE status != 'open' AND origin = 'live' AND :session IN ('', session)
        AND :notebook IN ('', COALESCE(notebook, '')) AND day BETWEEN :first AND :last
    ORDER BY day, name"""
# Shortest time in milliseconds between the first token and the last one that gives a speed: an
# answer that is not streamed comes at once.
_STREAMED = 5.0


@dataclass(frozen=True, slots=True)
class Performance:
    """Speed and errors of one model's calls on one day.

    The times are of the calls that were answered.

    Attributes:
        model: The model, as `provider:API-string`, or its short name.
        day: The day: `2026-11-24`.
        calls: Calls that have ended, however they did.
        failed: Those of them that failed.
        first_token: Median of the seconds to the first token; `None` if unknown.
        first_token_p95: Their 95th percentile.
        duration: Median of the seconds to the end.
        duration_p95: Their 95th percentile.
        tokens_per_second: Median of the tokens per second after the first one, if streamed.
    """

    model: str
    day: str
    calls: int
    failed: int
    first_token: float | None
    first_token_p95: float | None
    duration: float | None
    duration_p95: float | None
    tokens_per_second: float | None

    @property
    def error_rate(self) -> float:
        """Share of the calls that failed, from 0 to 1."""
        return self.failed / self.calls


@dataclass(slots=True)
class _Times:
    calls: int = 0
    failed: int = 0
    first: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)


def performance(
    database: Database, session: str, period: Period, notebook: str = ""
) -> list[Performance]:
    """Return the performance of each model on each day, by model and day.

    Args:
        database: The ledger's.
        session: The session, if that is the period.
        period: Period of the calls.
        notebook: The notebook's path, if that is the period.

    Raises:
        StoreError: The ledger cannot be read.
    """
    first, last = days_of(period)
    values = {
        "session": session if period == "session" else "",
        "notebook": notebook if period == "notebook" else "",
        "first": first,
        "last": last,
    }
    groups: dict[tuple[str, str], _Times] = defaultdict(_Times)
    for name, day, status, latency, first_token, tokens in database.rows(_QUERY, values):
        times = groups[name, day]
        times.calls += 1
        times.failed += status == "failed"
        if status != "ok" or latency is None:
            continue
        times.durations.append(latency / 1000)
        if first_token is None:
            continue
        times.first.append(first_token / 1000)
        if (rest := latency - first_token) >= _STREAMED and tokens and tokens > 1:
            times.speeds.append((tokens - 1) * 1000 / rest)
    return [_performance(*key, times) for key, times in sorted(groups.items())]


def _performance(model: str, day: str, times: _Times) -> Performance:
    return Performance(
        model,
        day,
        times.calls,
        times.failed,
        _median(times.first),
        _p95(times.first),
        _median(times.durations),
        _p95(times.durations),
        _median(times.speeds),
    )


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _p95(values: list[float]) -> float | None:
    """Return the smallest value that at least 95 % of all do not exceed."""
    return sorted(values)[-(-95 * len(values) // 100) - 1] if values else None

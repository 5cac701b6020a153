"""What it takes to report a ledger of 1,000,000 calls: milliseconds, to HTML and to text.

The calls are of 1,000 days, 5,000 sessions, 40 notebooks and 6 models. Either as people work
(a session is one notebook's, on one day), or strewn at random, so that no two are alike.

Run: python tests/benchmarks/spend.py [RUNS] [CALLS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import get_args

from mixmagic.display.spend import spend_table
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.schema import MIGRATIONS
from mixmagic.store.ledger.spend import By, Period, lost, timeline

_SESSIONS, _DAYS, _NOTEBOOKS, _MODELS = 5_000, 1_000, 40, 6
_LIMIT = 50
# Where a call belongs: `i` is its number, `r` a number that looks like chance.
_KINDS = {
    "as people work": ("i * ?2 / ?1", "i * ?2 / ?1 * ?3 / ?2", "(i * ?2 / ?1) * 7 % 40"),
    "strewn": ("r % ?2", "r / 7 % ?3", "r / 31 % 40"),
}


def fill(ledger: Ledger, calls: int, kind: str) -> None:
    """Put `calls` calls into `calls` and `totals`, as the ledger itself would."""
    session, age, notebook = _KINDS[kind]
    with ledger.database.transaction() as connection:
        connection.execute(
            f"""
            INSERT INTO calls (started_at, day, session, notebook, provider, model, status,
                prompt_tokens, cached_tokens, completion_tokens, counted, held_nanodollars,
                input_price_nanodollars, cached_price_nanodollars, output_price_nanodollars,
                cost_nanodollars, latency_ms, first_token_ms)
            WITH RECURSIVE numbers (i) AS (
                SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?1 - 1
            ), strewn AS (SELECT i, (i * 2654435761) % 4294967291 AS r FROM numbers),
            placed AS (
                SELECT i, r, {session} AS session, ?3 - 1 - {age} AS age, {notebook} AS notebook
                FROM strewn
            )
            SELECT unixepoch('now') - age * 86400 - i % 3600 / 10.0,
                date('now', 'localtime', -age || ' days'), printf('%016x', session),
                '/home/ada/notebooks/chapter-' || notebook || '.ipynb', 'together',
                'mistralai/Model-' || (r / 3 % {_MODELS}) || '-Instruct',
                CASE WHEN r % 100 < 90 THEN 'ok' WHEN r % 100 < 95 THEN 'stopped'
                    WHEN r % 1000 < 999 THEN 'failed' ELSE 'lost' END,
                r % 5000, r % 700, r % 900, CASE WHEN r % 13 THEN 'server' ELSE 'exact' END,
                9000000, 600000000, 300000000, 600000000, (r % 5000 + r % 900) * 600, 900, 200
            FROM placed
            """,
            (calls, _SESSIONS, _DAYS),
        )
        # The sums, by what the migration says of a ledger that has calls and no sums.
        connection.execute("DELETE FROM totals")
        for statement in MIGRATIONS[1].split(";"):
            if statement.lstrip().startswith("INSERT INTO totals"):
                connection.execute(statement)


def measure(work: Callable[[], object], runs: int) -> list[float]:
    """The milliseconds of each run, after one that warms the pages."""
    times = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return times[1:]


def main(runs: int = 11, calls: int = 1_000_000) -> None:
    """Print the median and the worst of each report; the worst of all at the end."""
    worst = 0.0
    for kind in _KINDS:
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger(Path(folder), f"{_SESSIONS - 1:016x}")
            fill(ledger, calls, kind)
            size = ledger.database.path.stat().st_size / 2**20
            sums = ledger.database.rows("SELECT COUNT(*) FROM totals")[0][0]
            print(f"\n{calls:,} calls, {kind}: {sums:,} rows of totals, {size:,.0f} MiB")
            for name, work in reports(ledger):
                times = measure(work, runs)
                worst = max(worst, statistics.median(times))
                over = "" if max(times) < _LIMIT else f"  over {_LIMIT} ms"
                print(f"{name:22} {statistics.median(times):6.1f} {max(times):6.1f}{over}")
            ledger.database.close()
    print(f"\nthe slowest median: {worst:.1f} ms, limit {_LIMIT}")


def reports(ledger: Ledger) -> list[tuple[str, Callable[[], object]]]:
    """Every report, as the whole way from the call to HTML and text, and what a plot reads."""

    def report(period: Period, by: By) -> None:
        ledger.sweep()
        bundle = spend_table(ledger.spent(period, by), by, period)._repr_mimebundle_()
        assert "total" in bundle["text/html"]

    def plot(period: Period) -> None:
        timeline(ledger.database, ledger.session, period)

    periods = get_args(Period)
    named = [(f"{p} by {b}", lambda p=p, b=b: report(p, b)) for p in periods for b in get_args(By)]
    named += [(f"plot of {p}", lambda p=p: plot(p)) for p in periods]
    for per in ("session", "day", "month"):
        ledger.set_limit(per, Decimal(1000))
    named.append(("what budgets have left", lambda: ledger.balances(None)))
    return [*named, ("lost calls", lambda: lost(ledger.database))]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

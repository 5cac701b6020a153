"""The cost of the ledger: CPU and waiting of `reserve` and `record`, beside a bare insert.

    python tests/benchmarks/ledger.py [CALLS] [ROUNDS]

Prints microseconds a call, without budgets and under three: on one thread, with 50 calls under
way, and on 64 threads, where one commit closes the rows of several calls. The bare insert is one
row in one transaction of SQLite itself, with the same settings. The rounds of all rows take turns,
and each figure is that of the best round; CPU is that of the whole process. CALLS is rounded to
multiples of 1,600.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Message, Request
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation
from mixmagic.store.ledger.schema import MIGRATIONS

COLUMNS = (
    "started_at, day, session, notebook, provider, model, status, owner, held_nanodollars,"
    " moved_at, input_price_nanodollars, output_price_nanodollars"
)
_UNDER_WAY, _THREADS = 50, 64

Step = Callable[[], None]


def bare_insert(folder: Path) -> Step:
    """Return a function that adds a call's row."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(";".join(MIGRATIONS))
    names = ("2026-11-24", "s", "/n.ipynb", "together", "m", "open", "host/1@2")
    row = (time.time(), *names, 1, time.time(), 1, 1)

    def insert() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"INSERT INTO calls ({COLUMNS}) VALUES (?{', ?' * 11})", row)
        connection.execute("COMMIT")

    return insert


def steps(ledger: Ledger) -> tuple[Step, Step]:
    """Return functions that reserve the money of a call, and record one that was reserved."""
    request = Request(Catalog().resolve("8x7b"), (Message("user", "Hi"),), {"max_tokens": 100})
    usage = Usage(9, 5)
    completion = Completion("", usage, request.model.price.cost(usage), "stop", request, 1.0, 0.5)
    worst = worst_case(request)  # the meter's work, not the ledger's
    reservations: list[Reservation] = []

    def reserve() -> None:
        reservation = Reservation(request, "/n.ipynb", worst)
        ledger.reserve(reservation)
        reservations.append(reservation)

    def record() -> None:
        ledger.record(reservations.pop(), "ok", completion)

    return reserve, record


def measure(work: Step, calls: int) -> tuple[float, float]:
    """Return microseconds of CPU and of wall clock for one of so many calls."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return tuple(
        seconds / calls * 1e6 for seconds in (time.process_time() - cpu, time.perf_counter() - wall)
    )


def batches(calls: int, *steps: Step) -> Step:
    """Return a function that repeats each step 50 times, in turn, until all calls are made."""

    def work() -> None:
        for _ in range(calls // _UNDER_WAY):
            for step in steps:
                for _ in range(_UNDER_WAY):
                    step()

    return work


def threads(calls: int, *steps: Step) -> Step:
    """Return a function that makes calls on 64 threads."""

    def some() -> None:
        for _ in range(calls // _THREADS):
            for step in steps:
                step()

    def work() -> None:
        crowd = [threading.Thread(target=some) for _ in range(_THREADS)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()

    return work


def main(calls: int = 1600, rounds: int = 5) -> None:
    calls = max(round(calls / 1600), 1) * 1600
    with tempfile.TemporaryDirectory() as folder:
        free, budgeted = (Ledger(Path(folder) / name, "s") for name in ("free", "budgeted"))
        for per in ("session", "day", "month"):
            budgeted.set_limit(per, Decimal(1000))
        rows = {
            "bare insert": batches(calls, bare_insert(Path(folder))),
            "no budget, 1 thread": batches(calls, *steps(free)),
            "three budgets, 1 thread": batches(calls, *steps(budgeted)),
            "no budget, 64 threads": threads(calls, *steps(free)),
            "three budgets, 64 threads": threads(calls, *steps(budgeted)),
        }
        best = dict.fromkeys(rows, (float("inf"), float("inf")))
        for _ in range(rounds):
            for name, work in rows.items():
                best[name] = tuple(map(min, best[name], measure(work, calls)))
        print(f"{'µs a call':28}{'CPU':>8}{'wall':>8}{'CPU, bare inserts':>20}")
        for name, (cpu, wall) in best.items():
            print(f"{name:28}{cpu:8.0f}{wall:8.0f}{cpu / best['bare insert'][0]:20.1f}")
        free.close()
        budgeted.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

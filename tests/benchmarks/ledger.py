"""What a call's place in the ledger takes, against a bare insert by SQLite itself.

    python tests/benchmarks/ledger.py [CALLS] [ROUNDS]

Three kinds of the same durable transaction (write-ahead log, synchronous=FULL), each in turn, in
one file each: a bare insert of a call's row, `reserve` under three budgets, `settle`; 50 calls are
under way at once. The budget check alone is the difference that three budgets make to `reserve`.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
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
_UNDER_WAY = 50


def main(calls: int = 2000, rounds: int = 5) -> None:
    request = Request(Catalog().resolve("8x7b"), (Message("user", "Hi"),), {"max_tokens": 100})
    usage = Usage(9, 5)
    completion = Completion("", usage, request.model.price.cost(usage), "stop", request, 1.0, 0.5)
    with tempfile.TemporaryDirectory() as folder:
        bare = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("PRAGMA synchronous=FULL")
        bare.executescript(";".join(MIGRATIONS))
        named = ("2026-11-24", "s", "/n.ipynb", "together", "m", "open", "host/1@2")
        row = (time.time(), *named, 1, time.time(), 1, 1)
        free, capped = (Ledger(Path(folder) / name, "s") for name in ("free", "capped"))
        for per in ("session", "day", "month"):
            capped.set_limit(per, Decimal(1000))
        holds: list[Reservation] = []
        most = worst_case(request)  # the meter's work, not the ledger's

        def insert() -> None:
            bare.execute("BEGIN IMMEDIATE")
            bare.execute(f"INSERT INTO calls ({COLUMNS}) VALUES (?{', ?' * 11})", row)
            bare.execute("COMMIT")

        def reserve(ledger: Ledger) -> Callable[[], None]:
            def one() -> None:
                holds.append(Reservation(request, "/n.ipynb", most))
                ledger.reserve(holds[-1])

            return one

        def settle(ledger: Ledger) -> Callable[[], None]:
            return lambda: ledger.record(holds.pop(), "ok", completion)

        steps = {
            "bare insert": insert,
            "reserve, no budget": reserve(free),
            "settle": settle(free),
            "reserve, three budgets": reserve(capped),
            "settle again": settle(capped),
        }
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(rounds):
            took = dict.fromkeys(steps, 0.0)
            for _ in range(calls // _UNDER_WAY):
                for name, step in steps.items():
                    started = time.perf_counter()
                    for _ in range(_UNDER_WAY):
                        step()
                    took[name] += time.perf_counter() - started
            for name, seconds in took.items():
                times[name].append(seconds / (calls // _UNDER_WAY * _UNDER_WAY) * 1e6)
        limit = statistics.median(times["bare insert"])
        for name, each in times.items():
            middle = statistics.median(each)
            print(f"{name:24} {middle:7.0f} µs  {middle / limit:5.2f}")
        both = sum(statistics.median(times[name]) for name in list(times)[3:])
        print(f"{'reserve + settle':24} {both:7.0f} µs  {both / limit:5.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""Whatever calls do, in whatever order and threads: no budget is passed, and sums are the rows'."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.core.control import Control
from mixmagic.core.money import Budget, Price, Usage
from mixmagic.core.values import Message, Model, Provider, Request
from mixmagic.errors import BadArguments, BudgetExceeded, StoreBusy
from mixmagic.store.ledger import rows as store_rows
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation

MODEL = Model("m", Provider("x", "X"), price=Price(Decimal(1), Decimal(1)), context=1000)
TOKEN = Decimal("1e-6")
LIMITS = {"session": 4000, "day": 6000, "month": 9000}  # tokens
THREADS, SESSIONS = 4, 2

STEP = st.tuples(
    st.sampled_from(
        [
            *["reserve"] * 3,
            *["settle"] * 2,
            "extend",
            "abandon",
            "forget",
            "never sent",
            "lose",
            "sweep",
            "resolve",
            "job",
            "later",
        ]
    ),
    st.integers(1, 900),  # tokens asked for
    st.integers(0, 100),  # the share of them that is used, in percent
    st.integers(0, 5),  # which of the thread's calls
    st.booleans(),  # with a budget of the cell's own
)
WORK = st.lists(st.lists(STEP, max_size=12), min_size=1, max_size=THREADS)


@pytest.fixture(autouse=True)
def no_grace(monkeypatch):
    """A call that is over is lost at once, if it is not recorded."""
    monkeypatch.setattr(store_rows, "_GRACE", 0.0)


class Worker(threading.Thread):
    """Runs random steps on calls, and checks the ledger after each step."""

    def __init__(self, ledger: Ledger, steps: list, cell: Budget) -> None:
        super().__init__()
        self.ledger, self.steps, self.cell = ledger, steps, cell
        self.calls: list[Reservation] = []
        self.trouble: BaseException | None = None

    def run(self) -> None:
        try:
            for step in self.steps:
                with suppress(StoreBusy):  # the others are many: the call is not made, or owed
                    self.do(*step)
                check(self.ledger)
        except BaseException as error:  # noqa: BLE001  # raised by the test
            self.trouble = error

    def do(self, what: str, tokens: int, share: int, which: int, own: bool) -> None:
        ledger = self.ledger
        if what == "reserve":
            request = Request(
                MODEL,
                (Message("user", "Hi"),),
                {"max_tokens": tokens},
                control=Control(budget=self.cell if own else None),
            )
            reservation = Reservation(request, "/n.ipynb", worst_case(request))
            try:
                if ledger.reserve(reservation) is None:
                    assert reservation.request.params["max_tokens"] <= tokens
                    self.calls.append(reservation)
            except BudgetExceeded:
                pass
        elif what == "sweep":
            ledger.sweep()
        elif what == "job":
            job(ledger, tokens, share)
        elif self.calls:
            reservation = self.calls.pop(which % len(self.calls))
            self.end(what, reservation, share)

    def end(self, what: str, reservation: Reservation, share: int) -> None:
        ledger = self.ledger
        if what == "extend":
            ledger.extend(reservation, reservation.most)
            self.calls.append(reservation)
        elif what == "settle":
            ledger.record(reservation, "ok", spent(reservation, share))
        elif what == "never sent":
            if share % 2:  # and was taken for lost meanwhile
                ledger.presume_lost(reservation)
                ledger.sweep()
            ledger.record(reservation, "failed", None)
        elif what == "abandon":
            ledger.presume_lost(reservation)
        elif what == "later":  # it was not lost after all
            ledger.presume_lost(reservation)
            ledger.sweep()
            ledger.record(reservation, "stopped", spent(reservation, share))
        elif what in ("lose", "resolve"):
            with ledger.database.transaction() as connection:
                connection.execute(
                    "UPDATE calls SET owner = NULL WHERE id = ?", (reservation.number,)
                )
            ledger.sweep()
            if what == "resolve":
                with pytest.raises(BadArguments):
                    ledger.resolve(10**6, Decimal(0))
                ledger.resolve(reservation.number, reservation.most * share / 100)
        # What is forgotten is left to the garbage collector.


def spent(reservation: Reservation, share: int) -> Completion:
    """An answer that costs an exact share of what was reserved."""
    cost = (reservation.most * share / 100).quantize(Decimal("1e-9"))
    usage = Usage(1, 1, charge=cost)
    return Completion("", usage, cost, "stop", reservation.request, 1.0, None)


def job(ledger: Ledger, tokens: int, share: int) -> None:
    """Reserve an amount for a job if it fits, settle a row of it, and lower it by as much."""
    amount = tokens * 1000
    with ledger.database.transaction() as connection:
        row = connection.execute(BOOKS).fetchone()
        if row["all_sessions"] + amount > min(LIMITS.values()) * 1000:
            return
        number = connection.execute(
            "INSERT INTO reservations (job, created_at, day, session, provider, model,"
            " held_nanodollars) VALUES ('j', 1, date('now', 'localtime'), ?, 'x', 'm', ?)",
            (ledger.session, amount),
        ).lastrowid
        connection.execute(
            "UPDATE reservations SET held_nanodollars = held_nanodollars - ? WHERE id = ?",
            (amount * share // 100, number),
        )


BOOKS = """SELECT
    (SELECT COALESCE(SUM(COALESCE(cost_nanodollars, held_nanodollars)), 0) FROM calls)
    + (SELECT COALESCE(SUM(held_nanodollars), 0) FROM reservations) AS all_sessions,
    (SELECT COALESCE(MAX(total), 0) FROM (
        SELECT session, SUM(amount) AS total FROM (
            SELECT session, COALESCE(cost_nanodollars, held_nanodollars) AS amount FROM calls
            UNION ALL SELECT session, held_nanodollars FROM reservations
        ) GROUP BY session)) AS one_session,
    (SELECT COALESCE(MAX(total), 0) FROM (SELECT SUM(COALESCE(cost_nanodollars, held_nanodollars))
        AS total FROM calls WHERE cell IS NOT NULL GROUP BY cell)) AS one_cell,
    (SELECT COALESCE(SUM(cost_nanodollars), 0) FROM calls WHERE status != 'open') AS rows_cost,
    (SELECT COALESCE(SUM(cost_nanodollars), 0) FROM totals WHERE session = 'days') AS sums_cost,
    (SELECT COUNT(*) FROM calls WHERE status != 'open') AS rows_count,
    (SELECT COALESCE(SUM(calls), 0) FROM totals WHERE session = 'months') AS sums_count,
    (SELECT COALESCE(SUM(calls), 0) FROM totals WHERE session = 'notebooks' AND day = '')
        AS notebooks_count"""


def check(ledger: Ledger) -> None:
    """No budget is passed, and the sums are those of the rows."""
    with closing(sqlite3.connect(ledger.database.path)) as connection:
        connection.row_factory = sqlite3.Row
        books = connection.execute(BOOKS).fetchone()
    assert books["one_session"] <= LIMITS["session"] * 1000
    assert books["all_sessions"] <= LIMITS["day"] * 1000
    assert books["one_cell"] <= 1500 * 1000
    assert books["rows_cost"] == books["sums_cost"]
    assert books["rows_count"] == books["sums_count"] == books["notebooks_count"]


def run(work: list[list]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cell = Budget(1500 * TOKEN)
        ledgers = [Ledger(Path(folder), f"session-{number}") for number in range(SESSIONS)]
        for ledger in ledgers:
            for per, tokens in LIMITS.items():
                ledger.set_limit(per, tokens * TOKEN)
        workers = [
            Worker(ledgers[place % SESSIONS], steps, cell) for place, steps in enumerate(work)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
            assert not worker.is_alive()
            if worker.trouble is not None:
                raise worker.trouble
            worker.calls.clear()
        for ledger in ledgers:
            ledger.sweep()
            check(ledger)
            for left in ledger.balances("/n.ipynb", cell):
                assert left.remaining >= 0
        assert not ledgers[0]._writer.owes
        for ledger in ledgers:
            ledger.close()


@settings(max_examples=40, deadline=None)
@given(WORK)
def test_no_budget_is_passed_and_sums_are_those_of_the_rows(work):
    run(work)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(WORK)
def test_they_are_not_in_many_more_sequences_either(work):
    run(work)

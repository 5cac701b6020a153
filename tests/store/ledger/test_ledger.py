"""The spend record: each call has a row, money is exact, and an unknown price is never 0."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from decimal import Decimal

import pytest
from server import HANG, Answer, chunk, frames

from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.catalog import FREE, Catalog
from mixmagic.core.money import Price, Usage
from mixmagic.core.values import Message, Model, Provider, Request
from mixmagic.errors import BadArguments, StoreDamaged, StoreError
from mixmagic.store.ledger import rows as store_rows
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation
from mixmagic.store.ledger.rows import Outcome
from mixmagic.store.ledger.schema import MIGRATIONS
from mixmagic.store.ledger.spend import total
from mixmagic.store.sqlite.database import Database

pytestmark = pytest.mark.usefixtures("no_grace")

CATALOG = Catalog()
HI = (Message("user", "Hi"),)


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "data", "this-session")
    yield ledger
    ledger.database.close()


def request(model: str | Model = "8x7b") -> Request:
    return Request(CATALOG.resolve(model) if isinstance(model, str) else model, HI)


def completion(asked: Request, prompt: int = 9, answer: int = 5, **more) -> Completion:
    usage = Usage(prompt, answer, **more)
    price = asked.model.price
    cost = None if price is None else price.cost(usage)
    return Completion("text", usage, cost, "stop", asked, elapsed=1.5, ttft=0.25)


def reserve(ledger: Ledger, asked: Request, notebook: str | None = "notebook.ipynb") -> Reservation:
    reservation = Reservation(asked, notebook, worst_case(asked))
    ledger.reserve(reservation)
    return reservation


def call(ledger: Ledger, asked: Request, status="ok", **counts) -> int:
    reservation = reserve(ledger, asked)
    ledger.record(reservation, status, completion(asked, **counts))
    return reservation.number


def rows(ledger: Ledger) -> list[sqlite3.Row]:
    return ledger.database.rows("SELECT * FROM calls ORDER BY id")


def of_the_day(ledger: Ledger) -> tuple[Decimal, Decimal]:
    """What is spent and held, as the day's budget has it."""
    ledger.set_limit("day", Decimal(1000))
    (left,) = ledger.balances(None)
    return left.spent, left.reserved


def test_a_call_is_a_row_before_it_is_sent_and_all_of_it_when_it_has_ended(ledger):
    asked = request()
    reservation = reserve(ledger, asked)
    (row,) = rows(ledger)
    assert (row["id"], row["status"], row["cost_nanodollars"]) == (reservation.number, "open", None)
    assert (row["session"], row["notebook"]) == ("this-session", "notebook.ipynb")
    assert (row["provider"], row["model"]) == ("together", asked.model.id)
    assert (row["input_price_nanodollars"], row["output_price_nanodollars"]) == (600_000_000,) * 2
    ledger.record(reservation, "ok", completion(asked))
    (row,) = rows(ledger)
    assert (row["status"], row["error"], row["counted"]) == ("ok", None, "server")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (9, 5)
    assert (row["latency_ms"], row["first_token_ms"]) == (1500, 250)
    assert row["cost_nanodollars"] == 14 * 600


def test_costs_are_integer_nanodollars_in_the_file(ledger):
    odd = Model("odd", Provider("x", "X"), price=Price(Decimal("0.1234"), Decimal("0.0001")))
    call(ledger, request(odd), prompt=3, answer=7)
    with closing(sqlite3.connect(ledger.database.path)) as connection:
        kind, cost = connection.execute(
            "SELECT typeof(cost_nanodollars), cost_nanodollars FROM calls"
        ).fetchone()
    assert (kind, cost) == ("integer", 371)  # 3 * 123.4 + 7 * 0.1, to the nearest


@pytest.mark.parametrize(
    ("price", "stored", "spent", "unpriced"),
    [(None, None, Decimal(0), 1), (FREE, 0, Decimal(0), 0)],
    ids=["unknown", "free"],
)
def test_an_unknown_price_is_null_and_a_free_call_is_zero(ledger, price, stored, spent, unpriced):
    call(ledger, request(Model("m", Provider("x", "X"), price=price)))
    assert rows(ledger)[0]["cost_nanodollars"] == stored
    (sum_,) = ledger.spent()
    assert (sum_.cost, sum_.unpriced) == (spent, unpriced)


def test_sums_are_exact_although_floats_are_not(ledger):
    tenth = Model("m", Provider("x", "X"), price=Price(Decimal("0.1"), Decimal(0)))
    for _ in range(3):
        call(ledger, request(tenth), prompt=1_000_000)
    call(ledger, request(tenth), prompt=10)
    (spent,) = ledger.spent()
    assert spent.cost == Decimal("0.300001")
    assert 0.1 + 0.1 + 0.1 != 0.3, "floats would not do"


def test_spent_counts_this_session_per_model_the_dearest_first(ledger):
    call(ledger, request("8x22b"), prompt=1, answer=2)
    call(ledger, request("8x7b"), status="stopped", prompt=10, answer=20, counted="estimate")
    call(ledger, request("8x22b"), prompt=100, answer=200)
    failed = reserve(ledger, request("8x7b"), None)
    ledger.record(failed, "failed", completion(request(), 0, 0), "Unavailable: gone")
    other = Ledger(ledger.database.path.parent, "another-session")
    call(other, request(), prompt=1_000, answer=1_000)
    other.database.close()
    large, small = ledger.spent()
    assert large.name == "together:mistralai/Mixtral-8x22B-Instruct-v0.1"
    assert (large.calls, large.prompt_tokens, large.completion_tokens) == (2, 101, 202)
    assert (small.calls, small.stopped, small.failed, small.estimated) == (2, 1, 1, 1)
    assert (small.prompt_tokens, small.completion_tokens) == (10, 20)
    everything = total([large, small])
    assert (everything.name, everything.calls) == ("total", 4)
    assert everything.cost == large.cost + small.cost == (303 * 1200 + 30 * 600) / Decimal(10**9)


def test_a_call_that_was_never_sent_leaves_no_row(ledger):
    """Also if it was taken for lost meanwhile."""
    reservations = [reserve(ledger, request(), None) for _ in range(2)]
    with ledger.database.transaction() as connection:
        connection.execute("UPDATE calls SET owner = NULL WHERE id = ?", (reservations[1].number,))
    ledger.sweep()
    for reservation in reservations:
        ledger.record(reservation, "failed", None, "MissingKey: no key")
    assert rows(ledger) == []
    assert of_the_day(ledger) == (0, 0)
    assert total(ledger.spent()).calls == 0


def test_spent_of_nothing_is_nothing(ledger):
    assert ledger.spent() == []
    assert total([]).calls == 0
    assert total([]).cost == 0


def test_sixteen_threads_of_fifty_calls_are_eight_hundred_rows(ledger):
    asked = request()

    def fifty(thread: int) -> None:
        for number in range(50):
            call(ledger, asked, prompt=thread, answer=number)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(fifty, range(16)))
    (spent,) = ledger.spent()
    assert spent.calls == 16 * 50
    assert spent.prompt_tokens == 50 * sum(range(16))
    assert spent.completion_tokens == 16 * sum(range(50))
    tokens = spent.prompt_tokens + spent.completion_tokens
    assert spent.cost == tokens * Decimal("600e-9")
    assert {row["status"] for row in rows(ledger)} == {"ok"}


def test_a_killed_processs_call_is_lost_at_its_most(together, home):
    together.plan = [Answer([frames(chunk("Half an"), done=False), HANG])]
    process = subprocess.Popen(
        [sys.executable, "-c", "import mixmagic; mixmagic.ask('Hi')"], stderr=subprocess.PIPE
    )
    together.wait(lambda: together.received, timeout=30)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    ledger = Ledger(home / "data", "another-session")
    (row,) = rows(ledger)
    assert (row["status"], row["prompt_tokens"], row["cost_nanodollars"]) == ("open", None, None)
    assert row["started_at"] > 1.7e9
    assert ledger.database.check() == "ok"
    most = row["held_nanodollars"]
    assert most == (32768 + 24 + 96) * 600
    call(ledger, request())
    assert [row["status"] for row in rows(ledger)] == ["lost", "ok"]
    (spent,) = ledger.spent("all")
    assert (spent.calls, spent.lost, spent.open, spent.held) == (2, 1, 0, 0)
    assert spent.cost * 10**9 == most + 14 * 600
    ledger.database.close()


def test_an_open_call_is_counted_but_not_as_one_of_unknown_price(ledger):
    reserve(ledger, request(), None)
    (spent,) = ledger.spent()
    assert (spent.calls, spent.open, spent.unpriced, spent.cost) == (1, 1, 0, 0)
    assert spent.held == worst_case(request()).cost


def test_a_call_that_was_taken_for_lost_and_was_not_is_settled_at_what_it_cost(ledger):
    """As after the clock was set: another process sees a stranger in its owner's place."""
    reservation = reserve(ledger, request())
    with ledger.database.transaction() as connection:
        connection.execute("UPDATE calls SET owner = 'elsewhere/1@0'")
    ledger.sweep()
    assert rows(ledger)[0]["status"] == "open", "on another host, it may be alive"
    with ledger.database.transaction() as connection:
        connection.execute("UPDATE calls SET owner = NULL")
    ledger.sweep()
    (spent,) = ledger.spent()
    assert (spent.lost, spent.cost) == (1, worst_case(request()).cost)
    ledger.record(reservation, "ok", completion(request()))
    (spent,) = ledger.spent()
    assert (spent.calls, spent.lost, spent.cost) == (1, 0, 14 * Decimal("600e-9"))
    assert rows(ledger)[0]["status"] == "ok"


def test_a_call_of_another_host_is_lost_after_a_day(ledger):
    reserve(ledger, request())
    with ledger.database.transaction() as connection:
        connection.execute("UPDATE calls SET owner = 'elsewhere/1@0', started_at = started_at - ?",
                           (86_401,))  # fmt: skip
    ledger.sweep()
    assert rows(ledger)[0]["status"] == "lost"


def test_a_lost_call_is_resolved_by_hand(ledger):
    reservation = reserve(ledger, request())
    with pytest.raises(BadArguments, match="No call with the number"):
        ledger.resolve(reservation.number, Decimal(1))
    with ledger.database.transaction() as connection:
        connection.execute("UPDATE calls SET owner = NULL")
    ledger.sweep()
    for cost in ("0.0021", "0"):  # and again, where the bill was read wrong
        ledger.resolve(reservation.number, Decimal(cost))
        (spent,) = ledger.spent()
        assert (spent.calls, spent.lost, spent.cost) == (1, 0, Decimal(cost))
        assert of_the_day(ledger) == (Decimal(cost), 0)
    assert rows(ledger)[0]["status"] == "resolved"


@pytest.mark.parametrize("by", ["the next call", "close"])
def test_an_ending_that_cannot_be_written_is_written_later(ledger, by):
    reservation = reserve(ledger, request())
    path, aside = ledger.database.path.parent, ledger.database.path.parent.with_name("aside")
    ledger.database.close()
    path.rename(aside)
    path.write_text("a file where the folder should be")
    with pytest.raises(StoreError):
        ledger.record(reservation, "ok", completion(request()))
    path.unlink()
    aside.rename(path)
    assert rows(ledger)[0]["status"] == "open"
    if by == "close":
        ledger.close()
    call(ledger, request())
    assert [row["status"] for row in rows(ledger)] == ["ok", "ok"]
    assert ledger.spent()[0].cost == 28 * Decimal("600e-9")


def test_a_call_outlives_the_file_that_it_began_in(ledger):
    """It was quarantined; another call has its number in the next one, and each its own ending."""
    mine = reserve(ledger, request())
    ledger.close()
    ledger.database.path.write_bytes(b"no database at all, " * 300)
    with pytest.raises(StoreDamaged):
        reserve(ledger, request())
    other = reserve(ledger, request("8x22b"))
    assert other.number == mine.number
    ledger.record(mine, "stopped", completion(request()))
    assert [row["status"] for row in rows(ledger)] == ["open", "stopped"]
    assert [row["cost_nanodollars"] for row in rows(ledger)] == [None, 14 * 600]
    (cheap, dear) = ledger.spent()
    assert (cheap.stopped, dear.open) == (1, 1)


def test_damage_found_at_the_end_of_a_call_is_reported_by_the_next_call(ledger):
    reservation = reserve(ledger, request())
    ledger.close()
    ledger.database.path.write_bytes(b"no database at all, " * 300)
    with pytest.raises(StoreDamaged):  # a line in the log
        ledger.record(reservation, "ok", completion(request()))
    with pytest.raises(StoreDamaged):
        reserve(ledger, request())
    under_way = reserve(ledger, request())
    assert sorted(row["status"] for row in rows(ledger)) == ["ok", "open"]
    assert under_way.number == 2


def test_a_call_that_is_never_recorded_is_lost_and_not_reserved_forever(ledger):
    """As after Ctrl-C in the wrong moment."""
    reserve(ledger, request())
    gc.collect()
    other = reserve(ledger, request())
    assert [row["status"] for row in rows(ledger)] == ["lost", "open"]
    ledger.record(other, "ok", completion(request()))
    del other
    gc.collect()
    ledger.sweep()
    assert [row["status"] for row in rows(ledger)] == ["lost", "ok"]


def test_a_resolved_call_stays_resolved(ledger):
    """Also when the process gives it up that made it, and was taken for another."""
    reservation = reserve(ledger, request())
    with ledger.database.transaction() as connection:
        connection.execute("UPDATE calls SET owner = NULL")
    ledger.sweep()
    ledger.resolve(reservation.number, Decimal("0.001"))
    del reservation
    gc.collect()
    ledger.sweep()
    assert [row["status"] for row in rows(ledger)] == ["resolved"]
    assert ledger.spent()[0].cost == Decimal("0.001")


def test_a_call_that_was_presumed_lost_is_recorded_after_all(ledger):
    reservation = reserve(ledger, request())
    ledger.presume_lost(reservation)
    ledger.sweep()
    assert [row["status"] for row in rows(ledger)] == ["lost"]
    ledger.record(reservation, "ok", completion(request()))
    assert [row["status"] for row in rows(ledger)] == ["ok"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_childs_copy_of_a_call_changes_nothing(ledger):
    reservation = reserve(ledger, request())
    if (pid := os.fork()) == 0:
        ledger.record(reservation, "stopped", completion(request()))
        ledger.presume_lost(reservation)
        ledger.sweep()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert [row["status"] for row in rows(ledger)] == ["open"]
    ledger.record(reservation, "ok", completion(request()))
    assert [row["status"] for row in rows(ledger)] == ["ok"]


def test_a_call_that_ends_inside_a_transaction_does_not_disturb_it(ledger):
    """A signal's handler, or the garbage collector, ends another call in the middle of it."""
    mine, other = reserve(ledger, request()), reserve(ledger, request())
    with ledger.database.transaction() as connection:
        connection.execute("UPDATE calls SET notebook = 'kept' WHERE id = ?", (mine.number,))
        with pytest.raises(StoreError, match="by this very thread"):
            ledger.record(other, "stopped", completion(request()))
    ledger.record(mine, "ok", completion(request()))
    assert [row["status"] for row in rows(ledger)] == ["ok", "stopped"]
    assert rows(ledger)[0]["notebook"] == "kept"
    assert of_the_day(ledger) == (2 * 14 * 600 * Decimal("1e-9"), 0)


def test_an_outcome_that_changes_while_it_is_written_is_not_lost(ledger):
    first, second = reserve(ledger, request()), reserve(ledger, request())
    ledger.presume_lost(first)
    ledger.presume_lost(second)
    writer = ledger._writer
    with writer.transaction():  # pays both
        del writer._owed[first.entry]  # as another thread does that has paid it, too
        writer._owed[second.entry] = Outcome("ok", cost_nanodollars=7)
    ledger.sweep()
    assert [row["status"] for row in rows(ledger)] == ["lost", "ok"]
    assert rows(ledger)[1]["cost_nanodollars"] == 7


def test_damage_is_reported_even_if_only_the_budgets_are_read(ledger):
    ledger.set_limit("day", Decimal(1))
    call(ledger, request())
    ledger.close()
    ledger.database.path.write_bytes(b"no database at all, " * 300)
    with pytest.raises(StoreDamaged, match="begins anew"):
        Ledger(ledger.database.path.parent, "next").balances(None)


def test_a_call_of_another_host_and_one_that_cost_too_much_are_resolved_by_hand(ledger):
    elsewhere, dear, plain = (reserve(ledger, request()) for _ in range(3))
    with ledger.database.transaction() as connection:
        connection.execute(
            "UPDATE calls SET owner = 'elsewhere/1@0' WHERE id = ?", (elsewhere.number,)
        )
    ledger.record(dear, "ok", completion(request(), answer=10**9))
    ledger.record(plain, "ok", completion(request()))
    for reservation in (elsewhere, dear):
        ledger.resolve(reservation.number, Decimal("0.5"))
    with pytest.raises(BadArguments, match="No call with the number"):
        ledger.resolve(plain.number, Decimal(0))
    assert [row["status"] for row in rows(ledger)] == ["resolved", "resolved", "ok"]
    assert of_the_day(ledger) == (1 + 14 * 600 * Decimal("1e-9"), 0)


def test_a_lone_surrogate_in_a_providers_message_loses_no_row(ledger):
    reservation = reserve(ledger, request())
    ledger.record(reservation, "failed", completion(request()), "StreamBroken: \ud800!")
    assert rows(ledger)[0]["error"] == "StreamBroken: ?!"


def test_a_row_keeps_the_price_with_its_source(ledger):
    price = Price(
        Decimal("0.6"),
        Decimal("1.8"),
        cached=Decimal("0.06"),
        since=date(2026, 1, 2),
        source="bill",
    )
    model = Model("m", Provider("x", "X"), price=price)
    call(ledger, request(model), prompt=100, answer=10, cached_tokens=40)
    (row,) = rows(ledger)
    prices = ("input_price", "cached_price", "output_price")
    assert [row[f"{name}_nanodollars"] for name in prices] == [
        600_000_000,
        60_000_000,
        1_800_000_000,
    ]
    assert (row["price_since"], row["price_source"]) == ("2026-01-02", "bill")
    assert row["cost_nanodollars"] == 60 * 600 + 40 * 60 + 10 * 1800
    (spent,) = ledger.spent()
    assert (spent.cached_tokens, spent.saved) == (40, 40 * 540 * Decimal("1e-9"))


def test_a_ledger_of_the_first_form_is_carried_over(tmp_path):
    path = tmp_path / "data" / "ledger.db"
    path.parent.mkdir()
    old = Database(path, MIGRATIONS[:1])
    with old.transaction() as connection:
        connection.executemany(
            "INSERT INTO calls (started_at, session, notebook, provider, model, status,"
            " prompt_tokens, completion_tokens, estimated, cost_nanodollars)"
            " VALUES (?, ?, ?, 'together', 'm', ?, ?, ?, ?, ?)",
            [
                (1.78e9, "s1", None, "ok", 10, 20, 0, 18_000),
                (1.78e9, "s1", "/a.ipynb", "stopped", 1, 2, 1, 1_800),
                (1.79e9, "s2", "/a.ipynb", "failed", 0, 0, 0, 0),
                (1.79e9, "s2", None, "ok", 5, 5, 0, None),
                (1.79e9, "s2", None, "open", None, None, 0, None),
            ],
        )
    old.close()
    ledger = Ledger(path.parent, "s1")
    ledger.sweep()
    assert [row["counted"] for row in rows(ledger)] == ["server", "estimate", *["server"] * 2, None]
    assert [row["status"] for row in rows(ledger)][-1] == "lost"
    (mine,) = ledger.spent()
    assert (mine.calls, mine.stopped, mine.estimated, mine.cost) == (2, 1, 1, Decimal("19.8e-6"))
    everything = total(ledger.spent("all", "day"))
    assert (everything.calls, everything.failed, everything.lost) == (5, 1, 1)
    assert (everything.unpriced, everything.prompt_tokens) == (2, 16)
    ledger.set_limit("session", Decimal(1))
    ledger.set_limit("notebook", Decimal(1), "/a.ipynb")
    assert [left.spent * 10**9 for left in ledger.balances("/a.ipynb")] == [19_800, 1_800]
    ledger.database.close()


def test_closing_writes_what_is_owed(ledger):
    reservation = reserve(ledger, request())
    ledger.presume_lost(reservation)
    ledger.close()
    with closing(sqlite3.connect(ledger.database.path)) as connection:
        assert connection.execute("SELECT status FROM calls").fetchall() == [("lost",)]


def test_a_lone_surrogate_in_a_models_id_is_replaced(ledger):
    call(ledger, request(Model("half \ud83d", Provider("x", "X"))))
    assert [row["model"] for row in rows(ledger)] == ["half ?"]


def test_another_thread_s_transaction_records_a_call_too(ledger):
    """With many threads, one commit closes the rows of several calls."""
    first, second = reserve(ledger, request()), reserve(ledger, request())
    commits: list[str] = []
    ledger.database._open.set_trace_callback(commits.append)
    with ledger.database.lock:
        recorder = threading.Thread(target=ledger.record, args=(first, "ok", completion(request())))
        recorder.start()
        while first.entry not in ledger._writer._owed:
            time.sleep(0.001)
        ledger.record(second, "ok", completion(request()))
    recorder.join(10)
    assert [row["status"] for row in rows(ledger)] == ["ok", "ok"]
    assert commits.count("COMMIT") == 1


def test_a_call_that_is_being_recorded_is_not_taken_for_lost(ledger, monkeypatch):
    """Otherwise others would take its worst case for spent, and would not wait for the rest."""
    monkeypatch.setattr(store_rows, "_GRACE", 60.0)
    over, other = reserve(ledger, request()), reserve(ledger, request())
    ledger.presume_lost(over)
    ledger.record(other, "ok", completion(request()))
    assert [row["status"] for row in rows(ledger)] == ["open", "ok"]
    ledger.record(over, "ok", completion(request()))
    assert [row["status"] for row in rows(ledger)] == ["ok", "ok"]

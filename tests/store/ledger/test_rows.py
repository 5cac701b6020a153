"""Rows that cannot be written now are written later, once, even if the process ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from patience import soon
from server import Answer
from server import together as pieces

from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Message, Request
from mixmagic.errors import StoreBusy
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation

pytestmark = pytest.mark.usefixtures("no_grace")

REQUEST = Request(Catalog().resolve("8x7b"), (Message("user", "Hi"),), {"max_tokens": 91})


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "data", "this-session")
    ledger.sweep()
    yield ledger
    ledger.close()


@contextmanager
def locked(path: Path):
    """Keep a file locked, as another process that hangs; `COMMIT` lets go."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other
        if other.in_transaction:
            other.execute("COMMIT")


def begin() -> Reservation:
    return Reservation(REQUEST, None, worst_case(REQUEST))


def end(ledger: Ledger, reservation: Reservation, tokens: int = 5) -> None:
    usage = Usage(9, tokens)
    cost = REQUEST.model.price.cost(usage)
    ledger.record(reservation, "ok", Completion("", usage, cost, "stop", REQUEST, 1.0, 0.5))


def until(look: Callable[[], object], timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def statuses(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT status FROM calls ORDER BY id")]


def test_an_ending_is_written_by_itself_as_soon_as_the_lock_is_gone(ledger):
    reservation = begin()
    ledger.reserve(reservation)
    path = ledger.database.path
    with locked(path):
        with pytest.raises(StoreBusy):
            end(ledger, reservation)
        assert statuses(path) == ["open"]
    until(lambda: statuses(path) == ["ok"])
    assert ledger.spent()[0].cost == 14 * Decimal("600e-9")


def test_calls_that_begin_and_end_while_it_is_locked_are_written_once_each(ledger):
    """If they end before the lock is released, or after it, or are never recorded."""
    path = ledger.database.path
    with locked(path):
        early, late, forgotten = begin(), begin(), begin()
        for reservation in (early, late, forgotten):
            with pytest.raises(StoreBusy):
                ledger.reserve(reservation, timeout=0)
            ledger.reserve_later(reservation)
        with pytest.raises(StoreBusy):
            end(ledger, early)
        ledger.presume_lost(forgotten)
        del forgotten
    until(lambda: sorted(statuses(path)) == ["lost", "ok", "open"])
    end(ledger, late)
    assert sorted(statuses(path)) == ["lost", "ok", "ok"]
    assert sum(row.calls for row in ledger.spent()) == 3


def test_a_call_that_was_never_sent_is_not_written_later(ledger):
    path = ledger.database.path
    with locked(path):
        reservation = begin()
        ledger.reserve_later(reservation)
        with pytest.raises(StoreBusy):
            ledger.record(reservation, "failed", None)
    ledger.sweep()
    until(lambda: not ledger._writer.owes)
    assert statuses(path) == []


ASK = """
import sys, threading
import mixmagic
answer = mixmagic.ask("Hi", max_tokens=10)
print(answer.footer(), flush=True)
sys.stdin.readline()
"""


def ask(cwd: Path) -> subprocess.Popen[str]:
    """Start a process that makes a call, and ends after a line on its standard input."""
    return subprocess.Popen(
        [sys.executable, "-c", ASK], cwd=cwd,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_process_that_ends_in_order_writes_its_calls_when_the_lock_is_gone(
    home, together, tmp_path
):
    together.plan = [Answer(pieces("Hello"))]
    Ledger(home / "data", "s").sweep()
    path = home / "data" / "ledger.db"
    process = ask(tmp_path)
    with locked(path) as other:
        assert "not in the ledger yet" in process.stdout.readline()
        process.stdin.write("end\n")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)  # it waits for the lock
        assert statuses(path) == []
        other.execute("COMMIT")
        assert process.wait(20) == 0
    assert statuses(path) == ["ok"]
    process.communicate(timeout=60)


def test_a_process_that_ends_waits_for_a_limited_time(home, together, tmp_path):
    together.plan = [Answer(pieces("Hello"))]
    Ledger(home / "data", "s").sweep()
    process = ask(tmp_path)
    with locked(home / "data" / "ledger.db"):
        assert "not in the ledger yet" in process.stdout.readline()
        process.stdin.write("end\n")
        process.stdin.flush()
        assert process.wait(30) == 0
    assert process.communicate(timeout=60)[1] == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_waits_for_no_lock_and_the_child_does_not_write_its_parents_rows(ledger):
    path = ledger.database.path
    reservation = begin()
    ledger.reserve(reservation)
    with locked(path):
        with pytest.raises(StoreBusy):
            end(ledger, reservation)
        waiting = threading.Thread(target=lambda: ledger.set_limit("session", None))
        waiting.start()  # for the file
        started = time.monotonic()
        if (pid := os.fork()) == 0:
            signal.alarm(20)
            os._exit(ledger._writer.owes)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert time.monotonic() - started < soon(2)
    waiting.join(10)
    until(lambda: statuses(path) == ["ok"])
    with locked(path):
        if (pid := os.fork()) == 0:
            ledger.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_waiting_writer_does_not_keep_readers_from_the_file(ledger):
    with locked(ledger.database.path):
        waiting = threading.Thread(target=lambda: ledger.set_limit("day", Decimal(1)))
        waiting.start()
        started = time.monotonic()
        for _ in range(20):
            ledger.database.rows("SELECT 1")
        assert time.monotonic() - started < soon(2)
        assert waiting.is_alive()
    waiting.join(10)
    assert [left.limit.dollars for left in ledger.balances(None)] == [1]

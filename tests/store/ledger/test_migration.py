"""A ledger of an earlier mixmagic is brought up to date whole, once, whatever happens meanwhile."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from mixmagic.calls.worst_case import worst_case
from mixmagic.catalog import Catalog
from mixmagic.core.values import Message, Request
from mixmagic.errors import StoreError
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation
from mixmagic.store.ledger.schema import MIGRATIONS
from mixmagic.store.ledger.spend import total
from mixmagic.store.sqlite.database import Database

EARLIER = 3  # migrations that it has had
# What an earlier mixmagic writes for a call: its row, and its end.
RESERVE = (
    "INSERT INTO calls (started_at, day, session, notebook, cell, provider, model, status, owner,"
    " held_nanodollars, input_price_nanodollars, cached_price_nanodollars,"
    " output_price_nanodollars, price_since, price_source) VALUES (?, date('now', 'localtime'),"
    " 's', NULL, NULL, 'x', 'm', 'open', 'another-host/1@2.00', 5000, 1, NULL, 1, NULL, NULL)"
)
SETTLE = (
    "UPDATE calls SET owner = NULL, status = 'ok', error = NULL, cost_nanodollars = 700,"
    " prompt_tokens = 3, cached_tokens = 0, completion_tokens = 4, counted = 'server',"
    " latency_ms = 1, first_token_ms = 1 WHERE id = ? AND status = 'open'"
)
ADD_UP = (
    "INSERT INTO totals SELECT session, day, '', provider, model, status, 1, prompt_tokens, 0,"
    " completion_tokens, cost_nanodollars, 0, 0, 0 FROM calls WHERE id = ?"
)


def fill(path: Path, calls: int) -> None:
    """Make the ledger of an earlier mixmagic, with calls of every status."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = Database(path, MIGRATIONS[:EARLIER])
    with old.transaction() as connection:
        connection.execute(
            """
            INSERT INTO calls (started_at, day, session, notebook, cell, provider, model, status,
                error, owner, held_nanodollars, prompt_tokens, cached_tokens, completion_tokens,
                counted, input_price_nanodollars, output_price_nanodollars, price_since,
                price_source, cost_nanodollars, latency_ms, first_token_ms)
            WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers
                WHERE i < ? - 1)
            SELECT 1.7e9 + i, date(1.7e9 + i * 60, 'unixepoch'), 'session-' || (i / 100),
                '/home/ada/' || (i % 7) || '.ipynb', NULL, 'together', 'model-' || (i % 5),
                CASE i % 10 WHEN 0 THEN 'stopped' WHEN 1 THEN 'failed' WHEN 2 THEN 'lost'
                    WHEN 3 THEN 'resolved' ELSE 'ok' END,
                CASE i % 10 WHEN 1 THEN 'Unavailable: why' END, NULL, 9000, i % 900, i % 90,
                i % 300, CASE i % 3 WHEN 0 THEN 'exact' ELSE 'server' END, 600000000, 600000000,
                '2026-01-01', 'a page', CASE WHEN i % 11 THEN i % 1000 * 600 END, 900.5, 200.25
            FROM numbers
            """,
            (calls,),
        )
        for statement in MIGRATIONS[1].split(";"):
            if statement.lstrip().startswith("INSERT INTO totals"):
                connection.execute(statement)
    old.close()


def content(path: Path) -> tuple[list, list]:
    """Rows and totals, in the columns that an earlier ledger has."""
    with closing(sqlite3.connect(":memory:")) as model:
        model.executescript(";".join(MIGRATIONS[:EARLIER]))
        names = [row[1] for row in model.execute("PRAGMA table_info(calls)")]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        calls = connection.execute(f"SELECT {', '.join(names)} FROM calls ORDER BY id")
        return calls.fetchall(), connection.execute("SELECT * FROM totals").fetchall()


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


@pytest.fixture
def path(tmp_path):
    fill(tmp_path / "data" / "ledger.db", 2000)
    return tmp_path / "data" / "ledger.db"


def test_every_row_and_sum_is_carried_over(path):
    before = content(path)
    ledger = Ledger(path.parent, "session-3")
    spent = total(ledger.spent("all"))
    assert (spent.calls, total(ledger.spent()).calls) == (2000, 100)
    assert spent.cost == sum(Decimal(row[-3] or 0) for row in before[0]) / 10**9
    ledger.close()
    assert content(path) == before
    assert version(path) == len(MIGRATIONS) == EARLIER + 1
    rows = Database(path, MIGRATIONS).rows("SELECT DISTINCT origin, billed_tries, job FROM calls")
    assert [tuple(row) for row in rows] == [("live", 0, None)]


def test_calls_are_found_by_their_job_and_any_status_is_allowed(path):
    ledger = Ledger(path.parent, "s")
    with ledger.database.transaction() as connection:
        connection.execute(
            "INSERT INTO calls (started_at, day, session, provider, model, status, origin, tag,"
            " job) VALUES (1, '2026-11-30', 's', 'x', 'm', 'expired', 'batch', 'row 7', 'nightly')"
        )
        connection.execute(RESERVED_FOR_A_JOB)
    found = "SELECT tag FROM calls WHERE job = 'nightly'"
    assert [row["tag"] for row in ledger.database.rows(found)] == ["row 7"]
    (plan,) = ledger.database.rows(f"EXPLAIN QUERY PLAN {found}")
    assert "calls_by_job" in plan["detail"]
    ledger.sweep()
    assert len(ledger.database.rows("SELECT * FROM reservations")) == 1
    ledger.close()


RESERVED_FOR_A_JOB = (
    "INSERT INTO reservations (job, lease, created_at, day, session, provider, model,"
    " held_nanodollars) VALUES ('nightly', 'lease-1', 1, '2026-11-30', 's', 'x', 'm', 7)"
)


def request() -> Request:
    return Request(Catalog().resolve("8x7b"), (Message("user", "Hi"),))


def test_an_earlier_mixmagic_with_the_file_open_is_stopped_with_a_message(path):
    """It ends the call that is under way, and is stopped when it is about to make the next."""
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute(RESERVE, (time.time(),))
        number = old.execute("SELECT MAX(id) FROM calls").fetchone()[0]
        ledger = Ledger(path.parent, "s")
        ledger.balances(None)
        assert version(path) == len(MIGRATIONS)
        with pytest.raises(sqlite3.IntegrityError, match="a newer mixmagic has opened it: restart"):
            old.execute(RESERVE, (time.time(),))
        old.execute("BEGIN IMMEDIATE")
        old.execute(SETTLE, (number,))
        old.execute(ADD_UP, (number,))
        old.execute("COMMIT")
    reservation = Reservation(request(), None, worst_case(request()))
    ledger.reserve(reservation)
    rows = ledger.database.rows("SELECT id, status FROM calls WHERE id >= ?", (number,))
    assert [tuple(row) for row in rows] == [(number, "ok"), (number + 1, "open")]
    assert ledger.spent()[0].cost == Decimal("700e-9")
    ledger.close()


def test_a_process_of_this_version_names_a_newer_one_in_two_lines(path):
    ledger = Ledger(path.parent, "s")
    ledger.balances(None)
    newer = Database(path, [*MIGRATIONS, "ALTER TABLE calls ADD COLUMN more TEXT"])
    newer.rows("SELECT 1")
    with pytest.raises(StoreError, match="was written by a newer mixmagic") as caught:
        ledger.reserve(Reservation(request(), None, worst_case(request())))
    assert len(caught.value._render_traceback_()) == 2
    assert newer.rows("SELECT * FROM calls WHERE status = 'open'") == []
    newer.close()
    ledger.close()


MIGRATE = """
import sys, time
from pathlib import Path
from mixmagic.store.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), "s")
if len(sys.argv) > 2:
    time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
print("now", flush=True)
print(ledger.database.rows("SELECT COUNT(*) FROM calls")[0][0])
"""


def start(path: Path, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MIGRATE, path.parent, *words]
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_processes_that_open_it_at_once_both_come_out_right(tmp_path):
    path = tmp_path / "data" / "ledger.db"
    fill(path, 60_000)
    before = content(path)
    at = time.time() + 1.0
    processes = [start(path, at) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in processes]
    assert said == [("now\n60000\n", "")] * 2
    assert content(path) == before
    assert version(path) == len(MIGRATIONS)
    assert sorted(each.name for each in path.parent.iterdir()) == ["ledger.db", "ledger.db-lock"]


def kill(path: Path, calls: int, dice: random.Random, longest: float) -> bool:
    """Kill a migration after a random time; whether it was not over."""
    fill(path, calls)
    before = content(path)
    process = start(path)
    assert process.stdout.readline() == "now\n"
    time.sleep(dice.uniform(0, longest))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    unfinished = process.returncode == -signal.SIGKILL
    ledger = Ledger(path.parent, "s")
    assert total(ledger.spent("all")).calls == calls
    ledger.close()
    assert content(path) == before
    assert version(path) == len(MIGRATIONS)
    assert list(path.parent.glob("*damaged*")) == []
    return unfinished


@pytest.mark.parametrize(
    ("kills", "calls"),
    [(6, 20_000), pytest.param(100, 40_000, marks=pytest.mark.slow)],
)
def test_a_migration_that_is_killed_loses_nothing(tmp_path, kills, calls):
    fill(tmp_path / "measure" / "ledger.db", calls)
    started = time.monotonic()
    Ledger(tmp_path / "measure", "s").balances(None)
    longest = 1.2 * (time.monotonic() - started)
    dice, unfinished, number = random.Random(4711), 0, 0
    while number < kills or unfinished <= kills / 4:
        assert number < 4 * kills, f"{unfinished} of {number} were killed on the way"
        if kill(tmp_path / str(number) / "ledger.db", calls, dice, longest):
            unfinished += 1
        else:
            longest *= 0.9  # the machine was busier when it was measured
        shutil.rmtree(tmp_path / str(number))
        number += 1

"""A commit is on the disk soon after it, and no caller waits for that."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from mixmagic.store.sqlite import log_sync, network_filesystem
from mixmagic.store.sqlite.database import Database

FIRST = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"

# Counts each sync of this process: the commits before it, the file, and the thread.
COUNT = """
import os, sys, threading, time
from pathlib import Path
from mixmagic.store.sqlite.database import Database

path, commits, syncs = Path(sys.argv[1]), [0], []
fsync = os.fsync
def counted(descriptor):
    name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
    syncs.append((commits[0], name, threading.current_thread().name))
    fsync(descriptor)
os.fsync = counted
def add(database, count=1):
    for _ in range(count):
        with database.transaction() as connection:
            connection.execute("INSERT INTO notes (text) VALUES ('x')")
        commits[0] += 1
def until(look):
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline, syncs
        time.sleep(0.005)
def open_it(**kind):
    return Database(path, ["CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"], **kind)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/fd")


def run(script: str, *words: object) -> str:
    """Run a process; return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-Wignore::DeprecationWarning", "-c", COUNT + script, *map(str, words)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def test_each_commit_is_synced_by_a_thread_and_a_crowd_of_them_together(tmp_path):
    script = """
database = open_it()
for _ in range(3):
    add(database)
    until(lambda: syncs and syncs[-1][0] == commits[0])
assert len(syncs) == 3
started = time.monotonic()
add(database, 300)
until(lambda: syncs[-1][0] == commits[0])
took = time.monotonic() - started
assert len(syncs) - 3 <= took / 0.05 + 1, (len(syncs), took)
assert {sync[1:] for sync in syncs} == {("notes.db-wal", "mixmagic-log-sync")}
"""
    run(script, tmp_path / "notes.db")


def test_a_failed_transaction_is_not_synced(tmp_path):
    script = """
database = open_it()
try:
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES ('x')")
        1 / 0
except ZeroDivisionError:
    pass
database.rows("SELECT * FROM notes")
database.close()
assert syncs == []
"""
    run(script, tmp_path / "notes.db")


def test_sync_returns_when_the_last_commit_is_on_the_disk(tmp_path):
    script = """
database = open_it()
for _ in range(20):
    add(database)
    database.sync()
    assert syncs[-1][0] == commits[0]
before = len(syncs)
database.sync()
assert len(syncs) == before, "nothing is left to sync"
"""
    run(script, tmp_path / "notes.db")


def test_sync_waits_for_one_that_the_thread_has_begun(tmp_path, monkeypatch):
    """The thread clears its flag before it syncs: a look at the flag is not enough."""
    begun, go_on, done = threading.Event(), threading.Event(), []

    def slow(descriptor: int) -> None:
        begun.set()
        go_on.wait(10)
        done.append(descriptor)

    monkeypatch.setattr(log_sync, "_fsync", slow)
    database = Database(tmp_path / "notes.db", [FIRST])
    with database.transaction():
        pass
    assert begun.wait(10)
    syncing = threading.Thread(target=database.sync)
    syncing.start()
    syncing.join(0.2)
    assert syncing.is_alive()
    go_on.set()
    syncing.join(10)
    assert len(done) == 1
    database.close()


@pytest.mark.parametrize("end", ["database.close()", "del database", "pass"])
def test_a_file_that_is_closed_or_a_process_that_ends_syncs_at_once(tmp_path, end):
    """Another process keeps the file open: SQLite itself would sync what the last one closes."""
    script = f"""
import atexit
@atexit.register  # the first one registered is the last one that runs
def check():
    assert [sync[:2] for sync in syncs] == [(1, "notes.db-wal")], syncs
    print(threading.active_count())
database = open_it()
add(database)
{end}
"""
    with closing(sqlite3.connect(tmp_path / "notes.db")) as other:
        other.execute("PRAGMA journal_mode=WAL")
        assert run(script, tmp_path / "notes.db") == "1\n", "its thread has ended"


def test_a_forked_child_has_a_thread_of_its_own(tmp_path):
    script = """
database = open_it()
add(database)
until(lambda: syncs)
pid = os.fork()
if pid == 0:
    syncs.clear()
    add(database)
    until(lambda: syncs)
    assert syncs[-1][1:] == ("notes.db-wal", "mixmagic-log-sync")
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
syncs.clear()
add(database)
until(lambda: syncs)
"""
    run(script, tmp_path / "notes.db")


def test_a_cache_is_never_synced(tmp_path):
    script = """
database = open_it(durable=False)
add(database, 20)
time.sleep(0.2)
database.sync()
database.close()
assert syncs == []
assert threading.active_count() == 1
"""
    run(script, tmp_path / "notes.db")


def test_a_log_is_left_to_the_thread_and_a_rollback_journal_is_not(tmp_path, monkeypatch):
    database = Database(tmp_path / "near" / "notes.db", [FIRST])
    assert database.rows("PRAGMA synchronous")[0][0] == 1, "NORMAL"
    assert database.rows("PRAGMA fullfsync")[0][0] == 1
    database.close()
    table = tmp_path / "mountinfo"
    table.write_text(f"27 1 0:9 / {tmp_path / 'far'} rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(network_filesystem, "_MOUNT_TABLE", table)
    before = threading.enumerate()
    database = Database(tmp_path / "far" / "notes.db", [FIRST])
    assert database.rows("PRAGMA synchronous")[0][0] == 2, "FULL"
    with database.transaction():
        pass
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    assert "mixmagic-log-sync" not in names
    database.close()


def test_a_sync_does_not_drop_the_locks_of_sqlite(tmp_path):
    """Closing any descriptor of the database itself would: then two processes could write."""
    database = Database(tmp_path / "notes.db", [FIRST])
    with database.transaction():
        pass
    other = """
import sys
from pathlib import Path
from mixmagic.errors import StoreBusy
from mixmagic.store.sqlite.database import Database
try:
    with Database(Path(sys.argv[1]), [sys.argv[2]]).transaction(0.2):
        print("written")
except StoreBusy:
    print("busy")
"""
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES ('mine')")
        database._log_sync.committed()
        database._log_sync.sync()
        ran = subprocess.run(
            [sys.executable, "-c", other, database.path, FIRST],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.stdout == "busy\n", ran.stderr
    database.close()


def test_a_budget_is_raised_after_earlier_spending_is_on_the_disk(tmp_path):
    script = """
from decimal import Decimal
from mixmagic.store.ledger.ledger import Ledger
ledger = Ledger(path.parent, "s")
replace = os.replace
def replaced(*names):
    syncs.append(("replaced",))
    replace(*names)
os.replace = replaced
for limit in range(1, 6):
    ledger.set_limit("day", None)  # a transaction, which needs a sync
    syncs.clear()
    ledger.set_limit("day", Decimal(limit))
    assert syncs[0][1:] == ("ledger.db-wal", "MainThread"), syncs
    assert ("replaced",) in syncs
"""
    run(script, tmp_path / "ledger.db")

"""SIGKILL at any moment: every commit is there, and no transaction is there in part."""

from __future__ import annotations

import subprocess
import sys

import pytest
from databases import FIRST

pytestmark = pytest.mark.usefixtures("kind")


# A process that forks the ones to be killed, which is quicker than to start each. It has no
# file open itself when they end.
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
from mixmagic.errors import StoreDamaged
from mixmagic.store.sqlite import network_filesystem as mounts
from databases import open_database

signal.alarm(60)
folder, first, table, seconds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
path = folder / "notes.db"
if table:
    mounts._MOUNT_TABLE = Path(table)
dice = random.Random(4711)
def add(database, number):
    with database.transaction() as connection:
        for half in "ab":
            connection.execute(
                "INSERT INTO notes (text) VALUES (?)", (f"{number}{half}" + "." * 3000,)
            )
def killed(work, longest, count=1):
    '''Kill processes that work, each after a random time; what they said they had done.'''
    reading, writing = os.pipe()
    pids = []
    for each in range(count):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reading)
                work(each, lambda text: os.write(writing, (text + "\\n").encode()))
            except BaseException as error:
                os.write(writing, f"failed {error!r}\\n".encode())
            os._exit(0)
        pids.append(pid)
    os.close(writing)
    time.sleep(dice.uniform(0, longest))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    with open(reading) as said:
        lines = said.read().split("\\n")
    assert not any(line.startswith("failed") for line in lines), lines
    return [line for line in lines if line]
def whole(database):
    assert [tuple(row) for row in database.rows("PRAGMA integrity_check")] == [("ok",)]
over = time.monotonic() + seconds
rounds = 0
"""

IN_TRANSACTIONS = """
done = set()
serial = iter(range(10**9))
while rounds < 3 or time.monotonic() < over:
    start = next(serial) * 100_000
    def work(each, say):
        database = open_database(path, [first])
        database.rows("PRAGMA wal_autocheckpoint=3")
        for number in range(start + each * 50_000, start + each * 50_000 + 50_000):
            add(database, number)
            say(str(number))
            if number % 4 == 3:
                database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            if number % 7 == 6:
                database.close()
    said = set(map(int, killed(work, 0.06, count=2)))
    done |= said
    rounds += 1
    database = open_database(path, [first])
    whole(database)
    texts = [row[0].rstrip(".") for row in database.rows("SELECT text FROM notes ORDER BY id")]
    assert texts[::2] == [text[:-1] + "a" for text in texts[1::2]], "a transaction by halves"
    kept = {int(text[:-1]) for text in texts[::2]}
    assert done <= kept, ("lost", done - kept)
    assert len(kept - done) <= 2 * rounds, "each had one commit at most that it could not tell of"
    database.close()
    if rounds % 10 == 0:
        with database.transaction() as connection:
            connection.execute("DELETE FROM notes")
        database.close()
        done.clear()
print(rounds)
"""

IN_MIGRATIONS = """
steps = [first]
for number in range(12):
    steps.append(
        f"CREATE TABLE more{number} (a INTEGER PRIMARY KEY, b TEXT);"
        f"INSERT INTO more{number} (b) VALUES ('x'), ('y'); ALTER TABLE notes ADD COLUMN c{number}"
    )
while rounds < 3 or time.monotonic() < over:
    for each in folder.glob("notes*"):
        each.unlink()
    old = open_database(path, steps[: dice.choice([1, 4])])
    if rounds % 3:
        add(old, 1)
        old.close()
    killed(lambda each, say: open_database(path, steps).rows("SELECT 1"), 0.02, count=2)
    rounds += 1
    database = open_database(path, steps)
    assert database.rows("PRAGMA user_version")[0][0] == len(steps)
    whole(database)
    for number in range(12):
        assert database.rows(f"SELECT COUNT(*) FROM more{number}")[0][0] == 2
    assert len(database.rows("SELECT c11 FROM notes")) == (2 if rounds % 3 != 1 else 0)
    database.close()
print(rounds)
"""

IN_MOVING_ASIDE = """
while rounds < 3 or time.monotonic() < over:
    for each in folder.glob("notes*"):
        each.unlink()
    database = open_database(path, [first])
    for number in range(20):
        add(database, number)
    database.close()
    damage = os.urandom(4096 * 10)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(damage)
    def work(each, say):
        database = open_database(path, [first])
        for number in range(each * 1000, each * 1000 + 1000):
            try:
                database.rows("SELECT SUM(length(text)) FROM notes")
                add(database, number)
                say(str(number))
            except StoreDamaged:
                say("damaged")
    said = killed(work, 0.03, count=3)
    rounds += 1
    assert said.count("damaged") <= 1
    done = {int(each) for each in said if each != "damaged"}
    database = open_database(path, [first])
    try:
        texts = [row[0].rstrip(".") for row in database.rows("SELECT text FROM notes")]
    except StoreDamaged:
        assert not said, "found anew, where nobody had come to it"
        texts = database.rows("SELECT text FROM notes")
    assert done <= {int(text[:-1]) for text in texts}
    whole(database)
    database.close()
    moved = [each for each in folder.glob("notes.damaged-*") if each.suffix == ".db"]
    if os.environ["MIXMAGIC_TEST_DATABASE"] == "cache":
        assert not moved
    else:
        assert len(moved) == 1
        assert damage in moved[0].read_bytes()
print(rounds)
"""


@pytest.mark.parametrize(
    ("journal", "kind"),
    [("wal", "ledger"), ("delete", "ledger"), ("wal", "cache")],
    indirect=["kind"],
)
@pytest.mark.parametrize(
    ("script", "seconds"),
    [(IN_TRANSACTIONS, 3), (IN_MIGRATIONS, 1.5), (IN_MOVING_ASIDE, 1.5)],
    ids=["in transactions and checkpoints", "in migrations", "in moving aside"],
)
def test_processes_that_are_killed_lose_nothing(tmp_path, journal, script, seconds):
    folder, table = tmp_path / "data", tmp_path / "mountinfo"
    table.write_text(f"27 1 0:9 / {folder} rw - nfs4 server:/ rw\n")
    words = [folder, FIRST, table if journal == "delete" else "", seconds]
    ran = subprocess.run(
        [sys.executable, "-c", KILLS + script, *map(str, words)],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert int(ran.stdout) >= 3, "times that it was killed"

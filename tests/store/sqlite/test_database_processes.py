"""SQLite files between processes: opened at once, and forked."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from databases import FIRST, open_database
from programs import FORKING

pytestmark = pytest.mark.usefixtures("kind")

SECOND = "ALTER TABLE notes ADD COLUMN more TEXT"


def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A Python process of its own."""
    command = [*FORKING, script, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def version(path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


OPEN = """
import sys, time
from pathlib import Path
from databases import open_database
print("ready", flush=True)
start = float(sys.stdin.readline())
for number in range(20):
    time.sleep(max(0, start + number * 0.02 - time.time()))
    database = open_database(Path(sys.argv[1]) / f"{number}.db", sys.argv[2:])
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES ('one')")
    database.close()
"""


def test_several_processes_may_open_a_new_file_at_once(tmp_path):
    """Twenty new files, each opened by four processes at the same moment."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, tmp_path / "data", FIRST, SECOND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    start = time.time() + 0.1
    for process in processes:
        process.stdin.write(f"{start}\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    for number in range(20):
        database = open_database(tmp_path / "data" / f"{number}.db", [FIRST, SECOND])
        assert database.rows("SELECT COUNT(*) FROM notes")[0][0] == 4
        assert database.check() == "ok"
        database.close()
        assert version(database.path) == 2


def test_a_forked_child_opens_the_file_for_itself(tmp_path):
    script = """
import os, sys
from pathlib import Path
from databases import open_database

database = open_database(Path(sys.argv[1]), [sys.argv[2]])
def add(text):
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))
add("parent")
pid = os.fork()
if pid == 0:
    add("child")
    database.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
add("parent again")
print(*(row[0] for row in database.rows("SELECT text FROM notes ORDER BY id")), sep=", ")
"""
    ran = run(script, tmp_path / "notes.db", FIRST)
    assert ran.stdout == "parent, child, parent again\n", ran.stderr


def test_what_a_forked_child_writes_after_its_parent_has_closed_the_file_is_kept(tmp_path):
    script = """
import os, sys
from pathlib import Path
from databases import open_database

database = open_database(Path(sys.argv[1]), [sys.argv[2]])
def add(text):
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))
add("parent")
(wrote, tell_wrote), (closed, tell_closed) = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    add("first")
    os.write(tell_wrote, b"x")
    os.read(closed, 1)
    add("second")
    os._exit(0)
os.read(wrote, 1)
database.close()
os.write(tell_closed, b"x")
assert os.waitpid(pid, 0)[1] == 0
print(*(row[0] for row in database.rows("SELECT text FROM notes ORDER BY id")), sep=", ")
"""
    ran = run(script, tmp_path / "notes.db", FIRST)
    assert ran.stdout == "parent, first, second\n", ran.stderr


def test_threads_that_fork_at_once_leave_the_file_to_all(tmp_path):
    """Both are about to fork while the file is in use, and each lets go of it afterwards."""
    script = """
import os, signal, sys, threading, time
from pathlib import Path
from databases import open_database

signal.alarm(20)
database = open_database(Path(sys.argv[1]), [sys.argv[2]])
def add(text):
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))
def fork():
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        add("child")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    add("parent")
threads = [threading.Thread(target=fork) for _ in range(3)]
with database.transaction():
    for thread in threads:
        thread.start()
    time.sleep(0.3)
for thread in threads:
    thread.join()
print(*sorted(row[0] for row in database.rows("SELECT text FROM notes")))
"""
    ran = run(script, tmp_path / "notes.db", FIRST)
    assert (ran.stdout, ran.stderr) == ("child child child parent parent parent\n", "")


def test_a_fork_while_other_threads_make_databases(tmp_path):
    script = """
import os, signal, sys, threading
from pathlib import Path
from databases import open_database

signal.alarm(30)
sys.setswitchinterval(1e-5)
kept = [open_database(Path(sys.argv[1]), []) for _ in range(500)]
over = threading.Event()
def make():
    while not over.is_set():
        open_database(Path(sys.argv[1]), [])
threads = [threading.Thread(target=make) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
over.set()
"""
    ran = run(script, tmp_path / "notes.db")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_module_that_is_imported_during_a_fork_owes_it_nothing(tmp_path):
    """What another hook waits for may be the first import of this room."""
    script = """
import logging, os  # it has a hook of its own
def late():
    import mixmagic.store.sqlite.database
os.register_at_fork(before=late)
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""
    ran = run(script)
    assert (ran.returncode, ran.stderr) == (0, "")

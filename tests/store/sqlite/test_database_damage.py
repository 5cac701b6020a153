"""Damaged files are moved aside complete and reported once, and no new row is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from databases import FIRST, PAGE, add, add_many, moved, noise, overwrite, texts

from mixmagic.errors import StoreDamaged, StoreError
from mixmagic.store.sqlite.database import Database

SECOND = "CREATE INDEX by_length ON notes (length(text))"


def replace(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


DAMAGES = {
    "random bytes": lambda path: path.write_bytes(noise(20_000)),
    "text": lambda path: path.write_bytes(b"no database at all, " * 300),
    "only a header": lambda path: path.write_bytes(b"SQLite format 3\0" + b"x" * 9000),
    "cut between pages": lambda path: os.truncate(path, 5 * PAGE),
    "cut within a page": lambda path: os.truncate(path, 5 * PAGE + 100),
    "cut within the header": lambda path: os.truncate(path, 50),
    "flipped pages": lambda path: overwrite(path, PAGE, bytes([0xA5]) * PAGE * 20),
    "zeroed pages": lambda path: overwrite(path, PAGE, bytes(PAGE * 20)),
    "random pages": lambda path: overwrite(path, PAGE, noise(PAGE * 20)),
    "a column of another name": lambda path: replace(path, b"text TEXT", b"tezt TEXT"),
    "a table of another name": lambda path: replace(path, b"TABLE notes", b"TABLE not\xf8s"),
    "the number of another version": lambda path: overwrite(path, 60, bytes(4)),
}
USES = {
    "read": texts,
    "write": add_many,
    "migrate": lambda database: Database(database.path, [FIRST, SECOND]).rows("SELECT 1"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_moved_aside_complete_and_reported_once(path, damage, use):
    damage(path)
    content = path.read_bytes()
    database = Database(path, [FIRST])
    with pytest.raises(StoreDamaged) as caught:
        use(database)
    (gone,) = (each for each in moved(path) if each.suffix == ".db")
    lines = caught.value._render_traceback_()
    assert len(lines) == 2
    assert str(path) in lines[0]
    assert str(gone) in lines[0]
    assert "a new, empty one takes its place" in lines[0]
    assert gone.read_bytes() == content, "nothing of it is lost"
    add(database, "new")
    assert texts(database) == ["new"]
    assert database.check() == "ok"
    database.close()


def open_cache(path: Path, *more: str) -> Database:
    return Database(path, [FIRST, *more], durable=False, on_damage="recreate")


CACHE_USES = {
    "read": texts,
    "write": lambda database: add(database, "first"),
    "migrate": lambda database: open_cache(database.path, SECOND).rows("SELECT 1"),
}


@pytest.mark.parametrize("use", CACHE_USES.values(), ids=CACHE_USES)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_recreated_silently(path, damage, use):
    damage(path)
    cache = open_cache(path, *([SECOND] if use is CACHE_USES["migrate"] else []))
    lenient = contextlib.suppress(StoreDamaged)  # a transaction cannot be begun anew
    with lenient if use is CACHE_USES["write"] else contextlib.nullcontext():
        use(cache)
    add(cache, "new")
    assert texts(cache)[-1] == "new"
    assert len(texts(cache)) <= 2
    assert cache.check() == "ok"
    cache.close()
    assert moved(path) == []


def test_a_cache_that_is_found_damaged_in_a_transaction_is_recreated_at_the_next_use(path):
    overwrite(path, PAGE, noise(PAGE * 20))
    cache = open_cache(path)

    def copy() -> None:
        with cache.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS copies AS SELECT 1")
            connection.execute("INSERT INTO notes (text) SELECT text FROM notes")

    with pytest.raises(StoreDamaged, match=r"notes\.db was damaged and has been deleted\."):
        copy()
    assert texts(cache) == []
    cache.close()
    assert moved(path) == []


def test_a_cache_of_a_newer_version_is_refused_and_left_alone(path):
    newer = open_cache(path, SECOND)
    assert len(texts(newer)) == 300
    newer.close()
    with pytest.raises(StoreError, match="newer mixmagic"):
        texts(open_cache(path))
    assert len(texts(newer)) == 300
    newer.close()


def test_a_cache_ignores_the_log_of_an_emptied_file(path):
    cache = open_cache(path)
    add(cache, "old")
    log = path.with_name(f"{path.name}-wal").read_bytes()
    cache.close()
    path.with_name(f"{path.name}-wal").write_bytes(log)
    path.write_bytes(b"")
    assert texts(cache) == []
    add(cache, "new")
    assert texts(cache) == ["new"]
    cache.close()


def test_a_text_that_is_not_utf_8_is_damage(path):
    replace(path, b"0007 0007", b"0007 \xf8007")
    database = Database(path, [FIRST])
    with pytest.raises(StoreDamaged):
        texts(database)
    assert texts(database) == []
    database.close()


def test_a_wrong_query_is_not_damage(path):
    database = Database(path, [FIRST])
    with pytest.raises(StoreError, match="no such column"):
        database.rows("SELECT none FROM notes")
    with pytest.raises(StoreError, match="no such table"), database.transaction() as connection:
        connection.execute("INSERT INTO none VALUES (1)")
    with database.transaction() as connection:  # a table more is nobody's harm
        connection.execute("CREATE TABLE more (x)")
    with pytest.raises(StoreError, match="no such column"):
        database.rows("SELECT none FROM notes")
    assert moved(path) == []
    assert len(texts(database)) == 300
    database.close()


def test_the_tables_of_a_newer_version_are_not_damage(path):
    old, new = Database(path, [FIRST]), Database(path, [FIRST, "DROP TABLE notes"])
    texts(old)
    new.rows("SELECT 1")
    for use in (texts, add_many):  # it has the file open since before
        with pytest.raises(StoreError, match="was written by a newer mixmagic") as caught:
            use(old)
        assert not isinstance(caught.value, StoreDamaged)
        assert "Restart this kernel" in caught.value.hint
    assert moved(path) == []
    old.close()
    new.close()


def test_the_log_of_an_emptied_file_is_kept(path):
    """SQLite alone would delete it."""
    database = Database(path, [FIRST])
    add(database, "new")
    log = path.with_name(f"{path.name}-wal").read_bytes()
    database.close()
    path.with_name(f"{path.name}-wal").write_bytes(log)
    path.write_bytes(b"")
    assert texts(database) == []
    (kept,) = moved(path, "left")
    assert kept.read_bytes() == log
    database.close()


def test_damage_that_is_found_in_a_transaction(path):
    overwrite(path, PAGE, noise(PAGE * 20))
    database = Database(path, [FIRST])

    def copy(*, again: bool) -> None:
        with database.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS copies AS SELECT 1")
            if again:
                database.rows("SELECT SUM(length(text)) FROM notes")
            connection.execute("INSERT INTO notes (text) SELECT text FROM notes")

    for again in (True, False):
        database.close()
        content = path.read_bytes()
        with pytest.raises(StoreDamaged):
            copy(again=again)
        assert any(each.read_bytes() == content for each in moved(path))
        add_many(database)
        database.close()
        overwrite(path, PAGE, noise(PAGE * 20))


def test_a_damaged_file_goes_with_its_log(path):
    """A kill leaves the log behind; it is moved as it was."""
    killed = f"""
import os, signal
from pathlib import Path
from mixmagic.store.sqlite.database import Database
database = Database(Path({str(path)!r}), [{FIRST!r}])
with database.transaction() as connection:
    connection.execute("INSERT INTO notes (text) VALUES ('in the log')")
os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = subprocess.run([sys.executable, "-c", killed], check=False, timeout=60)
    assert ran.returncode == -signal.SIGKILL
    log = path.with_name("notes.db-wal").read_bytes()
    assert b"in the log" in log
    overwrite(path, PAGE, noise(PAGE * 20))
    with pytest.raises(StoreDamaged):
        texts(Database(path, [FIRST]))
    gone, gone_shared, gone_log = moved(path)
    assert [gone_log.name, gone_shared.name] == [f"{gone.name}-wal", f"{gone.name}-shm"]
    assert gone_log.read_bytes() == log
    database = Database(path, [FIRST])
    assert texts(database) == []
    database.close()


@pytest.mark.parametrize("where", ["head", "middle", "all", "cut"])
def test_a_damaged_log_leaves_a_file_of_complete_transactions(tmp_path, where):
    """SQLite ignores commits whose checksums are wrong: a power cut may have broken them off."""
    path = tmp_path / "notes.db"
    killed = f"""
import os, signal
from pathlib import Path
from mixmagic.store.sqlite.database import Database
database = Database(Path({str(path)!r}), [{FIRST!r}])
for number in range(20):
    with database.transaction() as connection:
        for half in "ab":
            connection.execute("INSERT INTO notes (text) VALUES (?)", (str(number) + half,))
os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = subprocess.run([sys.executable, "-c", killed], check=False, timeout=60)
    assert ran.returncode == -signal.SIGKILL
    log = path.with_name("notes.db-wal")
    size = log.stat().st_size
    start, count = {"head": (0, 32), "middle": (size // 2, 500), "all": (0, size)}.get(
        where, (0, 0)
    )
    overwrite(log, start, noise(count))
    if where == "cut":
        os.truncate(log, size * 3 // 4 + 11)
    database = Database(path, [FIRST])
    kept = texts(database)
    assert kept == [f"{n}{half}" for n in range(len(kept) // 2) for half in "ab"]
    assert bool(kept) == (where in ("middle", "cut"))
    add(database, "new")
    assert texts(database) == [*kept, "new"]
    assert database.check() == "ok"
    assert moved(path) == []
    database.close()


def test_earlier_quarantined_files_are_never_overwritten(path):
    contents = []
    for number in range(4):
        contents.append(noise(5000) + bytes([number]))
        path.write_bytes(contents[-1])
        with pytest.raises(StoreDamaged):
            texts(Database(path, [FIRST]))
    assert sorted(each.read_bytes() for each in moved(path)) == sorted(contents)


def test_threads_that_find_the_same_damage_report_it_once_and_lose_no_new_row(path):
    overwrite(path, PAGE, noise(PAGE * 20))

    def use(number: int) -> list[str]:
        database, said = Database(path, [FIRST]), []
        for half in "ab":
            try:
                texts(database)
                add(database, f"{number}{half}")
            except StoreDamaged:
                said.append("damaged")
            else:
                said.append(f"{number}{half}")
        database.close()
        return said

    with ThreadPoolExecutor(8) as pool:
        said = [each for some in pool.map(use, range(16)) for each in some]
    assert said.count("damaged") == 1
    assert len([each for each in moved(path) if each.suffix == ".db"]) == 1
    database = Database(path, [FIRST])
    assert sorted(texts(database)) == sorted(each for each in said if each != "damaged")
    database.close()


WORKER = """
import sys
from pathlib import Path
from mixmagic.errors import StoreDamaged, StoreError
from mixmagic.store.sqlite.database import Database
path = Path(sys.argv[1])
database = Database(path, [sys.argv[2]])
if sys.argv[3] == "open":
    database.rows("SELECT 1")
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    text = f"{sys.argv[4]}:{number}"
    try:
        database.rows("SELECT SUM(length(text)) FROM notes")
        with database.transaction() as connection:
            connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))
        print("added", text, path.stat().st_ino)
    except StoreError as error:
        print(type(error).__name__, error)
database.close()
"""


@pytest.mark.parametrize("before", ["open", "closed"])
def test_processes_that_find_the_same_damage_report_it_once_and_lose_no_new_row(path, before):
    """Whether they have the damaged file open already, or are about to open it."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, path, FIRST, before, str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    overwrite(path, PAGE, noise(PAGE * 20))
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = []
    for worker in workers:
        out, err = worker.communicate(timeout=60)
        assert (worker.returncode, err) == (0, "")
        said += [line.split(" ", 2) for line in out.splitlines()]
    assert [kind for kind, *_ in said].count("StoreDamaged") == 1
    assert len([each for each in moved(path) if each.suffix == ".db"]) == 1
    added = [words for kind, *words in said if kind == "added"]
    assert {int(number) for _, number in added} == {path.stat().st_ino}
    assert len(said) == len(added) + 1 == 4 * 30, "whoever was not the first goes on"
    database = Database(path, [FIRST])
    assert sorted(texts(database)) == sorted(text for text, _ in added)
    assert database.check() == "ok"
    database.close()

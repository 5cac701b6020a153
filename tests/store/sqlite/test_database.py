"""SQLite files: threads, transactions, migrations, files of other versions."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from databases import FIRST, add, open_database, texts

from mixmagic.errors import StoreError
from mixmagic.store.sqlite import database as module
from mixmagic.store.sqlite import quarantine
from mixmagic.store.sqlite.database import Database

pytestmark = pytest.mark.usefixtures("kind")

SECOND = "ALTER TABLE notes ADD COLUMN more TEXT"


@pytest.fixture
def database(tmp_path):
    database = open_database(tmp_path / "deep" / "er" / "notes.db", [FIRST])
    yield database
    database.close()


def version(path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def assert_two_lines(error: StoreError, *says: str) -> None:
    lines = error._render_traceback_()
    assert len(lines) == 2
    assert not any("\n" in line for line in lines)
    for each in says:
        assert each in lines[0]


def test_nothing_is_made_before_the_first_use(tmp_path):
    open_database(tmp_path / "data" / "notes.db", [FIRST]).close()
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


def test_the_first_use_makes_folder_and_file_with_a_write_ahead_log(database):
    add(database, "one")
    assert database.journal == "wal"
    assert database.path.with_name("notes.db-wal").exists()
    assert texts(database) == ["one"]
    assert database.check() == "ok"


def fail(database: Database, failure: type[BaseException]) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES ('lost')")
        raise failure


def test_a_block_that_fails_leaves_nothing(database):
    add(database, "kept")
    for failure in (ZeroDivisionError, KeyboardInterrupt):
        with pytest.raises(failure):
            fail(database, failure)
    add(database, "next")
    assert texts(database) == ["kept", "next"]


def test_migrations_are_numbered_and_each_is_applied_once(tmp_path):
    path = tmp_path / "notes.db"
    old = open_database(path, [FIRST])
    add(old, "old")
    old.close()
    assert version(path) == 1
    for _ in range(2):
        new = open_database(path, [FIRST, SECOND])
        assert [tuple(row) for row in new.rows("SELECT text, more FROM notes")] == [("old", None)]
        new.close()
        assert version(path) == 2


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "notes.db"
    old = open_database(path, [FIRST])
    add(old, "old")
    old.close()
    broken = open_database(path, [FIRST, "CREATE TABLE half (id INTEGER); NONSENSE"])
    with pytest.raises(StoreError):
        broken.rows("SELECT 1")
    assert version(path) == 1
    again = open_database(path, [FIRST])
    assert texts(again) == ["old"]
    assert again.rows("SELECT name FROM sqlite_master WHERE name = 'half'") == []
    again.close()


def test_a_file_of_a_newer_mixmagic_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.db"
    newer = open_database(path, [FIRST, SECOND])
    add(newer, "precious")
    newer.close()
    with pytest.raises(StoreError) as caught:
        open_database(path, [FIRST]).rows("SELECT 1")
    assert_two_lines(caught.value, str(path), "newer mixmagic")
    assert "upgrade" in caught.value.hint
    assert version(path) == 2


def test_a_folder_that_cannot_be_is_named_in_two_lines(tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    database = open_database(tmp_path / "file" / "notes.db", [FIRST])
    for attempt in (lambda: add(database, "x"), lambda: texts(database), database.check):
        with pytest.raises(StoreError) as caught:
            attempt()
        assert_two_lines(caught.value, str(tmp_path / "file"))


def test_an_empty_file_is_a_new_one(tmp_path):
    path = tmp_path / "notes.db"
    path.touch()
    database = open_database(path, [FIRST])
    add(database, "one")
    assert texts(database) == ["one"]
    database.close()
    assert {each.name for each in tmp_path.glob("notes*")} == {"notes.db", "notes.db-lock"}


def test_a_block_that_goes_on_after_its_transaction_has_failed_is_not_kept_in_part(database):
    """SQLite ends a transaction itself on some errors: later statements would be committed."""

    def block(after: str) -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO notes (text) VALUES ('lost')")
            connection.execute("ROLLBACK")
            connection.execute(after)

    with pytest.raises(StoreError):
        block("SELECT 1")
    assert texts(database) == []


def test_rows_inside_a_transaction_are_those_that_it_sees(database):
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES ('mine')")
        assert texts(database) == ["mine"]

    def block() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO notes (text) VALUES ('lost')")
            database.rows("SELECT * FROM nowhere")

    with pytest.raises(StoreError, match="nowhere"):
        block()
    assert texts(database) == ["mine"]


def test_a_writer_waits_for_another_process_and_not_for_ever(database, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    add(database, "before")
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO notes (text) VALUES ('unfinished')")
        started = time.monotonic()
        assert texts(database) == ["before"], "a reader does not wait"
        with pytest.raises(StoreError) as caught:
            add(database, "refused")
        assert time.monotonic() - started > 0.25
        other.execute("COMMIT")
    assert_two_lines(caught.value, str(database.path), "locked by another process")
    assert "end that process" in caught.value.hint
    add(database, "after")
    assert texts(database) == ["before", "unfinished", "after"]


def test_an_opening_that_hangs_does_not_hold_others_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    database = open_database(tmp_path / "notes.db", [FIRST])
    with quarantine.exclusive(database.path, 1), pytest.raises(StoreError) as caught:
        texts(database)
    assert_two_lines(caught.value, str(database.path), "another process")
    add(database, "one")
    assert texts(database) == ["one"]
    database.close()


def test_a_new_file_that_another_process_is_writing_is_waited_for(tmp_path):
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        commit = threading.Timer(0.3, other.execute, ["COMMIT"])
        commit.start()
        database = open_database(path, [FIRST])
        add(database, "one")
        assert texts(database) == ["one"]
        commit.join(timeout=60)
        database.close()


def test_threads_lose_nothing(database):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: add(database, str(number)), range(400)))
    assert sorted(map(int, texts(database))) == list(range(400))


def test_a_transaction_of_one_thread_is_not_seen_half_done_by_another(database):
    add(database, "before")
    inside, seen = threading.Event(), []

    def read() -> None:
        inside.wait(10)
        seen.extend(texts(database))

    reader = threading.Thread(target=read)
    reader.start()
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES ('first')")
        inside.set()
        connection.execute("INSERT INTO notes (text) VALUES ('second')")
    reader.join(10)
    assert seen == ["before", "first", "second"]


def test_close_can_be_called_twice_and_the_file_used_again(database):
    database.close()
    add(database, "one")
    database.close()
    database.close()
    assert texts(database) == ["one"]

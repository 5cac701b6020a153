"""A reader waits for no transaction, and always reads the file that is there now."""

from __future__ import annotations

import stat
import threading

import pytest
from databases import FIRST, add, noise, texts

from mixmagic.errors import StoreBusy, StoreError
from mixmagic.store.sqlite.database import Database

ALL = "SELECT text FROM notes ORDER BY id"


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path / "notes.db", [FIRST], durable=False, on_damage="recreate")
    yield made
    made.close()


def read(database: Database) -> list[str]:
    return [row["text"] for row in database.read(ALL)]


def test_the_first_reader_creates_the_file(database):
    assert read(database) == []
    add(database, "one")
    assert read(database) == ["one"]


def test_a_reader_sees_what_was_committed_while_another_thread_writes(database):
    add(database, "one")
    found: list[list[str]] = []
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES ('two')")
        threads = [threading.Thread(target=lambda: found.append(read(database))) for _ in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert found == [["one"]] * 9
    assert read(database) == ["one", "two"]


def test_a_reader_cannot_write(database):
    add(database, "one")
    with database._readers.borrowed() as reader:
        reader.open(database.path)
        with pytest.raises(Exception, match="readonly"):
            reader.rows("DELETE FROM notes", ())


def test_readers_follow_a_file_that_another_process_has_replaced(database, tmp_path):
    add(database, "one")
    assert read(database) == ["one"]
    other = Database(tmp_path / "other.db", [FIRST])
    add(other, "other")
    other.close()
    database.close()
    (tmp_path / "other.db").replace(database.path)
    assert read(database) == ["other"]


@pytest.mark.parametrize("open_first", [True, False])
def test_a_damaged_file_is_replaced_by_a_reader_too(database, open_first):
    add(database, "one")
    assert read(database) == ["one"]
    if not open_first:
        database.close()
    database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    database.path.write_bytes(noise(20_000))
    for _ in range(3):
        try:
            assert read(database) in ([], ["one"])  # SQLite may have kept the page
        except StoreError:
            continue
    database.close()
    assert read(database) == []
    add(database, "two")
    assert read(database) == texts(database) == ["two"]


def test_threads_read_while_the_file_is_closed_again_and_again(database):
    add(database, "one")
    over, wrong = threading.Event(), []

    def work() -> None:
        while not over.is_set():
            if (found := read(database)) != ["one"]:
                wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        database.close()
    over.set()
    for thread in threads:
        thread.join(30)
    assert wrong == []


def test_compact_removes_every_trace(database):
    for number in range(50):
        add(database, f"canary {number} " * 100)
    with database.transaction() as connection:
        connection.execute("DELETE FROM notes")
    assert any(b"canary" in file.read_bytes() for file in database.path.parent.glob("notes.db*"))
    database.compact()
    assert not any(
        b"canary" in file.read_bytes() for file in database.path.parent.glob("notes.db*")
    )


def test_compact_waits_for_a_lock_only_so_long(database, tmp_path):
    add(database, "one")
    other = Database(database.path, [FIRST], durable=False)
    with other.transaction(), pytest.raises(StoreBusy):
        database.compact(timeout=0.05)


@pytest.mark.parametrize("private", [True, False])
def test_a_private_file_is_the_users_alone(tmp_path, private):
    database = Database(tmp_path / "notes.db", [FIRST], private=private)
    add(database, "one")
    for suffix in ("", "-wal", "-shm"):
        mode = stat.S_IMODE((tmp_path / f"notes.db{suffix}").stat().st_mode)
        assert (mode & 0o077 == 0) is private
    database.close()

"""Files that another process sets aside while they are open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from databases import FIRST, PAGE, add, moved, noise, overwrite, texts

from mixmagic.errors import StoreDamaged, StoreError
from mixmagic.store.sqlite import quarantine
from mixmagic.store.sqlite.database import Database


def test_a_process_with_the_moved_file_open_notices_at_its_next_use(path):
    mine, other = Database(path, [FIRST]), Database(path, [FIRST])
    assert len(texts(mine)) == 300
    overwrite(path, PAGE, noise(PAGE * 20))
    with pytest.raises(StoreDamaged):
        texts(other)
    assert texts(mine) == []
    add(mine, "mine")
    add(other, "other's")
    assert texts(mine) == texts(other) == ["mine", "other's"]
    mine.close()
    other.close()


@pytest.mark.parametrize("inside", [False, True])
def test_damage_that_another_process_finds_first_is_not_reported_again(path, inside):
    """A query begins anew with the new file; a transaction that had begun fails."""
    mine, other = Database(path, [FIRST]), Database(path, [FIRST])
    mine.rows("SELECT 1")
    overwrite(path, PAGE, noise(PAGE * 20))
    found = []

    def find() -> None:
        if not found:
            with pytest.raises(StoreDamaged) as caught:
                texts(other)
            found.append(caught.value)

    def copy() -> None:
        with mine.transaction() as connection:
            find()
            connection.execute("INSERT INTO notes (text) SELECT text FROM notes")

    if inside:
        with pytest.raises(StoreError) as caught:
            copy()
        assert type(caught.value) is StoreError
        assert "another process has moved" in caught.value.hint
    else:
        mine._open.set_progress_handler(find, 1)  # once the query has begun
        assert texts(mine) == []
    assert len(found) == 1
    add(other, "new")
    assert texts(mine) == ["new"]
    assert len([each for each in moved(path) if each.suffix == ".db"]) == 1
    mine.close()
    other.close()


def test_a_move_that_a_kill_broke_off_is_finished(path):
    """The file was gone already, its log not yet, and another process has both open."""
    old = Database(path, [FIRST])
    add(old, "old")
    path.rename(path.with_name("notes.damaged-20260101-000000.db"))
    new = Database(path, [FIRST])
    add(new, "new")
    assert texts(new) == ["new"]
    assert {each.name[-7:] for each in moved(path, "left")} == {".db-wal", ".db-shm"}
    add(old, "newer")
    assert texts(new) == ["new", "newer"]
    assert new.check() == "ok"
    old.close()
    new.close()


def test_a_link_stays_and_its_target_is_moved(path, tmp_path):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "ledger.db"
    link.symlink_to(path)
    database = Database(link, [FIRST])
    assert len(texts(database)) == 300
    database.close()
    path.write_bytes(noise(9000))
    with pytest.raises(StoreDamaged):
        texts(database)
    assert len(moved(path)) == 1
    add(database, "new")
    database.close()
    assert link.is_symlink()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT text FROM notes").fetchall() == [("new",)]
    assert [each.name for each in link.parent.iterdir()] == ["ledger.db"]


def test_a_file_is_moved_before_its_log(path, monkeypatch):
    """A kill in between leaves a log, which is set aside; a file without its log looks complete."""
    database = Database(path, [FIRST])
    add(database, "in the log")
    rename, renamed = Path.rename, []

    def killed(self: Path, target: Path) -> Path:
        if renamed:
            raise KeyboardInterrupt
        renamed.append(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        quarantine.set_aside(path, "damaged")
    assert renamed == [path]
    database.close()

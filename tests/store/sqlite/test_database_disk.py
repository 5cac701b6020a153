"""Full disks and read-only folders: refused at once, still readable, usable again later."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from databases import FIRST, add, open_database, texts

from mixmagic.errors import StoreError

pytestmark = pytest.mark.usefixtures("kind")

SECOND = "ALTER TABLE notes ADD COLUMN more TEXT"
ADD = """
import os, resource, sys, time
from pathlib import Path
from mixmagic.errors import StoreDamaged, StoreError
from databases import open_database

path, first = Path(sys.argv[1]), sys.argv[2]
database = open_database(path, [first])
def add(text, count=1):
    with database.transaction() as connection:
        for _ in range(count):
            connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))
def texts():
    return [row[0] for row in database.rows("SELECT text FROM notes ORDER BY id")]
def refused(work, *words):
    started = time.monotonic()
    try:
        work(*words)
    except StoreError as error:
        assert type(error) is StoreError, error
        assert time.monotonic() - started < 8, "it has waited for a lock"
        return error
    raise AssertionError("not refused")
"""


def run(script: str, *words: object) -> str:
    """Run a process that must succeed; return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", ADD + script, *map(str, words)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@contextlib.contextmanager
def mounted(folder: Path, *options: str):
    """A small filesystem in memory."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(command, check=False, timeout=120).returncode
    ):
        pytest.skip("needs the right to mount a filesystem of its own")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True, timeout=120)


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "small disk", "size=512k"):
        yield tmp_path / "small disk"


def fill(folder: Path) -> Path:
    """Fill a disk to its last byte."""
    filling = folder / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filling


def test_a_file_that_may_not_grow(tmp_path):
    """The system refuses bytes beyond a limit, in the file or in its log; at opening too."""
    script = """
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
add("before")
for size in (path.with_name("notes.db-wal").stat().st_size + 5000, 1000, 0):
    for reopened in (False, True):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        error = refused(add, "x" * 2000, 100)
        assert "Free some space" in error.hint, error.hint
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        if reopened:
            database.close()
add("after")
print(*texts(), database.check())
"""
    assert run(script, tmp_path / "notes.db", FIRST) == "before after ok\n"


def test_a_file_that_has_all_its_pages(tmp_path):
    """SQLite itself says that it is full, and ends the transaction."""
    database = open_database(tmp_path / "notes.db", [FIRST])
    add(database, "before")
    database.rows("PRAGMA max_page_count=8")
    for _ in range(3):
        with pytest.raises(StoreError) as caught:
            add(database, "x" * 100_000)
        assert "Free some space" in caught.value.hint
        assert "full" in caught.value.message
    assert texts(database) == ["before"]
    database.rows("PRAGMA max_page_count=1000000")
    add(database, "after")
    assert texts(database) == ["before", "after"]
    assert database.check() == "ok"
    database.close()


def test_a_disk_that_is_really_full(small_disk):
    """Whether the file is open already or not; it can be read, and no lock is left behind."""
    database = open_database(small_disk / "notes.db", [FIRST])
    other = open_database(small_disk / "notes.db", [FIRST])
    add(database, "before")
    for again in range(4):
        if again % 2:
            database.close()
        filling = fill(small_disk)
        for _ in range(2):
            with pytest.raises(StoreError) as caught:
                add(database, "x" * 100_000)
            assert "Free some space" in caught.value.hint
            assert type(caught.value) is StoreError
        assert texts(database) == ["before", *["between"] * again]
        filling.unlink()
        add(other, "between")
    add(database, "after")
    assert texts(database) == ["before", *["between"] * 4, "after"]
    assert database.check() == "ok"
    database.close()
    other.close()


def test_a_new_file_on_a_full_disk(small_disk):
    filling = fill(small_disk)
    database = open_database(small_disk / "data" / "notes.db", [FIRST, SECOND])
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            add(database, "refused")
        assert "Free some space" in caught.value.hint
        assert type(caught.value) is StoreError
    filling.unlink()
    add(database, "after")
    assert texts(database) == ["after"]
    assert database.check() == "ok"
    database.close()


@pytest.fixture
def open_folder():
    """A folder that every user can read, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


# Root may write to any folder, so a process of root's gives its rights up first.
NOBODY = """
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


def run_as_nobody(script: str, *words: object) -> str:
    """Run a process without root's rights."""
    modules = "import os, sqlite3, urllib.parse, mixmagic.store.sqlite.database"
    check = [sys.executable, "-c", f"import os\n{NOBODY}\n{modules}"]
    if subprocess.run(check, capture_output=True, timeout=60, check=False).returncode:
        pytest.skip("this Python, or mixmagic, lies in a folder that only root can read")
    return run(NOBODY + script, *words)


def make_read_only(folder: Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_read_only_folder_is_read_and_not_written(open_folder, journal):
    """Without a log, and so without the memory that a write-ahead log needs."""
    folder = open_folder / "data? 100%"
    database = open_database(folder / "notes.db", [FIRST])
    add(database, "one")
    database.rows(f"PRAGMA journal_mode={journal}")
    database.close()
    make_read_only(folder)
    script = """
for _ in range(2):
    assert texts() == ["one"]
    error = refused(add, "two")
    assert "Check its permissions" in error.hint, error.hint
newer = open_database(path, [first, "ALTER TABLE notes ADD COLUMN more TEXT"])
assert newer.rows("SELECT text FROM notes")[0][0] == "one", "it cannot be brought up to date"
older = open_database(path, [])
assert "newer mixmagic" in str(refused(older.rows, "SELECT 1"))
print(database.check(), *sorted(each.name for each in path.parent.iterdir()))
"""
    said = run_as_nobody(script, folder / "notes.db", FIRST)
    assert said == "ok notes.db notes.db-lock\n"


def test_a_read_only_folder_with_a_log_is_read_with_it(open_folder):
    """As a killed kernel leaves it; what is in the log alone is not forgotten."""
    folder = open_folder / "data"
    database = open_database(folder / "notes.db", [FIRST])
    add(database, "in the file")
    database.close()
    add(database, "in the log")
    kept = {each: each.read_bytes() for each in folder.iterdir()}
    database.close()
    for file, content in kept.items():
        file.write_bytes(content)
    make_read_only(folder)
    script = """
for _ in range(2):
    assert texts() == ["in the file", "in the log"]
    refused(add, "two")
"""
    run_as_nobody(script, folder / "notes.db", FIRST)
    folder.chmod(0o755)
    (folder / "notes.db-shm").unlink()
    folder.chmod(0o555)
    # Nobody can read the log without the memory: better nothing than less than there is.
    run_as_nobody("refused(texts)", folder / "notes.db", FIRST)


@pytest.mark.parametrize("what", ["folder", "file", "missing", "damaged"])
def test_what_cannot_be_written_is_refused_at_once(open_folder, what):
    folder = open_folder / "data"
    database = open_database(folder / "notes.db", [FIRST])
    add(database, "one")
    database.close()
    if what == "damaged":
        (folder / "notes.db").write_bytes(b"damaged" * 1000)
    if what == "missing":
        shutil.rmtree(folder)
        open_folder.chmod(0o555)
        script = "refused(add, 'two'); refused(texts)"
    else:
        make_read_only(folder)
        folder.chmod(0o777 if what == "file" else 0o555)
        script = "refused(add, 'two'); assert texts() == ['one']"
    if what == "damaged":
        script = """
for _ in range(2):
    for error in (refused(add, "two"), refused(texts)):
        assert "is damaged and cannot be replaced" in str(error), error
"""
    run_as_nobody(script, folder / "notes.db", FIRST)


def test_a_read_only_filesystem(small_disk):
    """Not even root writes to it; a file that is open when it becomes so is still read."""
    database = open_database(small_disk / "notes.db", [FIRST])
    add(database, "one")
    database.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True, timeout=120)
    for _ in range(2):
        assert texts(database) == ["one"]
        with pytest.raises(StoreError):
            add(database, "two")
        database.close()
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True, timeout=120)
    add(database, "two")
    assert texts(database) == ["one", "two"]
    database.close()

"""Network folders: a rollback journal, and no shared memory."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from databases import FIRST, add, open_database, texts

from mixmagic.store.sqlite import network_filesystem
from mixmagic.tasks import doctor

pytestmark = pytest.mark.usefixtures("kind")

HOME = """99 27 0:50 / {point} rw,relatime shared:9 - {kind} server:/export rw,vers=4.2
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
"""


@pytest.fixture
def network(tmp_path, monkeypatch):
    """The folder `remote`, which the system's table of mounts says is NFS."""
    folder = tmp_path / "remote"
    table = tmp_path / "mountinfo"
    table.write_text(HOME.format(point=folder, kind="nfs4"))
    monkeypatch.setattr(network_filesystem, "_MOUNT_TABLE", table)
    return folder


def test_a_network_folder_has_a_rollback_journal(network, kind):
    database = open_database(network / "notes.db", [FIRST])
    add(database, "one")
    assert database.journal == "delete"
    synchronous = {"ledger": 2, "cache": 0}  # FULL, OFF
    assert database.rows("PRAGMA synchronous")[0][0] == synchronous[kind]
    assert texts(database) == ["one"]
    names = {each.name for each in network.iterdir()}
    assert names == {"notes.db", "notes.db-lock"}, "no memory is shared"
    database.close()


@pytest.mark.parametrize("shared", [True, False])
def test_a_file_with_a_write_ahead_log_is_switched_and_keeps_what_is_in_it(
    network, tmp_path, shared
):
    """Also where memory cannot be shared at all: something is in its place."""
    local = open_database(tmp_path / "local" / "notes.db", [FIRST])
    add(local, "in the log")
    network.mkdir()
    for each in local.path.parent.glob("notes.db*"):
        if not each.name.endswith("-shm"):
            shutil.copy(each, network)
    if not shared:
        (network / "notes.db-shm").mkdir()
    local.close()
    database = open_database(network / "notes.db", [FIRST])
    assert texts(database) == ["in the log"]
    assert database.journal == "delete"
    assert not (network / "notes.db-wal").exists()
    database.close()
    shutil.copy(network / "notes.db", local.path)
    assert texts(local) == ["in the log"]
    assert local.journal == "wal", "and back again"
    local.close()


def test_the_doctor_says_what_a_network_folder_means(network, tmp_path):
    calls = ["CREATE TABLE calls (id INTEGER PRIMARY KEY)"]
    far, near = (
        open_database(network / "ledger.db", calls),
        open_database(tmp_path / "ledger.db", calls),
    )
    assert doctor._intact(far) == (
        f"{far.path}, 0 calls, on a network folder (nfs4): rollback journal;"
        " budgets hold as far as its locks do"
    )
    assert doctor._intact(near) == f"{near.path}, 0 calls"
    far.close()
    near.close()


def test_processes_on_a_network_folder_lose_nothing(network):
    """Openings, readers and writers at once: nobody is locked out."""
    script = """
import sys
from pathlib import Path
from mixmagic.store.sqlite import network_filesystem as mounts
from databases import open_database

path, first, name = Path(sys.argv[1]), sys.argv[2], sys.argv[4]
mounts._MOUNT_TABLE = Path(sys.argv[3])
database = open_database(path, [first])
for number in range(15):
    with database.transaction() as connection:
        for half in "ab":
            connection.execute("INSERT INTO notes (text) VALUES (?)", (f"{name}:{number}{half}",))
    assert database.rows("SELECT COUNT(*) FROM notes")[0][0] % 2 == 0, "half a transaction"
    if number % 5 == 4:
        database.close()
assert database.journal == "delete"
"""
    words = [network / "notes.db", FIRST, network_filesystem._MOUNT_TABLE]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, *words, str(number)],
            stderr=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    for worker in workers:
        assert worker.communicate(timeout=60) == (None, "")
    database = open_database(network / "notes.db", [FIRST])
    assert len(texts(database)) == 3 * 15 * 2
    assert database.check() == "ok"
    database.close()

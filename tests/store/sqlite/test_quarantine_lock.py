"""The lock beside a file, whose own file may go when it is released."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mixmagic.store.sqlite.quarantine import InUse, exclusive

# Adds 1 to a number in a file, often: without a lock some are lost.
COUNT = """
import sys
from pathlib import Path
from mixmagic.store.sqlite.quarantine import exclusive
path = Path(sys.argv[1])
for _ in range(100):
    with exclusive(path, 60, transient=True):
        path.write_text(str(int(path.read_text()) + 1))
"""


def names(folder: Path) -> list[str]:
    return sorted({path.name for path in folder.iterdir()} - {"home"})


def test_a_transient_lock_leaves_no_file(tmp_path):
    path = tmp_path / "file"
    with exclusive(path, transient=True):
        assert names(tmp_path) == ["file-lock"]
        with pytest.raises(InUse), exclusive(path, transient=True):
            pass
        assert names(tmp_path) == ["file-lock"]
    assert names(tmp_path) == []
    with pytest.raises(ZeroDivisionError), exclusive(path, transient=True):
        1 / 0  # noqa: B018
    assert names(tmp_path) == []


def test_another_lock_keeps_its_file(tmp_path):
    with exclusive(tmp_path / "file"):
        pass
    assert names(tmp_path) == ["file-lock"]


def test_who_waits_for_a_lock_whose_file_is_deleted_gets_the_next_one(tmp_path):
    path, inside, most = tmp_path / "file", [], []

    def enter(_: int) -> None:
        with exclusive(path, 60, transient=True):
            inside.append(threading.get_ident())
            most.append(len(inside))
            inside.remove(threading.get_ident())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(400)))
    assert set(most) == {1}
    assert names(tmp_path) == []


def test_processes_exclude_each_other_though_each_deletes_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("0")
    counters = [subprocess.Popen([sys.executable, "-c", COUNT, str(path)]) for _ in range(4)]
    assert [counter.wait(timeout=120) for counter in counters] == [0] * 4
    assert path.read_text() == "400"
    assert names(tmp_path) == ["file"]

"""A key is one process's alone, until that frees it or ends."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mixmagic.store import key_locks
from mixmagic.store.key_locks import KeyLocks

KEY, OTHER = bytes(range(16)), bytes(range(16, 32))
HOLDER = """
import sys
from pathlib import Path
from mixmagic.store import key_locks
from mixmagic.store.key_locks import KeyLocks
if sys.argv[2] == "posix":
    key_locks._COMMAND, key_locks._ENDS_AT_CLOSE = None, False
locks = KeyLocks(Path(sys.argv[1]))
print(locks.acquire(bytes(range(16))), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(params=["ofd", "posix"])
def kind(request, monkeypatch):
    if request.param == "posix":
        monkeypatch.setattr(key_locks, "_COMMAND", None)
        monkeypatch.setattr(key_locks, "_ENDS_AT_CLOSE", False)
    elif key_locks._COMMAND is None:
        pytest.skip("this system has no locks of open files")
    return request.param


@pytest.fixture
def hold(tmp_path, kind):
    """Start processes that acquire `KEY`; return each with what it was told."""
    started = []

    def hold() -> tuple[subprocess.Popen, bool]:
        run = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "locks"), kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(run)
        return run, run.stdout.readline() == "True\n"

    yield hold
    for run in started:
        run.kill()
        run.communicate(timeout=30)


def test_a_key_excludes_other_processes_and_no_other_key(tmp_path, hold):
    _, held = hold()
    assert held
    locks = KeyLocks(tmp_path / "locks")
    assert not locks.acquire(KEY)
    assert locks.acquire(OTHER)
    assert hold()[1] is False


def test_a_key_is_free_once_it_is_released_as_often_as_acquired(tmp_path, hold):
    locks = KeyLocks(tmp_path / "locks")
    assert locks.acquire(KEY)
    assert locks.acquire(KEY)
    locks.release(KEY)
    assert hold()[1] is False
    locks.release(KEY)
    assert hold()[1] is True
    locks.release(KEY)  # once too often
    assert not locks.acquire(KEY)


def test_a_key_is_free_once_its_process_is_killed(tmp_path, hold):
    run, _ = hold()
    locks = KeyLocks(tmp_path / "locks")
    assert not locks.acquire(KEY)
    run.kill()
    run.wait(timeout=30)
    assert locks.acquire(KEY)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_neither_has_nor_keeps_its_parents_key(tmp_path, kind):
    """The parent ends while the child lives, and the key is free."""
    script = """
    import os, sys
    from pathlib import Path
    from mixmagic.store import key_locks
    from mixmagic.store.key_locks import KeyLocks
    if sys.argv[2] == "posix":
        key_locks._COMMAND, key_locks._ENDS_AT_CLOSE = None, False
    locks = KeyLocks(Path(sys.argv[1]))
    assert locks.acquire(bytes(range(16)))
    if os.fork() == 0:
        assert not locks.acquire(bytes(range(16)))
        locks.release(bytes(range(16)))  # which it has not
        assert locks.acquire(bytes(range(16, 32)))
        print("child", flush=True)
        sys.stdin.readline()
        os._exit(0)
    sys.stdin.readline()
    os.kill(os.getpid(), 9)
    """
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "locks"), kind],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stdout.readline() == "child\n"
    locks = KeyLocks(tmp_path / "locks")
    assert not locks.acquire(KEY)
    assert not locks.acquire(OTHER)
    run.kill()
    run.wait(timeout=30)
    assert locks.acquire(KEY)
    assert not locks.acquire(OTHER)  # the child's
    run.stdin.close()
    run.stdout.close()


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_file_that_cannot_be_opened_leaves_every_key_free(tmp_path, folder):
    (tmp_path / "file").write_text("")
    locks = KeyLocks(tmp_path / folder / "locks")
    assert locks.acquire(KEY)
    locks.release(KEY)


def test_no_lock_is_taken_on_a_network_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(key_locks.network_filesystem, "network_type", lambda path: "nfs4")
    locks = KeyLocks(tmp_path / "locks")
    assert locks.acquire(KEY)
    assert not Path(tmp_path / "locks").exists()


def test_closing_frees_no_key_and_leaves_no_file_open(tmp_path, hold):
    locks = KeyLocks(tmp_path / "locks")
    assert locks.acquire(KEY)
    locks.close()
    assert hold()[1] is False
    locks.release(KEY)
    locks.close()
    assert (locks._descriptor is None) is key_locks._ENDS_AT_CLOSE
    assert locks.acquire(KEY)
    assert hold()[1] is False


def test_the_file_stays_empty(tmp_path, kind):
    locks = KeyLocks(tmp_path / "locks")
    for number in range(100):
        assert locks.acquire(number.to_bytes(16))
        assert locks.acquire(bytes([255 - number]) * 16)
    assert (tmp_path / "locks").stat().st_size == 0

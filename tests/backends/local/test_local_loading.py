"""Ends of an embedded model's process while it loads: each is reported, and leaves no files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from patience import soon

from mixmagic.backends.local import engine as module
from mixmagic.backends.local import weights
from mixmagic.backends.local.engine import EngineProcess
from mixmagic.errors import BadArguments, MissingPackage, Stopped, Unavailable
from mixmagic.sessions import Session

pytestmark = pytest.mark.embedded

SCRIPT = Path(module.__file__).with_name("llama.py")
posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and forks")


def wait(look: Callable[[], object], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not look():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.002)


@pytest.fixture
def folder():
    """A separate temporary folder, with a short name, because a socket's path is limited."""
    made = Path(tempfile.mkdtemp(prefix="mm-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Make the model's process run a changed script."""

    def change(text: str) -> None:
        (tmp_path / "llama.py").write_text(text)
        monkeypatch.setattr(module, "__file__", str(tmp_path / "engine.py"))

    return change


@pytest.fixture
def loading(folder, script):
    """The script with the temporary folder instead of /tmp."""
    text = SCRIPT.read_text()
    assert text.count('"/tmp"') == 1
    script(text.replace('"/tmp"', repr(str(folder))))
    return folder


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def begin(session: Session, moment: float = -1) -> EngineProcess:
    """Begin to load; return once there is a socket, or after some seconds."""
    with closing(session.stream(session.request("Hi", model="local", max_tokens=1))) as deltas:
        assert next(deltas).progress.startswith("loading")
    (engine,) = session.backends._made["local"]._engines.values()
    if moment >= 0:
        time.sleep(moment)
    return engine


ENDS = {
    "killed": lambda engine: engine.process.kill(),
    "terminated": lambda engine: engine.process.terminate(),
    "its group killed": lambda engine: os.killpg(engine.process.pid, signal.SIGKILL),
    "suspended, then killed": lambda engine: (
        engine.process.send_signal(signal.SIGSTOP),
        engine.process.kill(),
    ),
    "closed": lambda engine: engine.close(),
}


@posix
@pytest.mark.parametrize("how", ENDS)
def test_an_engine_that_ends_while_it_loads_leaves_nothing_behind(session, loading, how):
    engine = begin(session)
    wait(lambda: list(loading.glob("*/llama.sock")))
    assert not engine.ready
    processes = family(psutil.Process(engine.process.pid))
    ENDS[how](engine)
    wait(lambda: not list(loading.iterdir()))
    wait(lambda: not any(map(running, processes)))
    wait(lambda: not engine.alive)  # other threads of a killed process may end after its first
    assert session.ask("Hi", model="local", max_tokens=1).usage.completion_tokens == 1
    assert list(loading.iterdir()) == []


@posix
@pytest.mark.parametrize("moment", [each * 0.1 for each in range(12)])
def test_it_can_be_killed_at_any_moment(session, loading, moment):
    engine = begin(session, moment)
    processes = family(psutil.Process(engine.process.pid))
    engine.process.kill()
    wait(lambda: not any(map(running, processes)))
    wait(lambda: not list(loading.iterdir()))


@posix
def test_a_stop_while_it_loads_leaves_it_loading_and_nothing_else(session, loading):
    request = session.request("Hi", model="local", max_tokens=1)
    with closing(session.stream(request)) as deltas:
        next(deltas)
        wait(lambda: list(loading.glob("*/llama.sock")))
        request.control.stop.set()
        with pytest.raises(Stopped):
            list(deltas)
    session.close()
    assert list(loading.iterdir()) == []


PARENT = """
import sys, time
from pathlib import Path
from mixmagic.backends.local import engine
from mixmagic.sessions import Session
engine.__file__ = sys.argv[1]
session = Session()
next(session.stream(session.request("Hi", model="local")))
(made,) = session.backends._made["local"]._engines.values()
print(made.process.pid, flush=True)
time.sleep(60)
"""


@posix
@pytest.mark.parametrize("how", ["the kernel", "both", "both, the engine first", "suspended"])
def test_a_kernel_that_is_killed_while_it_loads_leaves_nothing_behind(loading, tmp_path, how):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "engine.py")],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        engine = psutil.Process(int(parent.stdout.readline()))
        wait(lambda: list(loading.glob("*/llama.sock")))
        processes = family(engine)
        if how == "suspended":
            engine.suspend()
        if how == "both, the engine first":
            engine.kill()
        parent.kill()
        if how == "both":
            engine.kill()
    wait(lambda: not any(map(running, processes)))
    wait(lambda: not list(loading.iterdir()))


def replaced(package: Path, code: str) -> str:
    """The script, with another xllamacpp."""
    (package / "xllamacpp.py").write_text(code)
    return f"import sys; sys.path.insert(0, {str(package)!r})\n" + SCRIPT.read_text().replace(
        "from __future__ import annotations\n", ""
    )


MISSING = "libgomp.so.1: cannot open shared object file"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (f"raise ImportError('{MISSING}')", MISSING),
        ("raise OSError('[WinError 126] a module could not be found')", "WinError 126"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
        ("raise RuntimeError('this CPU has no AVX')", "no AVX"),
        ("raise ImportError", "ImportError"),
        ("this is no Python", "invalid syntax"),
        ("x = 1", "has no attribute 'CommonParams'"),
        ("class CommonParams: pass", "has no attribute 'model'"),
        ("import os; os._exit(3)", "ended with status 3"),
        pytest.param(
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
            "ended with status -4",
            marks=posix,
        ),
    ],
)
def test_an_unusable_xllamacpp_is_reported(session, script, tmp_path, code, says):
    script(replaced(tmp_path, code))
    with pytest.raises(MissingPackage, match="xllamacpp is installed, but cannot be used") as error:
        session.ask("Hi", model="local")
    lines = error.value._render_traceback_()
    assert len(lines) == 2
    assert says in lines[0]
    assert "GGUF" not in "".join(lines)
    assert "pip install" in lines[1]


@pytest.mark.parametrize("moment", [0, 0.05])
def test_a_killed_process_is_not_blamed_on_the_package(session, script, tmp_path, moment):
    script(replaced(tmp_path, "import time; time.sleep(60)"))
    request = session.request("Hi", model="local")
    with closing(session.stream(request)) as deltas:
        next(deltas)
        (engine,) = session.backends._made["local"]._engines.values()
        threading.Timer(moment, engine.process.kill).start()
        with pytest.raises(BadArguments, match="cannot be loaded"):
            list(deltas)


@posix
def test_it_works_without_a_temporary_folder(session, script):
    text = SCRIPT.read_text()
    script(text.replace('"/tmp"', '"/nowhere/at/all"'))
    assert session.ask("Hi", model="local", max_tokens=1).usage.completion_tokens == 1


def test_a_process_that_cannot_be_started_is_reported(session, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(Unavailable, match="process cannot be started") as caught:
        session.ask("Hi", model="local")
    assert len(caught.value._render_traceback_()) == 2


@pytest.mark.parametrize("how", ["killed", "closed", "never usable"])
def test_questions_to_a_process_that_has_ended_are_not_stored(script, tmp_path, how):
    if how == "never usable":
        script(replaced(tmp_path, "raise ImportError"))
    path = weights.path(Path(os.environ["MIXMAGIC_HOME"]) / "cache")
    options = {"path": str(path), "context": 512, "slots": 1, "batch": 64, "threads": 1}
    engine = EngineProcess(options)
    if how == "killed":
        engine.process.kill()
    elif how == "closed":
        engine.close()
    engine.process.wait(20)
    wait(lambda: engine._failure)
    kept = engine._outbox.qsize()
    for _ in range(100):
        answer = engine.ask({"messages": []})
        answer.close()
        engine.count({"content": "Hi"}).close()
    assert (engine.answers, engine._outbox.qsize()) == ({}, kept)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
@pytest.mark.parametrize("moment", ["at once", "later", "before the answer"])
def test_a_count_does_not_wait_for_a_suspended_process(session, moment):
    session.ask("Hi", model="local", max_tokens=1)
    request = session.request("Count from 1 to 1000.", model="local", max_tokens=2000)
    (engine,) = session.backends._made["local"]._engines.values()
    with closing(session.stream(request)) as deltas:
        while moment != "before the answer" and not next(deltas).text:
            pass
        engine.process.send_signal(signal.SIGSTOP)
        try:
            if moment != "at once":
                process = psutil.Process(engine.process.pid)
                wait(lambda: process.status() == psutil.STATUS_STOPPED)
            if moment == "before the answer":
                threading.Timer(0.05, request.control.stop.set).start()
            else:
                request.control.stop.set()
            at = time.monotonic()
            with pytest.raises(Stopped):
                list(deltas)
            took = time.monotonic() - at
        finally:
            engine.process.send_signal(signal.SIGCONT)
    assert took < soon(0.7), "it was over 1.0 s"
    assert session.ask("Hi", model="local", max_tokens=1).usage.completion_tokens == 1

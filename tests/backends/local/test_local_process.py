"""The embedded model's process: the sockets, files and output that it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.embedded

PRELUDE = """
import json, os, socket, sys, threading, time
from pathlib import Path
from mixmagic.sessions import Session

def folders():
    return set(Path("/tmp").glob("mixmagic-*"))

def lasting(before, count):
    \"\"\"The folders since `before`, at most `count` once those of other processes are gone.\"\"\"
    left, deadline = folders() - before, time.monotonic() + 30
    while len(left) > count and time.monotonic() < deadline:
        time.sleep(0.05)
        left &= folders()
    return left

def engine(session):
    \"\"\"The process that llama.cpp runs in.\"\"\"
    (made,) = session.backends._made["local"]._engines.values()
    return made.process

def listeners(pid):
    \"\"\"The listening sockets of a process: (family, address).\"\"\"
    own = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            own.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            pass
    found = []
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{family}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in own:
                found.append((family, words[1]))
    for line in Path("/proc/self/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[3], 16) & 0x10000 and f"socket:[{words[6]}]" in own:
            found.append(("unix", words[7] if len(words) > 7 else ""))
    return found
"""


def run(script: str, timeout: float = 120, **options) -> subprocess.CompletedProcess[str]:
    """A Python process with the session's names at hand."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + script],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


def said(ran: subprocess.CompletedProcess[str]):
    """What the process printed, as JSON."""
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_no_port_listens_no_folder_is_left_and_nothing_is_written_to_the_terminal():
    ran = run("""
before = folders()
session = Session()
for text in ("Hi", "many words " * 4000):
    try:
        session.ask(text, model="local", max_tokens=2)
    except Exception as error:
        assert type(error).__name__ == "ContextTooLong", error
reached = []
own, there = listeners("self"), listeners(engine(session).pid)
for _, path in (each for each in own + there if each[0] == "unix"):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
            reached.append(path)
        except OSError:
            pass
left = [str(each) for each in lasting(before, 0)]
families = [[family for family, _ in each] for each in (own, there)]
found = {"families": families, "reached": reached, "left": left}
session.close()
os.write(1, json.dumps(found).encode())
""")
    found = said(ran)
    own, there = found["families"]
    assert own == []
    assert set(there) == {"unix"}, "that it listens at all shows that we can tell"
    assert (found["reached"], found["left"]) == ([], [])
    assert ran.stderr == ""


KEPT = """
import tempfile
class Kept(tempfile.TemporaryDirectory):
    def __exit__(self, *error):
        self._finalizer.detach()
tempfile.TemporaryDirectory = Kept
"""


def test_while_it_starts_its_socket_is_in_a_private_folder_and_requires_the_key(tmp_path):
    """The folder, kept for the test, has mode 0700; the server answers 401 without the key."""
    (tmp_path / "sitecustomize.py").write_text(KEPT)
    found = said(
        run(
            """
import stat
before = folders()
session = Session()
session.ask("Hi", model="local", max_tokens=2)
(folder,) = lasting(before, 1)
answers = []
for path, headers in (
    ("/v1/chat/completions", ""),
    ("/v1/chat/completions", "Authorization: Bearer wrong\\r\\n"),
    ("/completion", ""),
    ("/slots", ""),
    ("/props", "Origin: http://evil.example\\r\\n"),
):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "llama.sock"))
        body = '{"messages": [{"role": "user", "content": "Hi"}], "prompt": "Hi", "max_tokens": 1}'
        head = f"POST {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n{headers}"
        length = f"Content-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
        client.sendall((head + length + body).encode())
        answer = b""
        while more := client.recv(65536):
            answer += more
    answers.append([answer.split()[1].decode(), "evil.example" in answer.decode()])
print(json.dumps({"mode": oct(stat.S_IMODE(folder.stat().st_mode)), "answers": answers}))
session.close()
import shutil
shutil.rmtree(folder)
""",
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
    )
    assert found["mode"] == "0o700"
    assert {status for status, _ in found["answers"]} <= {"401", "404"}
    assert found["answers"][0][0] == found["answers"][1][0] == "401"
    assert not any(echoed for _, echoed in found["answers"])


def test_eight_threads_that_ask_at_once_load_it_once():
    found = said(
        run("""
from mixmagic.backends.local import backend as local
loads, load = [], local.EngineProcess
def counted(options, env):
    loads.append(options["path"])
    return load(options, env)
local.EngineProcess = counted
session, texts, at_once = Session(), [], threading.Barrier(8)
def ask():
    at_once.wait()
    texts.append(session.ask("Hi", model="local", max_tokens=2, temperature=0).text)
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"loads": len(loads), "texts": texts}))
session.close()
""")
    )
    assert found["loads"] == 1
    assert len(found["texts"]) == 8
    assert len(set(found["texts"])) == 1


ASKING = """
def ask(session):
    request = session.request("Count from 1 to 1000.", model="local", max_tokens=2000)
    try:
        for delta in session.stream(request):
            if delta.text:
                begun.set()
    except BaseException as error:
        if begun.is_set():
            return
        print(repr(error), flush=True)
begun = threading.Event()
"""
THREAD = "threading.Thread(target=ask, args=(session,), daemon=True).start(); begun.wait(60)\n"


LEFT = """
session = Session()
request = session.request("Count from 1 to 1000.", model="local", max_tokens=2000)
next(delta for delta in session.stream(request) if delta.text)
session.close()
"""


@pytest.mark.parametrize(
    "ending",
    [
        "session = Session()\n" + THREAD + "session.close()",
        "import mixmagic; session = mixmagic.session()\n" + THREAD,
        "session = Session()\n" + THREAD,
        LEFT,
    ],
    ids=["closed", "closed at exit", "not closed", "left unread"],
)
def test_the_process_ends_cleanly_during_an_answer(ending):
    ran = run(ASKING + ending)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    assert ran.stderr == ""


def test_two_sessions_of_one_process_do_not_disturb_each_other():
    found = said(
        run("""
one, two = Session(), Session()
texts = [s.ask("Hi", model="local", max_tokens=4, temperature=0).text for s in (one, two)]
one.close()
texts.append(two.ask("Hi", model="local", max_tokens=4, temperature=0).text)
two.close()
print(json.dumps(texts))
""")
    )
    assert found[0] == found[1] == found[2]


def gone(pid: int) -> bool:
    """Return True if a process ends within a few seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


WAITING = """
session = Session()
request = session.request("Write a long story.", model="local", temperature=0, max_tokens=2000)
deltas = session.stream(request)
while not next(deltas).text: pass
try:
    print(engine(session).pid, flush=True)  # from here on, it may be interrupted
    time.sleep(60)
except KeyboardInterrupt:
    deltas.close()
    print(session.ask("Hi", model="local", max_tokens=1).usage.completion_tokens, flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_it_ends_with_a_kernel_that_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + WAITING], stdout=subprocess.PIPE, text=True
    ) as process:
        pid = int(process.stdout.readline())
        process.kill()
        assert gone(pid)


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_an_interrupt_of_the_kernel_s_process_group_does_not_reach_it():
    """As the stop button does, which sends it to the kernel and all of its child processes."""
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + WAITING],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "1\n"
        assert process.wait(30) == 0

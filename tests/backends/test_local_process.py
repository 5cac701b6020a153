"""The embedded model in a process of its own: what it opens, writes and leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PRELUDE = """
import json, os, socket, sys, threading, time
from pathlib import Path
from mixmagic.sessions import Session

def listeners():
    \"\"\"The listening sockets of this process: (family, address).\"\"\"
    own = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            own.add(os.readlink(f"/proc/self/fd/{name}"))
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
before = set(Path("/tmp").glob("mixmagic-*"))
session = Session()
for text in ("Hi", "many words " * 4000):
    try:
        session.ask(text, model="local", max_tokens=2)
    except Exception as error:
        assert type(error).__name__ == "ContextTooLong", error
reached = []
for _, path in (each for each in listeners() if each[0] == "unix"):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
            reached.append(path)
        except OSError:
            pass
left = [str(each) for each in set(Path("/tmp").glob("mixmagic-*")) - before]
found = {"families": [family for family, _ in listeners()], "reached": reached, "left": left}
session.close()
os.write(1, json.dumps(found).encode())
""")
    found = said(ran)
    assert set(found["families"]) == {"unix"}, "that it listens at all shows that we can tell"
    assert (found["reached"], found["left"]) == ([], [])
    assert ran.stderr == ""


def test_while_it_starts_its_socket_is_behind_a_private_folder_and_wants_the_key():
    """The folder is kept, so that the door can be tried: mode 0700, and 401 without the key."""
    found = said(
        run("""
import stat, tempfile
class Kept(tempfile.TemporaryDirectory):
    def cleanup(self):
        pass
    def __exit__(self, *error):
        self._finalizer.detach()
        kept.append(Path(self.name))
kept = []
original, tempfile.TemporaryDirectory = tempfile.TemporaryDirectory, Kept
session = Session()
session.ask("Hi", model="local", max_tokens=2)
(folder,) = kept
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
""")
    )
    assert found["mode"] == "0o700"
    assert {status for status, _ in found["answers"]} <= {"401", "404"}
    assert found["answers"][0][0] == found["answers"][1][0] == "401"
    assert not any(echoed for _, echoed in found["answers"])


def test_eight_threads_that_ask_at_once_load_it_once():
    found = said(
        run("""
import xllamacpp
loads, load = [], xllamacpp.Server
def counted(params):
    loads.append(params.model.path)
    return load(params)
xllamacpp.Server = counted
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
def test_the_process_ends_well_while_an_answer_is_under_way(ending):
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

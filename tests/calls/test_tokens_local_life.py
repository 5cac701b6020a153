"""Counts of the embedded model's tokens: its process not there, killed, hanging, forked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conversations import UNKNOWN, exactly, talk
from patience import soon

from mixmagic.backends.local import backend, gguf
from mixmagic.calls import tokens
from mixmagic.calls.tokens import count, count_text
from mixmagic.sessions import Session

pytestmark = pytest.mark.embedded


def engine(session: Session) -> backend.EngineProcess:
    """The process that llama.cpp runs in."""
    (made,) = session.backends._made["local"]._engines.values()
    return made


@pytest.fixture
def alone(session, monkeypatch):
    """A session beside which no other counts."""
    monkeypatch.setattr(tokens, "_counters", [])
    return session


def test_a_count_loads_no_model(alone):
    request = alone.request("Hello", model="local")
    alone.backends.open(request.model.provider)
    assert len(tokens._counters) == 1
    assert count(request.messages, request.model) == count(request.messages, UNKNOWN)
    assert count_text("Hello", request.model) == count_text("Hello", UNKNOWN)
    assert alone.backends._made["local"]._engines == {}


def test_after_its_process_was_killed(alone):
    request = alone.request("Hello", model="local")
    assert alone.count("Hello", model="local") == exactly(31)
    engine(alone).process.kill()
    engine(alone).process.wait(timeout=60)
    assert count(request.messages, request.model) == count(request.messages, UNKNOWN)
    assert count_text("Hello", request.model) == count_text("Hello", UNKNOWN)
    assert alone.count("Hello", model="local") == exactly(31)


def test_after_its_process_was_killed_while_it_counted(alone):
    alone.count("Hello", model="local")
    long = "<|im_end|>" * 60_000
    threading.Timer(0.3, engine(alone).process.kill).start()
    assert not alone.count(long, model="local").exact


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_a_suspended_process_is_not_waited_for_or_until_ctrl_c(alone):
    request = alone.request("Hello, world", model="local")
    alone.count("Hello", model="local")
    process = engine(alone).process
    process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert not count(request.messages, request.model).exact
        assert time.monotonic() - started < soon(0.7)
        threading.Timer(1.5, os.kill, [os.getpid(), signal.SIGINT]).start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            alone.count("Hello, world", model="local")
        assert 1.4 < time.monotonic() - started < soon(2.5)
    finally:
        process.send_signal(signal.SIGCONT)
    assert alone.count("Hello, world", model="local").exact
    assert engine(alone).process is process


def test_a_very_long_prompt_is_not_sent_for_counting(alone):
    alone.count("Hello", model="local")
    request = alone.request("Hello " * 200_000, model="local")
    started = time.monotonic()
    assert not count(request.messages, request.model).exact
    assert time.monotonic() - started < soon(1)
    assert alone.count(request.messages, model="local").exact


def test_a_model_that_cannot_be_loaded_is_estimated(alone, tmp_path, monkeypatch):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(5000))
    estimated = count(talk("u: Hello"), UNKNOWN)
    for path in (broken, tmp_path / "none.gguf", "~nobody/none.gguf", "\x00"):
        assert alone.count("Hello", model=f"local:{path}") == estimated
    monkeypatch.setattr(gguf, "find_spec", lambda _: None)
    assert alone.count("Hello", model="local") == estimated


def test_hosted_models_are_counted_without_their_backend(alone):
    assert alone.count("Hello", model="8x7b") == exactly(9)
    assert not alone.count("Hello", model="disco").exact
    assert alone.backends._made == {}


def test_a_closed_session_counts_no_more(alone):
    request = alone.request("Hello", model="local")
    alone.count("Hello", model="local")
    assert count(request.messages, request.model).exact
    alone.close()
    assert tokens._counters == [], "nobody keeps it alive"
    assert not count(request.messages, request.model).exact


FORK = """
import os, time
from mixmagic.calls import tokens
from mixmagic.sessions import Session
session = Session()
request = session.request("Hello", model="local")
ours = session.count("Hello", model="local")
before = session.backends._made["local"]
before._lock.acquire()  # as if another thread had it
pid = os.fork()
if pid == 0:
    status = 1
    try:
        started = time.monotonic()
        assert not tokens.count(request.messages, request.model).exact
        assert before.count(request.messages, request.model, load=True) is None
        assert time.monotonic() - started < 10
        assert session.count("Hello", model="local") == ours
        assert tokens.count(request.messages, request.model) == ours
        session.close()
        status = 0
    finally:
        os._exit(status)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
before._lock.release()
assert tokens.count(request.messages, request.model) == ours
assert session.count("Hello again", model="local").exact
session.close()
print(ours.tokens, ours.exact)
"""


def run(script: str, folder: Path) -> str:
    """What a process of its own prints, and nothing else."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_own(tmp_path):
    assert run(FORK, tmp_path) == "31 True\n"


COUNTERS = """
import json, os, sys
from pathlib import Path
import xllamacpp
from mixmagic.backends.local import llama, weights

def load(hostname):
    params = xllamacpp.CommonParams()
    params.model.path = str(weights.path(Path(os.environ["MIXMAGIC_HOME"]) / "cache"))
    params.n_ctx, params.verbosity, params.warmup = 512, -1, False
    params.api_keys, params.hostnames = ["the key"], [hostname]
    return xllamacpp.Server(params)

def tokens(address, key="the key"):
    made = llama._Counter(address, key)
    chat = {"messages": [{"role": "user", "content": "Hello"}]}
    texts = {"content": "Hello <|im_end|>"}, {"content": "Hello <|im_end|>", "parse_special": False}
    return [made.count(body) for body in (chat, *texts)]

loopback, socket = load("127.0.0.1"), load("llama.sock")
found = [tokens(loopback.listening_address), tokens(socket.listening_address)]
del os.O_PATH  # only Linux has it
found.append(tokens(socket.listening_address))
os.unlink("llama.sock")
found += [tokens(socket.listening_address), tokens(loopback.listening_address, "another key")]
os.write(1, json.dumps(found).encode())
os._exit(0)
"""


def test_it_counts_over_whatever_it_listens_on(tmp_path):
    """Windows has a loopback port; macOS has a socket whose name is gone, so no exact counts."""
    loopback, linux, named, gone, strange = json.loads(run(COUNTERS, tmp_path))
    assert loopback == linux == named == [31, 3, 8]
    assert gone == strange == [None] * 3

"""Forks, other processes and restarted kernels: no connection is shared, no store is harmed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from programs import FORKING
from server import Answer, Received, chunk, frames, together

START = """
import multiprocessing, os, sys, threading, time
import mixmagic

def ask(words="Hello"):
    return mixmagic.ask(words, model="8x7b").text

def child_of(work):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    return pid

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def echo(request: Received) -> Answer:
    """The question again, slowly enough for calls to overlap."""
    words = request.body["messages"][-1]["content"]
    first, *rest = together(*words)
    return Answer([first, 0.05, *rest])


def run(script: str, *words: str, folder: Path) -> list[str]:
    """The lines that a process of its own prints; it must end well, and in time."""
    ran = subprocess.run(
        [*FORKING, START + script, *words],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert ran.stderr == ""
    return ran.stdout.splitlines()


def rows(home: Path) -> list[tuple[str, int]]:
    """The status of each call in the ledger, and its tokens out; the file is whole."""
    with closing(sqlite3.connect(home / "data" / "ledger.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute(
            "SELECT status, completion_tokens FROM calls ORDER BY id"
        ).fetchall()


@pytest.fixture(params=["http", "https"])
def served(request, server, tls_server, authority, monkeypatch):
    """The scripted server, with and without TLS; it repeats each question."""
    chosen = server if request.param == "http" else tls_server
    chosen.plan = [echo]
    monkeypatch.setenv("TOGETHER_BASE_URL", chosen.url)
    monkeypatch.setenv("TOGETHER_API_KEY", "canary-key-4711")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    return chosen


def test_parent_and_child_both_ask_at_once_after_a_live_connection(served, home, tmp_path):
    """Neither reads the other's answer, or its bytes of TLS."""
    script = """
assert ask("before") == "before"
def work():
    for number in range(5):
        assert ask(f"child {number}") == f"child {number}"
pid = child_of(work)
for number in range(5):
    assert ask(f"parent {number}") == f"parent {number}"
assert ended(pid) == 0
assert ask("after") == "after"
transport = mixmagic.session().backends._made["http"].transport
print(*(each.info().rpartition("Request Count: ")[2] for each in transport.connections))
"""
    # Without TLS, each call has a connection of its own.
    assert run(script, folder=tmp_path) == ["7"], "the parent's connection was its own all along"
    assert [status for status, _ in rows(home)] == ["ok"] * 12
    asked = [each.body["messages"][-1]["content"] for each in served.received]
    assert len(asked) == len({*asked}) == 12


def test_children_of_children_and_many_at_once(served, home, tmp_path):
    script = """
ask()
def work():
    ask("child")
    assert ended(child_of(lambda: ask("grandchild"))) == 0
    ask("child again")
assert [ended(pid) for pid in [child_of(work) for _ in range(4)]] == [0] * 4
"""
    run(script, folder=tmp_path)
    assert [status for status, _ in rows(home)] == ["ok"] * 13


def test_a_fork_while_other_threads_are_inside_of_calls(served, home, tmp_path):
    """The child has their locks and their sockets, but not the threads."""
    script = """
ask()
threads = [threading.Thread(target=lambda: [ask("thread") for _ in range(5)]) for _ in range(4)]
for thread in threads:
    thread.start()
pids = []
for number in range(6):
    time.sleep(0.03)
    pids.append(child_of(lambda: ask("child")))
assert [ended(pid) for pid in pids] == [0] * 6
for thread in threads:
    thread.join()
"""
    run(script, folder=tmp_path)
    assert [status for status, _ in rows(home)] == ["ok"] * 27


def test_a_fork_in_the_middle_of_an_answer_leaves_it_to_the_parent(served, home, tmp_path):
    """Whatever the child does with its copy, the parent's answer comes whole."""
    script = """
import gc
session = mixmagic.session()
deltas = session.stream(session.request("abc", model="8x7b"))
text = next(delta.text for delta in deltas if delta.text)
def work():
    global deltas
    assert ask("child") == "child"
    if "close" in sys.argv:
        deltas.close()
    del deltas
    gc.collect()
assert ended(child_of(work)) == 0
time.sleep(0.1)
print(text + "".join(delta.text for delta in deltas))
"""
    assert run(script, folder=tmp_path) == ["abc"]
    assert run(script, "close", folder=tmp_path) == ["abc"]


def test_a_child_that_ends_like_any_program_leaves_the_parent_s_connection(served, tmp_path):
    """Its interpreter closes what it has inherited."""
    script = """
ask()
pid = os.fork()
if pid == 0:
    sys.exit(0)
assert ended(pid) == 0
ask()
transport = mixmagic.session().backends._made["http"].transport
print(*(connection.info().rpartition(", ")[2] for connection in transport.connections))
"""
    assert run(script, folder=tmp_path) == ["Request Count: 2"]


def test_a_fork_before_the_first_call(served, home, tmp_path):
    script = """
session = mixmagic.session()
pid = child_of(ask)
ask()
assert ended(pid) == 0
"""
    run(script, folder=tmp_path)
    assert [status for status, _ in rows(home)] == ["ok"] * 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(served, home, tmp_path, method):
    """A pool that asks, and an error that comes home from it with its hint."""
    (tmp_path / "work.py").write_text(
        "import mixmagic\ndef ask(words):\n    return mixmagic.ask(words, model='8x7b').text\n"
    )
    script = """
import work
def main():
    assert work.ask("before") == "before"
    with multiprocessing.get_context(sys.argv[1]).Pool(3) as pool:
        assert pool.map(work.ask, list("abcdef")) == list("abcdef")
        try:
            pool.apply(work.ask, [" "])
        except mixmagic.errors.BadArguments as error:
            print(error.hint)
    assert work.ask("after") == "after"
main()
"""
    (hint,) = run(script, method, folder=tmp_path)
    assert hint == "Write it after %mixtral, or below a line %%mixtral."
    assert [status for status, _ in rows(home)] == ["ok"] * 8


def test_a_completion_is_pickled_without_a_key(served, tmp_path):
    script = """
import pickle
answer = mixmagic.ask("Hello", model="8x7b")
raw = pickle.dumps(answer)
assert b"canary" not in raw
again = pickle.loads(raw)
print(again.text, again.cost == answer.cost)
"""
    assert run(script, folder=tmp_path) == ["Hello True"]


def test_a_restart_in_the_middle_of_an_answer(start_kernel, together, home):
    """The server sees the end; the row stays open; the next kernel works."""
    together.plan = [Answer([frames(chunk("Half"), done=False), "hang"])]
    kernel = start_kernel()
    sent = kernel.send("%%mixtral\nHello")
    kernel.collect(sent, until=lambda ran: "Half" in ran.text)
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)  # the manager interrupts it first
    kernel.manager.restart_kernel(now=True)
    together.wait(lambda: together.received[0].closed_at)
    kernel.client.wait_for_ready(timeout=60)
    together.plan = [echo]
    assert kernel.run("%load_ext mixmagic").status == "ok"
    ran = kernel.run("%%mixtral\nHello")
    assert "Hello" in ran.text
    assert "session $0.0000" in ran.text, "it counts from the beginning"
    assert [status for status, _ in rows(home)] == ["lost", "ok"]


def test_two_kernels_at_once_keep_every_call(start_kernel, together, home):
    together.plan = [echo]
    kernels = [start_kernel(), start_kernel()]
    cell = "import mixmagic\nfor n in range(20):\n    assert mixmagic.ask(f'{n}').text == f'{n}'"
    sent = [kernel.send(cell) for kernel in kernels]
    for kernel, each in zip(kernels, sent, strict=True):
        ran = kernel.collect(each)
        assert ran.status == "ok", ran.text
    assert [status for status, _ in rows(home)] == ["ok"] * 40
    assert sum(tokens for _, tokens in rows(home)) == 2 * sum(len(str(n)) for n in range(20))
    assert len(together.received) == 40


def test_a_killed_process_leaves_a_whole_ledger(together, home, tmp_path):
    """Killed while it writes, again and again."""
    together.plan = [Answer(together_of("x"))]
    script = START + "\nwhile True:\n    ask()\n    print('.', flush=True)"
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, env={**os.environ}
        )
        process.stdout.readline()
        time.sleep(0.05)
        process.kill()
        process.communicate(timeout=10)
    assert {status for status, _ in rows(home)} <= {"ok", "open", "lost"}
    assert [status for status, _ in rows(home)].count("open") <= 3


def together_of(text: str) -> list[bytes]:
    return together(text)

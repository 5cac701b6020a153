"""Processes that ask the same at the same time send it once, also if one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from gates import TEXT, Gate
from server import Answer, refusal
from server import together as pieces

from mixmagic.layers import cache

THREADS, PROCESSES = 64, 4
ASKER = """
import json, sys, threading, time
from mixmagic.calls.running import Call
from mixmagic.sessions import Session

session, threads = Session(), int(sys.argv[1])
session.stream
print("ready", flush=True)
sys.stdin.readline()
calls = [Call(session.stream, session.request("Hi", model="together:8x7b", temperature=0))
         for _ in range(threads)]
for call in calls:
    call.start()
deadline = time.monotonic() + 60
while len(session.running) < threads:
    assert time.monotonic() < deadline, len(session.running)
    time.sleep(0.005)
print("waiting", flush=True)
results = [call.result(120) for call in calls]
session.close()
print(json.dumps([[result.text, float(result.cost), result.origin] for result in results]))
"""


@pytest.fixture
def askers(together, monkeypatch):
    """Start processes, each with an API key of its own, in which all threads wait."""
    monkeypatch.setenv("MIXMAGIC_CACHE", "1")
    started: list[subprocess.Popen] = []

    def start() -> list[subprocess.Popen]:
        for number in range(PROCESSES):
            env = {**os.environ, "TOGETHER_API_KEY": f"canary-key-{number}"}
            run = subprocess.Popen(
                [sys.executable, "-c", ASKER, str(THREADS)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
            )  # fmt: skip
            started.append(run)
        for run in started:
            assert run.stdout.readline() == "ready\n"
        for run in started:
            run.stdin.write("\n")
            run.stdin.flush()
        for run in started:
            assert run.stdout.readline() == "waiting\n"
        together.wait(lambda: together.received)
        return started

    yield start
    for run in started:
        run.kill()
        run.communicate(timeout=30)


def results(runs: list[subprocess.Popen]) -> list[list]:
    return [each for run in runs for each in json.loads(run.communicate(timeout=120)[0])]


def test_all_threads_of_all_processes_send_it_once(askers, together):
    gate = Gate()
    together.plan = [gate]
    runs = askers()
    assert len(together.received) == 1
    gate.open()
    found = results(runs)
    assert len(found) == THREADS * PROCESSES
    assert {text for text, _, _ in found} == {TEXT}
    assert sum(cost > 0 for _, cost, _ in found) == 1
    assert sorted(origin for _, _, origin in found).count("live") == 1
    assert len(together.received) == 1


def test_if_the_process_that_asks_is_killed_another_one_asks_once(askers, together):
    first, gate = Gate(), Gate()
    together.plan = [first, gate]
    runs = askers()
    (received,) = together.received
    leader = runs[int(received.headers["authorization"][-1])]
    os.kill(leader.pid, signal.SIGKILL)
    leader.wait(timeout=30)
    first.open()
    together.wait(lambda: len(together.received) == 2)
    gate.open()
    found = results([run for run in runs if run is not leader])
    assert len(found) == THREADS * (PROCESSES - 1)
    assert {text for text, _, _ in found} == {TEXT}
    assert sum(cost > 0 for _, cost, _ in found) == 1
    assert len(together.received) == 2


def waiting(script: str) -> subprocess.Popen[str]:
    """Start a script that prints a line and then waits for one."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_process_that_does_not_read_its_answer_is_not_waited_for_long(
    together, cached, monkeypatch
):
    """It has left its call open."""
    monkeypatch.setattr(cache, "_LONGEST_WAIT", 0.1)
    gate = Gate()
    together.plan = [gate, Answer(pieces("Hello", " there"))]
    script = """
    import sys
    from mixmagic.sessions import Session
    session = Session()
    deltas = session.stream(session.request("Hi", model="together:8x7b", temperature=0))
    print(next(filter(str, deltas)), flush=True)
    sys.stdin.readline()
    """
    run = waiting(script)
    try:
        assert run.stdout.readline() == "Hello\n"
        answer = cached.ask("Hi", model="together:8x7b", temperature=0, timeout=20)
        assert (answer.text, answer.origin) == (TEXT, "live")
    finally:
        gate.open()
        run.communicate("\n", timeout=30)


def test_a_process_that_got_no_answer_keeps_no_other_from_asking(together, cached):
    """It goes on, and may do something else for hours."""
    together.plan = [refusal(500, {"error": "no"}), Answer(pieces("Hello", " there"))]
    script = """
    import sys
    from mixmagic.errors import ProviderError
    from mixmagic.sessions import Session
    try:
        Session().ask("Hi", model="together:8x7b", temperature=0)
    except ProviderError:
        print("failed", flush=True)
    sys.stdin.readline()
    """
    run = waiting(script)
    try:
        assert run.stdout.readline() == "failed\n"
        answer = cached.ask("Hi", model="together:8x7b", temperature=0, timeout=20)
        assert (answer.text, answer.origin) == (TEXT, "live")
    finally:
        run.communicate("\n", timeout=30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_waits_for_its_parents_call(together, monkeypatch):
    """It has neither the parent's threads nor its lock."""
    monkeypatch.setenv("MIXMAGIC_CACHE", "1")
    gate = Gate()
    together.plan = [gate]
    script = """
    import os, sys, time
    from mixmagic.calls.running import Call
    from mixmagic.sessions import Session
    session = Session()
    def start():
        question = session.request("Hi", model="together:8x7b", temperature=0)
        call = Call(session.stream, question)
        call.start()
        return call
    def until(look):
        deadline = time.monotonic() + 30
        while not look():
            assert time.monotonic() < deadline
            time.sleep(0.005)
    first = start()
    until(lambda: first.collector.begun)
    child = os.fork()
    call = first if child else start()
    if not child:
        until(lambda: session.running)
        print("waiting", flush=True)
    answer = call.result(60)
    if child:
        os.waitpid(child, 0)
    print(answer.text, answer.origin, flush=True)
    """
    run = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert run.stdout.readline() == "waiting\n"
        gate.open()
        out, _ = run.communicate(timeout=90)
    finally:
        run.kill()
        run.communicate(timeout=30)
    assert out == f"{TEXT} cache\n{TEXT} live\n"
    assert len(together.received) == 1

"""Jobs that are killed, and jobs that share a budget, in processes of their own."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import closing
from decimal import Decimal

import pandas as pd
import pytest
from server import Answer, Received, usage

from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.spend import total

ROWS, DISTINCT, IN_FLIGHT = 2000, 1900, 64
NANO, PRICE = 10**9, 600  # nanodollars a token, of 8x7b
PROMPT, COMPLETION = 30, 9

MAP = """
import json, sys
import pandas as pd
import mixmagic
from mixmagic.sessions import session

rows, distinct, options = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
prefix = options.pop("prefix", "")
texts = [f"{prefix}{number % distinct}" for number in range(rows)]
texts = pd.Series(texts, index=range(10, 10 + rows))
print("ready", flush=True)
sys.stdin.readline()
job = session().map(texts, "Row {{ text }}", model="8x7b", **options)
found = job.result(timeout=100)
print(json.dumps({
    "state": job.state,
    "reason": job.reason,
    "index": list(map(int, found.index)) == list(range(10, 10 + rows)),
    "values": [None if pd.isna(value) else value for value in found],
    "errors": len(job.errors),
}))
"""


class Provider:
    """Answers each row after a while, and logs when it was asked and when it has answered."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.answered: dict[str, list[float]] = defaultdict(list)

    def __call__(self, received: Received) -> Answer:
        row = received.body["messages"][-1]["content"].removeprefix("Row ")
        with self.lock:
            self.asked[row].append(time.monotonic())
        message = {"role": "assistant", "content": f"answer {row}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({"choices": [choice], **usage(PROMPT, COMPLETION)}).encode()

        def steps():
            yield random.uniform(0.001, 0.03)  # not for security
            yield body
            with self.lock:
                self.answered[row].append(time.monotonic())

        return Answer(steps(), type="application/json")

    @property
    def calls(self) -> int:
        return sum(map(len, list(self.asked.values())))

    @property
    def bill(self) -> int:
        """Nanodollars of all the questions that were asked."""
        return self.calls * (PROMPT + COMPLETION) * PRICE


def start(rows: int, distinct: int, **options) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", MAP, str(rows), str(distinct), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def finish(process: subprocess.Popen) -> dict:
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    return json.loads(out)


def spent(home) -> tuple[int, int]:
    """Nanodollars in the ledger, lost calls included, and the number of open rows."""
    with closing(Ledger(home / "data", "reader")) as ledger:
        ledger.sweep()
        cost = total(ledger.spent("all")).cost
    with closing(sqlite3.connect(home / "data" / "ledger.db")) as connection:
        ((still_open,),) = connection.execute("SELECT COUNT(*) FROM calls WHERE status = 'open'")
    return int(cost * NANO), still_open


def killed_and_resumed(together, home, seed: int) -> Provider:
    """Kill a job at a random moment, and run it to its end; return the server's log."""
    together.plan = [provider := Provider()]
    moment = random.Random(seed).randrange(1, DISTINCT)
    with start(ROWS, DISTINCT) as process:
        go(process)
        together.wait(lambda: provider.calls >= moment)
        process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    before = provider.calls
    again = start(ROWS, DISTINCT)
    go(again)
    found = finish(again)
    assert found["state"] == "done"
    assert found["index"]
    assert found["values"] == [f"answer {number % DISTINCT}" for number in range(ROWS)]
    twice = {row: times for row, times in provider.asked.items() if len(times) > 1}
    assert len(provider.asked) == DISTINCT
    assert all(len(times) == 2 for times in twice.values())
    assert len(twice) <= IN_FLIGHT
    for row in twice:
        ended = [at for at in provider.answered[row] if at < killed]
        assert not ended or killed - ended[0] < 0.5, "it was in flight at the kill"
    assert provider.calls == DISTINCT + len(twice)
    assert before <= DISTINCT
    in_ledger, still_open = spent(home)
    assert still_open == 0
    assert in_ledger >= provider.bill
    return provider


@pytest.mark.parametrize("out", ["answers", "answers.parquet"])
def test_after_a_kill_what_is_written_has_each_row_once_and_in_order(together, tmp_path, out):
    together.plan = [provider := Provider()]
    folder, rows = tmp_path / "out", 2500
    folder.mkdir()
    moment = (lambda: list(folder.rglob("part-*"))) if out == "answers" else None
    with start(rows, rows, out=str(folder / out)) as process:
        go(process)
        together.wait(moment or (lambda: provider.calls >= rows * 0.9), timeout=120)
        process.send_signal(signal.SIGKILL)
    if moment is None:
        assert not list(folder.iterdir()), "it appears at the end"
    else:
        assert pd.read_parquet(folder / out).answer.tolist() == [f"answer {n}" for n in range(2000)]
    again = start(rows, rows, out=str(folder / out))
    go(again)
    assert finish(again)["state"] == "done"
    found = pd.read_parquet(folder / out)
    assert found.answer.tolist() == [f"answer {n}" for n in range(rows)]
    assert found.text.tolist() == [str(n) for n in range(rows)]
    assert provider.calls <= rows + IN_FLIGHT


@pytest.mark.parametrize("seed", range(2))
def test_after_a_kill_no_row_is_asked_again_but_those_in_flight(together, home, seed):
    killed_and_resumed(together, home, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 10))
def test_after_many_kills(together, home, seed):
    killed_and_resumed(together, home, seed)


def test_the_ledger_is_the_bill_if_nothing_is_killed(together, home):
    together.plan = [provider := Provider()]
    process = start(600, 550)
    go(process)
    assert finish(process)["state"] == "done"
    assert provider.calls == 550
    assert spent(home) == (provider.bill, 0)


def test_two_processes_that_map_the_same_rows_ask_each_once(together, home):
    together.plan = [provider := Provider()]
    processes = [start(400, 300, in_flight=16) for _ in range(2)]
    for process in processes:
        go(process)
    found = [finish(process) for process in processes]
    assert [each["state"] for each in found] == ["done", "done"]
    assert found[0]["values"] == found[1]["values"]
    assert (len(provider.asked), provider.calls) == (300, 300)
    assert spent(home) == (provider.bill, 0)


def test_a_process_that_waits_for_the_answer_of_another_is_stopped_at_once(together, home):
    def begun() -> set[str]:
        with closing(sqlite3.connect(home / "data" / "jobs.db")) as connection:
            return {process for (process,) in connection.execute("SELECT process FROM jobs")}

    together.plan = [Answer([60.0, b""])]
    with start(1, 1) as asking, start(1, 1) as waiting:
        go(asking)
        together.wait(lambda: together.received)
        first = begun()
        go(waiting)
        together.wait(lambda: begun() != first)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(timeout=10) != 0
        assert len(together.received) == 1
        asking.kill()


def test_two_processes_share_a_days_budget_to_the_last_row(together, home):
    together.plan = [provider := Provider()]
    each = (PROMPT + COMPLETION) * PRICE
    limit = 500 * each
    with closing(Ledger(home / "data", "reader")) as ledger:
        ledger.set_limit("day", Decimal(limit) / NANO)
    options = {"max_tokens": 40, "in_flight": 32}
    processes = [start(600, 600, prefix=f"{name}-", **options) for name in "ab"]
    for process in processes:
        go(process)
    found = [finish(process) for process in processes]
    assert [each["state"] for each in found] == ["paused", "paused"]
    assert all("day" in each["reason"] and not each["errors"] for each in found)
    cost, still_open = spent(home)
    assert (cost, still_open) == (provider.bill, 0)
    # A row that can cost its worst case does not fit any more.
    most = (PROMPT + 24 + 96 + 40) * PRICE
    assert limit - most < cost <= limit
    answered = sum(value is not None for each in found for value in each["values"])
    assert answered == provider.calls
    with closing(Ledger(home / "data", "reader")) as ledger:
        ledger.set_limit("day", None)  # the next day
    for name in "ab":
        process = start(600, 600, prefix=f"{name}-", **options)
        go(process)
        assert None not in finish(process)["values"]
    assert provider.calls == 1200
    assert spent(home) == (provider.bill, 0)


KILL = """
import os, signal, sys
from mixmagic.store.jobs import Journal
from mixmagic.store.ledger.ledger import Ledger

class Killer:
    left = 40
    def __call__(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def at(owner, name, when, killer=Killer()):
    inner = getattr(owner, name)
    def outer(*args, **options):
        if when == "before":
            killer()
        found = inner(*args, **options)
        if when == "after":
            killer()
        return found
    setattr(owner, name, outer)

"""
MOMENTS = {
    "before the journal": 'at(Journal, "put", "before")\n',
    "between journal and ledger": 'at(Journal, "put", "after")\n',
    "before the ledger": 'at(Ledger, "record", "before")\n',
    "after the ledger": 'at(Ledger, "record", "after")\n',
    "before it is sent": 'at(Ledger, "reserve", "after")\n',
    "at the start": 'Killer.left = 1\nat(Journal, "begin", "after", Killer())\n',
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_between_two_writes_loses_nothing(together, home, moment, monkeypatch):
    together.plan = [provider := Provider()]
    code = KILL + MOMENTS[moment]
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "MAP", code + MAP)
        with start(300, 300, in_flight=16) as process:
            go(process)
            process.wait(60)
        assert process.returncode == -signal.SIGKILL
    before = provider.calls
    process = start(300, 300, in_flight=16)
    go(process)
    assert finish(process)["values"] == [f"answer {number}" for number in range(300)]
    assert len(provider.asked) == 300
    assert provider.calls <= 300 + 16
    if moment in ("between journal and ledger", "before the ledger", "after the ledger"):
        assert provider.calls - 300 < 16, "the answer that was journaled is not asked again"
    in_ledger, still_open = spent(home)
    assert still_open == 0
    assert in_ledger >= provider.bill
    assert before < 300


WAIT = """
try:
    found = job.result(timeout=100)
except mixmagic.errors.Stopped as stopped:
    print(stopped)
    sys.exit()
"""


def test_ctrl_c_ends_all_calls_at_once_and_keeps_what_was_answered(together, home):
    """As in a script: the connections are closed within 100 ms."""
    asked = threading.Event()

    def answer(received: Received) -> Answer:
        if len(together.received) > 100:
            if len(together.received) == 100 + IN_FLIGHT:
                asked.set()
            return Answer([30.0, b""])
        return provider(received)

    provider = Provider()
    together.plan = [answer]
    code = MAP.replace("found = job.result(timeout=100)", WAIT)
    with subprocess.Popen(
        [sys.executable, "-c", code, "1000", "1000", "{}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        go(process)
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        together.wait(lambda: sum(each.closed_at is not None for each in together.received) >= 64)
        closed = [each.closed_at - sent for each in together.received if each.closed_at]
        out = process.communicate(timeout=60)[0]
    assert out.startswith("Stopped after 100 of 1,000 rows, which are kept")
    assert out.endswith("The same call goes on.\n")
    assert max(closed) < 1.0  # 0.1 on a machine that does nothing else
    together.plan = [provider]
    process = start(1000, 1000)
    go(process)
    assert finish(process)["state"] == "done"
    assert sum(len(times) for times in provider.asked.values()) == 1000

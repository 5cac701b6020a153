"""One budget, 128 threads of four processes, two of them killed in the middle."""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from server import Answer, Received, chunk, frames, usage

from mixmagic.store.ledger.ledger import Ledger

THREADS, PROCESSES = 32, 4
NANO = 10**9
PRICE = 600  # nanodollars a token, of 8x7b
PROMPT = 17  # tokens: see `test_the_prompt_has_as_many_tokens_as_the_server_says`
MAX_TOKENS = 50
TEMPLATE = 24 + 96  # what the provider's own may have more
MOST = (PROMPT + TEMPLATE + MAX_TOKENS) * PRICE
BUDGET = 1500 * 30 * PRICE  # enough for about 700 calls

WORK = """
import json, sys, threading
import mixmagic

who, threads = sys.argv[1], int(sys.argv[2])
session = mixmagic.session()
lock, refusals = threading.Lock(), []

def work(thread):
    number = 0
    while True:
        try:
            session.ask(f"{who}-{thread:02d}-{number:04d}", model="8x7b", max_tokens=50)
        except mixmagic.errors.BudgetExceeded as error:
            with lock:
                refusals.append((str(error.most), str(error.remaining)))
            return
        number += 1

workers = [threading.Thread(target=work, args=(each,)) for each in range(threads)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print(json.dumps({"session": session.id, "refusals": refusals}))
"""


class Provider:
    """Bill each question for as many tokens as it names, and count them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.billed: dict[str, tuple[int, int]] = {}

    def __call__(self, received: Received) -> Answer:
        words = received.body["messages"][-1]["content"]
        digest = hashlib.blake2b(words.encode()).digest()
        tokens = 1 + digest[0] % MAX_TOKENS
        with self.lock:
            assert words not in self.billed, "a question came twice"
            self.billed[words] = (PROMPT, tokens)
        first, last = chunk("word "), chunk("end", "stop", **usage(PROMPT, tokens))
        return Answer([frames(first, done=False), digest[1] / 2500, frames(last)])

    def cost(self, who: str) -> int:
        """Nanodollars that a process has to pay."""
        return sum(
            (prompt + answer) * PRICE
            for words, (prompt, answer) in list(self.billed.items())
            if words.startswith(who)
        )


def test_the_prompt_has_as_many_tokens_as_the_server_says(session):
    assert session.count("A-07-0042", model="8x7b").most == PROMPT


def test_no_budget_is_passed_by_threads_and_processes_that_are_killed(together, home):
    provider = Provider()
    together.plan = [provider]
    mine = Ledger(home / "data", "mine")
    mine.set_limit("day", Decimal(BUDGET) / NANO)
    names = "ABCD"[:PROCESSES]
    processes = {
        who: subprocess.Popen(
            [sys.executable, "-c", WORK, who, str(THREADS)], stdout=subprocess.PIPE, text=True
        )
        for who in names
    }
    try:
        assert watch(mine, processes, provider) > 20
        said = {who: json.loads(processes[who].communicate(timeout=60)[0]) for who in "CD"}
        assert [processes[who].wait(30) for who in "AB"] == [-signal.SIGKILL] * 2
    finally:
        for process in processes.values():
            process.kill()
            process.communicate(timeout=60)

    # Whoever was refused could not have been paid for; and nobody was refused for nothing.
    for each in said.values():
        assert len(each["refusals"]) == THREADS
        for most, left in each["refusals"]:
            assert Decimal(most) * NANO == MOST
            assert Decimal(left) * NANO < MOST

    mine.sweep()
    rows = calls(home)
    assert {row["status"] for row in rows} == {"ok", "lost"}
    assert sum(row["cost_nanodollars"] for row in rows) <= BUDGET
    lost = [row for row in rows if row["status"] == "lost"]
    assert 0 < len(lost) <= 2 * THREADS
    assert {row["cost_nanodollars"] for row in lost} == {MOST}
    # To the nanodollar: what the survivors' calls cost, and what the provider bills them for.
    for who, each in said.items():
        own = sum(row["cost_nanodollars"] for row in rows if row["session"] == each["session"])
        assert own == provider.cost(who) > 0
    # The killed ones' too, but for the calls under way, whose bill nobody has seen.
    survivors = {each["session"] for each in said.values()}
    recorded = Counter(
        (row["prompt_tokens"], row["completion_tokens"])
        for row in rows
        if row["session"] not in survivors and row["status"] == "ok"
    )
    billed = Counter(bill for words, bill in provider.billed.items() if words[0] in "AB")
    assert not recorded - billed
    assert (billed - recorded).total() <= len(lost)
    (left,) = mine.balances(None)
    assert left.spent * NANO == sum(row["cost_nanodollars"] for row in rows)
    assert left.reserved == 0
    assert sum(spent.cost for spent in mine.spent("all")) == left.spent
    mine.database.close()


def watch(ledger: Ledger, processes: dict[str, subprocess.Popen], provider: Provider) -> int:
    """Read the ledger continuously, kill two processes, and return the number of reads."""
    looks, victims = 0, list("AB")
    while any(processes[who].poll() is None for who in "CD"):
        rows = ledger.database.rows(
            "SELECT COALESCE(SUM(COALESCE(cost_nanodollars, held_nanodollars)), 0) FROM calls"
            " UNION ALL SELECT"
            " (SELECT COALESCE(SUM(cost_nanodollars), 0) FROM totals WHERE session = 'days')"
            " + (SELECT COALESCE(SUM(held_nanodollars), 0) FROM calls WHERE status = 'open')"
        )
        assert all(row[0] <= BUDGET for row in rows)
        assert len({row[0] for row in rows}) == 1, "the running total is another one"
        looks += 1
        if victims and provider.cost(victims[0]) > BUDGET / 20:
            processes[victims.pop(0)].kill()
        time.sleep(0.005)
    assert not victims, "nobody was killed"
    return looks


def calls(home: Path) -> list[sqlite3.Row]:
    """All rows of the ledger."""
    with closing(sqlite3.connect(home / "data" / "ledger.db")) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT * FROM calls").fetchall()


CALLS, SMALL = 3, 16
WAITING = """
import json, sys, threading
import mixmagic

who = sys.argv[1]
session = mixmagic.session()
lock, refusals, done = threading.Lock(), [], []

def work(thread):
    for number in range(3):
        try:
            answer = session.ask(f"{who}-{thread:02d}-{number}", model="8x7b")
        except mixmagic.errors.BudgetExceeded as error:
            with lock:
                refusals.append(str(error.remaining))
        else:
            with lock:
                done.append(answer.request.params.get("max_tokens"))

workers = [threading.Thread(target=work, args=(each,)) for each in range(16)]
print("ready", flush=True)
sys.stdin.readline()
for worker in workers: worker.start()
for worker in workers: worker.join()
print(json.dumps({"refusals": refusals, "done": len(done)}))
"""


def share(limit: Decimal, together, home) -> tuple[list[dict], list[str], Ledger]:
    """Run four processes of sixteen threads under a day's budget; return their output and order."""
    order: list[str] = []

    def answer(received: Received) -> Answer:
        order.append(received.body["messages"][-1]["content"][0])
        first, last = chunk("word "), chunk("end", "stop", **usage(9, 2))
        return Answer([frames(first, done=False), 0.01, frames(last)])

    together.plan = [answer]
    mine = Ledger(home / "data", "mine")
    mine.set_limit("day", limit)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WAITING, who],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for who in "ABCD"
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=60)
    return said, order, mine


def test_processes_wait_for_each_others_money_until_all_have_finished(together, home):
    """The budget covers one answer's worst case: the calls take turns."""
    said, order, ledger = share(Decimal("0.021"), together, home)
    assert [(each["done"], each["refusals"]) for each in said] == [(CALLS * SMALL, [])] * 4
    rows = calls(home)
    assert Counter(row["status"] for row in rows) == {"ok": 4 * CALLS * SMALL}
    assert {row["held_nanodollars"] for row in rows} == {32_768 * 600}
    # Who came first is served first, in whatever process.
    half = Counter(order[: len(order) // 2])
    assert min(half[who] for who in "ABCD") >= CALLS * SMALL / 6
    (left,) = ledger.balances(None)
    assert left.spent * NANO == len(rows) * 11 * 600
    assert ledger.database.rows("SELECT * FROM waiting") == []
    ledger.database.close()


def test_processes_are_refused_only_if_too_little_is_left_for_anybody(together, home):
    limit = Decimal("0.0006")
    said, order, ledger = share(limit, together, home)
    done = sum(each["done"] for each in said)
    assert 10 < done < 4 * CALLS * SMALL
    assert len(order) == done
    useful = (PROMPT + TEMPLATE + 64) * PRICE
    for each in said:
        for left in each["refusals"]:
            assert Decimal(left) * NANO < useful
    spent = sum(row["cost_nanodollars"] for row in calls(home))
    assert spent == done * 11 * PRICE
    assert limit * NANO - useful < spent <= limit * NANO
    ledger.database.close()

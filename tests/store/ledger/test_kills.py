"""SIGKILL in the middle of calls: the row of every answer that was returned is in the file."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

# Eight threads make calls, and report the tag of each one that has returned its whole answer.
CALLS = """
import os, sys, threading
from decimal import Decimal
from pathlib import Path
from mixmagic.calls.interrupts import Calls
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.control import Control
from mixmagic.core.values import Delta, Message, Request
from mixmagic.layers.meter import meter
from mixmagic.store.ledger.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]), "s")
model = Catalog().resolve("8x7b")
def answer(request):
    yield Delta("Hello", finish="stop", usage=Usage(9, 1))
stream = meter(ledger, None, Calls())(answer)
def work(name):
    for number in range(100_000):
        tag = f"{os.getpid()}.{name}.{number}"
        for _ in stream(Request(model, (Message("user", "Hi"),), {}, control=Control(tag=tag))):
            pass
        os.write(1, f"{tag}\\n".encode())
threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
for thread in threads:
    thread.start()
"""


@pytest.mark.slow
def test_every_answer_that_was_returned_is_recorded(tmp_path):
    dice, returned = random.Random(4711), []
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", CALLS, tmp_path], stdout=subprocess.PIPE, text=True
        ) as process:
            returned += [process.stdout.readline() for _ in range(dice.randrange(1, 800))]
            os.kill(process.pid, signal.SIGKILL)
            returned += process.stdout.readlines()
    tags = {line.rstrip("\n") for line in returned if line.endswith("\n")}
    assert len(tags) > 1000
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        recorded = {
            tag for (tag,) in connection.execute("SELECT tag FROM calls WHERE status = 'ok'")
        }
        assert tags <= recorded
        assert len(recorded - tags) <= 12 * 8, "each thread had one at most that it had not told"
        ((calls, cost),) = connection.execute(
            "SELECT SUM(calls), SUM(cost_nanodollars) FROM totals"
            " WHERE session = 'days' AND status = 'ok'"
        )
        assert (calls, cost) == (len(recorded), len(recorded) * 10 * 600)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

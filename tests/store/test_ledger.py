"""The spend record: every call has its row, money is exact, and an unknown price is never 0."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal

import pytest
from server import HANG, Answer, chunk, frames

from mixmagic.catalog import FREE, Catalog
from mixmagic.completion import Completion
from mixmagic.errors import StoreError
from mixmagic.store.ledger import Ledger, total
from mixmagic.values import Message, Model, Price, Provider, Request, Usage

CATALOG = Catalog()
HI = (Message("user", "Hi"),)


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "data", "this-session")
    yield ledger
    ledger.database.close()


def request(model: str | Model = "8x7b") -> Request:
    return Request(CATALOG.resolve(model) if isinstance(model, str) else model, HI)


def completion(asked: Request, prompt: int = 9, answer: int = 5, **more) -> Completion:
    usage = Usage(prompt, answer, **more)
    price = asked.model.price
    cost = None if price is None else price.cost(usage)
    return Completion("text", usage, cost, "stop", asked, elapsed=1.5, ttft=0.25)


def call(ledger: Ledger, asked: Request, status="ok", **counts) -> int:
    row = ledger.open(asked, "notebook.ipynb")
    ledger.settle(row, status, completion(asked, **counts))
    return row


def rows(ledger: Ledger) -> list[sqlite3.Row]:
    return ledger.database.rows("SELECT * FROM calls ORDER BY id")


def test_a_call_is_a_row_before_it_is_sent_and_all_of_it_when_it_has_ended(ledger):
    asked = request()
    number = ledger.open(asked, "notebook.ipynb")
    (row,) = rows(ledger)
    assert (row["id"], row["status"], row["cost_nanodollars"]) == (number, "open", None)
    assert (row["session"], row["notebook"]) == ("this-session", "notebook.ipynb")
    assert (row["provider"], row["model"]) == ("together", asked.model.id)
    assert (row["input_price_nanodollars"], row["output_price_nanodollars"]) == (600_000_000,) * 2
    ledger.settle(number, "ok", completion(asked))
    (row,) = rows(ledger)
    assert (row["status"], row["error"], row["estimated"]) == ("ok", None, 0)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (9, 5)
    assert (row["latency_ms"], row["first_token_ms"]) == (1500, 250)
    assert row["cost_nanodollars"] == 14 * 600


def test_costs_are_whole_nanodollars_in_the_file(ledger):
    odd = Model("odd", Provider("x", "X"), price=Price(Decimal("0.1234"), Decimal("0.0001")))
    call(ledger, request(odd), prompt=3, answer=7)
    with closing(sqlite3.connect(ledger.database.path)) as connection:
        kind, cost = connection.execute(
            "SELECT typeof(cost_nanodollars), cost_nanodollars FROM calls"
        ).fetchone()
    assert (kind, cost) == ("integer", 371)  # 3 * 123.4 + 7 * 0.1, to the nearest


@pytest.mark.parametrize(
    ("price", "stored", "spent", "unpriced"),
    [(None, None, Decimal(0), 1), (FREE, 0, Decimal(0), 0)],
    ids=["unknown", "free"],
)
def test_an_unknown_price_is_null_and_a_free_call_is_zero(ledger, price, stored, spent, unpriced):
    call(ledger, request(Model("m", Provider("x", "X"), price=price)))
    assert rows(ledger)[0]["cost_nanodollars"] == stored
    (sum_,) = ledger.spent()
    assert (sum_.cost, sum_.unpriced) == (spent, unpriced)


def test_sums_are_exact_where_floats_are_not(ledger):
    tenth = Model("m", Provider("x", "X"), price=Price(Decimal("0.1"), Decimal(0)))
    for _ in range(3):
        call(ledger, request(tenth), prompt=1_000_000)
    call(ledger, request(tenth), prompt=10)
    (spent,) = ledger.spent()
    assert spent.cost == Decimal("0.300001")
    assert 0.1 + 0.1 + 0.1 != 0.3, "floats would not do"


def test_spent_counts_this_session_per_model_in_the_order_of_use(ledger):
    call(ledger, request("8x22b"), prompt=1, answer=2)
    call(ledger, request("8x7b"), status="stopped", prompt=10, answer=20, estimated=True)
    call(ledger, request("8x22b"), prompt=100, answer=200)
    failed = ledger.open(request("8x7b"), None)
    ledger.settle(failed, "failed", None, "Unavailable: gone")
    other = Ledger(ledger.database.path.parent, "another-session")
    call(other, request(), prompt=1_000, answer=1_000)
    other.database.close()
    large, small = ledger.spent()
    assert large.model == "together:mistralai/Mixtral-8x22B-Instruct-v0.1"
    assert (large.calls, large.prompt_tokens, large.completion_tokens) == (2, 101, 202)
    assert (small.calls, small.stopped, small.failed, small.estimated) == (2, 1, 1, 1)
    assert (small.prompt_tokens, small.completion_tokens) == (10, 20)
    everything = total([large, small])
    assert (everything.model, everything.calls) == ("total", 4)
    assert everything.cost == large.cost + small.cost == (303 * 1200 + 30 * 600) / Decimal(10**9)


def test_a_call_that_failed_unsent_costs_nothing_and_keeps_its_reason(ledger):
    number = ledger.open(request(), None)
    ledger.settle(number, "failed", None, "MissingKey: no key")
    (row,) = rows(ledger)
    assert (row["status"], row["error"]) == ("failed", "MissingKey: no key")
    assert (row["prompt_tokens"], row["completion_tokens"], row["cost_nanodollars"]) == (0, 0, 0)
    assert (row["latency_ms"], row["first_token_ms"]) == (None, None)


def test_spent_of_nothing_is_nothing(ledger):
    assert ledger.spent() == []
    assert total([]).calls == 0
    assert total([]).cost == 0


def test_a_status_that_does_not_exist_is_refused(ledger):
    number = ledger.open(request(), None)
    with pytest.raises(StoreError):
        ledger.settle(number, "lost", None)
    assert rows(ledger)[0]["status"] == "open"


def test_sixteen_threads_of_fifty_calls_are_eight_hundred_rows(ledger):
    asked = request()

    def fifty(thread: int) -> None:
        for number in range(50):
            call(ledger, asked, prompt=thread, answer=number)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(fifty, range(16)))
    (spent,) = ledger.spent()
    assert spent.calls == 16 * 50
    assert spent.prompt_tokens == 50 * sum(range(16))
    assert spent.completion_tokens == 16 * sum(range(50))
    tokens = spent.prompt_tokens + spent.completion_tokens
    assert spent.cost == tokens * Decimal("600e-9")
    assert {row["status"] for row in rows(ledger)} == {"ok"}


def test_a_killed_process_leaves_its_row_open(together, home):
    together.plan = [Answer([frames(chunk("Half an"), done=False), HANG])]
    process = subprocess.Popen(
        [sys.executable, "-c", "import mixmagic; mixmagic.ask('Hi')"], stderr=subprocess.PIPE
    )
    together.wait(lambda: together.received, timeout=30)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    ledger = Ledger(home / "data", "another-session")
    (row,) = rows(ledger)
    assert (row["status"], row["prompt_tokens"], row["cost_nanodollars"]) == ("open", None, None)
    assert row["started_at"] > 1.7e9
    assert ledger.database.check() == "ok"
    call(ledger, request())
    assert [row["status"] for row in rows(ledger)] == ["open", "ok"]
    ledger.database.close()


def test_an_open_call_is_counted_but_not_as_one_of_unknown_price(ledger):
    ledger.open(request(), None)
    (spent,) = ledger.spent()
    assert (spent.calls, spent.unpriced, spent.cost) == (1, 0, 0)

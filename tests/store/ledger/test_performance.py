"""Speed and errors of calls, from the ledger."""

from __future__ import annotations

import math
import random
import statistics
from typing import get_args

import pytest
from store.ledger.test_spend import CHEAP, DAY, DEAR, NOON, begin

from mixmagic.calls.completion import Completion
from mixmagic.core.money import Usage
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.performance import performance
from mixmagic.store.ledger.spend import Period, day


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "data", "this-session")
    yield ledger
    ledger.database.close()


def call(
    ledger, elapsed, ttft, tokens=11, *, model=CHEAP, at=NOON, status="ok", notebook="a.ipynb"
):
    reservation = begin(ledger, model, at, notebook)
    usage = Usage(10, tokens)
    request = reservation.request
    answer = Completion("", usage, model.price.cost(usage), "stop", request, elapsed, ttft)
    ledger.record(reservation, status, answer)


def test_medians_and_95th_percentiles_are_those_of_the_answered_calls(ledger):
    firsts = [0.1 * i for i in range(1, 41)]
    shuffled = random.Random(1).sample(firsts, len(firsts))
    for first in shuffled:
        call(ledger, first + 2, first, tokens=21)
    call(ledger, 900, 800, status="stopped")
    call(ledger, 900, None, status="failed")
    (row,) = performance(ledger.database, "this-session", "session")
    assert (row.model, row.day) == ("x:cheap", day(NOON))
    assert (row.calls, row.failed, row.error_rate) == (42, 1, pytest.approx(1 / 42))
    assert row.first_token == pytest.approx(statistics.median(firsts))
    assert row.first_token_p95 == pytest.approx(firsts[math.ceil(0.95 * 40) - 1])
    assert row.duration == pytest.approx(statistics.median(firsts) + 2)
    assert row.duration_p95 == pytest.approx(row.first_token_p95 + 2)
    assert row.tokens_per_second == pytest.approx(10)


@pytest.mark.parametrize(
    ("elapsed", "ttft", "tokens"), [(1.0, 1.0, 50), (1.0, None, 50), (1.0, 0.5, 1), (1.0, 0.5, 0)]
)
def test_an_answer_in_one_piece_has_no_speed(ledger, elapsed, ttft, tokens):
    call(ledger, elapsed, ttft, tokens)
    (row,) = performance(ledger.database, "this-session", "session")
    assert row.tokens_per_second is None
    assert row.first_token == ttft
    assert row.duration == 1.0


def test_calls_that_all_failed_have_no_times(ledger):
    call(ledger, 1.0, None, status="failed")
    (row,) = performance(ledger.database, "this-session", "session")
    assert (row.calls, row.error_rate, row.duration, row.first_token) == (1, 1.0, None, None)


def test_each_model_and_day_of_a_period_has_its_row(ledger, tmp_path):
    call(ledger, 1, 0.5)
    call(ledger, 1, 0.5, model=DEAR, notebook="b.ipynb")
    call(ledger, 1, 0.5, at=NOON - 400 * DAY)
    begin(ledger)  # under way
    other = Ledger(tmp_path / "data", "other")
    call(other, 1, 0.5)

    def rows(period: Period) -> list[tuple[str, str, int]]:
        found = performance(ledger.database, "this-session", period, "a.ipynb")
        return [(row.model, row.day, row.calls) for row in found]

    today, old = day(NOON), day(NOON - 400 * DAY)
    assert rows("session") == [
        ("x:cheap", old, 1),
        ("x:cheap", today, 1),
        ("y:a/dear", today, 1),
    ]
    assert rows("notebook") == [("x:cheap", old, 1), ("x:cheap", today, 2)]
    assert rows("today") == rows("month") == [("x:cheap", today, 2), ("y:a/dear", today, 1)]
    assert rows("all") == [("x:cheap", old, 1), *rows("today")]
    other.database.close()


@pytest.mark.parametrize("period", get_args(Period))
def test_nothing_has_no_rows(ledger, period):
    assert performance(ledger.database, "this-session", period, "a.ipynb") == []

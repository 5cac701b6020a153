"""Tries that failed and may be billed are reserved, booked and marked; others cost nothing."""

from __future__ import annotations

import random
import threading
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest
from server import CUT, HANG, RESET, Answer, chunk, frames, refusal
from server import together as pieces

from mixmagic.core.money import Usage
from mixmagic.core.values import Delta
from mixmagic.display.spend import spend_table
from mixmagic.errors import (
    ContextTooLong,
    MissingKey,
    MixmagicError,
    ProviderError,
    Stopped,
    Unavailable,
    UnknownModel,
)
from mixmagic.layers.meter import meter
from mixmagic.layers.retry import retry
from mixmagic.sessions import Session
from mixmagic.store.ledger.spend import lost

TOKEN = Decimal("600e-9")  # of 8x7b, in and out
PROMPT = 9 + 24 + 96  # "Hi", with what a provider's own template may have more
WORST = (PROMPT + 100) * TOKEN  # of a call with 100 tokens
WON = 11 * TOKEN  # of the answer below
ANSWER = Answer(pieces("Hello", " there"))


def in_stream(**error) -> Answer:
    return Answer([frames({"error": {"message": "no", **error}}, done=False)])


@pytest.fixture
def patient(together, monkeypatch):
    """A session that tries again, without waiting."""
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "4")
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.0)
    made = Session()
    yield made
    made.close()


def rows(session: Session) -> list:
    return session.ledger.database.rows("SELECT * FROM calls ORDER BY id")


def cost(row) -> Decimal | None:
    found = row["cost_nanodollars"]
    return None if found is None else Decimal(found) / 10**9


@pytest.mark.parametrize(
    ("failed", "billed"),
    [
        *[(refusal(status, {"error": "no"}), 0) for status in (409, 429, 503, 529)],
        *[(refusal(status, {"error": "no"}), 1) for status in (408, 500, 502, 504, 524, 599)],
        (in_stream(code=503), 1),
        (in_stream(code=429), 1),
        (in_stream(code=500), 1),
    ],
)
def test_a_retry_is_booked_at_its_worst_case_if_it_may_be_billed(patient, together, failed, billed):
    together.plan = [failed, failed, ANSWER]
    answer = patient.ask("Hi", max_tokens=100)
    assert answer.text == "Hello there"
    assert len(together.received) == 3
    (row,) = rows(patient)
    assert (row["status"], row["counted"], row["billed_tries"]) == ("ok", "server", 2 * billed)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (9, 2)
    assert cost(row) == answer.cost == WON + 2 * billed * WORST
    said = "2 earlier tries may have been billed" in answer.footer()
    assert (said, answer.at_most) == (bool(billed), bool(billed))
    assert answer.bill.startswith("≤ $") == bool(billed)
    assert row["held_nanodollars"] == int((1 + 2 * billed) * WORST * 10**9)


@pytest.mark.parametrize(
    ("failed", "status"),
    [
        *[(refusal(status, {"error": "no"}), status) for status in (500, 504, 408)],
        (in_stream(code=503), 503),
        (in_stream(), None),
        (Answer([frames(done=False), CUT]), None),
        (Answer([frames({"choices": []}, done=False), RESET]), None),
    ],
)
def test_a_last_try_that_may_be_billed_is_booked_too(session, together, failed, status):
    together.plan = [failed]
    with pytest.raises(ProviderError) as caught:
        session.ask("Hi", max_tokens=100)
    assert caught.value.status == status
    (row,) = rows(session)
    assert (row["status"], row["billed_tries"]) == ("failed", 1)
    assert row["counted"] != "server"
    assert cost(row) == WORST


@pytest.mark.parametrize(
    ("failed", "error"),
    [
        (refusal(429, {"error": "no"}), ProviderError),
        (refusal(503, {"error": "no"}), Unavailable),
        (refusal(529, {"error": "no"}), Unavailable),
        (refusal(401, {"error": "no"}), MissingKey),
        (refusal(404, {"error": "no"}), UnknownModel),
        (refusal(400, {"error": {"code": "context_length_exceeded"}}), ContextTooLong),
        (refusal(422, {"error": "no"}), ProviderError),
    ],
)
def test_what_was_refused_before_the_work_is_a_failure_that_costs_nothing(
    session, together, failed, error
):
    together.plan = [failed]
    with pytest.raises(error):
        session.ask("Hi")
    (row,) = rows(session)
    assert (row["status"], cost(row), row["billed_tries"]) == ("failed", 0, 0)


class Scripted:
    """A backend whose tries end as `plan` says, in turn."""

    def __init__(self, *plan) -> None:
        self.plan = list(plan)

    def __call__(self, request):
        step = self.plan.pop(0)
        if isinstance(step, MixmagicError):
            raise step
        yield Delta("Hi")
        yield Delta(finish="stop", usage=step)


def trouble(status: int, counted: Usage | None = None) -> Unavailable:
    error = Unavailable("no", "no", status=status, retryable=True)
    error.transmitted, error.usage = True, counted
    return error


def metered(session: Session, backend, **params):
    """What `backend` answers, through the layers that count."""
    stream = meter(session.ledger, None, session.calls)(retry(session.settings)(backend))
    with closing(stream(session.request("Hi", **params))) as deltas:
        return list(deltas)


def test_usage_that_an_error_tells_counts_instead_of_the_worst_case(patient):
    """Whatever its status: who has counted has worked."""
    told = Usage(9, 40)
    metered(patient, Scripted(trouble(504, told), trouble(503, told), Usage(9, 2)), max_tokens=100)
    (row,) = rows(patient)
    assert (row["status"], row["billed_tries"]) == ("ok", 0)
    assert cost(row) == WON + 2 * 49 * TOKEN
    with pytest.raises(Unavailable):
        metered(patient, Scripted(*[trouble(500, told)] * 5), max_tokens=100)
    row = rows(patient)[1]
    assert (row["status"], row["counted"], row["billed_tries"]) == ("failed", "server", 0)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (9, 40)
    assert cost(row) == 5 * 49 * TOKEN


def test_a_charge_that_an_error_tells_outranks_the_price(patient):
    told = Usage(9, 40, charge=Decimal("0.25"))
    metered(patient, Scripted(trouble(504, told), Usage(9, 2)))
    assert cost(rows(patient)[0]) == Decimal("0.25") + WON


def test_a_budget_reserves_each_try_or_there_is_none(patient, together):
    together.plan = [refusal(504, {"error": "gone"}), refusal(504, {"error": "gone"}), ANSWER]
    patient.budget(2 * WORST + TOKEN)
    with pytest.raises(Unavailable, match="answered 504") as caught:
        patient.ask("Hi", max_tokens=100)
    assert "It was not tried again: this try may be billed" in caught.value.hint
    assert len(caught.value._render_traceback_()) == 2
    assert caught.value.__notes__ == [f"Hint: {caught.value.hint}"]
    assert len(together.received) == 2
    (row,) = rows(patient)
    assert (row["status"], row["billed_tries"], cost(row)) == ("failed", 2, 2 * WORST)
    (left,) = patient.budgets()
    assert left.remaining == TOKEN


def test_tries_that_cost_nothing_need_no_more_of_a_budget(patient, together):
    together.plan = [refusal(503, {"error": "busy"}), refusal(429, {"error": "busy"}), ANSWER]
    patient.budget(WORST)
    assert patient.ask("Hi", max_tokens=100).text == "Hello there"
    assert cost(rows(patient)[0]) == WON


def test_a_budget_is_never_passed_by_what_the_provider_may_bill(patient, together):
    """It bills every try in full."""
    together.plan = [refusal(504, {"error": "gone"})]
    limit = 7 * WORST + WORST / 2
    patient.budget(limit, per="day")
    failed = 0
    for _ in range(12):
        with pytest.raises(MixmagicError):
            patient.ask("Hi", max_tokens=100)
        failed += 1
    billed = sum((PROMPT + received.body["max_tokens"]) * TOKEN for received in together.received)
    assert failed == 12
    assert 6 * WORST < billed <= limit
    assert sum(cost(row) for row in rows(patient)) == billed


def test_what_is_reserved_for_another_try_counts_while_it_runs(patient, together):
    together.plan = [
        refusal(504, {"error": "gone"}),
        Answer([frames(chunk("H"), done=False), HANG]),
    ]
    request = patient.request("Hi", max_tokens=100)
    with closing(patient.stream(request)) as deltas:
        while not str(next(deltas)):
            pass
        (row,) = rows(patient)
        assert (row["status"], row["billed_tries"]) == ("open", 1)
        assert row["held_nanodollars"] == int(2 * WORST * 10**9)
        patient.budget(1)
        assert patient.budgets()[0].reserved == 2 * WORST
    (row,) = rows(patient)
    assert (row["status"], cost(row)) == ("stopped", WORST + 10 * TOKEN)


def test_a_stop_while_the_next_try_is_waited_for_keeps_what_was_booked(patient, together):
    together.plan = [refusal(504, {"error": "gone"}, retry_after="20")]
    request = patient.request("Hi", max_tokens=100)
    with closing(patient.stream(request)) as deltas:
        while not next(deltas).progress:
            pass
        request.control.stop.set()
        with pytest.raises(Stopped):
            next(deltas)
    (row,) = rows(patient)
    assert (row["status"], row["billed_tries"], cost(row)) == ("stopped", 1, WORST)


def test_reports_mark_such_tries_and_they_are_settled_by_hand(patient, together):
    together.plan = [refusal(504, {"error": "gone"}), ANSWER]
    patient.ask("Hi", max_tokens=100)
    rows_ = patient.ledger.spent()
    assert [row.billed_tries for row in rows_] == [1]
    text = str(spend_table(rows_, "model", "here"))
    assert "≤ $0.00014" in text
    assert "≤: 1 try may have been billed (`spend --resolve` records the bill)" in text
    (doubtful,) = lost(patient.ledger.database)
    assert (doubtful.status, doubtful.most) == ("ok", WON + WORST)
    patient.ledger.resolve(doubtful.number, WON)
    assert lost(patient.ledger.database) == []
    assert [row.billed_tries for row in patient.ledger.spent()] == [0]
    assert "≤" not in str(spend_table(patient.ledger.spent(), "model", "here"))


@pytest.mark.parametrize("status", [500, 504, 429])
def test_a_failure_of_a_model_of_unknown_price_has_no_cost(session, together, status):
    together.plan = [refusal(status, {"error": "boom"})]
    with pytest.raises(ProviderError):
        session.ask("Hi", model="together:nobody/boom")
    (row,) = rows(session)
    assert (row["status"], row["cost_nanodollars"]) == ("failed", None)
    text = str(spend_table(session.ledger.spent(), "model", "here"))
    assert "price unknown" in text
    assert "$0" not in text


def test_calls_that_never_left_this_machine_are_no_calls(session, together, monkeypatch):
    """No key, no server, no room in the context, no money, and stopped in the queue."""
    session.budget(1)
    with pytest.raises(ContextTooLong):
        session.ask("word " * 40_000)
    session.budget("0.00001")
    with pytest.raises(MixmagicError, match="this session's budget"):
        session.ask("Hi")
    session.budget(None)
    monkeypatch.setenv("TOGETHER_BASE_URL", "http://127.0.0.1:1/v1")
    with pytest.raises(Unavailable, match="cannot be reached"):
        session.ask("Hi")
    monkeypatch.setenv("TOGETHER_BASE_URL", "http://nowhere.invalid/v1")
    with pytest.raises(Unavailable):
        session.ask("Hi")
    monkeypatch.setenv("TOGETHER_BASE_URL", "no url")
    with pytest.raises(MixmagicError):
        session.ask("Hi")
    monkeypatch.setenv("TOGETHER_BASE_URL", together.url)
    monkeypatch.delenv("TOGETHER_API_KEY")
    with pytest.raises(MissingKey):
        session.ask("Hi")
    assert together.received == []
    assert rows(session) == []
    assert session.ledger.spent() == []
    assert session.ledger.database.rows("SELECT * FROM totals WHERE calls != 0") == []


def test_a_call_that_is_stopped_in_its_providers_queue_is_none(session, together):
    together.plan = [Answer([frames(chunk("H"), done=False), HANG])]
    request = session.request("Hi")
    provider = replace(request.model.provider, max_in_flight=1)
    model = replace(request.model, provider=provider)
    first = replace(request, model=model)
    with closing(session.stream(first)) as deltas:
        assert str(next(deltas))
        second = replace(session.request("Hi"), model=model)
        threading.Timer(0.3, second.control.stop.set).start()
        with pytest.raises(Stopped), closing(session.stream(second)) as waiting:
            list(waiting)
        assert len(rows(session)) == 1
    assert [row["status"] for row in rows(session)] == ["stopped"]

"""A dry run says what budgets would do: let a call through, shorten it, let it wait, refuse it."""

from __future__ import annotations

import threading
from contextlib import closing
from decimal import Decimal

import pytest
from server import HANG, Answer, chunk, frames
from server import together as pieces

from mixmagic.display.budget import plan_table
from mixmagic.errors import BudgetExceeded

TOKEN = Decimal("600e-9")  # of 8x7b, in and out
PROMPT = 9 + 24 + 96  # "Hi", with what a provider's own template may have more
CALL = (PROMPT + 1000) * TOKEN


def said(plan) -> str:
    return str(plan_table(plan)).splitlines()[-1]


def test_without_a_budget_nothing_is_limited(session):
    plan = session.plan(session.request("Hi"))
    assert "max_tokens" not in plan.request.params
    assert (plan.refused, plan.waits, plan.clamped) == (None, None, None)
    assert said(plan) == "Nothing was sent."


@pytest.mark.parametrize("asked", [{"max_tokens": 1000}, {}])
def test_what_it_says_is_what_is_sent_and_reserved(session, together, asked):
    together.plan = [Answer(pieces("Hello"))]
    for dollars in (1, CALL / 2):
        session.budget(dollars)
        request = session.request("Hi", **asked)
        plan = session.plan(request)
        with closing(session.stream(request)) as deltas:
            list(deltas)
        assert together.received[-1].body["max_tokens"] == plan.limit
        assert plan.request.params["max_tokens"] == plan.limit
        row = session.ledger.database.rows("SELECT * FROM calls ORDER BY id DESC LIMIT 1")[0]
        assert row["held_nanodollars"] == plan.worst_case.cost * 10**9


def test_an_answer_that_is_shortened_is_said(session):
    session.budget(CALL / 2)
    plan = session.plan(session.request("Hi", max_tokens=1000))
    assert plan.clamped.limit.per == "session"
    assert (plan.refused, plan.waits) == (None, None)
    tokens = plan.limit
    assert (PROMPT + tokens) * TOKEN <= CALL / 2 < (PROMPT + tokens + 1) * TOKEN
    assert said(plan) == (f"This session's budget has room for {tokens} tokens. Nothing was sent.")
    assert f"at most {tokens} tokens" in str(plan_table(plan))


def test_a_budget_that_is_just_enough_neither_shortens_nor_refuses(session):
    session.budget(CALL)
    plan = session.plan(session.request("Hi", max_tokens=1000))
    assert (plan.refused, plan.waits, plan.clamped) == (None, None, None)
    assert plan.worst_case.cost == CALL
    session.budget(CALL - Decimal("1e-9"))
    assert session.plan(session.request("Hi", max_tokens=1000)).clamped is not None


def test_a_model_of_unknown_context_gets_what_the_budgets_buy(session, home):
    (home / "config" / "catalog").mkdir(parents=True)
    (home / "config" / "catalog" / "t.toml").write_text(
        'name = "together"\n[[models]]\nid = "new"\nprice = { input = "0.6", output = "0.6" }\n'
    )
    request = session.request("Hi", model="together:new")
    assert session.plan(request).worst_case.reason == "nothing limits what together:new may answer"
    session.budget("0.01")
    plan = session.plan(request)
    assert plan.refused is None
    assert 0 <= Decimal("0.01") - plan.worst_case.cost < TOKEN


def test_a_call_that_would_be_refused_is(session, together):
    session.budget("0.0001")
    request = session.request("Hi", max_tokens=1000)
    plan = session.plan(request)
    assert plan.refused.limit.per == "session"
    assert said(plan).startswith("It would be refused: this session's budget does not allow it.")
    with pytest.raises(BudgetExceeded):
        session.ask("Hi", max_tokens=1000)
    unknown = session.plan(session.request("Hi", model="together:nobody/boom"))
    assert unknown.refused is not None


def test_a_call_that_would_wait_says_so_and_for_what(session, together):
    together.plan = [Answer([frames(chunk("Half"), done=False), HANG])]
    session.budget(CALL + TOKEN * 200)
    request = session.request("Hi", max_tokens=1000)
    opened = threading.Event()

    def hold() -> None:
        with closing(session.stream(request)) as deltas:
            next(deltas)
            opened.set()
            request.control.stop.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert opened.wait(10)
    plan = session.plan(session.request("Hi", max_tokens=1000))
    assert (plan.waits.limit.per, plan.waits.reserved, plan.refused) == ("session", CALL, None)
    assert said(plan).startswith(
        "It would wait: running calls have reserved $0.00068 of this session's"
    )
    request.control.stop.set()
    thread.join(10)


def test_a_free_call_is_never_limited(session):
    session.budget(0)
    plan = session.plan(session.request("Hi", model="local"))
    assert (plan.refused, plan.worst_case.cost) == (None, 0)
    assert "max_tokens" not in plan.request.params

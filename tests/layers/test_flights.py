"""Calls with the same question at the same time send it once, and share its answer as it comes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal

import pytest
from gates import TEXT, Gate
from server import CUT, Answer, Received, chunked, frames, refusal
from server import together as pieces

from mixmagic.calls.running import Call
from mixmagic.errors import MixmagicError, ProviderError, Stopped, TotalTimedOut
from mixmagic.layers import cache, flights
from mixmagic.sessions import Session

ANSWER = Answer(pieces("Hello", " there"))


def request(session: Session, **params):
    return session.request("Hi", model="together:8x7b", **({"temperature": 0} | params))


def start(session: Session, **params) -> Call:
    call = Call(session.stream, request(session, **params))
    call.start()
    return call


@pytest.fixture
def begin(cached, together):
    """Start a leader, whose first word has been received, and followers, which have it, too."""

    def begin(gate: Callable, followers: int = 1, **params) -> tuple[Call, list[Call]]:
        together.plan = [gate, ANSWER]
        leader = start(cached, **params)
        together.wait(lambda: leader.collector.begun)
        others = [start(cached) for _ in range(followers)]
        together.wait(lambda: all(call.collector.begun for call in others))
        return leader, others

    return begin


def test_threads_that_ask_the_same_send_it_once(cached, together):
    gate = Gate()
    together.plan = [gate]
    calls = [start(cached) for _ in range(64)]
    together.wait(lambda: len(cached.running) == 64)
    gate.open()
    results = [call.result(60) for call in calls]
    assert len(together.received) == 1
    assert {result.text for result in results} == {TEXT}
    assert sorted(result.origin for result in results) == ["cache"] * 63 + ["live"]
    assert sum(result.cost for result in results) == max(result.cost for result in results)
    assert cached.ledger.database.rows("SELECT COUNT(*) FROM calls")[0][0] == 1
    assert cached.running == []
    found = cached.cache.statistics()
    assert (found.answers, found.hits) == (1, 63)


def test_a_follower_receives_the_pieces_live_and_the_counts_at_the_end(begin):
    gate = Gate()
    leader, (follower,) = begin(gate)
    assert follower.collector.completion().text == "Hello"
    gate.open()
    first, second = leader.result(30), follower.result(30)
    assert (second.text, second.usage, second.finish) == (TEXT, first.usage, "stop")
    assert (second.cost, second.saved) == (0, first.cost)
    assert second.ttft is not None
    assert second.ttft <= second.elapsed
    assert f"cached just now, saved {first.bill}" in second.footer()


def test_a_follower_holds_no_money_and_no_slot(begin, cached):
    cached.budget(1)
    gate = Gate()
    begin(gate, followers=8, max_tokens=100)
    assert len(cached.ledger.database.rows("SELECT 1 FROM calls WHERE status = 'open'")) == 1
    (balance,) = cached.budgets()
    assert balance.reserved < Decimal("0.001")
    gate.open()


def test_without_money_for_two_the_second_still_follows(begin, cached):
    gate = Gate()
    leader, (follower,) = begin(gate)
    cached.budget("0.00000001")
    third = start(cached)
    gate.open()
    assert {call.result(30).text for call in (leader, follower, third)} == {TEXT}


def test_if_the_leader_is_stopped_the_next_one_leads(begin, together, cached):
    gate = Gate()
    leader, others = begin(gate, followers=5)
    leader.stop()
    with pytest.raises(Stopped):
        leader.result(30)
    results = [call.result(30) for call in others]
    assert {result.text for result in results} == {TEXT}
    assert sorted(result.origin for result in results) == ["cache"] * 4 + ["live"]
    assert len(together.received) == 2
    assert cached.cache.statistics().answers == 1
    gate.open()


@pytest.mark.parametrize(
    "rest", [(CUT,), (chunked(frames({"error": {"message": "no"}}, done=False)),)]
)
def test_if_the_leader_fails_the_next_one_leads(begin, together, rest):
    gate = Gate(*rest)
    leader, others = begin(gate, followers=3)
    gate.open()
    with pytest.raises(MixmagicError):
        leader.result(30)
    results = [call.result(30) for call in others]
    assert {result.text for result in results} == {TEXT}
    assert len(together.received) == 2
    assert sum(result.cost > 0 for result in results) == 1


@pytest.mark.parametrize("most", [0, 3])
def test_if_all_fail_each_fails_by_itself(cached, together, monkeypatch, most):
    """After a few leaders that failed, a call does not wait for another one any more."""
    monkeypatch.setattr(cache, "_MOST_LEADERS", most)
    arrived = threading.Barrier(1 if most else 9)

    def fail(received: Received) -> Answer:
        arrived.wait(30)  # all are sent at once
        return refusal(500, {"error": "no"})

    together.plan = [fail]
    errors = []
    for call in [start(cached) for _ in range(9)]:
        with pytest.raises(ProviderError) as caught:
            call.result(60)
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 9
    assert len(together.received) == 9


def test_a_follower_is_stopped_at_once_and_the_leader_goes_on(begin, together):
    gate = Gate()
    leader, (follower, other) = begin(gate, followers=2)
    follower.stop()
    with pytest.raises(Stopped) as caught:
        follower.result(30)
    assert (caught.value.completion.text, caught.value.completion.cost) == ("Hello", 0)
    assert not leader.ended
    gate.open()
    assert leader.result(30).text == other.result(30).text == TEXT
    assert len(together.received) == 1


def test_an_interrupt_stops_followers_in_other_threads(begin, cached):
    gate = Gate()
    cached.calls.begin_cell()
    leader, others = begin(gate, followers=3)
    cached.calls.interrupt()
    for call in (leader, *others):
        with pytest.raises(Stopped):
            call.result(30)
    gate.open()


def test_a_follower_respects_its_deadline(begin, cached, together):
    gate = Gate()
    leader, _ = begin(gate)
    follower = start(cached, timeout=0.1)
    with pytest.raises(TotalTimedOut):
        follower.result(30)
    gate.open()
    assert leader.result(30).text == TEXT


def test_a_thread_does_not_wait_for_itself(cached, together, monkeypatch):
    """It has left its own call open, and asks the same once more."""
    monkeypatch.setattr(flights, "_STALLED", 3600)
    gate = Gate()
    together.plan = [gate, ANSWER]
    with closing(cached.stream(request(cached))) as deltas:
        assert next(delta for delta in deltas if delta.text).text == "Hello"
        answer = cached.ask("Hi", model="together:8x7b", temperature=0, timeout=20)
        assert answer.origin == "live"
        gate.open()
        assert "".join(map(str, deltas)) == " there"
    assert len(together.received) == 2


def test_a_call_whose_reader_does_not_read_on_is_not_waited_for(cached, together, monkeypatch):
    monkeypatch.setattr(flights, "_STALLED", 0.05)
    gate, begun = Gate(), []
    together.plan = [gate, ANSWER]
    with closing(cached.stream(request(cached))) as deltas:
        read = threading.Thread(target=lambda: begun.append(next(filter(str, deltas))))
        read.start()
        read.join(30)
        assert str(begun[0]) == "Hello"
        assert start(cached).result(30).text == TEXT
        gate.open()
    assert len(together.received) == 2


@pytest.mark.parametrize(("budget", "sent"), [(None, 1), ("0.01", 2)])
def test_an_answer_that_was_cut_off_is_shared_unless_its_own_budget_cut_it(
    begin, together, budget, sent
):
    gate = Gate(finish="length")
    leader, (follower,) = begin(gate, budget=budget)
    gate.open()
    assert leader.result(30).finish == "length"
    assert follower.result(30).text == TEXT
    assert len(together.received) == sent


def test_a_refresh_follows_no_call(begin, cached, together):
    gate = Gate()
    leader, _ = begin(gate)
    assert start(cached, cache="refresh").result(30).origin == "live"
    assert len(together.received) == 2
    gate.open()
    assert leader.result(30).text == TEXT


def test_subscribers_are_told_of_followers(begin, cached, together):
    events = []
    unsubscribe = cached.subscribe(events.append)
    gate = Gate()
    _, (follower,) = begin(gate)
    gate.open()
    follower.result(30)

    def ends() -> list:
        return [event.completion.origin for event in events if event.kind == "end"]

    together.wait(lambda: len(ends()) == 2)
    assert sorted(ends()) == ["cache", "live"]
    assert sum(event.kind == "begin" for event in events) == 2
    unsubscribe()

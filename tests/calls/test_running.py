"""A call in a thread of its own: read, waited for and stopped by other threads."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from server import CUT, HANG, Answer, chunk, frames, together

from mixmagic.calls.collector import Collector
from mixmagic.calls.interrupts import Calls
from mixmagic.calls.running import Call
from mixmagic.errors import Stopped, StreamBroken


@pytest.fixture
def call(session, together):
    def begin(*steps) -> Call:
        together.plan = [Answer([*steps])]
        made = Call(session.stream, session.request("Hi"))
        made.start()
        return made

    return begin


def test_a_reader_gets_the_pieces_and_the_answer(call):
    made = call(*together("Hello", " there"))
    assert "".join(str(delta) for delta in made.deltas()) == "Hello there"
    assert made.result(timeout=60).text == "Hello there"
    assert made.result(timeout=0).cost is not None, "it can be asked for again"
    assert list(made.deltas()) == [], "each piece is read once"


def test_the_answer_is_complete_if_nobody_reads_the_pieces(call):
    assert call(*together("Hello")).result(timeout=20).text == "Hello"


def test_another_thread_can_stop_a_call(call, together):
    made = call(frames(chunk("Half"), done=False), HANG)
    first = next(iter(made.deltas()))
    assert str(first) == "Half"
    thread = threading.Thread(target=made.stop)
    thread.start()
    thread.join(timeout=60)
    with pytest.raises(Stopped) as caught:
        made.result(timeout=20)
    assert caught.value.completion.text == "Half"
    assert caught.value.completion.finish == "stopped"
    assert together.wait(lambda: together.received[-1].closed_at)
    with pytest.raises(Stopped):
        list(made.deltas())


def test_a_stop_after_the_end_changes_nothing(call):
    made = call(*together("Hello"))
    made.result(timeout=20)
    made.stop()
    assert not made.stopped
    assert made.result(timeout=60).finish == "stop"


def test_a_wait_that_is_too_short_raises(call):
    made = call(HANG)
    with pytest.raises(TimeoutError):
        made.result(timeout=0.01)
    made.stop()


def test_an_error_is_raised_for_readers_and_for_those_who_wait(call):
    made = call(frames(chunk("Half"), done=False), CUT)
    with pytest.raises(StreamBroken):
        list(made.deltas())
    with pytest.raises(StreamBroken):
        made.result(timeout=20)
    assert (made.outcome().text, made.outcome().finish) == ("Half", "broken off")


def test_usage_of_an_error_counts(call):
    told = {"prompt_tokens": 9, "completion_tokens": 50}
    made = call(frames(chunk("Half"), {"error": {"message": "why"}, "usage": told}))
    with pytest.raises(Exception, match="why"):
        made.result(timeout=20)
    assert made.outcome().usage.completion_tokens == 50


@pytest.fixture
def calls():
    return Calls()


def ran(what) -> object:
    """What a function returns in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(what()))
    thread.start()
    thread.join(timeout=60)
    return results[0]


@pytest.fixture
def collector(session, together):
    """Another question at each call."""
    return lambda: Collector(session.request("Hi"))


def stopped(running) -> bool:
    return running.request.control.stop.wait(5)


def test_an_interrupt_stops_the_calls_of_the_cell_and_no_earlier_ones(calls, collector):
    earlier = calls.begin(collector())
    calls.begin_cell()
    own, threads = calls.begin(collector()), ran(lambda: calls.begin(collector()))
    calls.interrupt()
    assert stopped(own)
    assert stopped(threads)
    assert not earlier.request.control.stop.is_set()


def test_threads_of_an_interrupted_cell_make_no_calls_until_the_next_cell(calls, collector):
    calls.begin_cell()
    calls.interrupt()
    assert ran(lambda: calls.begin(collector())).request.control.stop.is_set()
    own = calls.begin(collector())
    assert not own.request.control.stop.is_set(), "its own thread was interrupted"
    calls.end_cell()
    assert ran(lambda: calls.begin(collector())).request.control.stop.is_set()
    calls.begin_cell()
    assert not ran(lambda: calls.begin(collector())).request.control.stop.is_set()


def test_a_cell_within_a_cell_changes_nothing(calls, collector):
    """Such as one that a subshell's thread runs."""
    calls.begin_cell()
    first = calls.begin(collector())
    ran(calls.begin_cell)
    calls.interrupt()
    assert stopped(first)


def test_without_a_cell_an_interrupt_stops_nothing(calls, collector):
    running = calls.begin(collector())
    calls.interrupt()
    calls.begin_cell()
    calls.end_cell()
    calls.interrupt()
    assert not running.request.control.stop.is_set()
    assert not calls.begin(collector()).request.control.stop.is_set()


def test_stopped_answers_are_kept_until_another_cell_stops_a_call(calls, session, together):
    first, second, third = (Collector(session.request(q)).completion("stopped") for q in "abc")
    calls.begin_cell()
    calls.keep(first)
    calls.keep(second)
    calls.end_cell()
    calls.begin_cell()
    assert calls.stopped == [first, second]
    calls.keep(third)
    assert calls.stopped == [third]


def test_a_running_call_is_listed(session, together):
    together.plan = [Answer([frames(chunk("Half"), done=False), HANG])]
    with closing(session.stream(session.request("Hi"))) as deltas:
        next(deltas)
        (running,) = session.running
        assert running.request.messages[-1].content == "Hi"
        assert running.thread == threading.get_ident()
        running.stop()
        with pytest.raises(Stopped):
            list(deltas)
    assert session.running == []


def test_a_call_that_is_stopped_while_it_waits_is_stopped(session, together):
    together.plan = [Answer([HANG])]
    caught: list[Stopped] = []

    def ask() -> None:
        try:
            session.ask("Hi")
        except Stopped as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    together.wait(lambda: together.received)
    for running in session.running:
        running.stop()
    thread.join(20)
    assert caught[0].completion.finish == "stopped"
    assert session.stopped == [caught[0].completion]

"""Calls share a provider's slots and pace, in order, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest
from virtual_clock import Clock

from mixmagic.catalog import Catalog
from mixmagic.core.control import Control
from mixmagic.core.values import Delta, Message, RateLimits, Request
from mixmagic.errors import RateLimited, Stopped, TotalTimedOut
from mixmagic.layers import throttle as module
from mixmagic.layers.throttle import throttle

MODEL = Catalog().resolve("together:8x7b")
TIMEOUT = 20.0  # seconds, after which something hangs


def request(slots=1, *, urgent=False, seconds=TIMEOUT, name="Hi"):
    """A question to a provider with so many slots, which fails if it waits for too long."""
    provider = replace(MODEL.provider, max_in_flight=slots)
    control = Control(deadline=time.monotonic() + seconds, urgent=urgent)
    model = replace(MODEL, provider=provider)
    return Request(model, (Message("user", name),), control=control)


class Inside:
    """An inner stream that counts the calls in it, and answers once it is open."""

    def __init__(self, *, opened=False):
        self.open, self.lock = threading.Event(), threading.Lock()
        self.now = self.most = 0
        self.order = []
        if opened:
            self.open.set()

    def __call__(self, asked):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(asked.messages[0].text)
        try:
            yield Delta(limits=RateLimits())
            yield Delta(progress="inside")
            assert self.open.wait(TIMEOUT)
            time.sleep(0.0005)  # so that others come while it is inside
            yield Delta("Hi")
        finally:
            with self.lock:
                self.now -= 1


@pytest.fixture
def gates(monkeypatch):
    """Every gate that is made while the test runs."""
    made = []
    build = module._Gate

    def gate(provider):
        made.append(build(provider))
        return made[-1]

    monkeypatch.setattr(module, "_Gate", gate)
    return made


@pytest.fixture
def interrupts():
    """SIGINT raises KeyboardInterrupt, even if the tests were started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def drain(stream, asked):
    with closing(stream(asked)) as deltas:
        return "".join(map(str, deltas))


def until(look):
    deadline = time.monotonic() + TIMEOUT
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def is_empty(gate):
    return not gate._queue and gate._inside == 0


def queued(stream, gates, *requests):
    """Threads that wait for their turn, in this order."""
    threads = []
    for asked in requests:
        count = len(gates[0]._queue) + 1
        threads.append(threading.Thread(target=drain, args=(stream, asked), daemon=True))
        threads[-1].start()
        until(lambda count=count: len(gates[0]._queue) == count)
    return threads


def order(gates, *requests):
    """The order in which calls go that wait while another one has the only slot."""
    inner = Inside()
    stream = throttle()(inner)
    with closing(stream(request())) as first:
        next(first)
        threads = queued(stream, gates, *requests)
    inner.open.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert is_empty(gates[0])
    return inner.order[1:]


def test_64_threads_never_exceed_the_slots(gates):
    inner = Inside(opened=True)
    stream = throttle()(inner)
    with ThreadPoolExecutor(64) as pool:
        texts = list(pool.map(lambda _: drain(stream, request(8)), range(1000)))
    assert texts == ["Hi"] * 1000
    assert inner.most == 8
    assert len(gates) == 1
    assert is_empty(gates[0])


def test_a_call_that_need_not_wait_makes_no_bell(monkeypatch):
    monkeypatch.setattr(module, "Wakeup", None)
    assert drain(throttle()(Inside(opened=True)), request()) == "Hi"


def test_the_first_deadline_goes_first_and_an_urgent_call_before_all(gates):
    requests = [
        request(seconds=TIMEOUT + 20, name="new"),
        request(seconds=TIMEOUT + 10, name="retried"),
        request(seconds=TIMEOUT + 30, name="urgent", urgent=True),
    ]
    assert order(gates, *requests) == ["urgent", "retried", "new"]


def test_calls_with_the_same_deadline_go_in_the_order_in_which_they_came(gates):
    control = request().control
    requests = [replace(request(name=str(n)), control=control) for n in range(20)]
    assert order(gates, *requests) == list(map(str, range(20)))


def test_a_new_call_does_not_go_before_one_that_is_about_to_wake(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    gate = module._Gate(MODEL.provider)
    gate.on_accepted(RateLimits(wait=1))
    assert gate.enter(module._ThrottledCall(request()))
    clock.run(lambda: clock.sleep(2))
    assert gate._pace.delay(clock.monotonic()) == 0
    assert gate.enter(module._ThrottledCall(request()))


def test_a_call_that_looks_by_itself_does_not_go_before_the_first(monkeypatch):
    clock, order = Clock(), []
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "Wakeup", clock.wakeup)
    gate = module._Gate(MODEL.provider)
    gate.on_accepted(RateLimits(wait=0.5))
    calls = [module._ThrottledCall(Request(MODEL, ())) for _ in range(2)]
    wakeups = [gate.enter(call) for call in calls]

    def wait(number, seconds):
        clock.sleep(seconds)
        for _ in gate.wait(calls[number], wakeups[number]):
            pass
        order.append(number)

    clock.run(lambda: wait(1, 0), lambda: wait(0, 3))
    assert order == [0, 1]
    assert gate._inside == 2


def test_another_provider_has_slots_of_its_own(gates):
    inner = Inside(opened=True)
    stream = throttle()(inner)
    other = Catalog().resolve("ollama:8x7b")
    with closing(stream(request())) as first:
        next(first)
        assert drain(stream, Request(other, (Message("user", "Hi"),))) == "Hi"
    assert len(gates) == 2


@pytest.mark.parametrize("paced", [False, True], ids=["for a slot", "for the pace"])
def test_a_waiting_call_is_stopped_at_once_and_leaves_nothing(gates, monkeypatch, paced):
    monkeypatch.setattr(module, "_PATIENCE", 9 * TIMEOUT)  # it does not look by itself
    stream = throttle()(Inside())
    with closing(stream(request(9 if paced else 1))) as first:
        next(first)
        if paced:
            gates[0].on_accepted(RateLimits(wait=30))
        asked = request(9 if paced else 1)
        at = []
        stop = asked.control.stop.set
        threading.Timer(0.2, lambda: (at.append(time.monotonic()), stop())).start()
        with pytest.raises(Stopped) as caught:
            drain(stream, asked)
        took = time.monotonic() - at[0]
        print(f"stopped within {took * 1000:.1f} ms")
        assert took < TIMEOUT / 2
        assert not caught.value.sent
        assert gates[0]._inside == 1
    assert is_empty(gates[0])


def test_a_call_that_was_stopped_before_takes_no_slot(gates):
    inner, asked = Inside(opened=True), request()
    asked.control.stop.set()
    with pytest.raises(Stopped) as caught:
        drain(throttle()(inner), asked)
    assert not caught.value.sent
    assert inner.order == []
    assert is_empty(gates[0])


def test_ctrl_c_while_a_call_waits_says_that_nothing_was_sent(interrupts):
    inside = Inside()
    stream = throttle()(inside)
    with closing(stream(request())) as first:
        next(first)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with closing(stream(request())) as waiting, pytest.raises(KeyboardInterrupt) as caught:
            list(waiting)
    assert not caught.value.sent
    assert len(inside.order) == 1


def test_a_call_whose_time_is_over_stops_waiting_and_leaves_nothing(gates, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", TIMEOUT / 2)  # it does not look by itself
    stream, started = throttle()(Inside()), time.monotonic()
    with closing(stream(request())) as first:
        next(first)
        with pytest.raises(TotalTimedOut):
            drain(stream, request(seconds=0.1))
    assert is_empty(gates[0])
    assert time.monotonic() - started < TIMEOUT / 2


def test_a_stream_that_is_closed_before_it_was_read_takes_no_slot(gates):
    stream = throttle()(Inside())
    stream(request()).close()
    assert not gates


def test_a_stream_that_is_closed_while_it_waits_leaves_the_queue(gates, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    stream = throttle()(Inside())
    with closing(stream(request())) as first:
        next(first)
        with closing(stream(request())) as second:
            assert next(second).progress == "waiting: Together AI has 1 call in progress …"
            assert len(gates[0]._queue) == 1
        assert not gates[0]._queue
    assert is_empty(gates[0])


@pytest.mark.parametrize("leaving", range(7))
def test_a_call_that_leaves_the_queue_leaves_the_others_in_order(gates, leaving):
    gate = module._Gate(request().model.provider)
    inside = module._ThrottledCall(request())
    assert gate.enter(inside) is None
    calls = [module._ThrottledCall(request(seconds=TIMEOUT + (3 * n) % 7)) for n in range(7)]
    assert all(map(gate.enter, calls))
    gate.leave(calls[leaving])
    rest = sorted(calls[:leaving] + calls[leaving + 1 :])
    for call in rest:
        assert gate._queue[0] is call
        gate.leave(call)
    gate.leave(inside)
    assert is_empty(gate)


def test_if_the_first_in_the_queue_leaves_it_the_next_one_looks_at_once(gates, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", TIMEOUT)  # no call looks by itself
    stream = throttle()(Inside(opened=True))
    assert drain(stream, request(9)) == "Hi"
    gates[0].on_accepted(RateLimits(wait=0.3))
    first = module._ThrottledCall(request(9, seconds=TIMEOUT / 2))
    assert gates[0].enter(first)
    second = threading.Thread(target=drain, args=(stream, request(9)), daemon=True)
    second.start()
    until(lambda: len(gates[0]._queue) == 2)
    gates[0].leave(first)
    second.join(TIMEOUT / 2)
    assert not second.is_alive()


def test_a_stream_that_is_closed_inside_gives_its_slot_to_the_next(gates):
    inner = Inside()
    stream = throttle()(inner)
    first = stream(request())
    next(first)
    (waiting,) = queued(stream, gates, request())
    first.close()
    until(lambda: len(inner.order) == 2)
    inner.open.set()
    waiting.join(TIMEOUT)
    assert is_empty(gates[0])


def test_an_error_gives_the_slot_back(gates):
    def broken(asked):
        raise ZeroDivisionError
        yield

    stream = throttle()(broken)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            drain(stream, request())
    assert is_empty(gates[0])


def test_an_exception_thrown_into_a_waiting_stream_leaves_the_queue(gates, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    stream = throttle()(Inside())
    with closing(stream(request())) as first:
        next(first)
        second = stream(request())
        next(second)
        with pytest.raises(KeyboardInterrupt):
            second.throw(KeyboardInterrupt)
        assert not gates[0]._queue
    assert is_empty(gates[0])


def test_a_thousand_stopped_calls_leave_queue_and_slots_empty(gates):
    inner = Inside()
    stream = throttle()(inner)
    with closing(stream(request())) as first:
        next(first)
        requests = [request(seconds=3 * TIMEOUT) for _ in range(1000)]

        def wait(asked):
            with pytest.raises(Stopped):
                drain(stream, asked)

        threads = [threading.Thread(target=wait, args=(asked,)) for asked in requests]
        for thread in threads:
            thread.start()
        until(lambda: len(gates[0]._queue) == 1000)
        for asked in requests:
            asked.control.stop.set()
        for thread in threads:
            thread.join(3 * TIMEOUT)
        assert not gates[0]._queue
    assert is_empty(gates[0])
    assert len(inner.order) == 1


def refusing(limits=None, *, head=False):
    """An inner stream that refuses: in place of an answer, or behind its head."""

    def stream(asked):
        if head:
            yield Delta(limits=RateLimits())
        raise RateLimited("no", "no", status=429, retryable=True, limits=limits, retry_after=30.0)
        yield

    return stream


def test_limits_that_come_with_a_refusal_are_kept_to(gates):
    with pytest.raises(RateLimited):
        drain(throttle()(refusing(RateLimits(requests=10))), request())
    assert gates[0]._pace.rate(time.monotonic()) == pytest.approx(9.5)


@pytest.mark.parametrize("limits", [None, RateLimits()])
def test_refusals_that_pile_up_stop_all_calls(gates, limits):
    stream = throttle()(refusing(limits))
    for _ in range(4):
        with pytest.raises(RateLimited):
            drain(stream, request())
    assert gates[0]._pace.blocked(time.monotonic()) > 20


def test_a_refusal_says_if_others_get_through(gates):
    stream = throttle()(refusing())
    with pytest.raises(RateLimited) as caught:
        drain(stream, request())
    assert not caught.value.others_accepted
    accepted = module._ThrottledCall(request())
    assert gates[0].enter(accepted) is None
    gates[0].leave(accepted)
    with pytest.raises(RateLimited) as caught:
        drain(stream, request())
    assert caught.value.others_accepted


def test_an_answer_that_breaks_off_behind_its_head_is_not_a_refusal(gates):
    stream = throttle()(refusing(head=True))
    for _ in range(9):
        with pytest.raises(RateLimited):
            drain(stream, request())
    assert gates[0]._pace.delay(time.monotonic()) == 0


def test_an_urgent_call_does_not_wait_for_the_pace_and_the_others_pay(gates):
    stream = throttle()(Inside(opened=True))
    assert drain(stream, request(9)) == "Hi"
    gates[0].on_accepted(RateLimits(requests=0.1))
    waiting = module._ThrottledCall(request(9))
    assert gates[0].enter(waiting)
    before = gates[0]._pace.delay(time.monotonic())
    assert drain(stream, request(9, urgent=True)) == "Hi"
    assert gates[0]._pace.delay(time.monotonic()) > before + 9


def test_an_urgent_call_waits_while_nothing_is_accepted(gates):
    stream = throttle()(Inside(opened=True))
    assert drain(stream, request(9)) == "Hi"
    gates[0].on_accepted(RateLimits(wait=30))
    with pytest.raises(TotalTimedOut):
        drain(stream, request(9, urgent=True, seconds=0.1))


def test_an_urgent_call_waits_for_a_slot():
    stream = throttle()(Inside())
    with closing(stream(request())) as first:
        next(first)
        with pytest.raises(TotalTimedOut):
            drain(stream, request(urgent=True, seconds=0.1))


def test_no_layer_above_sees_the_rate_limits():
    with closing(throttle()(Inside(opened=True))(request())) as deltas:
        assert [delta.limits for delta in deltas] == [None, None]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (RateLimits(wait=3.5), "waiting: Together AI accepts calls again in {} s …"),
        (RateLimits(requests=0.3), "waiting: Together AI accepts about 0.285 calls a second …"),
    ],
)
def test_a_user_sees_each_second_what_a_call_waits_for(monkeypatch, limits, message):
    clock, seen = Clock(), []
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "Wakeup", clock.wakeup)
    gate, started = module._Gate(MODEL.provider), clock.monotonic()
    gate.on_accepted(limits)
    gate._pace.on_sent(started, 0)

    def wait():
        call = module._ThrottledCall(Request(MODEL, ()))
        for delta in gate.wait(call, gate.enter(call)):
            seen.append((clock.monotonic() - started, delta.progress))  # noqa: PERF401

    clock.run(wait)
    assert seen == [(second, message.format(4 - second)) for second in (1, 2, 3)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_childs_gates_are_its_own(session):
    class Backends:
        access = SimpleNamespace(require=lambda model: None, redact=str)
        endpoint = None  # for the cache, which is off

        def open(self, provider):
            return inner

        def close(self):
            pass

    inner = Inside()
    session.__dict__["backends"] = Backends()
    with closing(session.stream(request())) as first:
        next(first)  # the one slot is taken
        child = os.fork()
        if child == 0:
            session.__dict__["backends"] = Backends()
            inner.open.set()
            ok = drain(session.stream, request()) == "Hi"
            os._exit(0 if ok else 1)
        deadline = time.monotonic() + TIMEOUT
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert ended == (child, 0)

"""Calls share a provider's room and pace, first come, first served, and leak nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from mixmagic.catalog import Catalog
from mixmagic.core.values import Control, Delta, Limits, Message, Request
from mixmagic.errors import RateLimited, Stopped, TotalTimedOut
from mixmagic.layers import throttle as module
from mixmagic.layers.throttle import throttle

MODEL = Catalog().resolve("8x7b")


def request(room=1, *, free=True, **more):
    """A request to a provider with room for so many, and no pace where it is free."""
    provider = replace(MODEL.provider, max_in_flight=room, free=free)
    return Request(replace(MODEL, provider=provider), (Message("user", "Hi"),), **more)


class Inside:
    """An inner stream that says who is in it, and answers when it may."""

    def __init__(self):
        self.open, self.lock = threading.Event(), threading.Lock()
        self.now = self.most = 0
        self.order = []

    def __call__(self, asked):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(asked.params.get("seed"))
        try:
            yield Delta(limits=Limits())
            yield Delta(progress="inside")
            self.open.wait(10)
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


def drain(stream, asked):
    with closing(stream(asked)) as deltas:
        return "".join(map(str, deltas))


def until(look):
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def is_empty(gate):
    return not gate._queue and gate._inside == 0


def test_sixty_four_threads_never_exceed_the_room(gates):
    inner = Inside()
    inner.open.set()
    stream = throttle()(inner)
    with ThreadPoolExecutor(64) as pool:
        texts = list(pool.map(lambda _: drain(stream, request(8)), range(1000)))
    assert texts == ["Hi"] * 1000
    assert inner.most == 8
    assert len(gates) == 1
    assert is_empty(gates[0])


def test_who_comes_first_goes_first(gates):
    inner = Inside()
    stream = throttle()(inner)
    threads = []
    for n in range(20):
        asked = request(params={"seed": n})
        threads.append(threading.Thread(target=drain, args=(stream, asked)))
        threads[-1].start()
        until(lambda n=n: inner.order and len(gates[0]._queue) == n)
    inner.open.set()
    for thread in threads:
        thread.join(10)
    assert inner.order == list(range(20))


def test_another_provider_has_room_of_its_own(gates):
    inner = Inside()
    inner.open.set()
    stream = throttle()(inner)
    other = Catalog().resolve("ollama:8x7b")
    with closing(stream(request())) as first:
        next(first)
        assert drain(stream, Request(other, (Message("user", "Hi"),))) == "Hi"
    assert len(gates) == 2


@pytest.mark.parametrize("paced", [False, True], ids=["for room", "for the pace"])
def test_a_waiting_call_is_stopped_at_once_and_leaves_nothing(gates, paced):
    inner = Inside()
    stream = throttle()(inner)
    with closing(stream(request(9 if paced else 1))) as first:
        next(first)
        if paced:
            gates[0].accepted(Limits(wait=30))
        asked = request(9 if paced else 1)
        at = []
        stop = asked.control.stop
        threading.Timer(0.2, lambda: (at.append(time.monotonic()), stop.set())).start()
        with pytest.raises(Stopped) as caught:
            drain(stream, asked)
        took = time.monotonic() - at[0]
        print(f"stopped within {took * 1000:.1f} ms")
        assert took < 0.5
        assert not caught.value.sent
        assert gates[0]._inside == 1
    assert is_empty(gates[0])


def test_ctrl_c_while_a_call_waits_says_that_nothing_was_sent(gates):
    inside = Inside()
    stream = throttle()(inside)
    with closing(stream(request())) as first:
        next(first)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with closing(stream(request())) as waiting, pytest.raises(KeyboardInterrupt) as caught:
            list(waiting)
    assert not caught.value.sent
    assert len(inside.order) == 1


def test_a_call_whose_time_is_over_stops_waiting_and_leaves_nothing(gates):
    stream = throttle()(Inside())
    with closing(stream(request())) as first:
        next(first)
        with pytest.raises(TotalTimedOut):
            drain(stream, request(control=Control(deadline=time.monotonic() + 0.1)))
    assert is_empty(gates[0])


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
            assert next(second).progress == "waiting: 1 calls to Together AI are under way …"
            assert len(gates[0]._queue) == 1
        assert not gates[0]._queue
    assert is_empty(gates[0])


def test_a_stream_that_is_closed_inside_gives_its_slot_to_the_next(gates):
    inner = Inside()
    stream = throttle()(inner)
    first = stream(request())
    next(first)
    waiter = threading.Thread(target=drain, args=(stream, request()))
    waiter.start()
    until(lambda: gates[0]._queue)
    first.close()
    until(lambda: len(inner.order) == 2)
    inner.open.set()
    waiter.join(10)
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


def test_a_thousand_stopped_waiters_leave_queue_and_slots_empty(gates):
    inner = Inside()
    stream = throttle()(inner)
    with closing(stream(request())) as first:
        next(first)
        asked = [request() for _ in range(1000)]

        def wait(each):
            with pytest.raises(Stopped):
                drain(stream, each)

        threads = [threading.Thread(target=wait, args=(each,)) for each in asked]
        for thread in threads:
            thread.start()
        until(lambda: len(gates[0]._queue) == 1000)
        for each in asked:
            each.control.stop.set()
        for thread in threads:
            thread.join(20)
        assert not gates[0]._queue
    assert is_empty(gates[0])
    assert len(inner.order) == 1


def test_refusals_slow_the_pace_and_answers_tell_it(gates):
    def refusing(asked):
        raise RateLimited("no", "wait", status=429, retryable=True, limits=Limits(requests=10))
        yield

    stream = throttle()(refusing)
    with pytest.raises(RateLimited):
        drain(stream, request(free=False))
    assert gates[0]._pace.rate == pytest.approx(9.5)


def test_the_limits_are_not_handed_on():
    inner = Inside()
    inner.open.set()
    with closing(throttle()(inner)(request())) as deltas:
        assert [delta.limits for delta in deltas] == [None, None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_childs_gates_are_its_own(session, monkeypatch):
    class Backends:
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
        deadline = time.monotonic() + 10
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert ended == (child, 0)

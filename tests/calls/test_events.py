"""Subscribers hear of every call, at a bounded rate, and can neither slow nor break one."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from server import Answer, chunk, frames
from server import together as words

from mixmagic.calls import events
from mixmagic.errors import MissingKey, ProviderError, Stopped

QUESTION = {"model": "together:8x7b"}


class Heard(list):
    """A subscriber that keeps the events, and waits for some of them."""

    def __init__(self) -> None:
        super().__init__()
        self._came = threading.Condition()

    def __call__(self, event) -> None:
        with self._came:
            self.append(event)
            self._came.notify_all()

    def kinds(self, *kinds: str) -> list[str]:
        return [event.kind for event in self if event.kind in kinds]

    def wait(self, kind: str, count: int = 1) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.kinds(kind)) >= count, 30), self


def test_a_call_begins_moves_and_ends_with_its_completion(session, together):
    together.plan = [Answer([frames(chunk("one "), done=False), 0.2, *words("two")])]
    heard = Heard()
    session.subscribe(heard)
    answer = session.ask("Count", **QUESTION)
    heard.wait("end")
    assert heard.kinds("begin", "end") == ["begin", "end"]
    begin, *_, end = (event for event in heard if event.kind != "money")
    assert begin.call is end.call
    assert begin.call.request.messages[-1].text == "Count"
    assert (end.completion.text, end.completion.cost) == (answer.text, answer.cost)
    lengths = [event.characters for event in heard if event.kind == "progress"]
    assert lengths == sorted(set(lengths))
    assert lengths
    heard.wait("money")


def test_money_has_moved_before_it_is_told(session, together):
    spent, seen = [], threading.Event()

    def answer(_) -> Answer:
        seen.wait(30)
        return Answer(words("Hi"))

    def look(event) -> None:
        if event.kind == "money":
            spent.append(session.ledger.spent())
            seen.set()

    together.plan = [answer]

    session.subscribe(look)
    session.ask("Hello", **QUESTION)
    deadline = time.monotonic() + 30
    while not (spent and spent[-1] and spent[-1][0].cost) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert spent[-1][0].cost > 0
    assert spent[0][0].held > 0, "its reservation was told, too"


def test_a_call_that_fails_or_lacks_its_key_ends_too(session, together, monkeypatch):
    together.plan = [Answer([b'{"error": {"message": "no"}}'], 400)]
    heard = Heard()
    session.subscribe(heard)
    with pytest.raises(ProviderError):
        session.ask("Hello", **QUESTION)
    heard.wait("end")
    monkeypatch.delenv("TOGETHER_API_KEY")
    with pytest.raises(MissingKey):
        session.ask("Hello", **QUESTION)
    assert heard.kinds("begin", "end") == ["begin", "end"], "the other one has not begun"


def test_progress_comes_at_most_twenty_times_a_second(session, together):
    piece = frames(chunk("word "), done=False)
    together.plan = [
        Answer([*(step for _ in range(100) for step in (piece, 0.005)), *words("end")])
    ]
    heard, times = Heard(), []

    def timed(event) -> None:
        if event.kind == "progress":
            times.append(time.monotonic())
        heard(event)

    session.subscribe(timed)
    session.ask("Write", **QUESTION)
    heard.wait("end")
    assert all(later - earlier >= 0.045 for earlier, later in itertools.pairwise(times))
    assert len(times) > 2


def test_a_subscriber_that_sleeps_or_raises_harms_nobody(session, together, caplog):
    together.plan = [Answer(words("Hi"))] * 5
    asleep, awake = threading.Event(), threading.Event()

    def sleeper(event) -> None:
        asleep.set()
        awake.wait(60)

    def raiser(event) -> None:
        raise RuntimeError("a subscriber's own trouble")

    session.subscribe(sleeper)
    session.subscribe(raiser)
    heard = Heard()
    session.subscribe(heard)
    for _ in range(5):
        assert session.ask("Hello", **QUESTION).text == "Hi"
    heard.wait("end", 5)
    assert asleep.is_set()
    assert not awake.is_set()
    assert heard.kinds("begin") == ["begin"] * 5
    awake.set()
    message = "A subscriber to calls raised RuntimeError: a subscriber's own trouble"
    deadline = time.monotonic() + 30  # it has a thread of its own
    while message not in [each.message for each in caplog.records] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [each.message for each in caplog.records].count(message) == 1


def test_nothing_is_told_after_unsubscribing_even_from_inside(session, together):
    together.plan = [Answer(words("Hi"))] * 2
    inside, heard, last = [], Heard(), Heard()

    def once(event) -> None:
        inside.append(event)
        unsubscribe()

    unsubscribe = session.subscribe(once)
    session.subscribe(last)
    end = session.subscribe(heard)
    session.ask("Hello", **QUESTION)
    heard.wait("end")
    end()
    end()
    count = len(heard)
    session.ask("Hello", **QUESTION)
    last.wait("end", 2)
    assert len(heard) == count
    assert len(inside) == 1


def test_every_call_of_64_threads_is_heard_once(session, together):
    together.plan = [Answer(words("Hi"))] * 256
    heard = Heard()
    session.subscribe(heard)
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda _: session.ask("Hello", **QUESTION), range(256)))
    heard.wait("end", 256)
    assert len(heard.kinds("begin")) == len(heard.kinds("end")) == 256
    open_calls = set()
    for event in heard:
        if event.kind == "begin":
            open_calls.add(id(event.call))
        elif event.kind != "money":
            assert id(event.call) in open_calls, "it has not begun"
            if event.kind == "end":
                open_calls.remove(id(event.call))
    assert not open_calls


def test_calls_under_way_are_told_to_a_new_subscriber(session, together):
    together.plan = [Answer([frames(chunk("Hi"), done=False), 5.0, *words("there")])]
    request = session.request("Hello", **QUESTION)
    deltas = session.stream(request)
    next(deltas)
    heard = Heard()
    session.subscribe(heard)
    heard.wait("begin")
    deltas.close()
    heard.wait("end")
    assert heard.kinds("begin", "end") == ["begin", "end"]
    assert heard[-1].completion is None or heard.kinds("end")


def test_a_call_that_ctrl_c_stops_ends(session, together):
    together.plan = [Answer([frames(chunk("Hi"), done=False), 20.0, *words("there")])]
    heard = Heard()
    session.subscribe(heard)

    def interrupt() -> None:
        heard.wait("progress")
        signal.raise_signal(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises((Stopped, KeyboardInterrupt)):
        session.ask("Hello", **QUESTION)
    heard.wait("end")
    (end,) = (event for event in heard if event.kind == "end")
    assert end.completion.finish == "stopped"


def test_a_call_whose_begin_is_queued_as_well_begins_once():
    """It is under way when the subscription begins, and its event comes right after."""
    call = SimpleNamespace(collector=SimpleNamespace(received=(0, 0)))
    hub, heard, free = events.Events(lambda: [call]), Heard(), threading.Event()
    unsubscribe = hub.subscribe(lambda event: (heard(event), free.wait(30)))
    heard.wait("begin")
    hub.emit(events.Event("begin", call))
    hub.emit(events.Event("money"))
    free.set()
    heard.wait("money")
    unsubscribe()
    assert heard.kinds("begin") == ["begin"]


def test_what_is_queued_when_a_subscriber_leaves_is_not_delivered():
    hub, heard, last = events.Events(list), [], Heard()
    queued = threading.Event()

    def leaves(event) -> None:
        heard.append(event)
        queued.wait(30)
        unsubscribe()

    unsubscribe = hub.subscribe(leaves)
    hub.emit(events.Event("begin", object()))
    hub.subscribe(last)
    for _ in range(5):
        hub.emit(events.Event("begin", object()))
    queued.set()
    last.wait("begin", 5)
    thread = next(each for each in threading.enumerate() if each.name == "mixmagic-events")
    assert thread.daemon
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        assert len(heard) <= 1
        time.sleep(0.02)


def test_of_too_many_events_the_oldest_are_dropped_and_the_rest_goes_on(monkeypatch):
    monkeypatch.setattr(events, "_MOST_WAITING", 4)
    calls: list = []
    hub, free, heard = events.Events(lambda: calls), threading.Event(), Heard()

    def slow(event) -> None:
        heard(event)
        free.wait(30)

    hub.subscribe(slow)
    hub.emit(events.Event("begin", object()))
    heard.wait("begin")
    for _ in range(50):
        call = object()
        hub.emit(events.Event("begin", call))
        hub.emit(events.Event("end", call))
    free.set()
    heard.wait("end", 2)
    hub.emit(events.Event("money"))
    heard.wait("money")
    assert len(heard.kinds("begin")) <= 3


FORK = """
import os, sys
import mixmagic
session = mixmagic.session()
kinds = []
session.subscribe(lambda event: kinds.append(event.kind))
assert mixmagic.ask("Hello", model="together:8x7b").text == "Hi"
pid = os.fork()
if pid == 0:
    kinds.clear()
    ok = mixmagic.ask("Hello", model="together:8x7b").text == "Hi" and not kinds
    os._exit(0 if ok else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
def test_a_forked_child_has_no_subscribers_and_calls_as_before(together, tmp_path):
    together.plan = [Answer(words("Hi"))] * 2
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], cwd=tmp_path, timeout=60, check=False
    )
    assert ran.returncode == 0


def test_a_call_without_subscribers_starts_no_thread(session, together):
    together.plan = [Answer(words("Hi"))]
    before = _event_threads()
    session.ask("Hello", **QUESTION)
    assert _event_threads() == before


def _event_threads() -> int:
    return [thread.name for thread in threading.enumerate()].count("mixmagic-events")

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from patience import soon

from mixmagic.core.cancel import Stop


def test_wait_ends_when_another_thread_stops():
    stop = Stop()
    assert not stop.wait(0)
    waiting = threading.Thread(target=stop.set)
    waiting.start()
    assert stop.wait(10)
    waiting.join(timeout=60)
    assert stop.is_set()


def test_callback_runs_once_when_stopped_inside_the_block():
    stop, calls = Stop(), []
    with stop.calling(lambda: calls.append("stopped")):
        assert calls == []
        stop.set()
        assert calls == ["stopped"]
        stop.set()
    assert calls == ["stopped"]


def test_callback_runs_at_once_when_already_stopped():
    stop, calls = Stop(), []
    stop.set()
    with stop.calling(lambda: calls.append("late")):
        assert calls == ["late"]
    assert calls == ["late"]


def test_callback_is_forgotten_after_the_block():
    stop, calls = Stop(), []
    with stop.calling(lambda: calls.append("over")):
        pass
    stop.set()
    assert calls == []


def test_callback_is_forgotten_when_the_block_fails():
    stop, calls = Stop(), []
    with pytest.raises(ZeroDivisionError), stop.calling(lambda: calls.append("over")):
        raise ZeroDivisionError
    stop.set()
    assert calls == []


def test_several_calls_share_a_stop():
    """Each block's callback comes and goes by itself, even where two are equal."""
    stop, calls = Stop(), []

    def callback():
        calls.append(1)

    with stop.calling(callback):
        with stop.calling(callback):
            pass
        stop.set()
    assert calls == [1]


def test_callback_may_stop_again():
    stop, calls = Stop(), []
    with stop.calling(stop.set), stop.calling(lambda: calls.append(1)):
        stop.set()
    assert calls == [1]


def test_wait_takes_its_time_and_no_more():
    stop = Stop()
    for timeout in (0, -1, 1e-9, 0.05):
        started = time.monotonic()
        assert not stop.wait(timeout)
        assert timeout <= time.monotonic() - started < soon(timeout + 1.05)
    stop.set()
    assert stop.wait(10)
    assert stop._callbacks == []


def test_many_threads_wait_and_all_are_woken():
    stop = Stop()
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(stop.wait, 10) for _ in range(16)]
        time.sleep(0.05)
        stop.set()
        at = time.monotonic()
        assert all(each.result(timeout=60) for each in waiting)
    assert time.monotonic() - at < soon(1)


INTERRUPTED = """
import signal, sys, time
from mixmagic.core.cancel import Stop

signal.signal(signal.SIGALRM, lambda *_: stop.set())
end, rounds = time.monotonic() + 1, 0
while time.monotonic() < end:
    stop, calls, rounds = Stop(), [], rounds + 1
    signal.setitimer(signal.ITIMER_REAL, (rounds % 60 + 1) * 1e-6)
    with stop.calling(lambda: calls.append(1)):
        if sys.argv[1] == "set":
            stop.set()
        while not stop.is_set():
            stop.wait(0.000_001)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert calls == [1], calls
print("ended")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs Unix signals")
@pytest.mark.parametrize("doing", ["wait", "set"])
def test_a_signal_handler_may_stop_whatever_its_own_thread_is_doing(doing):
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, doing],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("ended\n", "")


def test_no_stop_is_lost_between_threads():
    """Whoever enters while another thread stops is called, from one side or the other."""
    for _ in range(200):
        stop, called, gate = Stop(), threading.Event(), threading.Barrier(2)

        def stopper(stop=stop, gate=gate):
            gate.wait(timeout=60)
            stop.set()

        thread = threading.Thread(target=stopper)
        thread.start()
        gate.wait(timeout=60)
        with stop.calling(called.set):
            assert called.wait(5)
        thread.join(timeout=60)

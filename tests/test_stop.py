from __future__ import annotations

import threading

import pytest

from mixmagic.stop import Stop


def test_wait_ends_when_another_thread_stops():
    stop = Stop()
    assert not stop.wait(0)
    waiting = threading.Thread(target=stop.set)
    waiting.start()
    assert stop.wait(10)
    waiting.join()
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
    """A signal handler may interrupt `set` in its own thread."""
    stop = Stop()
    done = threading.Event()

    def work():
        with stop.calling(stop.set):
            stop.set()
        with stop._lock:
            stop.set()
        done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(5)


def test_no_stop_is_lost_between_threads():
    """Whoever enters while another thread stops is called, from one side or the other."""
    for _ in range(200):
        stop, called, gate = Stop(), threading.Event(), threading.Barrier(2)

        def stopper(stop=stop, gate=gate):
            gate.wait()
            stop.set()

        thread = threading.Thread(target=stopper)
        thread.start()
        gate.wait()
        with stop.calling(called.set):
            assert called.wait(5)
        thread.join()

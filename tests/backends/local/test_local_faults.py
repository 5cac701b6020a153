"""Faults between the embedded model's process and its reader."""

from __future__ import annotations

import io
import json
import queue
import threading
import time
from contextlib import closing

import pytest
from patience import soon

from mixmagic.backends.local import engine as module
from mixmagic.backends.local.backend import _frames
from mixmagic.backends.local.engine import EngineFailed, EngineProcess, EngineStream
from mixmagic.backends.local.llama import LlamaServer
from mixmagic.catalog import Catalog
from mixmagic.core.control import Control
from mixmagic.core.values import Message, Request
from mixmagic.errors import TotalTimedOut

pytestmark = pytest.mark.embedded


@pytest.mark.parametrize(
    "said",
    [b"no JSON", b"\xff", b"5", b'{"id": 7, "frame": {}}', b'{"id": 7, "end": true}', b'{"id": 0}'],
)
def test_invalid_output_ends_the_answers_and_the_process(tmp_path, monkeypatch, said):
    """Otherwise they would wait for their timeouts."""
    script = "import sys, time\nprint('{\"ready\": true}', flush=True)\nsys.stdin.readline()\n"
    script += f"sys.stdout.buffer.write({said + bytes([10])})\nsys.stdout.flush()\ntime.sleep(60)"
    (tmp_path / "llama.py").write_text(script)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "engine.py"))
    engine = EngineProcess({})
    answer = engine.ask({})
    failed = answer.frames.get(timeout=20)
    assert isinstance(failed, EngineFailed)
    assert "output is invalid" in failed.reason
    assert failed.loaded
    assert not engine.alive
    assert engine.answers == {}
    late = engine.ask({}).frames.get(timeout=20)
    assert isinstance(late, EngineFailed)
    engine.close()


class Ending(dict):
    """Answers that end between a check and the next step."""

    def __contains__(self, number):
        return super().__contains__(number) and bool(self.pop(number))


def test_an_answer_that_ends_while_it_is_stopped_affects_no_other():
    served = LlamaServer.__new__(LlamaServer)
    served._stopped = Ending({3: threading.Event()})
    served.take({"id": 3})
    served.take({"id": 4})


def test_no_frame_of_an_answer_is_sent_after_it_was_stopped():
    """llama.cpp may send several tokens before it checks the callback's result."""
    served, out, stopped = LlamaServer.__new__(LlamaServer), io.BytesIO(), []

    class Generating:
        def handle_chat_completions(self, body, frame):
            frame({"token": 1})
            served.take({"id": 5})
            stopped.extend([frame({"token": 2}), frame({"token": 3})])

    served._out, served._lock, served._server = out, threading.Lock(), Generating()
    served._stopped = {5: threading.Event()}
    served._answer(5, {})
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines == [{"id": 5, "frame": {"token": 1}}, {"id": 5, "end": True}]
    assert stopped == [True, True]


def test_a_process_that_has_ended_does_not_store_later_questions(tmp_path, monkeypatch):
    (tmp_path / "llama.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "engine.py"))
    engine = EngineProcess({})
    assert "status 3" in engine.ask({}).frames.get(timeout=20).reason
    for _ in range(3):
        with closing(engine.ask({})) as answer:
            assert isinstance(answer.frames.get(timeout=20), EngineFailed)
    assert engine.answers == {}
    for thread in threading.enumerate():
        if thread.name == "mixmagic-engine":
            thread.join(20)
    left = []
    while not engine._outbox.empty():
        left.append(engine._outbox.get())
    assert set(left) <= {None}  # the end, which is not read if writing has failed before
    engine.close()


class Watched(queue.SimpleQueue):
    """A queue that records the timeouts of waits."""

    def __init__(self):
        self.waits = []

    def get(self, block=True, timeout=None):
        self.waits.append(timeout)
        return super().get(block, timeout)


@pytest.mark.parametrize("left", [0.25, 1e-6, 0, -1])
def test_its_reader_checks_often_for_a_stop(left):
    """No wait can be interrupted on Windows; before Python 3.13, a short one may never end."""
    answer = EngineStream(None, 0)
    answer.frames = Watched()
    answer.frames.put({"first": 1})
    deadline = time.monotonic() + left
    control = Control(deadline=deadline)
    asked = Request(Catalog().resolve("local"), (Message("user", "Hi"),), control=control)
    frames = _frames(answer, asked)
    assert next(frames) == {"first": 1}
    with pytest.raises(TotalTimedOut):
        next(frames)
    assert max(left, 0) <= time.monotonic() - deadline + left < max(left, 0) + soon(0.2)
    assert all(0.01 <= wait <= 0.1 for wait in answer.frames.waits)
    assert len(answer.frames.waits) <= 6

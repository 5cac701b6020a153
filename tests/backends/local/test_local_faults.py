"""The embedded model's process and its reader where something goes wrong between them."""

from __future__ import annotations

import queue
import threading
import time

import pytest
from patience import soon

from mixmagic.backends.local import engine as module
from mixmagic.backends.local.backend import _frames
from mixmagic.backends.local.engine import EngineFailed, EngineProcess, EngineStream
from mixmagic.backends.local.llama import LlamaServer
from mixmagic.catalog import Catalog
from mixmagic.core.values import Control, Message, Request
from mixmagic.errors import TotalTimedOut

pytestmark = pytest.mark.embedded


@pytest.mark.parametrize(
    "said",
    [b"no JSON", b"\xff", b"5", b'{"id": 7, "frame": {}}', b'{"id": 7, "end": true}', b'{"id": 0}'],
)
def test_what_cannot_be_read_ends_the_answers_and_the_process(tmp_path, monkeypatch, said):
    """Else they would wait for all of their time."""
    script = "import sys, time\nprint('{\"ready\": true}', flush=True)\nsys.stdin.readline()\n"
    script += f"sys.stdout.buffer.write({said + bytes([10])})\nsys.stdout.flush()\ntime.sleep(60)"
    (tmp_path / "llama.py").write_text(script)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "engine.py"))
    engine = EngineProcess({})
    answer = engine.ask({})
    failed = answer.frames.get(timeout=20)
    assert isinstance(failed, EngineFailed)
    assert "makes no sense" in failed.reason
    assert failed.loaded
    assert not engine.alive
    assert engine.answers == {}
    late = engine.ask({}).frames.get(timeout=20)
    assert isinstance(late, EngineFailed)
    engine.close()


class Ending(dict):
    """Answers that end between a look and the next step."""

    def __contains__(self, number):
        return super().__contains__(number) and bool(self.pop(number))


def test_an_answer_that_ends_while_it_is_stopped_harms_no_other():
    served = LlamaServer.__new__(LlamaServer)
    served._stopped = Ending({3: threading.Event()})
    served.take({"id": 3})
    served.take({"id": 4})


class Watched(queue.SimpleQueue):
    """A queue that notes for how long it is waited for."""

    def __init__(self):
        self.waits = []

    def get(self, block=True, timeout=None):
        self.waits.append(timeout)
        return super().get(block, timeout)


@pytest.mark.parametrize("left", [0.25, 1e-6, 0, -1])
def test_its_reader_looks_up_often(left):
    """No wait can be interrupted on Windows; and a short one need not end, before Python 3.13."""
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

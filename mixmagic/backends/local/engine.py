"""The kernel's side of an embedded model's process. Used only by `backends.local`."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from mixmagic.calls.tokens import Memo
from mixmagic.core import lazy
from mixmagic.keys.environment import without_keys

# Seconds to wait for the process to end by itself.
_PATIENCE = 2.0
# Statuses of a process that was killed: its end says nothing about xllamacpp.
_KILLED = (-9, -15)


class EngineFailed(Exception):
    """The process cannot load the model, or has ended.

    Args:
        reason: The error that it reported.
        loaded: True if the model had been loaded.
        usable: False if xllamacpp itself cannot be used.
    """

    def __init__(self, reason: str, *, loaded: bool, usable: bool) -> None:
        super().__init__(reason)
        self.reason, self.loaded, self.usable = reason, loaded, usable


class EngineStream:
    """One answer as it is generated.

    Attributes:
        engine: The process that generates it.
        frames: Its JSON frames as they arrive; at its end `None`, or `EngineFailed`.
    """

    def __init__(self, engine: EngineProcess, number: int) -> None:
        self.frames: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.engine, self._number = engine, number

    def close(self) -> None:
        """Stop the answer: its reader stops at once, llama.cpp after its current token."""
        self.frames.put(None)
        self.engine.send({"id": self._number})


class EngineProcess:
    """A process that loads a GGUF file and answers.

    Args:
        options: The options of `llama.LlamaServer`.
        env: The process's environment; this process's own without its keys if `None`.

    Attributes:
        ready: True once the model is loaded.
        answers: The answers that llama.cpp is working on, by number.
        counts: The last few token counts.
    """

    def __init__(self, options: Mapping[str, Any], env: Mapping[str, str] | None = None) -> None:
        self.ready = self._usable = False
        # True once its output has ended: `poll` does not see its end while another thread waits.
        self._silent = False
        self.answers: dict[int, EngineStream] = {}
        self.counts = Memo()
        self._failure = ""
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        # Written by a thread, because the process does not read while it loads the model.
        self._outbox: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        script = Path(__file__).with_name("llama.py")
        self.process = subprocess.Popen(
            # -P: modules in its folder have names of the standard library's.
            [sys.executable, "-P", str(script), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=without_keys() if env is None else env,
            # Otherwise Ctrl-C would reach it, too, as a member of the terminal's process group.
            start_new_session=True,
        )
        for work, pipe in (
            (self._read, self.process.stdout),
            (self._write, self.process.stdin),
        ):
            threading.Thread(target=work, args=(pipe,), name="mixmagic-engine", daemon=True).start()

    @property
    def alive(self) -> bool:
        """True if the process can still answer."""
        return not self._silent and self.process.poll() is None

    @property
    def suspended(self) -> bool:
        """True if the process is suspended, as by SIGSTOP."""
        psutil = lazy.load("psutil")
        try:
            status = psutil.Process(self.process.pid).status()
        except psutil.Error:
            return False
        return status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)

    def ask(self, body: Mapping[str, Any]) -> EngineStream:
        """Begin an answer to OpenAI-style JSON."""
        return self._begin("body", body)

    def count(self, body: Mapping[str, Any]) -> EngineStream:
        """Count the tokens of a body's `messages`, or of its `content`: one frame, `tokens`."""
        return self._begin("count", body)

    def _begin(self, kind: str, body: Mapping[str, Any]) -> EngineStream:
        with self._lock:
            number = next(self._numbers)
            answer = EngineStream(self, number)
            if self._failure:
                answer.frames.put(self._failed())
            else:
                self.answers[number] = answer
                self.send({"id": number, kind: body})
        return answer

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message to the process, unless it has ended."""
        if not self._failure:
            self._outbox.put(message)

    def close(self) -> None:
        """End the process."""
        self._outbox.put(None)
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _write(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError), pipe:
            while (message := self._outbox.get()) is not None:
                pipe.write(json.dumps(message).encode() + b"\n")
                pipe.flush()

    def _read(self, pipe: IO[bytes]) -> None:
        try:
            with pipe:
                failure = self._dispatch(pipe)
        except Exception as error:  # noqa: BLE001  # any error must end the answers
            failure = f"its output is invalid: {error!r:.200}"
            self.process.kill()
        self._silent = True
        status = self.process.wait()
        self._outbox.put(None)
        with self._lock:
            self._failure = failure or f"its process ended with status {status}"
            self._usable = self._usable or status in _KILLED
            while self.answers:
                self.answers.popitem()[1].frames.put(self._failed())

    def _failed(self) -> EngineFailed:
        return EngineFailed(self._failure, loaded=self.ready, usable=self._usable)

    def _dispatch(self, pipe: IO[bytes]) -> str:
        """Pass on the process's messages until it ends; return its error, if it reported one."""
        failure = ""
        for line in pipe:
            if not line.endswith(b"\n"):  # the process was killed while writing
                break
            message = json.loads(line)
            if (number := message.get("id")) is None:
                self.ready = "ready" in message
                self._usable = self._usable or self.ready or "usable" in message
                failure = message.get("failed", "")
            elif "end" in message:
                self.answers.pop(number).frames.put(None)
            else:
                self.answers[number].frames.put(message["frame"])
        return failure


def cores() -> int:
    """Return the number of processors that this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

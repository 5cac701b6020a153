"""Embedded models: llama.cpp in a separate process, with the same JSON as a server."""

from __future__ import annotations

import json
import math
import os
import queue
import threading
import time
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mixmagic.backends import provider_errors, wire
from mixmagic.backends.local import gguf, hub, weights
from mixmagic.backends.local.engine import EngineFailed, EngineProcess, EngineStream, cores
from mixmagic.calls import tokens
from mixmagic.core.control import Control
from mixmagic.core.sealed import sealed
from mixmagic.core.settings import Settings
from mixmagic.core.values import Delta, Message, Model, Provider, Request, Stream
from mixmagic.errors import (
    BadArguments,
    MissingPackage,
    MixmagicError,
    Stopped,
    StreamBroken,
    TotalTimedOut,
    Unavailable,
)
from mixmagic.keys.credentials import Credentials

# Answers that are generated at the same time; each has the model's whole context.
_SLOTS = 4
_CONTEXT = 4096
# Prompt tokens between two checks of the stop flag: about half a second on a slow core.
_BATCH = 128
_MAX_THREADS = 8
# Seconds between two checks for Ctrl-C, which does not interrupt a wait on Windows.
_TICK = 0.1
# If the timeout of a `SimpleQueue` passes before the wait begins, it waits forever.
_SHORTEST = 0.01
# Limits of a count that the user did not ask for: seconds, and characters of JSON. llama.cpp counts
# 1 MB a second; of marks such as `<|im_end|>` 300 kB in the first second, and less in later ones.
_BRIEFLY = 1.0
_SHORT = 500_000
_Result = TypeVar("_Result")


class LocalBackend:
    """The embedded models of this process, each loaded when first asked."""

    def __init__(self, settings: Settings, access: Credentials) -> None:
        self._settings, self._access = settings, access
        self._lock = threading.Lock()
        self._engines: dict[Path, EngineProcess] = {}
        self._process = os.getpid()
        weakref.finalize(self, _shut, self._engines, self._process)
        tokens.register(self)

    def open(self, provider: Provider) -> Stream:
        """Return the function that sends a request: see `mixmagic.backends.Backends.open`."""
        return self._stream

    def models(
        self, provider: Provider, key: str = "", timeout: float = math.inf
    ) -> list[Mapping[str, Any]]:
        """Return the models on this machine: the embedded one, and those of Hugging Face."""
        embedded = weights.path(self._settings.cache_dir)
        first = [{"id": weights.MODEL_ID}] if embedded.exists() else []
        return [*first, *({"id": each.file.name} for each in hub.on_disk())]

    def count(self, messages: Sequence[Message], model: Model, *, load: bool) -> int | None:
        """Return the number of tokens that llama.cpp counts for a conversation.

        Args:
            messages: The conversation, oldest first.
            model: The model to count for.
            load: True to load the model if necessary, however long that takes; Ctrl-C ends the
                wait.

        Returns:
            `None` if the model is not loaded, or cannot count.
        """
        body = wire.encode(Request(model, tuple(messages), stream=False))
        return self._count(body, model, load=load)

    def count_text(self, text: str, model: Model) -> int | None:
        """Return the number of tokens of a text by itself; None if the model is not loaded."""
        return self._count({"content": text, "parse_special": False}, model, load=False)

    def close(self) -> None:
        """Stop all answers and free the models."""
        _shut(self._engines, self._process)

    def _stream(self, request: Request) -> Generator[Delta, None, None]:
        path = yield from self._weights(request)
        engine = self._engine(path, request.model)
        if not engine.ready:
            yield Delta(progress=f"loading {request.model.id} …")
        # Always streamed, because only a stream can be stopped.
        answer = engine.ask(wire.encode(replace(request, stream=True)))
        ended = 0
        with closing(answer), request.control.stop.calling(answer.close):
            try:
                for frame in _frames(answer, request):
                    delta = wire.decode(request.model, frame)
                    ended += delta.finish is not None
                    yield delta
            except EngineFailed as failure:
                raise _process_error(path, failure) from None
        if request.control.stop.is_set():
            raise Stopped
        if ended < request.answers:
            raise StreamBroken("The embedded model ended without an answer.", "Run the cell again.")

    def _count(self, body: Mapping[str, Any], model: Model, *, load: bool) -> int | None:
        if model.provider.backend != "local" or os.getpid() != self._process:
            return None  # another backend's model, or the parent's engines in a forked child
        written = json.dumps(body)
        wait = math.inf if load else _BRIEFLY
        request = Request(model, (), control=Control(deadline=time.monotonic() + wait))
        try:
            theirs = gguf.on_hub(model)
            # Gigabytes are not fetched for a count.
            if load and (theirs is None or hub.is_cached(theirs)):
                engine = self._engine(_returned(self._weights(request)), model)
            else:
                loaded = self._engines.get(gguf.path(model, self._settings.cache_dir))
                if loaded is None or not (loaded.ready and loaded.alive) or len(written) > _SHORT:
                    return None
                engine = loaded
            return engine.counts.get(
                written, lambda: _counted(engine.count(body), request, patient=load)
            )
        except (MixmagicError, EngineFailed, OSError):
            return None

    def _weights(self, request: Request) -> Generator[Delta, None, Path]:
        """Return the model's GGUF file; fetch one that can be fetched, the first time."""
        model, env = request.model, self._access.environment()
        gguf.require_package()  # before anything is fetched for it
        with closing(gguf.fetched(model, self._settings.cache_dir, env)) as fetching:
            while True:
                try:
                    provider_errors.raise_if_ended(request)
                    progress = next(fetching)
                except StopIteration as end:
                    return Path(end.value)
                except TotalTimedOut:
                    raise TotalTimedOut(
                        f"{model.id} was not fetched in the time of the call.",
                        f"`%mixmagic local install {model.name}` fetches it without a time limit.",
                    ) from None
                yield Delta(progress=f"fetching {model.id}, once: {progress}")

    def _engine(self, path: Path, model: Model) -> EngineProcess:
        """Return the model's process; concurrent threads share one."""
        with self._lock:
            engine = self._engines.get(path)
            if engine is None or not engine.alive:
                options = {
                    "path": str(path),
                    "context": model.context or _CONTEXT,
                    "slots": _SLOTS,
                    "batch": _BATCH,
                    # One core is left for the notebook. llama.cpp's threads busy-wait for each
                    # other: with too few cores, 80 tokens a second become one.
                    "threads": min(max(cores() - 1, 1), _MAX_THREADS),
                }
                try:
                    with sealed():  # the environment is a local variable of the callee
                        engine = EngineProcess(options, self._access.environment())
                except (OSError, RuntimeError) as error:  # no memory, no process or thread left
                    raise Unavailable(
                        f"The embedded model's process cannot be started: {error}.",
                        "Free some memory, or end other processes, and run the cell again.",
                    ) from None
                self._engines[path] = engine
            return engine


def _returned(steps: Generator[Any, None, _Result]) -> _Result:
    """Run a generator and return its value; ignore what it yields."""
    with closing(steps):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: _Result = end.value
                return result


def _counted(answer: EngineStream, request: Request, *, patient: bool) -> int | None:
    """Return the number of tokens in the reply to `EngineProcess.count`."""
    with closing(answer):
        frames = _frames(answer, request, patient=patient)
        return next((frame["tokens"] for frame in frames), None)


def _frames(
    answer: EngineStream, request: Request, *, patient: bool = True
) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON frames of the answer until it ends, is closed, or reaches its deadline.

    Do not wait for a suspended process, unless `patient`.
    """
    while True:
        left = request.control.deadline - time.monotonic()
        try:
            frame = answer.frames.get(timeout=max(min(left, _TICK), _SHORTEST))
        except queue.Empty:
            if left > 0 and (patient or not answer.engine.suspended):
                continue
            raise provider_errors.deadline_error(request.model.provider.label) from None
        if isinstance(frame, EngineFailed):
            raise frame
        if frame is None:
            return
        yield frame


def _process_error(path: Path, failure: EngineFailed) -> MixmagicError:
    """Return our error for the end of a model's process."""
    if failure.loaded:
        return StreamBroken(
            f"The embedded model broke off: {failure.reason}.",
            "The part received is kept; run the cell again: the model is loaded again.",
        )
    if not failure.usable:
        return MissingPackage(
            f"xllamacpp is installed, but cannot be used: {failure.reason}.",
            "Install the missing library, or run `pip install --force-reinstall xllamacpp`.",
        )
    return BadArguments(
        f"{path} cannot be loaded: {failure.reason}",
        "Is it a whole GGUF file, and does it fit into memory?",
    )


def _shut(engines: dict[Path, EngineProcess], process: int) -> None:
    """End the models' processes."""
    if os.getpid() != process:
        return  # they are the parent's, and this is a forked child
    while engines:
        engines.popitem()[1].close()

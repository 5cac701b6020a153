"""Models inside this process: llama.cpp through xllamacpp, speaking the same JSON as a server.

xllamacpp's server insists on listening. Where the system has Unix sockets it gets one, in a
folder that only this user can enter and that is gone as soon as the server is up; elsewhere a
loopback port. In both cases a random key is needed and no web page's origin is allowed.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import secrets
import tempfile
import threading
import time
import weakref
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mixmagic.backends import faults, weights, wire
from mixmagic.backends.access import Access
from mixmagic.errors import BadArguments, MissingPackage, Stopped, StreamBroken
from mixmagic.settings import Settings
from mixmagic.values import Delta, Model, Provider, Request, Stream

# Answers that are generated side by side; each has the model's whole context.
_SLOTS = 4
_CONTEXT = 4096
# Prompt tokens between two looks at the stop flag: about half a second on a slow core.
_BATCH = 128
_MAX_THREADS = 8
# Seconds that closing waits for llama.cpp to come to its next token.
_PATIENCE = 10.0


class Backend:
    """The embedded models of this process, each loaded when first asked."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._servers: dict[Path, Any] = {}
        self._calls: set[_Call] = set()
        self._process = os.getpid()
        # At the interpreter's end too: no thread of ours may be inside llama.cpp then.
        weakref.finalize(self, _shut, self._calls, self._servers, self._process)

    def open(self, provider: Provider) -> Stream:
        """How to ask a model: see `mixmagic.backends.Backends.open`."""
        return self._stream

    def models(
        self, provider: Provider, key: str = "", timeout: float = math.inf
    ) -> list[Mapping[str, Any]]:
        """The embedded model, where its weights are there."""
        embedded = weights.path(self._settings.cache_dir)
        return [{"id": embedded.name.partition(".")[0]}] if embedded.exists() else []

    def close(self) -> None:
        """Stop the answers that are under way and free the models."""
        _shut(self._calls, self._servers, self._process)

    def _stream(self, request: Request) -> Generator[Delta, None, None]:
        path = yield from self._weights(request.model)
        if path not in self._servers:
            yield Delta(progress=f"loading {request.model.id} …")
        server = self._server(path, request.model)
        # Streamed in any case: only then can it be stopped.
        call = _Call(server, wire.encode(replace(request, stream=True)), self._calls)
        try:
            finished = False
            with request.stop.calling(call.close):
                for frame in call.frames(request):
                    delta = wire.decode(request.model, frame)
                    finished = finished or delta.finish is not None
                    yield delta
            if request.stop.is_set():
                raise Stopped
            if not finished:
                raise StreamBroken(
                    "The embedded model ended without an answer.", "Run the cell again."
                )
        finally:
            call.close()

    def _weights(self, model: Model) -> Generator[Delta, None, Path]:
        """The model's GGUF file; the embedded model's is fetched the first time."""
        if model.id == weights.path(Path()).name.partition(".")[0]:
            fetching = weights.fetch(self._settings.cache_dir)
            while True:
                try:
                    done = next(fetching)
                except StopIteration as end:
                    return Path(end.value)
                yield Delta(progress=f"fetching {model.id}, once: {weights.bar(done)}")
        path = Path(model.options.get("path", model.id)).expanduser().absolute()
        if not path.is_file():
            raise BadArguments(
                f"There is no GGUF file {path}.",
                "Name one (-m local:/path/model.gguf), or take the embedded model: -m local.",
            )
        return path

    def _server(self, path: Path, model: Model) -> Any:
        """The loaded model: once per process, however many threads ask at once."""
        with self._lock:
            if path not in self._servers:
                self._servers[path] = self._load(path, model.context or _CONTEXT)
            return self._servers[path]

    def _load(self, path: Path, context: int) -> Any:
        try:
            import xllamacpp
        except ImportError:
            raise MissingPackage(
                "The embedded model needs xllamacpp, which is not installed.",
                'Run `pip install "mixmagic[local]"`, then restart the kernel.',
            ) from None
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_parallel, params.n_ctx = _SLOTS, _SLOTS * context
        params.n_batch = params.n_ubatch = _BATCH
        for cpu in (params.cpuparams, params.cpuparams_batch):
            # One core is left to the notebook: llama.cpp's threads wait for each other by
            # spinning, so that with too few cores it falls from 80 tokens a second to one.
            cpu.n_threads = min(max(_cores() - 1, 1), _MAX_THREADS)
            cpu.poll = 0
        params.fit_params = params.endpoint_slots = params.ui = params.cache_idle_slots = False
        params.warmup = False  # loading cannot be stopped: less of it
        params.cache_ram_mib = 0
        params.verbosity = -1  # not a line to stderr
        with _unreachable(params):
            try:
                return xllamacpp.Server(params)
            except RuntimeError as error:
                raise BadArguments(
                    f"{path} cannot be loaded: {error}",
                    "Is it a whole GGUF file, and does it fit into memory?",
                ) from None


@contextlib.contextmanager
def _unreachable(params: Any) -> Iterator[None]:
    """Have the server listen where nobody can come, while the block starts it."""
    params.api_keys = [secrets.token_hex(32)]
    params.cors_origins, params.cors_credentials = "null", False
    if os.name != "posix":
        params.hostnames = ["127.0.0.1"]
        yield
        return
    # Not the user's own TMPDIR: a socket's path may have only about 100 bytes.
    with tempfile.TemporaryDirectory(prefix="mixmagic-", dir="/tmp") as folder:
        params.hostnames = [f"{folder}/llama.sock"]  # it knows a socket by its ending
        yield


def _shut(calls: set[_Call], servers: dict[Path, Any], process: int) -> None:
    """End `calls`, wait until llama.cpp has let go of them, and free `servers`."""
    if os.getpid() != process:
        return  # a forked child has their memory, but none of their threads
    under_way = tuple(calls)
    for call in under_way:
        call.close()
    for call in under_way:
        call.join(_PATIENCE)
    servers.clear()


class _Call:
    """One answer under way: a thread inside llama.cpp that fills a queue."""

    def __init__(self, server: Any, body: Mapping[str, Any], under_way: set[_Call]) -> None:
        self._server, self._body, self._under_way = server, body, under_way
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mixmagic-local", daemon=True)

    def frames(self, request: Request) -> Generator[Mapping[str, Any], None, None]:
        """The JSON frames of the answer, until it ends, is closed, or has had all its time."""
        self._under_way.add(self)
        self._thread.start()
        forever = request.deadline == math.inf
        while True:
            left = request.deadline - time.monotonic()
            try:
                frame = self._queue.get(timeout=None if forever else max(left, 0))
            except queue.Empty:
                raise faults.total(request.model.provider.label) from None
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """End the answer: the reader at once, llama.cpp at its next token."""
        self._closed.set()
        self._queue.put(None)

    def join(self, timeout: float) -> None:
        """Wait until llama.cpp has let go of the answer."""
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._server.handle_chat_completions(self._body, self._take)
        except RuntimeError as error:
            self._queue.put({"error": str(error)})
        finally:
            self._queue.put(None)
            self._under_way.discard(self)

    def _take(self, frame: Mapping[str, Any]) -> bool:
        """Take a frame from llama.cpp; True stops the generation."""
        if self._closed.is_set():
            return True
        self._queue.put(frame)
        return False


def _cores() -> int:
    """The processors that this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""The process that an embedded model lives in: a script, run by `backends.local` alone.

llama.cpp has it to itself, so that neither its loading, which nothing can interrupt, nor its
faults reach the notebook's kernel. It reads questions from its standard input and writes frames
to its standard output, one JSON object a line, and ends when its input does: with the kernel,
however that ends. Imports nothing of the project.

xllamacpp's server insists on listening. Where the system has Unix sockets it gets one, in a
folder that only this user can enter and that is gone as soon as the server is up, or this process
has been killed; elsewhere a loopback port. In both cases a random key is needed and no web page's
origin is allowed. This process alone goes on using it, to count tokens: xllamacpp has no method
for that.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

# Not the user's own TMPDIR: a socket's path may have only about 100 bytes.
_TEMPORARY = "/tmp"  # noqa: S108  # the folder made in it has a random name, and is this user's


class LlamaServer:
    """A loaded model, and the answers that are under way.

    Args:
        options: `path`, `context` (tokens an answer), `slots` (answers side by side), `batch`
            (prompt tokens between two checks of the stop flag), `threads`.
        questions: The file to read questions from.
        out: The file to write frames to.
    """

    def __init__(self, options: Mapping[str, Any], questions: BinaryIO, out: BinaryIO) -> None:
        self._out, self._lock = out, threading.Lock()
        self._stopped: dict[int, threading.Event] = {}
        try:
            with _attended(questions.fileno()) as prefix:
                self._server, self._counter = _load_model(options, prefix, self._say)
        except Exception as error:  # noqa: BLE001  # the kernel shows any error
            self._say({"failed": f"{error}" or type(error).__name__})
            raise SystemExit(1) from None
        self._say({"ready": True})

    def take(self, message: Mapping[str, Any]) -> None:
        """Begin an answer or a count, or stop an answer."""
        number, body = message["id"], message.get("body")
        if "count" in message:
            threading.Thread(
                target=self._count, args=(number, message["count"]), daemon=True
            ).start()
            return
        if body is None:
            if stopped := self._stopped.get(number):  # it may end at any moment
                stopped.set()
            return
        self._stopped[number] = threading.Event()
        threading.Thread(target=self._answer, args=(number, body), daemon=True).start()

    def _answer(self, number: int, body: Mapping[str, Any]) -> None:
        stopped = self._stopped[number]

        def frame(each: Mapping[str, Any]) -> bool:
            if not stopped.is_set():
                self._say({"id": number, "frame": each})
            return stopped.is_set()  # True stops the generation

        try:
            self._server.handle_chat_completions(body, frame)
        except RuntimeError as error:
            frame({"error": str(error)})
        finally:
            del self._stopped[number]
            self._say({"id": number, "end": True})

    def _count(self, number: int, body: Mapping[str, Any]) -> None:
        self._say({"id": number, "frame": {"tokens": self._counter.count(body)}})
        self._say({"id": number, "end": True})

    def _say(self, message: Mapping[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):  # its reader is gone, and so are we soon
            self._out.write(line)
            self._out.flush()


class _Counter:
    """Counts tokens by the server's HTTP routes: in their threads, no answer waits for them.

    Args:
        address: The address that the server listens on.
        key: Its API key.
    """

    def __init__(self, address: str, key: str) -> None:
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        scheme, _, self._place = address.partition("://")
        self._unix = scheme == "unix"
        if self._unix and hasattr(os, "O_PATH"):
            # Linux alone lets us in without the name, which is soon gone.
            self._place = f"/proc/self/fd/{os.open(self._place, os.O_PATH)}"

    def count(self, body: Mapping[str, Any]) -> int | None:
        """The tokens of a body with `messages`, in the model's template, or of its `content`."""
        try:
            if "messages" in body:
                return int(self._post("/v1/chat/completions/input_tokens", body)["input_tokens"])
            return len(self._post("/tokenize", body)["tokens"])
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return None  # it cannot be reached, or its template has no form for the messages

    def _post(self, route: str, body: Mapping[str, Any]) -> Any:
        connection = http.client.HTTPConnection("localhost" if self._unix else self._place)
        with contextlib.closing(connection):
            if self._unix:
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect(self._place)
            connection.request("POST", route, json.dumps(body), self._headers)
            return json.loads(connection.getresponse().read())


def _load_model(
    options: Mapping[str, Any], prefix: str, say: Callable[[Mapping[str, Any]], None]
) -> tuple[Any, _Counter]:
    """Return the server of a GGUF file, and its counter of tokens."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options["path"]
    params.n_parallel, params.n_ctx = options["slots"], options["slots"] * options["context"]
    params.n_batch = params.n_ubatch = options["batch"]
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads, cpu.poll = options["threads"], 0
    params.fit_params = params.endpoint_slots = params.ui = params.cache_idle_slots = False
    params.warmup = False
    params.cache_ram_mib = 0
    params.verbosity = -1
    with _unreachable(params, prefix):
        say({"usable": True})  # what fails from here on is the model's fault, not the package's
        server = xllamacpp.Server(params)
        return server, _Counter(server.listening_address, params.api_keys[0])


@contextlib.contextmanager
def _unreachable(params: Any, prefix: str) -> Iterator[None]:
    """Let the server that the block starts listen where no one else can connect."""
    params.api_keys = [secrets.token_hex(32)]
    params.cors_origins, params.cors_credentials = "null", False
    folder = None
    if os.name == "posix":
        with contextlib.suppress(OSError):  # no such folder, or it is read-only
            folder = tempfile.TemporaryDirectory(prefix=prefix, dir=_TEMPORARY)
    with folder or contextlib.nullcontext():
        # It knows a socket by its ending.
        params.hostnames = ["127.0.0.1" if folder is None else f"{folder.name}/llama.sock"]
        yield


@contextlib.contextmanager
def _attended(questions: int) -> Iterator[str]:
    """Yield a prefix for temporary folders, which are removed even if this process is killed.

    llama.cpp loads with Python's lock held. So a second process attends to the loading: it ends
    this one with the kernel, and cleans up after it. It is forked: nothing may have started threads
    before.

    Args:
        questions: The file descriptor whose other end the kernel has.
    """
    prefix = f"mixmagic-{secrets.token_hex(4)}-"
    if not hasattr(os, "fork"):
        yield prefix
        return
    reader, writer = os.pipe()
    loading = os.getpid()
    attendant = os.fork()
    if not attendant:
        try:
            _attend(loading, questions, reader, prefix)
        finally:
            os._exit(0)
    os.close(reader)
    try:
        yield prefix
    finally:
        with contextlib.suppress(OSError):  # it may have been killed, too
            os.write(writer, b".")
        os.close(writer)
        os.waitpid(attendant, 0)


def _attend(loading: int, questions: int, reader: int, prefix: str) -> None:
    """Wait for a byte from the process that loads; clean up if it ends, or the kernel does."""
    os.setsid()  # a signal to that process's group does not reach this one
    for first, end in pairwise(sorted((-1, questions, reader, 1024))):
        os.closerange(first + 1, end)  # the kernel sees that process end by its closed pipes
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(questions, 0)  # that it is hung up is told in any case
    if reader not in dict(poll.poll()) and os.getppid() == loading:
        os.kill(loading, signal.SIGKILL)
    if not os.read(reader, 1):
        for folder in Path(_TEMPORARY).glob(f"{prefix}*"):
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Answer what comes in until nothing more can."""
    questions, frames = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # llama.cpp's own output is dropped
        os.dup2(nowhere, standard)
    engine = LlamaServer(json.loads(sys.argv[1]), questions, frames)
    for line in questions:
        engine.take(json.loads(line))
    os._exit(0)  # its threads are inside llama.cpp: nobody waits for them


if __name__ == "__main__":
    main()

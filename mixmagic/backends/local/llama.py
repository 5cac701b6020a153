"""The script of an embedded model's process. Run only by `backends.local`.

llama.cpp runs in a separate process so that neither its loading, which cannot be interrupted, nor
its crashes affect the notebook's kernel. The process reads questions from its standard input and
writes frames to its standard output, one JSON object per line. It ends when its input does, so it
never outlives the kernel. Imports nothing of the project.

xllamacpp's server always listens. If the system has Unix sockets, it listens on one, in a folder
that only this user can enter and that is deleted once the server is up, or this process has been
killed; otherwise on a loopback port. In both cases it requires a random key, and allows no web
page's origin. Only this process uses it, to count tokens: xllamacpp has no method for that.
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

# Not the user's TMPDIR: a socket's path is limited to about 100 bytes.
_TEMPORARY = "/tmp"  # noqa: S108  # the folder made in it has a random name, and is this user's


class LlamaServer:
    """A loaded model, and the answers under way.

    Args:
        options: `path`, `context` (tokens per answer), `slots` (answers at the same time), `batch`
            (prompt tokens between two checks of the stop flag), `threads`.
        questions: The file to read questions from.
        out: The file to write frames to.
    """

    def __init__(self, options: Mapping[str, Any], questions: BinaryIO, out: BinaryIO) -> None:
        self._out, self._lock = out, threading.Lock()
        self._stopped: dict[int, threading.Event] = {}
        try:
            with _attended(questions.fileno()) as prefix:
                self._server, self._counter = _load_model(options, prefix, self._write)
        except Exception as error:  # noqa: BLE001  # the kernel shows any error
            self._write({"failed": f"{error}" or type(error).__name__})
            raise SystemExit(1) from None
        self._write({"ready": True})

    def take(self, message: Mapping[str, Any]) -> None:
        """Begin an answer or a count, or stop an answer."""
        number, body = message["id"], message.get("body")
        if "count" in message:
            threading.Thread(
                target=self._count, args=(number, message["count"]), daemon=True
            ).start()
            return
        if body is None:
            if stopped := self._stopped.get(number):  # the answer may have ended
                stopped.set()
            return
        self._stopped[number] = threading.Event()
        threading.Thread(target=self._answer, args=(number, body), daemon=True).start()

    def _answer(self, number: int, body: Mapping[str, Any]) -> None:
        stopped = self._stopped[number]

        def send(frame: Mapping[str, Any]) -> bool:
            if not stopped.is_set():
                self._write({"id": number, "frame": frame})
            return stopped.is_set()  # True stops the generation

        try:
            self._server.handle_chat_completions(body, send)
        except RuntimeError as error:
            send({"error": str(error)})
        finally:
            del self._stopped[number]
            self._write({"id": number, "end": True})

    def _count(self, number: int, body: Mapping[str, Any]) -> None:
        self._write({"id": number, "frame": {"tokens": self._counter.count(body)}})
        self._write({"id": number, "end": True})

    def _write(self, message: Mapping[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):  # the kernel has ended
            self._out.write(line)
            self._out.flush()


class _Counter:
    """Counts tokens with the server's HTTP routes, whose threads do not delay the answers.

    Args:
        address: The address that the server listens on.
        key: Its API key.
    """

    def __init__(self, address: str, key: str) -> None:
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        scheme, _, self._target = address.partition("://")
        self._unix = scheme == "unix"
        if self._unix and hasattr(os, "O_PATH"):
            # Only on Linux can a socket be used after its path has been deleted.
            self._target = f"/proc/self/fd/{os.open(self._target, os.O_PATH)}"

    def count(self, body: Mapping[str, Any]) -> int | None:
        """Return the tokens of a body's `messages`, in the model's template, or `content`."""
        try:
            if "messages" in body:
                return int(self._post("/v1/chat/completions/input_tokens", body)["input_tokens"])
            return len(self._post("/tokenize", body)["tokens"])
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return None  # the server cannot be reached, or the template rejects the messages

    def _post(self, route: str, body: Mapping[str, Any]) -> Any:
        connection = http.client.HTTPConnection("localhost" if self._unix else self._target)
        with contextlib.closing(connection):
            if self._unix:
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect(self._target)
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
        say({"usable": True})  # later failures are the model's fault, not the package's
        server = xllamacpp.Server(params)
        return server, _Counter(server.listening_address, params.api_keys[0])


@contextlib.contextmanager
def _unreachable(params: Any, prefix: str) -> Iterator[None]:
    """Make the server that is started in the block listen where no one else can connect."""
    params.api_keys = [secrets.token_hex(32)]
    params.cors_origins, params.cors_credentials = "null", False
    folder = None
    if os.name == "posix":
        with contextlib.suppress(OSError):  # no such folder, or it is read-only
            folder = tempfile.TemporaryDirectory(prefix=prefix, dir=_TEMPORARY)
    with folder or contextlib.nullcontext():
        # The ending makes it a Unix socket.
        params.hostnames = ["127.0.0.1" if folder is None else f"{folder.name}/llama.sock"]
        yield


@contextlib.contextmanager
def _attended(questions: int) -> Iterator[str]:
    """Yield a prefix for temporary folders, which are removed even if this process is killed.

    llama.cpp holds Python's lock while it loads. So a second process watches the loading: it kills
    this one if the kernel ends, and removes its folders. It is forked: no threads may have been
    started before.

    Args:
        questions: The file descriptor of the pipe from the kernel.
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
        with contextlib.suppress(OSError):  # the second process may have been killed
            os.write(writer, b".")
        os.close(writer)
        os.waitpid(attendant, 0)


def _attend(loading: int, questions: int, reader: int, prefix: str) -> None:
    """Wait for a byte from the loading process; clean up if it ends, or the kernel does."""
    os.setsid()  # so that a signal to that process's group does not reach this one
    for first, end in pairwise(sorted((-1, questions, reader, 1024))):
        os.closerange(first + 1, end)  # or the kernel would not see that process's pipes close
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(questions, 0)  # a hang-up is always reported
    if reader not in dict(poll.poll()) and os.getppid() == loading:
        os.kill(loading, signal.SIGKILL)
    if not os.read(reader, 1):
        for folder in Path(_TEMPORARY).glob(f"{prefix}*"):
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Answer questions until the input ends."""
    questions, frames = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # llama.cpp's own output is dropped
        os.dup2(nowhere, standard)
    engine = LlamaServer(json.loads(sys.argv[1]), questions, frames)
    for line in questions:
        engine.take(json.loads(line))
    os._exit(0)  # without waiting for the threads, which are inside llama.cpp


if __name__ == "__main__":
    main()

"""The process that an embedded model lives in: a script, run by `backends.local` alone.

llama.cpp has it to itself, so that neither its loading, which nothing can interrupt, nor its
faults reach the notebook's kernel. It reads questions from its standard input and writes frames
to its standard output, one JSON object a line, and ends when its input does: with the kernel,
however that ends. Imports nothing of the project.

xllamacpp's server insists on listening. Where the system has Unix sockets it gets one, in a
folder that only this user can enter and that is gone as soon as the server is up; elsewhere a
loopback port. In both cases a random key is needed and no web page's origin is allowed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO


class Engine:
    """A loaded model, and the answers that are under way.

    Args:
        options: `path`, `context` (tokens an answer), `slots` (answers side by side), `batch`
            (prompt tokens between two looks at the stop flag), `threads`.
        out: Where frames go.
    """

    def __init__(self, options: Mapping[str, Any], out: BinaryIO) -> None:
        self._out, self._lock = out, threading.Lock()
        self._stopped: dict[int, threading.Event] = {}
        try:
            self._server = _load(options)
        except RuntimeError as error:
            self._say({"failed": str(error)})
            raise SystemExit(1) from None
        self._say({"ready": True})

    def take(self, message: Mapping[str, Any]) -> None:
        """Begin an answer, or stop one."""
        number, body = message["id"], message.get("body")
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

    def _say(self, message: Mapping[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):  # its reader is gone, and so are we soon
            self._out.write(line)
            self._out.flush()


def _load(options: Mapping[str, Any]) -> Any:
    """The server of a GGUF file."""
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
    with _unreachable(params):
        return xllamacpp.Server(params)


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


def main() -> None:
    """Answer what comes in until nothing more can."""
    questions, frames = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # whatever llama.cpp says goes nowhere
        os.dup2(nowhere, standard)
    engine = Engine(json.loads(sys.argv[1]), frames)
    for line in questions:
        engine.take(json.loads(line))
    os._exit(0)  # its threads are inside llama.cpp: nobody waits for them


if __name__ == "__main__":
    main()

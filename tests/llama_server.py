"""A real llama.cpp HTTP server on a loopback port, in a separate process.

Run as a script it is that process: it serves until its standard input ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx

from mixmagic.backends.local import weights

KEY = "llama-key-4711"
MODEL = "openai:smollm2"
# llama.cpp rounds it up to a multiple of 256.
CONTEXT, SLOTS = 768, 2
# An answer as long as it may be, whatever the model would say.
ENDLESS = {"ignore_eos": True}


class Llama:
    """The server's process, from its start on; a context manager that ends it.

    Args:
        loaded: Whether to wait until the model is loaded; else it only listens.
        context: Tokens that each slot has room for.
    """

    def __init__(self, *, loaded: bool = True, context: int = CONTEXT) -> None:
        model = weights.path(Path(os.environ["MIXMAGIC_HOME"]) / "cache")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._root = f"http://127.0.0.1:{port}"
        self.url = f"{self._root}/v1"
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(model), str(port), str(context)], stdin=subprocess.PIPE
        )
        self._client = httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        self.wait(lambda: self._listens(port))
        if loaded:
            self.wait(lambda: self._client.get(f"{self._root}/health").status_code == 200)

    def __enter__(self) -> Llama:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self.process.stdin.close()
        self.process.kill()
        self.process.wait(timeout=60)

    def is_openai(self, monkeypatch) -> None:
        """Have the provider `openai` mean this server."""
        monkeypatch.setenv("OPENAI_BASE_URL", self.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def busy(self) -> int:
        """Return the number of slots that generate or read a prompt."""
        slots = self._client.get(f"{self._root}/slots").json()
        return sum(slot["is_processing"] for slot in slots)

    def total(self, name: str) -> int:
        """Return the server's counter of calls that have ended."""
        lines = self._client.get(f"{self._root}/metrics").text.splitlines()
        (value,) = (each.split()[1] for each in lines if each.startswith(f"llamacpp:{name}_total "))
        return int(value)

    def wait(self, look, timeout: float = 60.0) -> None:
        """Wait until `look()` is true."""
        deadline = time.monotonic() + timeout
        while not look():
            assert self.process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not come to it"
            time.sleep(0.002)

    @staticmethod
    def _listens(port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return False
        return True


def drain(session, request) -> list:
    """All pieces of an answer."""
    with closing(session.stream(request)) as deltas:
        return list(deltas)


def begun(deltas) -> None:
    """Read up to the first text."""
    while not next(deltas).text:
        pass


def serve(model: str, port: int, context: int) -> None:
    """Serve a model until standard input ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = model, {"smollm2"}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], port, [KEY]
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * context
    params.n_batch = params.n_ubatch = 64
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads, cpu.poll = 1, 0
    params.fit_params = params.ui = params.cache_idle_slots = False
    params.endpoint_slots = params.endpoint_metrics = True
    params.cache_ram_mib, params.verbosity = 0, -1
    params.sse_ping_interval = 1
    # It listens at once, and returns when the model is loaded.
    server = xllamacpp.Server(params)  # noqa: F841  # it serves while it lives
    sys.stdin.read()
    os._exit(0)  # its own way out can hang


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

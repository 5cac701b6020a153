"""CPU per streamed chunk, in one run: the session's whole stack against bare httpx.

A loopback server in another process sends one event a TCP segment. The stack is everything from
the socket to a `Completion`: httpx, server-sent events, JSON, the ledger's meter, the collector;
`show` adds the pump thread and a screen that draws nowhere.

Run: python tests/benchmarks/chunks.py [CHUNKS [ROUNDS]]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

# Of the shape that Together AI gives out: each chunk is searched for it.
_KEY = "tgp_v1_Zk3mQ9xW2rT7uY5pL8sD1fG4hJ6kN0bV3cX5zA7qE9w"


def serve(listener: socket.socket, chunks: int) -> None:
    """Answer every request with `chunks` events, each in a segment of its own."""

    def event(**choice: Any) -> bytes:
        frame = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        data = f"data: {json.dumps({**frame, 'choices': [{'index': 0, **choice}]})}\n\n".encode()
        return b"%x\r\n%s\r\n" % (len(data), data)

    one = event(delta={"role": "assistant", "content": " word"}, finish_reason=None)
    last = (
        event(delta={"content": ""}, finish_reason="stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    )
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )

    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(OSError):
            while connection.recv(65536):
                connection.sendall(head)
                for _ in range(chunks):
                    connection.sendall(one)
                connection.sendall(last)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def bare(url: str) -> Callable[[], int]:
    """httpx, lines and JSON: the least that a client could do."""
    client = httpx.Client()

    def run() -> int:
        count = 0
        with client.stream("POST", f"{url}/chat/completions", json={"stream": True}) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    json.loads(line[6:])
                    count += 1
        return count

    return run


def main(chunks: int, rounds: int) -> None:
    """Print µs of CPU per chunk, the median of interleaved rounds."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    context = multiprocessing.get_context("fork")
    context.Process(target=serve, args=(listener, chunks), daemon=True).start()
    os.environ |= {"TOGETHER_BASE_URL": url, "TOGETHER_API_KEY": _KEY, "MIXMAGIC_MODEL": "8x7b"}

    from mixmagic.calls.completion import Completion
    from mixmagic.core.settings import Settings
    from mixmagic.display.live import show
    from mixmagic.sessions import Session

    home = Path(tempfile.mkdtemp())
    session = Session(replace(Settings.load(), data_dir=home, config_dir=home))

    class Nowhere:
        interval = 0.05

        def draw(self, text: str, progress: str) -> None:
            pass

        def finish(self, completion: Completion, session: str) -> None:
            pass

        def thought(self, completion: Completion) -> None:
            pass

        def discard(self, what: str) -> None:
            pass

    def stream() -> int:
        with closing(session.stream(session.request("hello"))) as deltas:
            return sum(1 for _ in deltas)

    ways: dict[str, Callable[[], object]] = {
        "bare httpx, iter_lines, json": bare(url),
        "session.stream, all layers": stream,
        "session.ask, to a Completion": lambda: session.ask("hello"),
        "display.live.show": lambda: show(session, session.request("hello"), Nowhere()),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # connections and imports
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            way()
            took[name].append((time.process_time() - started) / chunks * 1e6)
    base = statistics.median(took["bare httpx, iter_lines, json"])
    for name, figures in took.items():
        middle = statistics.median(figures)
        low, high = min(figures), max(figures)
        print(f"{name:30} {middle:6.1f} µs ({low:.1f} to {high:.1f}), {middle / base:.2f} of bare")


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], "6000", "7"][:2]))

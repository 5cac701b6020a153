"""A scripted provider that is not the bottleneck: one process, on the last core.

The path of a call names its scenario, as in `http://127.0.0.1:PORT/slow/v1/chat/completions`. A GET
of `/stats` returns what was received since the last one, and forgets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from limiters import Bucket
from server import chunk, frames, head, usage

LATENCY = 0.05  # seconds
_BURST = 0.25  # seconds' worth of calls that a limit allows at once


def _body(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps(whole | {"choices": [choice]} | usage(9, 5)).encode()


def _response(status: int, body: bytes, kind: str = "application/json", **headers: str) -> bytes:
    headers |= {"content_type": kind, "content_length": str(len(body))}
    return head(status, **headers) + body


_WHOLE = _body("Hi")
_STREAMED = frames(chunk("Hi"), done=False) + frames(chunk("", "stop", **usage(9, 1)))
_NO = json.dumps({"error": {"message": "slow down"}}).encode()
_BROKEN = json.dumps({"error": {"message": "try again"}}).encode()


class _Limit(Bucket):
    burst = _BURST


@dataclass
class Scenario:
    """One kind of provider.

    Attributes:
        latency: Seconds until it answers.
        limit: Calls per second; 0 if there is no limit.
        announced: True if its headers announce the limit.
        fails: True if every twentieth prompt fails first: one half with 429, one half with 500.
    """

    latency: float = LATENCY
    limit: float = 0.0
    announced: bool = False
    fails: bool = False
    received: int = 0
    refused: int = 0
    early: int = 0
    _seen: set[str] = field(default_factory=set)
    _not_before: dict[str, float] = field(default_factory=dict)
    _bucket: _Limit | None = None

    def reset(self) -> dict[str, int]:
        """Return the counts, and begin anew."""
        counts = {"received": self.received, "refused": self.refused, "early": self.early}
        self.received = self.refused = self.early = 0
        self._seen.clear()
        self._not_before.clear()
        self._bucket = None
        return counts

    def answer(self, prompt: str, *, streamed: bool) -> tuple[float, bytes]:
        """Return a response, and the seconds after which it is sent."""
        now = time.monotonic()
        self.received += 1
        self.early += now < self._not_before.pop(prompt, 0.0)
        if self._bucket is None:
            self._bucket = _Limit(self.limit)
            self._bucket.take(now - 10)
        headers = {"x_ratelimit_limit": f"{self.limit:g}"} if self.announced else {}
        if self.limit and not self._bucket.take(now):
            return self._refuse(now, prompt, 1, headers)
        number = int(prompt.rpartition(" ")[2])
        if self.fails and fails(number) and prompt not in self._seen:
            self._seen.add(prompt)
            if fails(number) == 429:
                return self._refuse(now, prompt, 2, headers)
            return 0.0, _response(500, _BROKEN)
        if streamed:
            return self.latency, _response(200, _STREAMED, "text/event-stream", **headers)
        return self.latency, _response(200, _WHOLE, **headers)

    def _refuse(
        self, now: float, prompt: str, wait: int, headers: dict[str, str]
    ) -> tuple[float, bytes]:
        self.refused += 1
        self._not_before[prompt] = now + wait
        return 0.0, _response(429, _NO, retry_after=str(wait), **headers)


def fails(number: int) -> int:
    """Return the status with which a prompt fails first; 0 if it does not."""
    if number % 20 != 7:
        return 0
    return 429 if number // 20 % 2 else 500


_SCENARIOS = {
    "fast": Scenario(latency=0.0),
    "slow": Scenario(),
    "failing": Scenario(fails=True),
    "hidden500": Scenario(limit=500),
    "announced500": Scenario(limit=500, announced=True),
    "hidden100": Scenario(limit=100),
}


class _Connection(asyncio.Protocol):
    """One connection: requests come one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._data = transport, b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        top, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, length = top.lower().partition(b"content-length:")
        if len(body) < int(length.split(b"\r\n")[0] or 0):
            return
        self._data = b""
        name = top.split(b" ")[1].decode().split("/")[1]
        if name == "stats":
            counts = [scenario.reset() for scenario in _SCENARIOS.values()]
            total = {key: sum(each[key] for each in counts) for key in counts[0]}
            self._send(_response(200, json.dumps(total).encode()))
            return
        asked = json.loads(body)
        prompt = asked["messages"][-1]["content"]
        wait, response = _SCENARIOS[name].answer(prompt, streamed=asked.get("stream", False))
        if wait:
            asyncio.get_running_loop().call_later(wait, self._send, response)
        else:
            self._send(response)

    def _send(self, response: bytes) -> None:
        self._transport.write(response)  # type: ignore[attr-defined]


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin.fileno(), loop.stop)  # the benchmark has ended
    await server.serve_forever()


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with contextlib.suppress(RuntimeError):  # stopped
        asyncio.run(_serve())

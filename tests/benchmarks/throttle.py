"""How near to a provider's limit 64 threads come, and how often they are refused.

`python tests/benchmarks/throttle.py [CALLS] [RATE]`: a loopback server allows RATE calls a second,
counted in four ways, and tells it in its headers or not; the figures are the share of the allowed
rate that was reached, and the refusals (429) among the requests.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from limiters import Bucket, Fixed, Sliding, Strict
from server import Answer, Received, Server, refusal, together

from mixmagic.sessions import Session

LATENCY = 0.05  # seconds until the server answers


def run(limiter: Callable[[float], Any], calls: int, rate: float, *, told: bool) -> str:
    """One line of figures."""
    limit, lock = limiter(rate), threading.Lock()
    limit.take(time.monotonic() - 10)  # its clock begins
    headers = {"x-ratelimit-limit": f"{rate:g}"} if told else {}

    def answer(_: Received) -> Answer:
        with lock:
            allowed = limit.take(time.monotonic())
        if allowed:
            return Answer([LATENCY, *together("Hi")], headers=headers)
        named = {name.replace("-", "_"): value for name, value in headers.items()}
        return refusal(429, {"error": {"message": "slow down"}}, retry_after="1", **named)

    server = Server()
    server.plan = [answer]
    os.environ |= {"TOGETHER_BASE_URL": server.url, "TOGETHER_API_KEY": "k" * 20}
    with tempfile.TemporaryDirectory() as home:
        os.environ["MIXMAGIC_HOME"] = home
        session = Session()
        started = time.monotonic()
        with ThreadPoolExecutor(64) as pool:
            texts = list(pool.map(lambda _: session.ask("Hello", model="8x7b").text, range(calls)))
        took = time.monotonic() - started
        session.close()
    server.close()
    assert texts == ["Hi"] * calls
    refused = len(server.received) - calls
    share = (calls / took) / rate
    return f"{share:6.1%} of the rate, {refused:3} refusals of {len(server.received)}"


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    allowed = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    for kind in (Bucket, Strict, Fixed, Sliding):
        for headers_tell in (True, False):
            about = f"{kind.__name__:8} {'told' if headers_tell else 'not told':9}"
            print(about, run(kind, number, allowed, told=headers_tell), flush=True)

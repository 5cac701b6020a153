"""Whole calls beside httpx and openai: time, CPU, and what becomes of refused ones.

    python tests/benchmarks/calls.py [ROW ...] [--rounds N] [--only CLIENT]

Clients take turns on the first core, each run in a fresh process; a scripted server has the last
one. Figures are medians of the rounds. The target is printed below them, behind `reached` or
`MISSED`. Absolute times mean something on a quiet machine only; ratios and CPU are steadier.
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fast_server import LATENCY, fails

_SERVER = Path(__file__).with_name("fast_server.py")
_MODEL = "mistralai/Mixtral-8x7B-Instruct-v0.1"
_TIMEOUT = 300  # seconds that one run may take
_KEY = "tgp_v1_9fQ2xK7hVb3LmR8s"  # as a real one: it is looked for in what is shown
Result = dict[str, float]


# The clients: functions that ask one prompt, and raise if there is no answer.


def httpx_client(url: str) -> Callable[..., float]:
    """Return httpx's least: no retries, JSON in and out."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx.Client(timeout=60, limits=limits)

    def ask(prompt: str, *, stream: bool = False) -> float:
        message = {"role": "user", "content": prompt}
        body = {"model": _MODEL, "messages": [message], "stream": stream}
        started = time.perf_counter()
        if not stream:
            response = client.post(f"{url}/chat/completions", json=body)
            response.raise_for_status().json()["choices"][0]["message"]["content"]
            return time.perf_counter() - started
        first = 0.0
        with client.stream("POST", f"{url}/chat/completions", json=body) as response:
            for line in response.raise_for_status().iter_lines():
                if line.startswith("data: {"):
                    json.loads(line[6:])
                    first = first or time.perf_counter() - started
        return first

    return ask


def openai_client(url: str) -> Callable[..., float]:
    """Return the official client, as it comes."""
    import openai

    client = openai.OpenAI(base_url=url, api_key="k" * 20)

    def ask(prompt: str, *, stream: bool = False) -> float:
        started, first = time.perf_counter(), 0.0
        messages = [{"role": "user", "content": prompt}]
        create: Any = client.chat.completions.create
        answer = create(model=_MODEL, messages=messages, stream=stream)
        if not stream:
            return time.perf_counter() - started
        for _ in answer:
            first = first or time.perf_counter() - started
        return first

    return ask


def mixmagic_client(url: str) -> Callable[..., float]:
    """Return `session.ask`, with a ledger of its own."""
    session = _session(url)

    def ask(prompt: str, *, stream: bool = False) -> float:
        started = time.perf_counter()
        if not stream:
            session.ask(prompt, model="together:8x7b", stream=False)
            return time.perf_counter() - started
        first, request = 0.0, session.request(prompt, model="together:8x7b")
        with closing(session.stream(request)) as deltas:
            for delta in deltas:
                if delta.text:
                    first = first or time.perf_counter() - started
        return first

    return ask


def _session(url: str) -> Any:
    os.environ |= {"TOGETHER_BASE_URL": url, "TOGETHER_API_KEY": _KEY}
    from mixmagic.sessions import Session

    return Session()


CLIENTS = {"httpx": httpx_client, "openai": openai_client, "mixmagic": mixmagic_client}


def _prompt(number: int) -> str:
    """Return a prompt that no other process sends."""
    return f"Hello from {os.getpid()}, this is {number}"


# The rows: what one client does, in a process of its own.


def _one(ask: Callable[..., float], *, stream: bool = False) -> Result:
    for number in range(20):
        ask(f"warm {number}", stream=stream)
    with _measured() as result:
        times = [ask(_prompt(number), stream=stream) for number in range(300)]
    return {"wall": statistics.median(times), "cpu": result["cpu"] / len(times)}


def _in_a_row(ask: Callable[..., float]) -> Result:
    ask("warm 0")
    with _measured() as result:
        for number in range(200):
            ask(_prompt(number))
    return result


def _threads(ask: Callable[..., float], calls: int, threads: int) -> Result:
    ask("warm 0")

    def one(number: int) -> bool:
        try:
            ask(_prompt(number))
        except Exception:  # noqa: BLE001  # of any kind
            return False
        return True

    with _measured() as result, ThreadPoolExecutor(threads) as pool:
        result["lost"] = calls - sum(pool.map(one, range(calls)))
    return result


def _map(ask: Callable[..., float], url: str, calls: int) -> Result:
    """A prompt over a column; the peers, which have no such thing, on 64 threads."""
    prompts = [_prompt(number) for number in range(calls)]
    if ask is not CLIENTS["mixmagic"]:
        return _threads(ask(url), calls, 64)
    session = _session(url)
    session.ask("warm 0", model="together:8x7b", stream=False)
    with _measured() as result:
        job = session.map(prompts, "{{ text }}", model="together:8x7b")
        result["lost"] = job.result().count(None)
    return result


def _cell(url: str) -> Result:
    """The median time of an urgent call: alone, and beside 64 rows of a column."""
    session = _session(url)

    def cell(number: int) -> float:
        request = session.request(f"cell {number}", model="together:8x7b", stream=False)
        request.control.urgent = True
        started = time.perf_counter()
        with closing(session.stream(request)) as deltas:
            assert "".join(map(str, deltas))
        return time.perf_counter() - started

    cell(0)
    alone = statistics.median(cell(number) for number in range(15))
    prompts = [_prompt(number) for number in range(4000)]
    job = session.map(prompts, "{{ text }}", model="together:8x7b")
    time.sleep(0.3)
    beside = []
    while not job.wait(0.02) and len(beside) < 30:
        beside.append(cell(len(beside)))
    return {"wall": statistics.median(beside), "ideal": alone, "lost": job.result().count(None)}


@contextmanager
def _measured() -> Iterator[Result]:
    result: Result = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield result
    result["wall"] = time.perf_counter() - wall
    result["cpu"] = time.process_time() - cpu


@dataclass
class Row:
    """One line of the table.

    Attributes:
        about: What is measured.
        scenario: The scripted server's.
        run: What a client does, given itself and the URL.
        clients: Who takes part.
        target: True if the figures of all clients are good enough; `None` if any are.
        says: The target in words.
        processes: How many do so at once.
        unit: Seconds of a unit.
    """

    about: str
    scenario: str
    run: Callable[[Any, str], Result]
    clients: tuple[str, ...]
    target: Callable[[dict[str, Result]], bool] | None
    says: str
    processes: int = 1
    unit: str = "s"


def _ideal(calls: int = 10_000, *, lent: bool) -> float:
    """Seconds that the failing prompts take on 64 slots if nothing takes any CPU."""
    slots, end = [0.0] * 64, 0.0
    heapq.heapify(slots)
    again: list[float] = []
    for number in range(calls):
        while again and again[0] <= slots[0]:
            heapq.heappop(again)
            heapq.heapreplace(slots, slots[0] + LATENCY)
        wait = {0: 0.0, 429: 2.0, 500: 0.25}[fails(number)]
        if wait and lent:
            heapq.heappush(again, slots[0] + wait)
            continue
        end = max(end, heapq.heapreplace(slots, slots[0] + wait + LATENCY) + wait + LATENCY)
    return max(end, *again, 0.0) + (LATENCY if again else 0.0)


def _wall(results: dict[str, Result], client: str = "mixmagic") -> float:
    return results[client]["wall"]


def _whole(results: dict[str, Result]) -> bool:
    mine = results["mixmagic"]
    return not mine.get("lost") and not mine["early"]


_ALL, _RETRYING, _ALONE = ("httpx", "openai", "mixmagic"), ("openai", "mixmagic"), ("mixmagic",)
ROWS = {
    "one": Row(
        "one call",
        "fast",
        lambda client, url: _one(client(url)),
        _ALL,
        lambda r: _wall(r) <= _wall(r, "httpx") + 0.0005,
        "httpx + 0.5 ms",
        unit="ms",
    ),
    "first": Row(
        "first token of a streamed call",
        "fast",
        lambda client, url: _one(client(url), stream=True),
        _ALL,
        lambda r: _wall(r) <= _wall(r, "httpx") + 0.0005,
        "httpx + 0.5 ms",
        unit="ms",
    ),
    "row200": Row(
        "200 calls in a row",
        "fast",
        lambda client, url: _in_a_row(client(url)),
        _ALL,
        lambda r: _wall(r) <= _wall(r, "httpx") + 0.2,
        "httpx + 0.2 s",
    ),
    "threads64": Row(
        "2,000 calls on 64 threads, 50 ms",
        "slow",
        lambda client, url: _threads(client(url), 2000, 64),
        _ALL,
        lambda r: (
            _wall(r) <= 1.1 * _wall(r, "httpx")
            and ("openai" not in r or r["mixmagic"]["cpu"] < r["openai"]["cpu"])
        ),
        "1.1 x httpx, less CPU than openai",
    ),
    "column": Row(
        "a column of 10,000, 64 at once, 50 ms",
        "slow",
        lambda client, url: _map(client, url, 10_000),
        _ALL,
        lambda r: (
            _wall(r) <= 1.15 * _wall(r, "httpx")
            and ("openai" not in r or r["mixmagic"]["cpu"] <= 0.7 * r["openai"]["cpu"])
        ),
        "1.15 x httpx, 0.7 x the CPU of openai",
    ),
    "failing": Row(
        f"a column of 10,000, 5 % failing first, 64 at once (ideal {_ideal(lent=True):.1f} s)",
        "failing",
        lambda _, url: _map(CLIENTS["mixmagic"], url, 10_000),
        _ALONE,
        lambda r: _wall(r) <= 1.3 * _ideal(lent=True) and _whole(r),
        "1.3 x ideal, none lost, none early",
    ),
    "ask64": Row(
        f"10,000, 5 % failing first, 64 threads (ideal {_ideal(lent=False):.1f} s)",
        "failing",
        lambda client, url: _threads(client(url), 10_000, 64),
        _RETRYING,
        lambda r: _wall(r) <= 23 and _whole(r),
        "23 s, none lost, none early",
    ),
    "hidden500": Row(
        "2,000 on 64 threads under 500/s (ideal 3.75 s)",
        "hidden500",
        lambda client, url: _threads(client(url), 2000, 64),
        _RETRYING,
        lambda r: _wall(r) <= 5 and _whole(r) and r["mixmagic"]["refused"] < 200,
        "5 s, none lost, < 200 refused",
    ),
    "announced500": Row(
        "the same, if the limit is announced",
        "announced500",
        lambda client, url: _threads(client(url), 2000, 64),
        _RETRYING,
        lambda r: _wall(r) <= 5 and _whole(r) and r["mixmagic"]["refused"] == 0,
        "5 s, none lost, none refused",
    ),
    "threads256": Row(
        "4,000 on 256 threads under 500/s (ideal 7.75 s)",
        "hidden500",
        lambda client, url: _threads(client(url), 4000, 256),
        _RETRYING,
        lambda r: _wall(r) <= 1.1 * 7.75 and _whole(r),
        "1.1 x ideal, none lost",
    ),
    "free256": Row(
        "10,000 on 256 threads, 50 ms",
        "slow",
        lambda client, url: _threads(client(url), 10_000, 256),
        _RETRYING,
        None,
        "",
    ),
    "processes": Row(
        "three processes x 400 under 100/s (ideal 11.75 s)",
        "hidden100",
        lambda client, url: _threads(client(url), 400, 64),
        _ALONE,
        _whole,
        "all finish, none lost",
        processes=3,
    ),
    "cell": Row(
        "a cell beside 64 rows of a column",
        "slow",
        lambda _, url: _cell(url),
        _ALONE,
        lambda r: _wall(r) <= 1.2 * r["mixmagic"]["ideal"] and _whole(r),
        "1.2 x alone",
        unit="ms",
    ),
}


# The command: runs clients in turn, each in processes of its own.


def _run(name: str, client: str, port: int) -> Result:
    command = [sys.executable, __file__, "--run", name, client, str(port)]
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "MIXMAGIC_HOME": home}
        _stats(port)
        started = [
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
            for _ in range(ROWS[name].processes)
        ]
        results = [json.loads(process.communicate(timeout=_TIMEOUT)[0]) for process in started]
    merged: Result = {key: sum(each[key] for each in results) for key in results[0]}
    merged["wall"] = max(each["wall"] for each in results)
    return merged | _stats(port)


def _stats(port: int) -> Result:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=10) as response:
        return dict(json.load(response))


def _line(client: str, row: Row, result: Result, base: float | None) -> str:
    scale = 1000 if row.unit == "ms" else 1
    cpu = f"{result['cpu'] * scale:6.2f} {row.unit} CPU" if "cpu" in result else " " * 12
    ratio = f"{result['wall'] / base:5.2f} x" if base else " " * 7
    counts = "".join(
        f"  {int(result[key])} {key}" for key in ("refused", "lost", "early") if result.get(key)
    )
    return f"  {client:9}{result['wall'] * scale:8.2f} {row.unit:2} {cpu} {ratio}{counts}"


def main(names: list[str], rounds: int, only: str | None) -> int:
    """Print the table; return the number of targets missed."""
    missed = 0
    command = [sys.executable, str(_SERVER)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        port = int(server.stdout.readline())  # type: ignore[union-attr]
        for name in names:
            row = ROWS[name]
            clients = [c for c in row.clients if importlib.util.find_spec(c) and only in (None, c)]
            found: dict[str, list[Result]] = {client: [] for client in clients}
            for _ in range(rounds):
                for client in clients:
                    found[client].append(_run(name, client, port))
            results = {
                client: {key: statistics.median(each[key] for each in runs) for key in runs[0]}
                for client, runs in found.items()
            }
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
            print(f"{name}: {row.about} (load {load:.1f})")
            base = results.get("httpx", results.get("openai", {})).get("wall")
            for client, result in results.items():
                print(_line(client, row, result, result.get("ideal", base)), flush=True)
            if row.target is not None and set(results) >= {"mixmagic", *row.clients[:1]}:
                reached = row.target(results)
                missed += not reached
                print(f"  {'reached' if reached else 'MISSED'}: {row.says}", flush=True)
        server.stdin.close()  # type: ignore[union-attr]
        server.terminate()
    return missed


def _child(name: str, client: str, port: str) -> None:
    row = ROWS[name]
    if hasattr(os, "sched_setaffinity") and row.processes == 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    url = f"http://127.0.0.1:{port}/{row.scenario}/v1"
    print(json.dumps(row.run(CLIENTS[client], url)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CLIENTS)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        _child(*options.run)
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(unknown)}; rows are {', '.join(ROWS)}")
    sys.exit(main(options.rows or list(ROWS), options.rounds, options.only) > 0)

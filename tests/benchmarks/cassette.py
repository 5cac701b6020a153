"""Cassettes beside vcrpy: recording, opening, replaying, and a request that is not recorded.

    python tests/benchmarks/cassette.py [CALLS] [--peer PYTHON]

PYTHON is an interpreter with vcrpy 9 and httpx (default: this one); without vcrpy its column is
left out. Both record CALLS calls (default 1,000) to a scripted server, then replay them in a fresh
process, in which the server is gone. vcrpy also compares bodies, which it does not by default.
Times are CPU, of the whole process: medians of the calls. Look-ups and the miss are also measured
in a cassette of 10,000 calls, which is written without a server.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_HERE = Path(__file__).parent
_WORDS = [f"{first}{rest}" for first in "bcdfgklmnprst" for rest in ("ane", "ilo", "umma", "edt")]
_MODEL = "mistralai/Mixtral-8x7B-Instruct-v0.1"
_MANY, _KEY = 10_000, "tgp_v1_9fQ2xK7hVb3LmR8s"
_TARGETS = {
    "index of 10,000 (ms)": 25.0,
    "look-up in 10,000 (µs)": 100.0,
    "miss in 10,000 (ms)": 50.0,
}


def prompt(number: int) -> str:
    """Return a prompt of 60 words."""
    return " ".join(_WORDS[(number * 7919 + at * (number % 89 + 1)) % 52] for at in range(60)) + (
        f" {number}"
    )


def clocked(call: Callable[[int], object], count: int) -> float:
    """Return the median CPU of calls, in milliseconds."""
    times = []
    for number in range(count):
        started = time.process_time()
        call(number)
        times.append(time.process_time() - started)
    return 1e3 * statistics.median(times)


def with_mixmagic(task: str, folder: Path, count: int) -> dict[str, float]:
    """Record, or replay, with a cassette."""
    import mixmagic
    from mixmagic.errors import CassetteMiss

    path = folder / "ours.jsonl"
    session = mixmagic.session()
    session.player.use(str(path), "once" if task == "record" else "none")
    if task == "record":
        cost = clocked(lambda number: session.ask(prompt(number)), count)
        return {"record a call (ms)": cost, "file, a call (KB)": path.stat().st_size / count / 1e3}
    started = time.process_time()
    session.ask(prompt(0))  # imports, and reads the file
    first = 1e3 * (time.process_time() - started)
    replayed = clocked(lambda number: session.ask(prompt(number)), count)

    def miss(number: int) -> None:
        try:
            session.ask(f"{prompt(number)} instead")
        except CassetteMiss:
            return
        raise AssertionError("it was found")

    return {
        "first replay (ms)": first,
        "replay a call (ms)": replayed,
        "miss (ms)": clocked(miss, 20),
        "peak memory (MB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def with_vcrpy(task: str, folder: Path, count: int) -> dict[str, float]:
    """Record, or replay, with vcrpy and httpx."""
    started = time.process_time()
    import httpx
    import vcr

    path = folder / "theirs.yaml"
    match = ["method", "host", "path", "body"]
    recorder = vcr.VCR(match_on=match, filter_headers=["authorization"])
    mode = "all" if task == "record" else "none"
    url = os.environ["TOGETHER_BASE_URL"] + "/chat/completions"

    def ask(text: str) -> None:
        body = {"model": _MODEL, "messages": [{"role": "user", "content": text}], "stream": True}
        head = {"authorization": f"Bearer {_KEY}"}
        with client.stream("POST", url, json=body, headers=head) as response:
            response.read()

    def miss(number: int) -> None:
        try:
            ask(f"{prompt(number)} instead")
        except Exception as error:  # httpx or vcrpy raises
            if "CannotOverwrite" in type(error).__name__:
                return
            raise
        raise AssertionError("it was found")

    with recorder.use_cassette(str(path), record_mode=mode), httpx.Client() as client:
        if task == "record":
            cost = clocked(lambda number: ask(prompt(number)), count)
        else:
            ask(prompt(0))
            first = 1e3 * (time.process_time() - started)
            # Each recording is replayed once, the first has been.
            replayed = clocked(lambda number: ask(prompt(number + 1)), count - 1)
            missed = clocked(miss, 20)
    if task == "record":
        return {"record a call (ms)": cost, "file, a call (KB)": path.stat().st_size / count / 1e3}
    return {
        "first replay (ms)": first,
        "replay a call (ms)": replayed,
        "miss (ms)": missed,
        "peak memory (MB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def many(_task: str, folder: Path, _count: int) -> dict[str, float]:
    """Measure a cassette of 10,000 calls."""
    import mixmagic
    from mixmagic.calls.codec import request_to_json
    from mixmagic.calls.identity import cassette_key
    from mixmagic.errors import CassetteMiss
    from mixmagic.store.cassette import Cassette
    from mixmagic.store.recording import Recording

    session = mixmagic.session()
    answer = {"v": 1, "text": " ".join(_WORDS * 2), "finish": "stop"}
    answer["usage"] = {"v": 1, "prompt_tokens": 90, "completion_tokens": 80}
    keys, lines = [], []
    for number in range(_MANY):
        request = session.request(prompt(number), model="8x7b")
        keys.append(cassette_key(request))
        asked = request_to_json(request, portable=True)
        lines.append(Recording(keys[-1], "cell/0", asked, answer).line())
    path = folder / "many.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    indexed = []
    for _ in range(5):
        cassette = Cassette(path)
        started = time.process_time()
        len(cassette)
        indexed.append(1e3 * (time.process_time() - started))
    session.player.use(str(path), "none")
    session.ask(prompt(0), model="8x7b")

    def miss(number: int) -> None:
        try:
            session.ask(f"{prompt(number)} instead", model="8x7b")
        except CassetteMiss:
            return
        raise AssertionError("it was found")

    return {
        "file of 10,000 (MB)": path.stat().st_size / 1e6,
        "index of 10,000 (ms)": min(indexed),
        "look-up in 10,000 (µs)": 1e3 * clocked(lambda number: cassette.find(keys[number]), 2000),
        "replay in 10,000 (ms)": clocked(
            lambda number: session.ask(prompt(number * 31 % _MANY), model="8x7b"), 300
        ),
        "miss in 10,000 (ms)": clocked(miss, 20),
    }


CLIENTS = {"mixmagic": with_mixmagic, "vcrpy": with_vcrpy, "many": many}


def fresh(python: str, client: str, task: str, folder: Path, count: int) -> dict[str, float]:
    """Run a client in a fresh process; return its figures."""
    command = [python, __file__, "--run", client, task, str(folder), str(count)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if ran.returncode:
        raise SystemExit(f"{client} {task}: {ran.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calls", nargs="?", type=int, default=1000)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--run", nargs=4)
    options = parser.parse_args()
    if options.run:
        client, task, folder, count = options.run
        print(json.dumps(CLIENTS[client](task, Path(folder), int(count))))
        return
    sys.path.insert(0, str(_HERE.parent))
    from server import Answer, Server, together

    table: dict[str, dict[str, float]] = {}
    look = [options.peer, "-c", "import vcr, httpx"]
    peer = not subprocess.run(look, check=False, capture_output=True, timeout=60).returncode
    columns = {"mixmagic": sys.executable} | ({"vcrpy": options.peer} if peer else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"MIXMAGIC_HOME": str(folder / "home"), "TOGETHER_API_KEY": _KEY}
        for client, python in columns.items():
            server = Server()
            server.plan = [Answer(together(*(f"{word} " for word in _WORDS[:20])))]
            os.environ["TOGETHER_BASE_URL"] = server.url
            table[client] = fresh(python, client, "record", folder, options.calls)
            server.close()
            table[client] |= fresh(python, client, "replay", folder, options.calls)
        table["mixmagic"] |= fresh(sys.executable, "many", "", folder, 0)
    print(f"{'':26}" + "".join(f"{client:>12}" for client in table))
    for row in table["mixmagic"]:
        cells = [figures.get(row) for figures in table.values()]
        line = f"{row:26}" + "".join(
            f"{'' if cell is None else f'{cell:.3f}':>12}" for cell in cells
        )
        if (target := _TARGETS.get(row)) is not None:
            line += f"   target {target:g}: {'reached' if cells[0] <= target else 'MISSED'}"
        print(line)
    if not peer:
        print(f"vcrpy and httpx are not installed in {options.peer}: no column of theirs.")


if __name__ == "__main__":
    main()

"""The cost of the answer cache, beside diskcache if that is installed.

    python tests/benchmarks/cache.py [--answers N] [--folder FOLDER]

A cache of N answers (100,000) of 1 KB is filled once, and kept in FOLDER if that is given. Figures
are microseconds a call, median, 99th percentile and CPU: of a whole call that is answered from the
cache (`layer`), of its look-up alone, in one process and in four at once, also while another
process or another thread inserts 1,000 answers a second, and of an insert, also into a full cache.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from mixmagic.calls.completion import Completion
from mixmagic.calls.identity import cache_key
from mixmagic.calls.interrupts import Calls
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Message, Request
from mixmagic.layers.cache import cache as layer
from mixmagic.store.cache import AnswerCache

_URL = "https://api.together.ai/v1"
_GB = 10**9
_PROCESSES, _CALLS = 4, 20_000
Step = Callable[[int], None]


def request(number: int) -> Request:
    """Return a question, the same for the same number."""
    message = Message("user", f"Describe item {number}, in one paragraph, for a catalog.")
    return Request(Catalog().resolve("together:8x7b"), (message,), {"temperature": 0})


def completion(asked: Request) -> Completion:
    """Return an answer of 1 KB."""
    usage = Usage(20, 200)
    return Completion("word " * 200, usage, Decimal("0.0001"), "stop", asked, 2.0, 0.3)


class Ours:
    """The answer cache."""

    def __init__(self, folder: Path, count: int, limit: int = _GB) -> None:
        self.cache, self.first, self.count = AnswerCache(folder, limit), request(0), count
        self.found = completion(self.first)

    def key(self, number: int) -> str:
        """Return a key; that of a question takes as long as the question is."""
        return f"{number:032x}"

    def fill(self) -> None:
        """Store the answers: all in one transaction, as no call does it."""
        from mixmagic.calls import codec

        answer = json.dumps(codec.completion_to_json(self.found))
        rows = ((bytes.fromhex(self.key(n)), n, n, "together:m", answer) for n in range(self.count))
        with self.cache.database.transaction() as connection:
            connection.executemany(
                "INSERT INTO answers (key, used, created, model, answer) VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    def look_up(self, number: int) -> None:
        stored = self.cache.find(self.key(number), self.first)
        assert stored is not None
        self.cache.note_use(stored, stored.completion.usage, None)

    def insert(self, number: int) -> None:
        self.cache.put(self.key(10**9 + number), self.found)


class Layer(Ours):
    """The answer cache, through its layer: with the key of the question, and the pieces."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder, count)
        self.asked = [request(number) for number in range(1000)]
        for asked in self.asked:
            self.cache.put(cache_key(asked, _URL), replace(self.found, request=asked))

        def nothing(asked: Request) -> Iterator[None]:
            raise AssertionError("it is not in the cache")

        self.stream = layer(self.cache, lambda model: _URL, Calls())(nothing)  # type: ignore[arg-type]

    def look_up(self, number: int) -> None:
        for _ in self.stream(self.asked[number % 1000]):
            pass


class Diskcache:
    """diskcache, with its policy of the least recently used."""

    def __init__(self, folder: Path, count: int, limit: int = _GB) -> None:
        import diskcache

        self.cache = diskcache.Cache(
            folder / "diskcache", eviction_policy="least-recently-used", size_limit=limit
        )
        self.count = count
        self.answer = json.dumps({"text": "word " * 200, "usage": [20, 200], "cost": "0.0001"})

    def fill(self) -> None:
        with self.cache.transact():
            for number in range(self.count):
                self.cache.set(f"{number:032x}", self.answer)

    def look_up(self, number: int) -> None:
        assert json.loads(self.cache.get(f"{number:032x}"))

    def insert(self, number: int) -> None:
        self.cache.set(f"{10**9 + number:032x}", self.answer)


KINDS = {"layer": Layer, "ours": Ours, "diskcache": Diskcache}


def measure(step: Step, numbers: list[int]) -> dict[str, float]:
    """Return microseconds of a step: median, 99th percentile, and CPU."""
    for number in numbers[:200]:
        step(number)
    cpu, times = time.process_time(), []
    for number in numbers:
        started = time.perf_counter()
        step(number)
        times.append(time.perf_counter() - started)
    cpu = time.process_time() - cpu
    return {
        "median": statistics.median(times) * 1e6,
        "p99": statistics.quantiles(times, n=100)[98] * 1e6,
        "cpu": cpu / len(numbers) * 1e6,
    }


def look_ups(kind: str, folder: Path, count: int) -> dict[str, float]:
    """Measure look-ups of random answers."""
    draw = random.Random(os.getpid())
    return measure(
        KINDS[kind](folder, count).look_up, [draw.randrange(count) for _ in range(_CALLS)]
    )


def at_once(kind: str, folder: Path, count: int) -> dict[str, float]:
    """Measure look-ups in several processes at once; the median of them."""
    command = [sys.executable, __file__, "--one", kind, "--folder", str(folder)]
    runs = [
        subprocess.Popen([*command, "--answers", str(count)], stdout=subprocess.PIPE, text=True)
        for _ in range(_PROCESSES)
    ]
    found = [json.loads(run.communicate()[0]) for run in runs]
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


@contextmanager
def inserting(kind: str, folder: Path, count: int) -> Iterator[None]:
    """Insert answers in another thread while the block runs."""
    store, over = KINDS[kind](folder, count), threading.Event()

    def insert() -> None:
        number = 10**6
        while not over.is_set():
            store.insert(number)
            number += 1
            time.sleep(0.001)

    thread = threading.Thread(target=insert)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def show(name: str, kind: str, figures: dict[str, float]) -> None:
    """Print one row."""
    values = "".join(f"{figures[each]:10.1f}" for each in ("median", "p99", "cpu"))
    print(f"{name:38}{kind:10}{values}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", choices=KINDS)
    options = parser.parse_args()
    count = options.answers
    if options.one:
        print(json.dumps(look_ups(options.one, options.folder, count)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        kinds = ["ours"] + ["diskcache"] * (importlib.util.find_spec("diskcache") is not None)
        for kind in kinds:
            if not (folder / f"{kind}.filled").exists():
                KINDS[kind](folder, count).fill()
                (folder / f"{kind}.filled").touch()
        print(f"{f'microseconds, {count:,} answers':48}{'median':>10}{'p99':>10}{'CPU':>10}")
        for kind in ["layer", *kinds]:
            show("look-up, 1 process", kind, look_ups(kind, folder, count))
            show(f"look-up, {_PROCESSES} processes", kind, at_once(kind, folder, count))
            with inserting(kind, folder, count):
                show("look-up, beside inserts", kind, look_ups(kind, folder, count))
                name = f"look-up, {_PROCESSES} processes, beside inserts"
                show(name, kind, at_once(kind, folder, count))
        for kind in kinds:
            show("insert", kind, measure(KINDS[kind](folder, count).insert, list(range(2000))))
        for kind in kinds:
            small = Path(temporary, f"full-{kind}")
            store = KINDS[kind](small, 5000, 5_000_000)
            store.fill()
            show("insert into a full cache", kind, measure(store.insert, list(range(5000))))


if __name__ == "__main__":
    main()

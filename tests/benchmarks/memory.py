"""Memory of a job that writes its results: it must not grow with the number of rows.

    python tests/benchmarks/memory.py [ROWS] [--out NAME] [--kind csv|parquet|list|generator]

Prints the resident memory in MiB at each tenth of the rows, and at the end. A scripted server runs
in another process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_SERVER = Path(__file__).with_name("fast_server.py")
_TEXT = "It came late, and the box was open. " * 10


@contextmanager
def served() -> Iterator[str]:
    """Run the scripted server, which answers at once; yield its address."""
    command = [sys.executable, str(_SERVER)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/fast/v1"
        finally:
            process.stdin.close()


def rows(kind: str, count: int, folder: Path) -> object:
    """Return rows of some kind."""
    texts = (f"{_TEXT} {number}" for number in range(count))
    if kind == "generator":
        return texts
    if kind == "list":
        return list(texts)
    if kind == "parquet":
        return _parquet(texts, folder / "rows.parquet")
    path = folder / "rows.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f'{number},"{text}"\n' for number, text in enumerate(texts))
    return str(path)


def _parquet(texts: Iterator[str], path: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        while some := list(itertools.islice(texts, 10_000)):
            writer.write_table(pa.table({"text": some}))
    return str(path)


def measure(count: int, out: str, kind: str) -> list[tuple[int, float]]:
    """Run a job; return how many rows were over, and the memory then, about ten times."""
    import mixmagic

    with tempfile.TemporaryDirectory() as name, served() as url:
        os.environ |= {
            "MIXMAGIC_HOME": name, "TOGETHER_BASE_URL": url, "TOGETHER_API_KEY": "tgp_v1_9fQ2xK7h",
        }  # fmt: skip
        source, found = rows(kind, count, Path(name)), []
        job = mixmagic.session().map(
            source, "{{ text }}", out=Path(name, out), model="together:8x7b", max_tokens=20
        )
        memory = psutil.Process().memory_info
        while not job.wait(0.05):
            if job.progress.done >= count * (len(found) + 1) // 10:
                found.append((job.progress.done, memory().rss / 2**20))
        if (progress := job.progress).failed or progress.done < count:
            raise SystemExit(f"{job.state}: {job.reason} {job.errors!r}")
        return [*found, (count, memory().rss / 2**20)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", type=int, nargs="?", default=100_000)
    parser.add_argument("--out", default="answers", help="a folder, or a file's name")
    parser.add_argument("--kind", default="csv", choices=("csv", "parquet", "list", "generator"))
    options = parser.parse_args()
    started = time.monotonic()
    result = measure(options.rows, options.out, options.kind)
    print(json.dumps({"seconds": round(time.monotonic() - started), "memory": result}))

"""What `%load_ext mixmagic` adds to bare IPython: milliseconds and MiB, in fresh processes.

Run: python tests/benchmarks/load.py [RUNS]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

_CHILD = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("pass")
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
loaded, before, started = set(sys.modules), rss(), time.perf_counter()
shell.run_line_magic("load_ext", "mixmagic")
took, after = (time.perf_counter() - started) * 1000, rss()
heavy = {"httpx", "sqlite3", "pandas", "anywidget", "ipywidgets", "xllamacpp", "mistral_common"}
print(json.dumps([took, after - before, sorted(heavy & (sys.modules.keys() - loaded))]))
"""


def main(runs: int) -> None:
    """Print the median and the range over `runs` processes, after one that warms the disk."""
    command = [sys.executable, "-c", _CHILD]
    results = [json.loads(subprocess.check_output(command)) for _ in range(runs + 1)][1:]
    for name, column, limit in (("ms", 0, 15), ("MiB", 1, 2)):
        figures = sorted(result[column] for result in results)
        middle, low, high = statistics.median(figures), figures[0], figures[-1]
        print(f"%load_ext mixmagic: {middle:.2f} {name} ({low:.2f} to {high:.2f}), limit {limit}")
    print(f"heavy modules loaded by it: {results[0][2] or 'none'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)

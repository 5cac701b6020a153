"""The cost of `%load_ext mixmagic` in bare IPython: milliseconds and MiB, in fresh processes.

With bytecode, as after an installation. CPU time counts on a busy machine.

Run: python tests/benchmarks/load.py [RUNS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

_CHILD = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("pass")
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
loaded, before = set(sys.modules), rss()
started, cpu = time.perf_counter(), time.process_time()
shell.run_line_magic("load_ext", "mixmagic")
took, cpu = (time.perf_counter() - started) * 1000, (time.process_time() - cpu) * 1000
after = rss()
heavy = {"httpx", "sqlite3", "pandas", "anywidget", "ipywidgets", "xllamacpp", "mistral_common"}
print(json.dumps([took, cpu, after - before, sorted(heavy & (sys.modules.keys() - loaded))]))
"""


def main(runs: int) -> None:
    """Print the median and the range over `runs` processes, after one that compiles."""
    command = [sys.executable, "-c", _CHILD]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        env["PYTHONPYCACHEPREFIX"] = folder
        outputs = [subprocess.check_output(command, env=env) for _ in range(runs + 1)]
    results = [json.loads(output) for output in outputs[1:]]
    for name, column, limit in (("ms", 0, 8), ("ms of CPU", 1, 8), ("MiB", 2, 2)):
        figures = sorted(result[column] for result in results)
        middle, low, high = statistics.median(figures), figures[0], figures[-1]
        print(f"%load_ext mixmagic: {middle:.2f} {name} ({low:.2f} to {high:.2f}), limit {limit}")
    print(f"heavy modules loaded by it: {results[0][3] or 'none'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)

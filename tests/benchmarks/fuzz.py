"""Texts that try to act, as many as you like, through real front ends: which live?

    python tests/benchmarks/fuzz.py 500000 --seed 1 --reader lab

A run that was stopped goes on where it was, in the same folder: its state is in
`fuzz-SEED-READER.json`. Every living text is printed at its least.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks.grammar import texts
from browser.examine import examine, least
from browser.front_ends import FRONT_ENDS
from browser.readers import Readers, opened

_AT_ONCE = 500
_SHOWN = 20  # of one kind


def _run(readers: Readers, arguments: argparse.Namespace, state: Path) -> None:
    told = json.loads(state.read_text()) if state.exists() else {"done": 0, "alive": {}}
    alive, started, before = Counter(told["alive"]), time.monotonic(), told["done"]
    page = readers.state()
    for done in range(before, arguments.count, _AT_ONCE):
        some = [*texts(arguments.seed * 10**9 + done, _AT_ONCE)]
        for text, wrong in zip(some, examine(readers, some), strict=True):
            for kind, what in wrong.items():
                alive[kind] += 1
                if alive[kind] <= _SHOWN:
                    print(kind, repr(least(readers, text, kind)), what[:2], flush=True)
        if readers.state() != page:
            alive["page"] += 1
            print(f"the page changed behind {done} texts: {readers.state()}", flush=True)
            page = readers.state()
        state.write_text(json.dumps({"done": done + _AT_ONCE, "alive": alive}))
        if (done // _AT_ONCE) % 20 == 19:
            rate = (done + _AT_ONCE - before) / (time.monotonic() - started)
            print(
                f"{done + _AT_ONCE:,} texts, {rate:.0f} a second, alive: {dict(alive)}", flush=True
            )
    print(f"{max(before, arguments.count):,} texts in {arguments.reader}, alive: {dict(alive)}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", choices=FRONT_ENDS, default="lab")
    arguments = parser.parse_args()
    state = Path(f"fuzz-{arguments.seed}-{arguments.reader}.json")
    with opened(arguments.reader) as readers:
        _run(readers, arguments, state)


if __name__ == "__main__":
    main()

"""How long a ledger of 1,000,000 calls of an earlier mixmagic takes to be brought up to date.

Run: python tests/benchmarks/migration.py [CALLS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "store" / "ledger"))

from test_migration import fill

from mixmagic.store.ledger.ledger import Ledger

_LIMIT = 30


def main(calls: int = 1_000_000) -> None:
    """Print the seconds until the first report is there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data" / "ledger.db"
        fill(path, calls)
        before = path.stat().st_size / 2**20
        started = time.perf_counter()
        ledger = Ledger(path.parent, "s")
        found = sum(row.calls for row in ledger.spent("all"))
        took = time.perf_counter() - started
        ledger.close()
        after = path.stat().st_size / 2**20
        print(f"{found:,} calls, {before:,.0f} MiB: {took:.1f} s, limit {_LIMIT}; {after:,.0f} MiB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""Jobs of 2,000 rows that are killed at random moments, and go on.

    python tests/benchmarks/kills.py [NUMBER]

Prints, for each seed, the rows that were asked twice: those in flight at the kill, at most 64. The
ledger must have at least the server's bill. The default is 50 kills.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import test_map_processes as kills  # beside this folder
from server import Server  # likewise


def main(number: int) -> None:
    """Kill so many jobs."""
    twice = []
    for seed in range(number):
        server = Server()
        with tempfile.TemporaryDirectory() as home:
            os.environ |= {
                "MIXMAGIC_HOME": home,
                "TOGETHER_BASE_URL": server.url,
                "TOGETHER_API_KEY": "canary-key-4711",
            }
            provider = kills.killed_and_resumed(server, Path(home), seed)
        server.close()
        twice.append(provider.calls - kills.DISTINCT)
        print(f"seed {seed}: {twice[-1]} rows asked twice", flush=True)
    print(f"{number} kills: {max(twice)} rows twice at most, {sum(twice) / number:.1f} on average")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)

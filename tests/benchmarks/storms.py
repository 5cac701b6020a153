"""How long a front end takes for answers of 100 KB that were made to take its time.

    python tests/benchmarks/storms.py [--reader lab|notebook] [NAME ...]

Each is shown alone, with what the front end does behind it (typesetting, its table of contents).
Printed are the ten that take longest; none should need over 2 s on a machine that does nothing
else.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks.storms import STORMS
from browser.front_ends import FRONT_ENDS
from browser.readers import opened

from mixmagic.text.sanitize import sanitize

# Seconds without anything to do, after which a front end is taken for done.
_QUIET = 1.6


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--reader", choices=FRONT_ENDS, default="lab")
    arguments = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with opened(arguments.reader) as readers:
        readers.load("first", quiet=_QUIET)
        for name in arguments.names or STORMS:
            if text := sanitize(STORMS[name]):
                found[name] = readers.load(text, quiet=_QUIET)
    print(f"{len(found)} storms in {arguments.reader}:")
    for name, made in sorted(found.items(), key=lambda each: -each[1]["seconds"])[:10]:
        print(f"  {name}: {made['seconds']:.2f} s, {made['elements']:,} elements")
    for what in ("elements", "formulas", "headings", "signs"):
        print(f"most {what}: {max(made[what] for made in found.values()):,}")


if __name__ == "__main__":
    main()

"""Find out for each attack under which mutant of the sanitizer it acts; rewrite `evidence.json`.

python tests/benchmarks/evidence.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks import ATTACKS, EVIDENCE, EVIDENCE_FILE, Evidence
from attacks.mutants import MUTANTS
from browser.readers import opened

from mixmagic.text.sanitize import sanitize


def main() -> None:
    """Run it."""
    found: dict[str, Evidence] = {
        name: {"before": EVIDENCE.get(name, {}).get("before", [])} for name in ATTACKS
    }
    with opened("lab") as readers:
        alive = readers.verdicts([sanitize(text) for text in ATTACKS.values()])
        for mutant, written in MUTANTS.items():
            verdicts = readers.verdicts([written(text) for text in ATTACKS.values()])
            for name, verdict, without in zip(ATTACKS, verdicts, alive, strict=True):
                seen = [reader for reader in verdict if reader not in without]
                if seen and "mutant" not in found[name]:
                    found[name] |= {"mutant": mutant, "reader": seen[0]}
    lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items()]
    EVIDENCE_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    act = sum("mutant" in each for each in found.values())
    before = sum(bool(each["before"]) for each in found.values())
    print(f"{len(found)} attacks: {act} act under a mutant, {before} acted before")
    for name, each in found.items():
        if "mutant" not in each:
            print(f"  {name}: {each['before'] or 'NOWHERE'}")


if __name__ == "__main__":
    main()

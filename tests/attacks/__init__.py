"""What a model could write to make a reader of its answer act.

Each module holds attacks of one kind, by name. `evidence.json` says of each what it acted under:
`before`, in which readers when the answer was only patched, before it was parsed and written anew;
and the first of the `mutants` in which it acts, with the reader that sees it. After a change to the
attacks or to the sanitizer's rules: `python tests/benchmarks/evidence.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

from attacks import characters, code, documents, formulas, links, markup

ATTACKS: dict[str, str] = {
    f"{module.__name__.partition('.')[2]}/{name}": text
    for module in (markup, links, code, formulas, characters, documents)
    for name, text in module.ATTACKS.items()
}


class Evidence(TypedDict, total=False):
    """What made an attack act."""

    before: list[str]
    mutant: str
    reader: str


EVIDENCE_FILE = Path(__file__).with_name("evidence.json")
EVIDENCE: dict[str, Evidence] = json.loads(EVIDENCE_FILE.read_text("utf-8"))

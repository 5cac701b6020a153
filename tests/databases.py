"""The two kinds of database that we have: the ledger, which is kept, and a cache, which is not.

A test of both uses the fixture `kind` and opens files with `open_database`; its subprocesses can
import this module, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mixmagic.store.sqlite.database import Database

KINDS: dict[str, dict] = {
    "ledger": {},
    "cache": {"durable": False, "on_damage": "recreate"},
}
VARIABLE = "MIXMAGIC_TEST_DATABASE"
TESTS = Path(__file__).parent


def open_database(path: Path, migrations: Sequence[str]) -> Database:
    """Return a database of the kind that the environment names."""
    return Database(path, migrations, **KINDS[os.environ.get(VARIABLE, "ledger")])

"""Databases of the two kinds that we have: the ledger, which is kept, and a cache, which is not.

A test of both uses the fixture `kind` and opens files with `open_database`; its subprocesses can
import this module, too.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Sequence
from pathlib import Path

from mixmagic.store.sqlite.database import Database

KINDS: dict[str, dict] = {
    "ledger": {},
    "cache": {"durable": False, "on_damage": "recreate"},
}
VARIABLE = "MIXMAGIC_TEST_DATABASE"
TESTS = Path(__file__).parent
FIRST = (
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX by_text ON notes (text)"
)
PAGE = 4096


def open_database(path: Path, migrations: Sequence[str]) -> Database:
    """Return a database of the kind that the environment names."""
    return Database(path, migrations, **KINDS[os.environ.get(VARIABLE, "ledger")])


def add(database: Database, text: str) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))


def texts(database: Database) -> list[str]:
    return [row["text"] for row in database.rows("SELECT text FROM notes ORDER BY id")]


def add_many(database: Database, count: int = 300) -> None:
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO notes (text) VALUES (?)", [(f"{n:04} " * 40,) for n in range(count)]
        )


def moved(path: Path, word: str = "damaged") -> list[Path]:
    """Return the files that were moved aside, with their logs."""
    found = sorted(path.parent.glob(f"{path.stem}.{word}-*"))
    assert all(
        re.fullmatch(rf"notes\.{word}-\d{{8}}-\d{{6}}(-\d+)?\.db(-\w+)?", each.name)
        for each in found
    )
    return found


def noise(size: int) -> bytes:
    return random.Random(4711).randbytes(size)


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)

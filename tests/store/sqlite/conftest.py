"""Fixtures of databases: `kind` runs a test with one like the ledger and with one like a cache."""

from __future__ import annotations

import pytest
from databases import FIRST, KINDS, PAGE, TESTS, VARIABLE, add_many

from mixmagic.store.sqlite.database import Database


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch) -> str:
    """The kind of the databases that `open_database` opens, here and in subprocesses."""
    monkeypatch.setenv(VARIABLE, request.param)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    return request.param


@pytest.fixture
def path(tmp_path):
    """An undamaged file of some forty pages."""
    database = Database(tmp_path / "notes.db", [FIRST])
    add_many(database)
    database.close()
    assert database.path.stat().st_size > 30 * PAGE
    return database.path

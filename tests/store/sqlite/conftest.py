"""Each test that uses `kind` runs with a database like the ledger and with one like a cache."""

from __future__ import annotations

import pytest
from databases import KINDS, TESTS, VARIABLE


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch) -> str:
    """The kind of the databases that `open_database` opens, here and in subprocesses."""
    monkeypatch.setenv(VARIABLE, request.param)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    return request.param

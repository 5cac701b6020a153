"""Fixtures of ledgers."""

from __future__ import annotations

import pytest

from mixmagic.store.ledger import rows


@pytest.fixture
def no_grace(monkeypatch):
    """A call that is over is lost at once, if it is not recorded."""
    monkeypatch.setattr(rows, "_GRACE", 0.0)

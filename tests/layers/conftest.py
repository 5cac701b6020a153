"""A session whose answer cache is on."""

from __future__ import annotations

import pytest

from mixmagic.sessions import Session


@pytest.fixture
def cached(together, monkeypatch):
    """A session with the answer cache, and the scripted server in Together's place."""
    monkeypatch.setenv("MIXMAGIC_CACHE", "1")
    made = Session()
    yield made
    made.close()

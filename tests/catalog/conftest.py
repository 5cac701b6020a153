"""Fixtures of catalogs."""

from __future__ import annotations

import sys

import pytest

from mixmagic.catalog import price_sources


@pytest.fixture
def own_prices(monkeypatch):
    """The package's own prices alone: those of genai-prices change with its releases."""
    price_sources._dated_facts.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices", None)

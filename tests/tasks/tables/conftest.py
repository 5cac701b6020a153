from __future__ import annotations

import builtins

import pytest


@pytest.fixture
def without_pyarrow(monkeypatch):
    """An environment in which pyarrow is not installed."""
    real = builtins.__import__

    def without(name, *args, **options):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)

"""A kernel with mixmagic for one test; modules that can share one have their own `desk`."""

from __future__ import annotations

import pytest
from kernels import Desk


@pytest.fixture
def desk(tmp_path):
    """A fresh kernel with a home of its own, whose settings may change."""
    folder = tmp_path / "desk"
    folder.mkdir()
    desk = Desk(folder)
    yield desk
    desk.close()

"""Faults of time, met by `%%mixtral` in a real kernel, with the settings of its environment."""

from __future__ import annotations

import pytest
from faults import delays
from faults.cells import cell, meet
from faults.table import cases, good

LIMIT, TOTAL = 0.5, 2.0  # seconds
# Over one transport; test_delays has both.
pytestmark = pytest.mark.parametrize("transport", ["plain"], indirect=True, scope="module")
# A few of each table: the others differ from them below the kernel, if at all.
SOME = [
    *delays.FIRST_BYTE[0:1], *delays.FIRST_BYTE[5:7],
    *delays.IDLE[0:1], *delays.IDLE[3:4], *delays.IDLE[6:7], *delays.IDLE[8:9],
    *delays.TOTAL[:1], *delays.TOTAL[2:], *delays.ENDLESS[2:5],
]  # fmt: skip


@pytest.fixture(scope="module")
def desk(start_desk):
    """A kernel with short timeouts, which has made a call: the first one imports what it needs."""
    settings = {f"MIXMAGIC_{name}_TIMEOUT": str(LIMIT) for name in ("FIRST_BYTE", "IDLE")}
    desk = start_desk(**settings, MIXMAGIC_TOTAL_TIMEOUT=str(TOTAL), MIXMAGIC_MAX_RETRIES="0")
    desk.run(cell(stream=True), good(stream=True))
    return desk


@cases(SOME)
def test_a_late_answer_fails_the_cell_in_two_lines(fault, stream, desk):
    meet(desk, fault, stream)

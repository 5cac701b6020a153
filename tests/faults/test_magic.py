"""A fault of each outcome, met by `%%mixtral` in a kernel: two lines below the partial answer."""

from __future__ import annotations

import pytest
from faults import broken, contents, refusals
from faults.cells import cell, check_cell, meet
from faults.table import Script, each_outcome

# The other transport than in test_threads; test_ask has both.
pytestmark = pytest.mark.parametrize("transport", ["plain"], indirect=True, scope="module")


@each_outcome(broken.TABLE, contents.TABLE, refusals.TABLE, refusals.STATUSES)
def test_a_fault_fails_the_cell_in_two_lines(fault, stream, desk):
    meet(desk, fault, stream)


@pytest.mark.parametrize("stream", [True, False])
def test_under_nbclient_the_cell_has_the_same_two_lines(desk, stream):
    """No front end is watching: the partial answer is shown once, above the error."""
    fault = next(f for f in contents.TABLE if f.name.startswith("JSON instead of events"))
    check_cell(fault, desk.run(cell(stream), Script(fault.answers), live=False))

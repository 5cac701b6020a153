"""Every fault, met by `session.ask`: its error, the partial answer, the ledger, the socket."""

from __future__ import annotations

import pytest
from faults import broken, contents, refusals
from faults.table import (
    Script,
    cases,
    check_outcome,
    check_requests,
    check_row,
    check_sockets,
    good,
    outcome,
    rows,
)


@cases(broken.TABLE, refusals.TABLE)
def test_a_fault_of_the_connection_is_whole_or_an_error(fault, stream, place):
    meet(place, fault, stream)


@pytest.mark.parametrize("transport", ["tls"], indirect=True, scope="module")
@cases(contents.TABLE, refusals.STATUSES, refusals.TOLD)
def test_a_fault_of_the_answer_is_whole_or_an_error(fault, stream, place):
    """Over one transport: the bytes are whole, whichever way they go."""
    meet(place, fault, stream)


def meet(place, fault, stream):
    before = len(rows(place.home))
    place.server.received.clear()
    place.server.plan = [Script(fault.answers)]
    check_outcome(fault, *outcome(place.session, "Hi", stream))
    check_requests(place.server, fault)
    faulty = list(place.server.received)
    place.server.plan = [good(stream)]
    assert outcome(place.session, "Hi again", stream) == (None, "All well")
    check_sockets(place.server, faulty)
    row, after = rows(place.home)[before:]
    check_row(fault, row)
    assert after["status"] == "ok"


@pytest.mark.parametrize("stream", [True, False])
def test_good_answers_share_one_connection(place, stream):
    """The checks above would not notice if each call opened a connection."""
    before = len(rows(place.home))
    place.server.received.clear()
    place.server.plan = [good(stream)]
    for _ in range(3):
        assert outcome(place.session, "Hi", stream) == (None, "All well")
    connections = {received.connection for received in place.server.received}
    assert len(connections) == 1
    assert [row["status"] for row in rows(place.home)[before:]] == ["ok", "ok", "ok"]

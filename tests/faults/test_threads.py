"""A fault of each outcome, met by many threads of one session at once: each call fails alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from faults import broken, contents, refusals
from faults.table import (
    Script,
    check_outcome,
    check_row,
    check_sockets,
    each_outcome,
    good,
    outcome,
    rows,
)

THREADS = 4
# Of the two transports, the one that every hosted provider uses.
pytestmark = pytest.mark.parametrize("transport", ["tls"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def at_once(place):
    """Ask as many times at once as there are threads; return every outcome."""
    with ThreadPoolExecutor(THREADS) as pool:

        def ask(prompts, stream):
            return list(pool.map(lambda p: outcome(place.session, p, stream), prompts))

        yield ask


@each_outcome(broken.TABLE, contents.TABLE, refusals.TABLE, refusals.STATUSES)
def test_a_fault_hits_every_thread_alike(fault, stream, place, at_once):
    before = len(rows(place.home))
    place.server.received.clear()
    place.server.plan = [Script(fault.answers)]
    prompts = [f"Hi {number}" for number in range(THREADS)]
    for error, text in at_once(prompts, stream):
        check_outcome(fault, error, text)
    faulty = list(place.server.received)
    asked = [received.body["messages"][-1]["content"] for received in faulty]
    assert {prompt: asked.count(prompt) for prompt in prompts} == dict.fromkeys(
        prompts, fault.requests
    )
    place.server.plan = [good(stream)]
    assert at_once(["Hi again"], stream) == [(None, "All well")]
    # A connection that the server ends may look idle until then: the next test must not meet it.
    *_, last = fault.answers[-1].steps
    check_sockets(place.server, faulty, None if isinstance(last, str) else place.session)
    *listed, after = rows(place.home)[before:]
    assert len(listed) == THREADS
    for row in listed:
        check_row(fault, row)
    assert after["status"] == "ok"


@pytest.mark.parametrize("fault", [f for f in broken.TABLE if f.name == "reset behind text"])
def test_a_fault_of_one_thread_is_not_the_others(fault, place, at_once):
    """Half of the calls meet the fault; the others are answered."""
    faulty, whole = Script(fault.answers), Script([good(stream=True)])
    place.server.plan = [
        lambda r: (faulty if int(r.body["messages"][-1]["content"]) % 2 else whole)(r)
    ]
    outcomes = at_once([str(number) for number in range(20)], True)
    for error, text in outcomes[1::2]:
        check_outcome(fault, error, text)
    assert outcomes[0::2] == [(None, "All well")] * 10

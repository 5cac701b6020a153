"""Every fault of time, met by threads at once: each call times out with the matching error."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
from faults import delays
from faults.table import (
    Fault,
    Script,
    cases,
    check_outcome,
    check_row,
    check_sockets,
    good,
    outcome,
    rows,
)
from server import Received

from mixmagic.errors import MixmagicError
from mixmagic.sessions import Session

LIMIT = 2.0  # seconds, of the one timeout that is tested
SLACK = 8.0  # seconds that a busy machine may add: far below the other timeouts
TABLES = {
    "first_byte_timeout": delays.FIRST_BYTE,
    "idle_timeout": delays.IDLE,
    "total_timeout": delays.TOTAL,
    "": delays.ENDLESS,  # bounded without a setting
}


@dataclass
class Met:
    """Results of a call that met a fault, and of a good call after it in the same session."""

    session: Session
    error: MixmagicError | None
    text: str | None
    seconds: float
    faulty: list[Received]
    after: tuple[MixmagicError | None, str | None]


@pytest.fixture(scope="module")
def met(place):
    """All the faults, met at the same time, each in a separate session."""
    listed = [
        (setting, *case.values)
        for setting, table in TABLES.items()
        for fault in table
        for case in fault.cases()
    ]
    scripts: dict[str, Script] = {}
    place.server.plan = [lambda request: scripts[prompt_of(request)](request)]
    alone, together = threading.Lock(), threading.Barrier(len(listed))

    def meet(number: int) -> Met:
        setting, fault, stream = listed[number]
        changed = {setting: LIMIT} if setting else {}
        session = Session(replace(place.session.settings, **changed))
        scripts[str(number)] = Script(fault.answers)
        scripts[f"before {number}"] = scripts[f"after {number}"] = Script([good(stream)])
        with alone:  # all of them opening their files at once take longer than LIMIT
            assert outcome(session, f"before {number}", stream) == (None, "All well")
        together.wait(timeout=30)
        at = time.monotonic()
        error, text = outcome(session, str(number), stream)
        seconds = time.monotonic() - at
        faulty = [each for each in place.server.received if prompt_of(each) == str(number)]
        after = outcome(session, f"after {number}", stream)
        return Met(session, error, text, seconds, faulty, after)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(listed)) as pool:
        patch.setattr("mixmagic.backends.http.backend._AFTER_FINISH", LIMIT)
        made = list(pool.map(meet, range(len(listed))))
    yield {
        (fault.name, stream): each for (_, fault, stream), each in zip(listed, made, strict=True)
    }
    for each in made:
        each.session.close()


def prompt_of(request: Received) -> str:
    return request.body["messages"][-1]["content"]


@cases(*TABLES.values())
def test_a_call_ends_in_its_time(fault: Fault, stream, place, met):
    found = met[fault.name, stream]
    text = found.text
    if fault.name == "text for ever":  # as often as there was time for it
        assert text.count("Hi") * 2 == len(text)
        text = text[:2]
    check_outcome(fault, found.error, text)
    assert found.seconds < LIMIT + SLACK
    if fault.kind is not None and fault not in delays.ENDLESS:
        assert found.seconds >= LIMIT
    assert len(found.faulty) == fault.requests
    assert found.after == (None, "All well")
    check_sockets(place.server, found.faulty)
    _, row, after = [row for row in rows(place.home) if row["session"] == found.session.id]
    check_row(fault, row)
    assert after["status"] == "ok"

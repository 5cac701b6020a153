"""Around a call: the session total for its footer, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal

from server import Answer
from server import together as pieces

from mixmagic.calls.interrupts import Calls
from mixmagic.calls.running import Call
from mixmagic.display.live import _interrupts, session_total
from mixmagic.sessions import Session


def test_an_unknown_price_makes_the_session_total_a_lower_bound(home, together, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", together.url)
    together.plan = [Answer(pieces("Hi")), Answer(pieces("Hi"))]
    with contextlib.closing(Session()) as session:
        session.ask("Hi", model="together:8x7b")
        assert session_total(session).startswith("$0.0")
        session.ask("Hi", model="openai:x")
        assert session_total(session).startswith("at least $0.0")


def test_the_first_ctrl_c_restores_the_handler_for_the_second(session):
    before = signal.getsignal(signal.SIGINT)
    call = Call(session.stream, session.request("Hi", model="local"))
    with _interrupts(Calls(), call) as interrupted:
        assert signal.getsignal(signal.SIGINT) is not before
        signal.raise_signal(signal.SIGINT)
        assert interrupted == [True]
        assert signal.getsignal(signal.SIGINT) is before
    with _interrupts(Calls(), call):
        pass
    assert signal.getsignal(signal.SIGINT) is before

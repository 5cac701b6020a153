"""The form of a fault, and the checks of a call that met one."""

from __future__ import annotations

import json
import sqlite3
import traceback
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from server import Answer, Raw, Received, chunk, frames, head, together, usage, whole

from mixmagic.errors import MixmagicError
from mixmagic.sessions import Session

MAX_RETRIES = 2
TRIES = MAX_RETRIES + 1

HI = frames(chunk("Hi"), done=False)
STOP = frames(chunk("", "stop"), done=False)
DONE = b"data: [DONE]\n\n"
FINAL = frames(chunk("", "stop", **usage(9, 1)))
EVENTS, JSON = "text/event-stream", "application/json"

# What the ledger says of a call: it was refused and is free; what it cost was counted by us, or
# by the provider.
Bill = Literal["free", "estimated", "counted"]


@dataclass(frozen=True)
class Fault:
    """One way in which a provider misbehaves, and the result that a call must have.

    Attributes:
        name: What the test is called.
        kind: The error, or `None` where the answer is whole all the same.
        answers: What the server sends to the first try, the second, …; the last is repeated.
        text: The answer, or what of it is kept on the error; `None` where nothing had come.
        requests: How many requests the server sees.
        bill: How the ledger prices it.
        stream: Whether it is met by streamed calls, by whole ones, or by both (`None`).
        says: What the error says.
        silent: True if the connection ends without a byte of an answer.
    """

    name: str
    kind: type[MixmagicError] | None
    answers: tuple[Answer | Raw, ...]
    text: str | None = None
    requests: int = 1
    bill: Bill = "estimated"
    stream: bool | None = True
    says: str = ""
    silent: bool = False

    @property
    def outcome(self) -> tuple[Any, ...]:
        """Everything in which calls that meet the fault end differently."""
        *_, last = self.answers[0].steps
        ending = last if isinstance(last, str) else type(self.answers[0])
        return self.kind, self.text is None, self.requests, self.bill, ending

    def cases(self) -> list[Any]:
        """The fault as pytest's parameters, with whether the call is streamed."""
        forms = (True, False) if self.stream is None else (self.stream,)
        return [
            pytest.param(self, form, id=f"{self.name}-{'streamed' if form else 'whole'}")
            for form in forms
        ]


def cases(*tables: Iterable[Fault]) -> Any:
    """Run a test for every fault of the tables, as `fault` and `stream`."""
    listed = [case for table in tables for fault in table for case in fault.cases()]
    return pytest.mark.parametrize(("fault", "stream"), listed)


def representatives(*tables: Iterable[Fault]) -> list[Any]:
    """Return the first case of each outcome.

    Two cases have the same outcome if they raise the same error, keep text or none, are tried as
    often, are billed alike, are both streamed or not, and their connections end in the same way.
    """
    firsts: dict[tuple[Any, ...], Any] = {}
    for case in (case for table in tables for fault in table for case in fault.cases()):
        fault, stream = case.values
        firsts.setdefault((*fault.outcome, stream), case)
    return list(firsts.values())


def each_outcome(*tables: Iterable[Fault]) -> Any:
    """Run a test for the representatives of the tables, as `fault` and `stream`."""
    return pytest.mark.parametrize(("fault", "stream"), representatives(*tables))


class Script:
    """Answers each prompt's calls in turn; the last answer is repeated."""

    def __init__(self, answers: Iterable[Answer | Raw]) -> None:
        self._answers = tuple(answers)
        self._asked: defaultdict[str, int] = defaultdict(int)

    def __call__(self, request: Received) -> Answer | Raw:
        prompt = request.body["messages"][-1]["content"]
        turn, self._asked[prompt] = self._asked[prompt], self._asked[prompt] + 1
        return self._answers[min(turn, len(self._answers) - 1)]


def good(stream: bool) -> Answer:
    """Return a good answer."""
    return Answer(together("All", " well")) if stream else whole("All well")


def streamed(*steps: bytes | float | str, **options: Any) -> Answer:
    return Answer(steps, **options)


def raw(*steps: bytes | float | str) -> Raw:
    return Raw(steps)


def body(*steps: bytes | float | str) -> Answer:
    """The steps as an answer that is not streamed."""
    return Answer(steps, type=JSON)


def document(text: str | None = "Hi", finish: Any = "stop", **more: Any) -> bytes:
    """The JSON of an answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    return json.dumps({"choices": [choice | {"finish_reason": finish}], **more}).encode()


def events_head(**headers: str) -> bytes:
    return head(content_type=EVENTS, **headers)


def rows(home: Path) -> list[dict[str, Any]]:
    """The ledger's rows, read from its file."""
    if not (home / "data" / "ledger.db").exists():
        return []
    connection = sqlite3.connect(home / "data" / "ledger.db")
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM calls ORDER BY id")]
    finally:
        connection.close()


def outcome(session: Session, prompt: str, stream: bool) -> tuple[MixmagicError | None, str | None]:
    """Ask Mixtral; return the error, if any, and the text received."""
    try:
        answer = session.ask(prompt, model="8x7b", stream=stream)
    except MixmagicError as error:
        return error, None if error.partial is None else error.partial.text
    return None, answer.text


def check_requests(server: Any, fault: Fault) -> None:
    """As many as the fault has; one more if a kept connection without TLS gave not one byte."""
    repeated = fault.silent and server.url.startswith("http:")
    assert fault.requests <= len(server.received) <= fault.requests + repeated


def check_outcome(fault: Fault, error: MixmagicError | None, text: str | None) -> None:
    """Check that the answer is whole, or that the call failed with the fault's error and text."""
    assert type(error) is (fault.kind or type(None)), (error, error and error.__context__)
    assert text == fault.text, (text, fault.text)
    if error is not None:
        assert fault.says in error.message
        lines = error._render_traceback_()
        assert len(lines) == 2
        assert not any("\n" in line for line in lines)
        assert "canary" not in "".join(traceback.format_exception(error)) + repr(error)
        if error.partial is not None:
            assert error.partial.finish == "broken off"


def check_row(fault: Fault, row: dict[str, Any]) -> None:
    """Check that the ledger's row says how the call ended and what it cost."""
    assert row["status"] == ("ok" if fault.kind is None else "failed"), row
    if fault.kind is not None:
        assert row["error"].startswith(f"{fault.kind.__name__}: "), row
    assert (row["counted"] == "server") == (fault.bill == "counted"), row
    assert (row["cost_nanodollars"] > 0) == (fault.bill != "free"), row
    assert (row["prompt_tokens"] > 0) == (fault.bill != "free"), row
    if fault.text:
        assert row["completion_tokens"] > 0, row


def idle(session: Session) -> set[int]:
    """The ports of the connections that the session keeps for its next calls."""
    connections = session.backends._made["http"].transport.connections
    kept = [each._connection for each in connections if each.is_idle()]
    streams = [each._network_stream for each in kept if each]
    return {stream.get_extra_info("socket").getsockname()[1] for stream in streams}


def check_sockets(server: Any, faulty: list[Received], session: Session | None = None) -> None:
    """Check that every connection is closed, used again, or kept for the next call."""
    again = {received.connection for received in server.received if received not in faulty}

    def over() -> bool:
        kept = again | (idle(session) if session else set())
        return all(received.closed_at or received.connection in kept for received in faulty)

    server.wait(over)

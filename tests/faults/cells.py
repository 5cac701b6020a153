"""Checks of what a cell shows of a fault."""

from __future__ import annotations

from faults.table import Fault, Script, check_requests, check_row, check_sockets, good, rows
from kernels import Desk, Ran


def cell(stream: bool) -> str:
    return f"%%mixtral{'' if stream else ' --no-stream'}\nHi"


def shown(ran: Ran) -> list[str]:
    """Return the answer's outputs as plain text, without the error, thoughts and wait messages."""
    plain = [output.get("data", {}).get("text/plain") for output in ran.outputs]
    assert not any(output["kind"] == "stream" for output in ran.outputs), ran.text
    others = ("no answer from ", "(Thought for ")
    return [text for text in plain if text and not text.startswith(others)]


def check_cell(fault: Fault, ran: Ran) -> None:
    """Check that the cell fails with two lines below the partial answer, or shows the answer."""
    texts = shown(ran)
    assert len(texts) == (fault.text is not None), ran.outputs
    if fault.text is not None:
        assert texts[0].startswith(fault.text), texts
    if fault.kind is None:
        assert ran.status == "ok", ran.text
        return
    assert ran.status == "error"
    assert ran.reply["ename"] == fault.kind.__name__
    assert len(ran.traceback) == 2
    assert ran.traceback[0].startswith(f"{fault.kind.__name__}: ")
    assert ran.traceback[1].startswith("Hint: ")
    assert fault.says in ran.traceback[0]
    assert "canary" not in ran.text
    if fault.text is not None:
        assert "broken off" in texts[0]


def meet(desk: Desk, fault: Fault, stream: bool) -> None:
    """Run a cell that meets a fault, then one that gets a good answer; check both."""
    before = len(rows(desk.home))
    check_cell(fault, desk.run(cell(stream), Script(fault.answers)))
    check_requests(desk.server, fault)
    faulty = list(desk.server.received)
    desk.server.plan = [good(stream)]
    again = desk.kernel.run(cell(stream))
    assert again.status == "ok", again.text
    assert shown(again)[0].startswith("All well\n")
    check_sockets(desk.server, faulty)
    row, after = rows(desk.home)[before:]
    check_row(fault, row)
    assert after["status"] == "ok"

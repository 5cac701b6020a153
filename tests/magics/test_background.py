"""`--bg`: the kernel is free at once, and the answer fills in below its own cell."""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels import Desk, Ran, notebook_client
from server import CUT, HANG, Answer, Raw, chunk, chunked, frames, head, refusal, together

from mixmagic.magics._shell.options import Options

HELLO = Answer(together("Hello", " there"))
HALF = Answer([frames(chunk("Half "), chunk("an "), done=False), HANG])


@pytest.fixture(scope="module")
def module_desk(tmp_path_factory):
    desk = record(Desk(tmp_path_factory.mktemp("desk")))
    desk.run("import mixmagic, time; session = mixmagic.session()")
    yield desk
    desk.close()


@pytest.fixture
def desk(module_desk):
    yield module_desk
    module_desk.run("%mixmagic running --stop all")
    module_desk.run("while session.calls.background: time.sleep(0.01)")


class Gate:
    """An answer that begins, and goes on when `open` is called."""

    def __init__(self, *texts: str, first: str = "Half ") -> None:
        self._event, self._texts, self._first = threading.Event(), texts, first

    def open(self) -> None:
        self._event.set()

    def __call__(self, received: Any) -> Raw:
        return Raw(self._steps())

    def _steps(self) -> Iterator[bytes]:
        yield head(content_type="text/event-stream", transfer_encoding="chunked")
        yield chunked(frames(chunk(self._first), done=False))
        self._event.wait(60)
        yield from map(chunked, [*together(*self._texts), b""])


def record(desk: Desk) -> Desk:
    """Let a desk keep every message: those of background cells arrive while others run."""
    receive, desk.log = desk.kernel.client.get_iopub_msg, []

    def received(**options: Any) -> dict[str, Any]:
        message = receive(**options)
        desk.log.append((time.monotonic(), message))
        return message

    desk.kernel.client.get_iopub_msg = received
    return desk


def rest(desk: Desk, *ran: Ran, until: Any, timeout: float = 30.0) -> None:
    """Collect the messages of these cells, also those that arrive after they have ended."""
    deadline = time.monotonic() + timeout
    while True:
        for each in ran:
            sent = _parent(each.messages[0])
            each.messages = [message for message in desk.log if _parent(message) == sent]
        if until():
            return
        assert time.monotonic() < deadline, [each.text for each in ran]
        with contextlib.suppress(queue.Empty):
            desk.kernel.client.get_iopub_msg(timeout=0.1)


def _parent(logged: tuple[float, dict[str, Any]]) -> str | None:
    return logged[1]["parent_header"].get("msg_id")


def bodies(desk: Desk) -> list[str]:
    return [each.body["messages"][-1]["content"].strip() for each in desk.server.received]


def statuses(desk: Desk) -> list[str]:
    """Return the statuses of the calls in the ledger, in order."""
    if not (desk.home / "data" / "ledger.db").exists():
        return []
    with sqlite3.connect(desk.home / "data" / "ledger.db") as connection:
        rows = connection.execute("SELECT status FROM calls ORDER BY id").fetchall()
    connection.close()
    return [status for (status,) in rows]


def test_the_kernel_is_free_and_the_answer_fills_in(desk):
    gate = Gate("an answer")
    ran = desk.run("%%mixtral --bg -o answer\nHi", gate)
    assert ran.status == "ok"
    assert "waiting for together:8x7b in the background" in ran.text
    assert desk.run("print(1 + 1)").text == "2\n"
    assert desk.value("answer.done") is False
    rest(desk, ran, until=lambda: "Half" in ran.text)
    gate.open()
    rest(desk, ran, until=lambda: "tokens" in ran.text)
    assert "Half an answer" in ran.text
    assert "session" in ran.text
    assert len(ran.outputs) == 1
    assert desk.value("answer.text") == "Half an answer"
    assert desk.value("type(answer).__name__") == "BackgroundCall"
    assert desk.value("answer.result().usage.completion_tokens") == 1


def test_no_message_of_the_answer_belongs_to_another_cell(desk):
    gate = Gate(*(f"word{number} " for number in range(200)))
    ran = desk.run("%%mixtral --bg -o answer\nHi", gate)
    gate.open()
    other = desk.run("for number in range(40): print(number); time.sleep(0.01)")
    captured = desk.run("%%capture caught\ndisplay(1)\nanswer.text\ntime.sleep(0.2)")
    assert captured.outputs == []
    assert desk.value("len(caught.outputs)") == 1
    printed = "".join(output["text"] for output in other.outputs)
    assert printed == "".join(f"{number}\n" for number in range(40))
    assert set(other.kinds) == {"status", "execute_input", "stream"}
    rest(desk, ran, until=lambda: "tokens" in ran.text)
    assert "word199" in ran.text


def test_several_at_once_fill_their_own_cells(desk):
    gates = {name: Gate(f"is {name}", first=f"{name} ") for name in "abc"}
    desk.plan(lambda received: gates[received.body["messages"][-1]["content"].strip()](received))
    cells = [desk.run(f"%%mixtral --bg -o {name}\n{name}") for name in "abc"]
    for name in "cab":
        gates[name].open()
        desk.run(f"{name}.text")
    assert desk.value("[a.text, b.text, c.text]") == ["a is a", "b is b", "c is c"]
    rest(desk, *cells, until=lambda: all("tokens" in each.text for each in cells))
    for name, ran in zip("abc", cells, strict=True):
        assert f"{name} is {name}" in ran.text
        assert len(ran.outputs) == 1


def test_a_later_prompt_waits_for_the_answer(desk):
    gate = Gate("an answer")
    desk.run("%%mixtral --bg -o answer\nHi", gate)
    threading.Timer(0.3, gate.open).start()
    desk.server.plan = [gate, HELLO]
    ran = desk.run("%mixtral Sum up {{ answer }}!")
    assert ran.status == "ok", ran.text
    assert bodies(desk) == ["Hi", "Sum up Half an answer!"]


def test_its_repr_tells_how_far_it_is_and_does_not_wait(desk):
    ran = desk.run("%%mixtral --bg -o answer\nHi", HALF)
    rest(desk, ran, until=lambda: "Half an" in ran.text)
    shown = desk.value("repr(answer)")
    assert shown.startswith("<Call to together:8x7b: ")
    assert shown.endswith(" s, 2 tokens so far>")
    assert "2 tokens so far" in desk.run("answer").text
    desk.run("answer.stop()\nanswer.wait(10)")
    shown = desk.value("repr(answer)")
    assert re.match(r"<Call to together:8x7b: Stopped: \d tokens? kept, priced as", shown)


def test_a_failure_is_two_lines_in_its_cell_and_raised_by_text(desk):
    ran = desk.run("%%mixtral --bg -o answer\nHi", Answer([frames(chunk("Half"), done=False), CUT]))
    rest(desk, ran, until=lambda: "StreamBroken" in ran.text)
    assert "Half" in ran.text
    assert "Hint: " in ran.text
    for expression in ("answer.text", "answer.value", "answer.result()", "str(answer)"):
        failed = desk.run(expression)
        assert failed.reply["ename"] == "StreamBroken"
        assert len(failed.traceback) == 2
    assert desk.run("%mixtral {{ answer }}").reply["ename"] == "StreamBroken"
    assert desk.value("repr(answer)").startswith("<Call to together:8x7b: StreamBroken: ")


def test_it_has_the_attributes_of_a_completion_and_is_copied_as_one(desk):
    gate = Gate("an answer")
    desk.run("import copy, pickle\n%mixtral --bg -o answer Hi", gate)
    assert desk.value("{'cost', 'usage', 'done'} <= set(dir(answer)) and answer.done") is False
    gate.open()
    assert desk.value("answer.usage.completion_tokens") > 0
    assert desk.value("(answer.finish, answer.others, answer.code_blocks)") == ("stop", (), ())
    assert desk.value("answer.model.name") == "together:8x7b"
    assert desk.value("answer.cost == answer.result().cost > 0") is True
    for copied in (
        "copy.copy(answer)",
        "copy.deepcopy(answer)",
        "pickle.loads(pickle.dumps(answer))",
    ):
        assert desk.value(f"{copied} == answer.result()") is True
    assert (
        desk.value("(hasattr(answer, 'nothing'), hasattr(answer, '_repr_html_'))") == (False,) * 2
    )
    assert desk.value("answer.partial") is None
    desk.run("%mixtral --bg -o answer Hi", Answer([frames(chunk("Half"), done=False), CUT]))
    assert desk.run("answer.usage").reply["ename"] == "StreamBroken"
    assert desk.value("answer.partial.text") == "Half"
    desk.run("%mixtral --bg -o answer Hi", refusal(401, {}))
    assert desk.run("answer.usage").reply["ename"] == "KeyRejected"
    assert desk.value("answer.partial") is None


def test_what_is_wrong_in_the_cell_fails_at_once(desk):
    for cell, error in (
        ("%%mixtral --bg -m nothing\nHi", "UnknownModel"),
        ("%%mixtral --bg\n{{ nothing }}", "BadArguments"),
        ("%%mixtral --bg -t 9\nHi", "BadArguments"),
        ("%%mixtral --bg\n{{ 1/0 }}", "BadArguments"),
    ):
        assert desk.run(cell).reply["ename"] == error


def test_an_inserted_cell_is_refused(desk):
    ran = desk.run("%%mixtral --bg -i\nHi")
    assert ran.reply["ename"] == "BadArguments"
    assert "--bg cannot put a new cell below" in ran.text
    assert Options(bg=True).bg


def test_an_interrupt_of_another_cell_does_not_stop_it(desk):
    gate = Gate("an answer")
    ran = desk.run("%%mixtral --bg -o answer\nHi", gate)
    rest(desk, ran, until=lambda: "Half" in ran.text)
    sent = desk.kernel.send("print('on'); time.sleep(30)")
    desk.kernel.collect(sent, until=lambda ran: "on" in ran.text)
    desk.kernel.interrupt()
    assert desk.kernel.collect(sent).reply["ename"] == "KeyboardInterrupt"
    assert desk.value("answer.done") is False
    gate.open()
    assert desk.value("answer.text") == "Half an answer"


def test_an_interrupt_spares_a_background_call_that_began_during_the_other_cell(desk):
    first, second = Gate("first"), Gate("second")
    desk.plan(first, second)
    desk.run("%%mixtral --bg -c spared -o one\nOne?")
    desk.server.wait(lambda: desk.server.received)
    desk.run("%%mixtral --bg -c spared -o two\nTwo?")
    sent = desk.kernel.send("print('on'); time.sleep(30)")
    desk.kernel.collect(sent, until=lambda ran: "on" in ran.text)
    first.open()
    desk.server.wait(lambda: len(desk.server.received) == 2)
    desk.kernel.interrupt()
    assert desk.kernel.collect(sent).reply["ename"] == "KeyboardInterrupt"
    second.open()
    assert desk.value("two.text") == "Half second"


def test_an_interrupt_of_a_wait_stops_the_wait_alone(desk):
    gate = Gate("an answer")
    desk.run("%%mixtral --bg -o answer\nHi", gate)
    for cell in ("answer.text", "%mixtral {{ answer }}"):
        sent = desk.kernel.send(cell)
        time.sleep(0.5)
        desk.kernel.interrupt()
        ran = desk.kernel.collect(sent)
        assert ran.reply["ename"] == "Stopped"
        assert len(ran.traceback) == 1
    assert desk.value("answer.done") is False
    gate.open()
    assert desk.value("answer.text") == "Half an answer"


def test_running_lists_and_stops(desk):
    before = len(statuses(desk))
    ran = desk.run("%%mixtral --bg -o answer\nHi", HALF)
    other = desk.run("%%mixtral --bg -m 8x22b\nHi")
    rest(desk, ran, other, until=lambda: "Half an" in ran.text and "Half an" in other.text)
    listed = desk.run("%mixmagic running").text
    first, second = (line.split() for line in listed.splitlines()[1:3])
    assert first[1] == "together:8x7b"
    assert first[3:5] == ["2", "answer"]
    assert first[5] == f"In[{ran.reply['execution_count']}]"
    assert second[1] == "together:8x22b"
    stopped = desk.run(f"%mixmagic running --stop {first[0]}")
    assert stopped.text.strip() == "Stopped 1 call; the answers so far are kept."
    rest(desk, ran, until=lambda: "stopped" in ran.text)
    assert desk.run("answer.text").reply["ename"] == "Stopped"
    assert "Half an" in ran.text
    assert "tokens kept, priced as" in desk.run("answer.cost").text
    assert desk.value("answer.partial.text") == "Half an "
    assert desk.run("%mixmagic running --stop 4711").reply["ename"] == "BadArguments"
    desk.run("%mixmagic running --stop all")
    rest(desk, other, until=lambda: "stopped" in other.text)
    desk.run("while session.calls.background: time.sleep(0.01)")
    rest(desk, ran, other, until=lambda: True)
    assert ran.text.lower().count("stopped") == other.text.lower().count("stopped") == 1
    assert desk.run("%mixmagic running").text.strip() == "No calls."
    assert statuses(desk)[before:] == ["stopped", "stopped"]
    for received in desk.server.received:
        assert desk.server.wait(lambda received=received: received.closed_at, timeout=5)


def test_values_of_formats_and_schemas(desk):
    ran = desk.run("%%mixtral --bg -o answer -f json\nHi", Answer(together('{"a": 1}')))
    assert desk.value("answer.value") == {"a": 1}
    rest(desk, ran, until=lambda: "tokens" in ran.text)
    assert '"a": 1' in ran.text
    desk.run(
        "shape = {'type': 'object', 'properties': {'a': {'type': 'integer'}}, 'required': ['a']}"
    )
    desk.plan(Answer(together('{"b": 2}')), Answer(together('{"a": 2}')))
    ran = desk.run("%%mixtral --bg -o answer --schema shape\nHi")
    assert desk.value("answer.value") == {"a": 2}
    assert len(desk.server.received) == 2
    rest(desk, ran, until=lambda: "tokens" in ran.text)
    assert '"a": 2' in ran.text
    ran = desk.run("%%mixtral --bg -o answer -f json\nHi", Answer(together("none")))
    assert desk.run("answer.value").reply["ename"] == "AnswerUnusable"
    rest(desk, ran, until=lambda: "AnswerUnusable" in ran.text)
    assert "none" in ran.text
    ran = desk.run("%%mixtral --bg -o answer\nHi", HELLO)
    assert desk.value("answer.value") is None


def test_several_answers_and_long_ones(desk):
    text = "".join(f"Line {number} of a long answer.\n\n" for number in range(600))
    pieces = [text[at : at + 500] for at in range(0, len(text), 500)]
    ran = desk.run("%%mixtral --bg -o answer\nHi", Answer(together(*pieces)))
    rest(desk, ran, until=lambda: "tokens/s" in ran.text or "session" in ran.text)
    assert desk.value("answer.text") == text
    assert len(ran.outputs) == 1
    assert "Line 0 of" in ran.markdown
    assert "Line 599 of" in ran.markdown
    assert set(ran.kinds) <= {"status", "execute_input", "display_data", "update_display_data"}


def test_a_conversation_keeps_its_order(desk):
    gate = Gate("first")
    desk.plan(gate, Answer(together("second")), Answer(together("third")))
    desk.run("%%mixtral --bg -c trip -o one\nOne?")
    desk.server.wait(lambda: desk.server.received)
    second = desk.run("%%mixtral --bg -c trip -o two\nTwo?")
    assert "waiting for" in second.text
    assert "waiting" in desk.run("%mixmagic running").text
    threading.Timer(0.3, gate.open).start()
    ran = desk.run("%%mixtral -c trip -o three\nThree?")
    assert ran.status == "ok", ran.text
    sent = [[m["content"].strip() for m in each.body["messages"]] for each in desk.server.received]
    assert sent == [
        ["One?"],
        ["One?", "Half first", "Two?"],
        ["One?", "Half first", "Two?", "second", "Three?"],
    ]
    asked = desk.value("[each.question.strip() for each in session.chats.exchanges('trip')]")
    assert asked == ["One?", "Two?", "Three?"]
    assert "waiting for the earlier answer in conversation trip" in str(ran.messages)


def test_what_a_long_conversation_leaves_out_is_said_once(desk):
    long, gate = "word " * 22_000, Gate("third")
    desk.run(f"%%mixtral -c long\nOne {long}", HELLO)
    desk.run(f"%%mixtral -c long\nTwo {long}", HELLO)
    desk.run("%%mixtral --bg -c long\nThree?", gate, HELLO)
    desk.run(f"%%mixtral --bg -c long -o last\nFour? {long}")
    gate.open()
    assert str(desk.value("last.notes")).count("to fit the context") == 1


def test_a_failed_exchange_does_not_hold_up_its_conversation(desk):
    desk.plan(refusal(400, {"error": {"message": "no"}}), HELLO)
    desk.run("%%mixtral --bg -c broken\nOne?")
    ran = desk.run("%%mixtral -c broken\nTwo?")
    assert ran.status == "ok", ran.text
    assert [m["content"].strip() for m in desk.sent["messages"]] == ["Two?"]


def test_a_cell_that_waits_for_its_conversation_can_be_stopped(desk):
    desk.run("%%mixtral --bg -c stopped -o one\nOne?", HALF)
    second = desk.run("%%mixtral --bg -c stopped -o two\nTwo?")
    desk.run("two.stop()")
    rest(desk, second, until=lambda: "Stopped" in second.text)
    assert len(desk.server.received) == 1


def test_the_budget_counts_it(desk):
    gate = Gate("an answer")
    desk.run("%mixmagic budget 0.05")
    desk.run("%%mixtral --bg -o answer --max-tokens 50\nHi", gate)
    desk.server.wait(lambda: desk.server.received)
    assert desk.value("session.budgets()[0].reserved > 0") is True
    gate.open()
    desk.run("answer.text")
    assert desk.value("session.budgets()[0].reserved == 0") is True
    ran = desk.run("%%mixtral --bg -o answer --budget 0.0000001\nHi", HELLO)
    rest(desk, ran, until=lambda: "BudgetExceeded" in ran.text)
    assert desk.run("answer.text").reply["ename"] == "BudgetExceeded"
    desk.run("%mixmagic budget off")


def test_what_sends_nothing_is_shown_at_once(desk):
    assert "dry run" in desk.run("%%mixtral --bg --dry-run\nHi", HELLO).text
    assert "curl" in desk.run("%%mixtral --bg --as curl\nHi").text
    assert desk.server.received == []


def test_a_cassette_files_its_calls_under_its_own_cell(desk):
    """Also one that begins while another cell runs; then it replays in any order."""
    gate = Gate("first")
    one, two = (f"%%mixtral --bg -c taped -o {name}\n{name}?" for name in ("one", "two"))
    desk.run("%mixmagic cassette taped.jsonl --mode once")
    desk.plan(gate, Answer(together("second")), Answer(together("alike")))
    desk.run(one)
    desk.server.wait(lambda: desk.server.received)
    desk.run(two)
    threading.Timer(0.3, gate.open).start()
    desk.run("two.text")
    path = desk.value("str(session.player.tape(session.settings).cassette.path)")
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    scopes = [hashlib.blake2b(cell.encode(), digest_size=4).hexdigest() for cell in (one, two)]
    assert [scope for scope in scopes if any(scope in json.dumps(line) for line in lines)] == scopes
    desk.run("%mixmagic cassette taped.jsonl --mode none\n%mixmagic chats forget taped")
    desk.plan(refusal(500, {}))
    for cell in (one, two):
        ran = desk.run(cell)
    assert desk.value("[one.text, two.text, two.result().origin]") == [
        "Half first",
        "second",
        "cassette",
    ]
    rest(desk, ran, until=lambda: "recorded" in ran.text)
    assert desk.server.received == []
    desk.run("%mixmagic cassette off")


def test_running_the_cell_again_stops_its_earlier_run(desk):
    """The output of that run is gone."""
    client = desk.kernel.client

    def run() -> None:
        content = {"code": "%%mixtral --bg -o answer\nHi", "silent": False, "store_history": True}
        message = client.session.msg("execute_request", {**content, "allow_stdin": True})
        message["metadata"]["cellId"] = "a-cell"
        client.shell_channel.send(message)
        assert desk.kernel.collect(message["header"]["msg_id"]).status == "ok"

    desk.plan(HALF, HELLO)
    run()
    desk.server.wait(lambda: desk.server.received)
    desk.run("first = answer")
    run()
    assert desk.run("first.text").reply["ename"] == "Stopped"
    assert desk.value("answer.text") == "Hello there"


@pytest.mark.parametrize("restart", [True, False])
def test_a_kernel_that_ends_stops_and_records_it(tmp_path_factory, restart):
    desk = record(Desk(tmp_path_factory.mktemp("desk")))
    try:
        ran = desk.run("%%mixtral --bg\nHi", HALF)
        rest(desk, ran, until=lambda: "Half an" in ran.text)
        if restart:
            desk.kernel.manager.restart_kernel(now=False)
        else:
            desk.kernel.manager.shutdown_kernel(now=False)
        assert desk.server.wait(lambda: desk.server.received[0].closed_at, timeout=10)
        assert statuses(desk) == ["stopped"]
    finally:
        desk.close()


def test_where_nobody_watches_the_cell_runs_in_front(together):
    together.plan = [HELLO, HELLO, Answer([frames(chunk("Half"), done=False), CUT])]
    client = notebook_client(
        "%load_ext mixmagic",
        "%%mixtral --bg -o answer\nHi",
        "print(answer.done, answer.text, answer.result().finish)",
        "%%mixtral --bg -o answer -c trip\nHi",
        "%%mixtral --bg -o answer\nHi",
    )
    client.allow_errors = True
    notebook = client.execute(cleanup_kc=True)
    (shown,) = notebook.cells[1].outputs
    assert "Hello there" in shown["data"]["text/markdown"]
    assert notebook.cells[2].outputs[0]["text"] == "True Hello there stop\n"
    assert notebook.cells[4].outputs[-1]["ename"] == "StreamBroken"


def test_a_cell_that_is_captured_runs_in_front(desk):
    desk.run("%%capture caught\n%mixtral --bg -o answer Hi", HELLO)
    assert desk.value("answer.done") is True
    assert "Hello there" in desk.run("caught.show()").text
    gate = Gate("first")
    desk.run("%%mixtral --bg -c caught\nOne?", gate, HELLO)
    threading.Timer(0.3, gate.open).start()
    desk.run("%%capture\n%mixtral --bg -c caught Two?")
    assert len(desk.sent["messages"]) == 3, "after the earlier answer of its conversation"

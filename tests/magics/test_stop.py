"""Ctrl-C and the stop button in a live kernel: at once, in one line, and what has come is kept."""

from __future__ import annotations

import ast
import sqlite3
import time

import pytest
from kernels import Desk, Ran
from patience import soon
from server import HANG, Answer, chunk, frames, together

HELLO = Answer(together("Hello", " ", "there"))
# Loose, against a busy machine; the figures are printed.
PROMPT = 0.5


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


def answered(ran: Ran) -> bool:
    """Return True if an answer shows, not only the progress of loading the model."""
    shown = [output["data"] for output in ran.outputs if "data" in output]
    return any(not data["text/markdown"].startswith("<div ") for data in shown)


def shows(text: str):
    """Return True if a cell shows `text` by now."""
    return lambda ran: text in ran.text


def interrupt(desk: Desk, sent: str, ran: Ran | None = None) -> tuple[Ran, float]:
    """Interrupt the cell `sent`; what it did in all, and the seconds to its reply."""
    at = time.monotonic()
    desk.kernel.interrupt()
    rest = desk.kernel.collect(sent)
    before = ran.messages if ran else []
    return Ran(rest.reply, before + rest.messages, rest.replied_at), rest.replied_at - at


def assert_stopped(desk: Desk, ran: Ran, took: float, *, served: bool = True) -> None:
    """The cell failed in one line, promptly, and the server saw the connection end."""
    assert ran.status == "error"
    assert ran.reply["ename"] == "Stopped"
    assert len(ran.traceback) == 1
    begun = ("The answer so far is in `_`.", "Stopped before the answer began.")
    assert ran.traceback[0].startswith(begun)
    assert took < soon(PROMPT)
    if served:
        request = desk.server.received[-1]
        closed = desk.server.wait(lambda: request.closed_at, timeout=1)
        lag = closed - (ran.replied_at - took)
        print(f"\nreply after {took * 1000:.0f} ms, server saw the close after {lag * 1000:.0f} ms")
        assert lag < soon(PROMPT)


def last_row(desk: Desk) -> sqlite3.Row:
    """The last call in the ledger's file."""
    with sqlite3.connect(desk.home / "data" / "ledger.db") as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM calls ORDER BY id DESC LIMIT 1").fetchone()
    connection.close()
    return row


def assert_next_cell_works(desk: Desk) -> None:
    ran = desk.run("%%mixtral\nAgain", HELLO)
    assert ran.status == "ok"
    assert "Hello there" in ran.text


@pytest.mark.parametrize("live", [True, False], ids=["live", "static"])
@pytest.mark.parametrize(
    "steps",
    [[HANG], [frames(chunk(""), done=False), HANG]],
    ids=["before the head", "behind the head"],
)
def test_stop_before_the_first_token(desk, steps, live):
    desk.plan(Answer(steps))
    sent = desk.kernel.send("%%mixtral\nHi", live=live)
    desk.server.wait(lambda: desk.server.received)
    # The cell waits in the socket's read by now, or is about to.
    time.sleep(0.2)
    ran, took = interrupt(desk, sent)
    assert_stopped(desk, ran, took)
    assert ran.traceback[0].startswith("Stopped before the answer began.")
    row = last_row(desk)
    assert (row["status"], row["counted"], row["completion_tokens"]) == ("stopped", "exact", 0)
    assert row["prompt_tokens"] > 0
    assert_next_cell_works(desk)


def test_stop_in_the_middle_keeps_and_prices_what_has_come(desk):
    desk.plan(Answer([*together("One ", "two ", "three ")[:-1], HANG]))
    sent = desk.kernel.send("%%mixtral -o stopped\nHi there, how are you?")
    ran = desk.kernel.collect(sent, until=shows("three"))
    ran, took = interrupt(desk, sent, ran)
    assert_stopped(desk, ran, took)
    assert ran.traceback == ["The answer so far is in `_`."]
    assert [output["kind"] for output in ran.outputs] == ["display_data", "error"]
    kept = ran.outputs[0]["data"]["text/plain"]
    assert kept.startswith("One two three\n\ntogether:8x7b · ≈ 16 → 4 tokens · ≈ $0.000012 · ")
    assert " · stopped · session " in kept
    row = last_row(desk)
    assert (row["status"], row["error"], row["counted"]) == ("stopped", None, "exact")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (16, 4)
    assert row["cost_nanodollars"] == 20 * 600
    assert_next_cell_works(desk)
    bound = "(stopped.text, stopped.finish, stopped.usage.estimated, stopped.usage.total_tokens)"
    assert desk.value(bound) == ("One two three ", "stopped", True, 20)


def test_stop_in_the_middle_of_a_fast_answer_keeps_all_that_came(desk):
    steps: list = []
    for number in range(2000):
        steps += [frames(chunk(f"{number} "), done=False), 0.002]
    desk.plan(Answer(steps))
    sent = desk.kernel.send("%%mixtral -o fast\nCount")
    ran = desk.kernel.collect(sent, until=shows("100 "))
    ran, took = interrupt(desk, sent, ran)
    assert_stopped(desk, ran, took)
    text = desk.value("fast.text")
    assert text == "".join(f"{number} " for number in range(len(text.split())))
    assert text.rstrip() in ran.text


def test_stop_in_static_mode_shows_the_partial_answer_once(desk):
    desk.plan(Answer([*together("One ", "two ")[:-1], HANG]))
    sent = desk.kernel.send("%%mixtral -o static\nHi", live=False)
    desk.server.wait(lambda: desk.server.received)
    time.sleep(0.3)
    ran, took = interrupt(desk, sent)
    assert_stopped(desk, ran, took)
    assert [kind for kind in ran.kinds if "display" in kind] == ["display_data"]
    assert ran.outputs[0]["data"]["text/plain"].startswith("One two\n\n")
    assert desk.value("static.text") == "One two "


def test_stop_aborts_the_cells_queued_behind(desk):
    desk.plan(Answer([*together("One ")[:-1], HANG]))
    sent = desk.kernel.send("%%mixtral\nHi")
    queued = desk.kernel.send("print('must not run')")
    ran = desk.kernel.collect(sent, until=shows("One"))
    ran, took = interrupt(desk, sent, ran)
    assert_stopped(desk, ran, took)
    second = desk.kernel.collect(queued)
    assert second.status == "aborted"
    assert "must not run" not in second.text


def test_stop_while_whole_answers_are_awaited(desk):
    desk.plan(Answer([HANG], type="application/json"))
    sent = desk.kernel.send("%%mixtral --no-stream\nHi")
    desk.server.wait(lambda: desk.server.received)
    time.sleep(0.2)
    ran, took = interrupt(desk, sent)
    assert_stopped(desk, ran, took)


def test_stop_ends_a_loop_of_calls_and_not_only_one_of_them(desk):
    desk.plan(Answer([*together("One ")[:-1], HANG]))
    sent = desk.kernel.send("for i in range(3):\n    %mixtral Hi {i}")
    ran = desk.kernel.collect(sent, until=shows("One"))
    ran, took = interrupt(desk, sent, ran)
    assert ran.reply["ename"] == "Stopped"
    assert took < soon(PROMPT)
    assert len(desk.server.received) == 1


def test_stop_of_ask_in_plain_python_closes_the_connection_too(desk):
    desk.plan(Answer([*together("One ")[:-1], HANG]))
    sent = desk.kernel.send("import mixmagic\nmixmagic.ask('Hi')")
    request = desk.server.wait(lambda: desk.server.received)[-1]
    time.sleep(0.2)
    ran, took = interrupt(desk, sent)
    assert ran.reply["ename"] == "Stopped"
    assert ran.traceback == [
        "Stopped: 2 tokens kept in mixmagic.stopped(), priced as ≈ $0.0000066."
    ]
    closed = desk.server.wait(lambda: request.closed_at, timeout=2)
    print(f"\nask: reply after {took * 1000:.0f} ms")
    assert closed - (ran.replied_at - took) < 2
    assert last_row(desk)["status"] == "stopped"


def test_the_sigint_handler_is_the_kernels_own_again(desk):
    look = "__import__('signal').getsignal(2).__qualname__"
    before = desk.value(look)
    desk.run("%%mixtral\nHi", HELLO)
    assert desk.value(look) == before
    desk.plan(Answer([*together("One ")[:-1], HANG]))
    sent = desk.kernel.send("%%mixtral\nHi")
    ran = desk.kernel.collect(sent, until=shows("One"))
    interrupt(desk, sent, ran)
    assert desk.value(look) == before


def test_no_thread_and_no_open_row_is_left_behind(desk):
    names = desk.run(
        "import threading; print([t.name for t in threading.enumerate() if 'mixmagic' in t.name])"
    )
    assert set(ast.literal_eval(names.text)) <= {"mixmagic-log-sync"}
    with sqlite3.connect(desk.home / "data" / "ledger.db") as connection:
        (left,) = connection.execute("SELECT COUNT(*) FROM calls WHERE status = 'open'").fetchone()
    connection.close()
    assert left == 0


def test_stop_of_the_embedded_model_in_the_middle(desk):
    sent = desk.kernel.send(
        "%%mixtral -m local -t 0 -o counted --max-tokens 2000\nWrite a long story about a kettle."
    )
    ran = desk.kernel.collect(sent, timeout=120, until=answered)
    ran, took = interrupt(desk, sent, ran)
    print(f"\nembedded model: reply after {took * 1000:.0f} ms")
    assert_stopped(desk, ran, took, served=False)
    assert ran.traceback == ["The answer so far is in `_`."]
    assert desk.value("counted.finish") == "stopped"
    assert 0 < desk.value("counted.usage.completion_tokens") < 2000
    row = last_row(desk)
    assert (row["status"], row["provider"], row["cost_nanodollars"]) == ("stopped", "local", 0)
    again = desk.run("%%mixtral -m local --max-tokens 4\nHi", timeout=120)
    assert again.status == "ok", again.text


def test_stop_of_the_embedded_model_while_it_reads_a_long_prompt(desk):
    words = " ".join(str(number) for number in range(900))
    sent = desk.kernel.send(f"%%mixtral -m local -o unread\n{words}")
    desk.kernel.collect(sent, until=lambda ran: "execute_input" in ran.kinds)
    time.sleep(0.3)
    ran, took = interrupt(desk, sent)
    print(f"\nembedded model, reading its prompt: reply after {took * 1000:.0f} ms")
    assert_stopped(desk, ran, took, served=False)
    assert desk.value("(unread.text, unread.finish)") == ("", "stopped")
    again = desk.run("%%mixtral -m local --max-tokens 4\nHi", timeout=120)
    assert again.status == "ok", again.text

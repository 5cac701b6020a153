"""An interrupt stops every call that the running cell has begun, in whatever thread."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time

import pytest
from kernels import Desk, Kernel, Ran
from server import HANG, Answer, chunk, frames, together

HALF = Answer([frames(chunk("Half "), chunk("an "), done=False), HANG])
HELLO = Answer(together("Hello", " there"))
SETUP = """
import asyncio, threading, mixmagic
from concurrent.futures import ThreadPoolExecutor
questions = [f"q{number}" for number in range(40)]
old = ThreadPoolExecutor(4)
list(old.map(str, range(8)))
mixmagic.ask("Hi")
"""
# A cell, and how many calls are under way at once.
CELLS = {
    "a loop": ("for q in questions: mixmagic.ask(q)", 1),
    "a loop that shows": ("for q in questions:\n    %mixtral {{ q }}", 1),
    "a map": ("import pandas\npandas.Series(questions).map(lambda q: mixmagic.ask(q).text)", 1),
    "a stream": ("for q in questions:\n    for piece in mixmagic.stream(q): print(piece)", 1),
    "a pool": ("with ThreadPoolExecutor(4) as pool: list(pool.map(mixmagic.ask, questions))", 4),
    "a pool that stays": (
        (
            "futures = [old.submit(mixmagic.ask, q) for q in questions]\n"
            "[each.result() for each in futures]"
        ),
        4,
    ),
    "a pool that streams": (
        (
            "def texts(q): return list(mixmagic.stream(q))\n"
            "with ThreadPoolExecutor(4) as pool: list(pool.map(texts, questions))"
        ),
        4,
    ),
    "threads": (
        (
            "threads = [threading.Thread(target=mixmagic.ask, args=[q]) for q in 'abc']\n"
            "[each.start() for each in threads]\n[each.join() for each in threads]"
        ),
        3,
    ),
    "to_thread": ("await asyncio.to_thread(mixmagic.ask, 'Hi')", 1),
    "gathered": ("await asyncio.gather(*(asyncio.to_thread(mixmagic.ask, q) for q in 'abc'))", 3),
    "an async loop": ("for q in questions: await asyncio.to_thread(mixmagic.ask, q)", 1),
    "awaited": ("await mixmagic.aask('Hi')", 1),
    "awaited in a loop": ("for q in questions: await mixmagic.aask(q)", 1),
    "awaited together": ("await asyncio.gather(*map(mixmagic.aask, 'abc'))", 3),
    "an async stream": ("async for piece in mixmagic.astream('Hi'): print(piece)", 1),
    "beside a cell's own": (
        "thread = threading.Thread(target=mixmagic.ask, args=['a'])\nthread.start()\n%mixtral Hi",
        2,
    ),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    assert desk.run(SETUP, HELLO).status == "ok"
    yield desk
    desk.close()


def statuses(desk: Desk) -> list[str]:
    """Return the statuses of the calls in the ledger, in order."""
    with sqlite3.connect(desk.home / "data" / "ledger.db") as connection:
        rows = connection.execute("SELECT status FROM calls ORDER BY id").fetchall()
    connection.close()
    return [status for (status,) in rows]


def interrupted(desk: Desk, cell: str, count: int) -> Ran:
    """Run a cell until so many calls are under way, and interrupt it."""
    desk.plan(HALF)
    sent = desk.kernel.send(cell)
    desk.server.wait(lambda: len(desk.server.received) >= count)
    time.sleep(0.3)  # its pieces are on their way; the kernel is busy, nothing tells of them
    desk.kernel.interrupt()
    ran = desk.kernel.collect(sent, timeout=20)
    deadline = time.monotonic() + 20
    while _silently(desk, "mixmagic.session().running or old._work_queue.qsize()") not in (
        "0",
        "[]",
    ):
        assert time.monotonic() < deadline
    return ran


def _silently(desk: Desk, expression: str) -> str:
    """Evaluate an expression in the kernel without beginning a cell."""
    client = desk.kernel.client
    sent = client.execute("", silent=True, user_expressions={"asked": expression})
    reply = desk.kernel.collect(sent, timeout=20).reply
    return reply["user_expressions"]["asked"]["data"]["text/plain"]


@pytest.mark.parametrize("name", CELLS)
def test_an_interrupt_ends_the_cell_and_all_of_its_calls(desk, name):
    cell, count = CELLS[name]
    before = len(statuses(desk))
    ran = interrupted(desk, cell, count)
    assert ran.status == "error", ran.text
    received = list(desk.server.received)
    for each in received:
        desk.server.wait(lambda each=each: each.closed_at, timeout=5)
    desk.plan(HELLO)
    again = desk.run("[mixmagic.ask('Again').text, old.submit(mixmagic.ask, 'Pool').result().text]")
    assert again.text == "['Hello there', 'Hello there']", "the next cell asks as before"
    assert len(received) == count, "no further question has been sent"
    made = statuses(desk)[before:]
    assert made[:count] == ["stopped"] * count
    assert made[-2:] == ["ok", "ok"]


@pytest.mark.parametrize("name", [each for each in CELLS if "stream" not in each])
def test_what_had_come_is_in_stopped(desk, name):
    cell, count = CELLS[name]
    interrupted(desk, cell, count)
    kept = desk.value("[each.text for each in mixmagic.stopped() if each.text]")
    assert kept == ["Half an "] * count
    assert desk.value("{each.finish for each in mixmagic.stopped()}") == {"stopped"}
    assert desk.value("all(each.cost for each in mixmagic.stopped() if each.text)")


WAITING = ["await mixmagic.aask('Hi')", "async for _ in mixmagic.astream('Hi'): pass"]


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("cell", WAITING)
def test_an_interrupt_of_a_waiting_coroutine_is_prompt(start_kernel, together, cell, bare):
    """Ipykernel alone notices it when the event loop wakes, after up to five seconds."""
    together.plan = [Answer([HANG])]
    kernel = start_kernel(bare=bare)
    kernel.run("import mixmagic")
    sent = kernel.send(cell)
    together.wait(lambda: together.received)
    time.sleep(0.3)
    begun = time.monotonic()
    kernel.interrupt()
    ran = kernel.collect(sent, timeout=20)
    assert ran.status == "error"
    assert ran.replied_at - begun < 1.5, ran.text
    assert together.wait(lambda: together.received[0].closed_at) - begun < 1.5
    (line,) = ran.traceback
    assert line.startswith("Stopped: 0 tokens kept in mixmagic.stopped(), priced as ")
    status = "print({row.name: row.calls for row in mixmagic.spend(by='status')})"
    assert kernel.run(status).text.strip() == "{'stopped': 1}"


def test_the_message_says_where_what_had_come_is(desk):
    ran = interrupted(desk, "mixmagic.ask('Hi')", 1)
    assert ran.reply["ename"] == "Stopped"
    (line,) = ran.traceback
    assert "tokens kept in mixmagic.stopped(), priced as " in line


def test_a_call_of_an_earlier_cell_goes_on(desk):
    """It was begun on purpose to outlive its cell, and its thread goes on with the next one."""
    desk.plan(Answer([*together("Slow")[:1], 1.5, *together("ly")]), HALF)
    desk.run(
        "texts = []\n"
        "def background():\n"
        "    for q in 'ab': texts.append(mixmagic.ask(q).text)\n"
        "earlier = threading.Thread(target=background); earlier.start()"
    )
    desk.server.wait(lambda: desk.server.received)
    sent = desk.kernel.send("mixmagic.ask('Hi')")
    desk.server.wait(lambda: len(desk.server.received) == 2)
    desk.server.plan = [HELLO]
    desk.kernel.interrupt()
    assert desk.kernel.collect(sent).reply["ename"] == "Stopped"
    assert desk.run("earlier.join(); print(texts)").text.strip() == "['Slowly', 'Hello there']"


@pytest.mark.parametrize("first", ["mixmagic.ask('a')", "%mixtral a"])
@pytest.mark.parametrize("second", ["print(mixmagic.ask('b').text)", "%mixtral b"])
def test_whoever_catches_the_interrupt_can_ask_again(desk, first, second):
    desk.plan(HALF, HELLO)
    cell = f"try:\n    {first}\nexcept KeyboardInterrupt:\n    {second}"
    sent = desk.kernel.send(cell)
    desk.server.wait(lambda: desk.server.received)
    time.sleep(0.2)
    desk.kernel.interrupt()
    ran = desk.kernel.collect(sent)
    assert ran.status == "ok", ran.text
    assert "Hello there" in ran.text


def test_the_calls_under_way_can_be_seen_and_stopped(desk):
    desk.plan(HALF)
    ran = desk.run(
        "thread = threading.Thread(target=mixmagic.ask, args=['What is up?']); thread.start()\n"
        "import time\n"
        "end = time.monotonic() + 10\n"
        "while not any(each.collector.begun for each in mixmagic.session().running):\n"
        "    assert time.monotonic() < end; time.sleep(0.01)\n"
        "(call,) = mixmagic.session().running\n"
        "print(call.request.messages[-1].content, call.request.model.name)\n"
        "call.stop()\n"
        "thread.join(10)\n"
        "print(mixmagic.session().running)"
    )
    assert "What is up? together:8x7b\n" in ran.text
    assert ran.text.rstrip().endswith("[]")
    assert desk.value("[each.text for each in mixmagic.stopped()]") == ["Half an "]


def test_the_handler_of_the_kernel_is_back_without_the_extension(desk):
    handler = "__import__('signal').getsignal(2)"
    desk.run("%unload_ext mixmagic")
    try:
        assert "mixmagic" not in desk.value(f"{handler}.__module__")
        assert "KeyboardInterrupt" in _interrupted_sleep(desk)
    finally:
        desk.run("%load_ext mixmagic")
    assert "KeyboardInterrupt" in _interrupted_sleep(desk)


CELLS_AND_HANDLERS = """
import signal
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
default = signal.getsignal(signal.SIGINT)
shell.run_cell("import signal")
for cell in [
    "%load_ext mixmagic", "1", "get_ipython().run_cell('2')", "1/0", "%mixtral Hi",
    "%reload_ext mixmagic", "3", "%unload_ext mixmagic", "%load_ext mixmagic",
]:
    shell.run_cell(cell)
    assert signal.getsignal(signal.SIGINT) is default, cell
shell.run_cell("during = signal.getsignal(2).__qualname__")
assert shell.user_ns["during"] == "Interrupts._interrupted"
shell.run_cell("signal.signal(signal.SIGINT, signal.SIG_IGN)")
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, "the user's own stays"
shell.run_cell("4")
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
print("end")
"""


def test_between_cells_the_handler_is_the_one_of_before(together, tmp_path):
    together.plan = [HELLO]
    ran = subprocess.run(
        [sys.executable, "-c", CELLS_AND_HANDLERS],
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.endswith("end\n"), ran.stdout + ran.stderr


def _interrupted_sleep(desk: Desk) -> str:
    sent = desk.kernel.send("print('on'); import time; time.sleep(20)")
    desk.kernel.collect(sent, until=lambda ran: "on" in ran.text)
    desk.kernel.interrupt()
    return desk.kernel.collect(sent).reply["ename"]


def test_an_interrupt_of_a_subshell_stops_its_call(start_kernel, together):
    """Ipykernel does not interrupt a subshell's code: the call ends, and with it the cell."""
    together.plan = [HALF]
    kernel: Kernel = start_kernel()
    assert kernel.run("import mixmagic; mixmagic.session()").status == "ok"
    request = kernel.client.session.msg("create_subshell_request", {})
    kernel.client.control_channel.send(request)
    subshell = kernel.client.get_control_msg(timeout=10)["content"]["subshell_id"]
    message = kernel.client.session.msg(
        "execute_request",
        {
            "code": "%mixtral -o answer Hi",
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": True,
        },
    )
    message["header"]["subshell_id"] = subshell
    kernel.client.shell_channel.send(message)
    together.wait(lambda: together.received)
    time.sleep(0.3)
    kernel.interrupt()
    ran = kernel.collect(message["header"]["msg_id"], timeout=20)
    assert ran.reply["ename"] == "Stopped"
    assert kernel.run("print(answer.finish, '|', answer.text)").text.strip() == "stopped | Half an"

"""Budgets and dry runs in a real kernel."""

from __future__ import annotations

import html
import json
import os
import re
import signal

import pytest
from kernels import Desk
from server import HANG, Answer, chunk, frames, together

HELLO = Answer(together("Hello", " there"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"), JPY_SESSION_NAME="/tmp/lesson.ipynb")
    yield desk
    desk.close()


@pytest.fixture(autouse=True)
def no_budget(desk):
    """Every test begins without budgets."""
    yield
    for line in ("", "--per day", "--per month", "--notebook"):
        assert desk.run(f"%mixmagic budget off {line}").status == "ok"


def shown(ran) -> list[list[str]]:
    """The cells of a table's rows."""
    assert ran.status == "ok", ran.text
    (output,) = ran.outputs
    text = output["data"]["text/html"].replace("<span>&#36;</span>", "$")
    lines = re.findall(r"<tr>(.*?)</tr>", text)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in lines][1:]
    return [[html.unescape(cell) for cell in row] for row in cells]


def test_without_a_budget_it_says_how_to_set_one(desk):
    ran = desk.run("%mixmagic budget")
    assert shown(ran) == []
    assert "%mixmagic budget 0.50" in ran.text


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("0.0001", "this session's budget"),
        ("$0.0001 --per session", "this session's budget"),
        ("0.0001 --notebook", "this notebook's budget"),
        ("--per day 0.0001", "today's budget"),
        ("0.0001 --per month", "this month's budget"),
    ],
)
def test_a_budget_refuses_in_two_lines_and_sends_nothing(desk, line, name):
    said = desk.run(f"%mixmagic budget {line}").text.strip()
    assert said.startswith(f"{name[0].upper()}{name[1:]} is $0.0001: $0")
    refused = desk.run("%%mixtral --max-tokens 100\nHi", HELLO)
    assert (refused.status, refused.reply["ename"]) == ("error", "BudgetExceeded")
    assert len(refused.traceback) == 2
    assert f"could cost up to $0.00014, and {name} of $0.0001 has" in refused.traceback[0]
    assert desk.server.received == []
    assert refused.outputs[:-1] == [], "nothing is left half-shown"
    assert desk.run("%mixmagic budget 1 " + line.replace("0.0001", "").strip("$ ")).status == "ok"
    assert desk.run("%%mixtral --max-tokens 100\nHi", HELLO).status == "ok"


def test_the_footer_says_what_the_session_may_cost(desk):
    desk.run("%mixmagic budget 0.50")
    ran = desk.run("%%mixtral --max-tokens 100\nHi", HELLO)
    assert re.search(r"session \$0\.0000\d+ of \$0\.50$", ran.text)


def test_a_cells_budget_is_the_cells_alone(desk):
    refused = desk.run("%%mixtral --budget 0.0001 --max-tokens 100\nHi", HELLO)
    assert "its own budget of $0.0001" in refused.traceback[0]
    assert "--max-tokens 36 would fit" in refused.traceback[1]
    assert desk.run("%%mixtral --budget 0.0001 --max-tokens 36\nHi", HELLO).status == "ok"
    assert desk.run("%%mixtral --max-tokens 100\nHi", HELLO).status == "ok"
    wrong = desk.run("%%mixtral --budget much\nHi", HELLO)
    assert wrong.reply["ename"] == "BadArguments"


def test_python_raises_what_the_magic_shows(desk):
    desk.plan(HELLO)
    ran = desk.run(
        "import mixmagic\n"
        "mixmagic.budget(0.0001, per='day')\n"
        "try:\n"
        "    mixmagic.ask('Hi', max_tokens=100)\n"
        "except mixmagic.errors.BudgetExceeded as error:\n"
        "    print(error.most, error.remaining < error.most, error.hint)\n"
        "mixmagic.budget(None, per='day')\n"
        "print(mixmagic.ask('Hi', max_tokens=100), mixmagic.session().budgets())"
    )
    first, last = filter(None, ran.text.splitlines())  # it may come in two pieces
    assert first.startswith("0.000137400 True Raise it")
    assert last == "Hello there []"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("much", "An amount of dollars cannot be 'much'"),
        ("-1", "-1"),
        ("--per day", "The limit is missing"),
        ("1 --per week", "invalid choice: 'week'"),
        ("1 --per day --notebook", "not allowed with"),
    ],
)
def test_invalid_arguments_are_two_lines(desk, line, says):
    ran = desk.run(f"%mixmagic budget {line}")
    assert ran.reply["ename"] == "BadArguments"
    assert says in ran.traceback[0]
    assert len(ran.traceback) == 2


def test_a_dry_run_shows_what_it_would_cost_and_sends_nothing(desk):
    desk.run("%mixmagic budget 1")
    desk.plan(HELLO)
    ran = desk.run("%%mixtral --dry-run -o plan --max-tokens 500\nHi")
    rows = dict(shown(ran))
    assert rows["model"].startswith("together:8x7b")
    assert rows["prompt"] == "10 tokens"
    assert rows["answer"].startswith("at most 500 tokens, likely ")
    assert rows["context"] == "under 0.1% of 32,768 tokens for the prompt"
    assert rows["cost at most"] == "$0.00038"
    assert rows["cost likely"].startswith("about $0.0000")
    assert "of $1.00 remaining; after this call at least $0.99" in rows["this session's budget"]
    assert "Nothing was sent." in ran.text
    assert desk.server.received == []
    assert desk.value("str(plan.worst_case.cost)") == "0.000378000"


def test_a_dry_run_says_what_would_refuse_it(desk):
    desk.run("%mixmagic budget 0.0001")
    ran = desk.run("%%mixtral --dry-run --max-tokens 500\nHi")
    assert "It would be refused: this session's budget" in ran.text
    long = desk.run("%%mixtral --dry-run\n" + "word " * 40_000)
    assert long.reply["ename"] == "ContextTooLong"
    assert desk.run("%mixtral --dry-run -m local What is a median?").status == "ok"


def test_a_killed_kernels_call_stays_held_and_is_lost_at_the_next_start(
    start_kernel, together, home, monkeypatch
):
    monkeypatch.setenv("TOGETHER_API_KEY", "canary-key-4711")
    together.plan = [Answer([frames(chunk("Half"), done=False), HANG])]
    kernel = start_kernel()
    kernel.run("%mixmagic budget 1 --per day")
    kernel.send("%%mixtral --max-tokens 1000\nHi")
    together.wait(lambda: together.received)
    pid = int(kernel.manager.provisioner.pid)
    os.kill(pid, signal.SIGKILL)
    kernel.manager.provisioner.process.wait(10)
    assert json.loads((home / "data" / "budgets.json").read_text()) == {"day": "1"}
    other = start_kernel()
    together.plan = [HELLO]
    (row,) = shown(other.run("%mixmagic budget"))
    assert row[1:5] == ["$1.00", "$0.00068", "$0.99932"]
    ran = other.run("%mixmagic spend --all")
    assert "lost" in ran.text
    assert "$0.00068" in ran.text


def test_a_read_only_home_lets_calls_go_on_unless_a_budget_is_set(start_kernel, together, home):
    """Its file is a folder: nothing can be written, whoever we are."""
    together.plan = [HELLO]
    (home / "data" / "ledger.db").mkdir(parents=True)
    kernel = start_kernel()
    ran = kernel.run("%%mixtral\nHi")
    assert ran.status == "ok"
    assert "not in the ledger: " in ran.text
    sent = len(together.received)
    refused = kernel.run("%%mixtral --budget 1\nHi")
    assert refused.reply["ename"] == "StoreError"
    assert len(refused.traceback) == 2
    assert len(together.received) == sent
    assert kernel.run("%%mixtral -m local --budget 1 --max-tokens 2\nHi").status == "ok"

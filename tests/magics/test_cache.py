"""The answer cache in a real kernel: a second run of a cell, its options, and the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gates import TEXT, Gate
from kernels import Desk, Ran
from server import Answer, together

FIRST, SECOND = Answer(together("one", " answer")), Answer(together("another"))
CACHED = r"cached (just now|\d+ minutes? ago), saved \$0\.000\d+"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    desk = Desk(folder, MIXMAGIC_CACHE="1")
    (desk.home / "cache").unlink()  # a link to the weights of all tests
    yield desk
    desk.close()


@pytest.fixture(autouse=True)
def empty(desk):
    """Every test begins with an empty cache, which is on."""
    desk.run("%mixmagic cache on")
    desk.run("%mixmagic cache clear")


def test_the_second_run_of_a_cell_is_free_and_says_so(desk):
    cell = "%%mixtral -t 0 -o answer\nWhat is a median?"
    first = desk.run(cell, FIRST, SECOND)
    assert not re.search("cached", first.text)
    second = desk.run(cell)
    assert len(desk.server.received) == 1
    assert "one answer" in second.text
    assert re.search(CACHED, second.text)
    assert desk.value("(answer.origin, float(answer.cost), answer.text)") == (
        "cache", 0.0, "one answer",
    )  # fmt: skip
    totals = [re.search(r"session (\$[\d.]+)", ran.text)[1] for ran in (first, second)]
    assert totals[0] == totals[1]
    (output,) = second.outputs
    assert re.search(CACHED, output["data"]["text/markdown"].replace("<span>&#36;</span>", "$"))


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ("", ["one answer", "another"]),
        ("--cache", ["one answer", "one answer"]),
        ("--seed 3", ["one answer", "one answer"]),
        ("-t 0 --no-cache", ["one answer", "another"]),
        ("-t 0 --refresh", ["one answer", "another"]),
        ("-t 0 --no-stream", ["one answer", "one answer"]),
    ],
)
def test_the_options_of_a_cell(desk, options, texts):
    desk.plan(FIRST, SECOND)
    shown = [desk.run(f"%%mixtral {options} -o answer\nHi").text for _ in range(2)]
    assert all(text in ran for text, ran in zip(texts, shown, strict=True))


def test_a_refreshed_answer_takes_the_place_of_the_old_one(desk):
    desk.plan(FIRST, SECOND)
    for options in ("", "", "--refresh", ""):
        ran = desk.run(f"%%mixtral -t 0 {options}\nHi")
    assert "another" in ran.text
    assert re.search(CACHED, ran.text)
    assert len(desk.server.received) == 2


def test_options_that_exclude_each_other_are_two_lines(desk):
    ran = desk.run("%%mixtral --cache --refresh\nHi", FIRST)
    assert ran.status == "error"
    assert len(ran.traceback) == 2
    assert "not allowed with" in ran.traceback[0]
    assert not desk.server.received


def test_off_and_on_hold_for_the_session(desk):
    desk.plan(FIRST)
    assert "off in this session" in desk.run("%mixmagic cache off").text
    for _ in range(2):
        assert "cached" not in desk.run("%%mixtral -t 0\nHi").text
    assert "the answer cache is off" in desk.run("%%mixtral --cache\nHi").text
    assert "on in this session" in desk.run("%mixmagic cache on").text
    desk.run("%%mixtral -t 0\nHi")
    assert "cached" in desk.run("%%mixtral -t 0\nHi").text
    assert len(desk.server.received) == 4


def test_stats_clear_and_export(desk, tmp_path):
    desk.plan(FIRST)
    for _ in range(3):
        desk.run("%%mixtral -t 0\nWhat is the canary?")
    stats = desk.run("%mixmagic cache").text
    assert re.search(r"answers\s+MB\s+of MB\s+hits\s+saved", stats)
    assert re.search(r"1\s+0\.0\s+256\s+2\s+\$0\.000013", stats)
    line = "Stored answers have saved $0.000013 in 2 more calls."
    assert line in desk.run("%mixmagic spend --all").text
    assert "Stored answers" not in desk.run("%mixmagic spend").text
    file = tmp_path / "answers.jsonl"
    said = desk.run(f"%mixmagic cache export {file}").text
    assert f"Wrote 1 answer to {file}" in " ".join(said.split()), "folded between words"
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["answer"]["text"] == "one answer"
    assert "canary" not in line
    assert desk.run(f"%mixmagic cache export {file}").status == "error"
    assert desk.run(f"%mixmagic cache export {file} --force").status == "ok"
    assert "Deleted: 0 answers" in desk.run("%mixmagic cache clear --model 8x22b").text
    assert "Deleted: 1 answer." in desk.run("%mixmagic cache clear --model 8x7b").text
    assert desk.run("%mixmagic cache clear --model nonsense").status == "error"


BEGIN = """\
import mixmagic
from mixmagic.calls.running import Call
call = Call(mixmagic.session().stream, mixmagic.session().request("Hi\\n", temperature=0))
call.start()
"""


def follow(desk: Desk, gate: Gate) -> tuple[str, Ran]:
    """Run a cell that begins a call, and one that follows it; return that, as far as it is."""
    desk.plan(gate, FIRST)
    assert desk.run(BEGIN).status == "ok"
    desk.server.wait(lambda: desk.server.received)
    sent = desk.kernel.send("%%mixtral -t 0 -o answer\nHi")
    return sent, desk.kernel.collect(sent, until=lambda ran: "Hello" in ran.text)


def test_a_cell_whose_shared_call_has_failed_shows_the_new_answer_alone(desk):
    gate = Gate()
    sent, shown = follow(desk, gate)
    gate.fail()
    ran = desk.kernel.collect(sent)
    assert ran.status == "ok"
    assert desk.value("(answer.text, answer.origin)") == ("one answer", "live")
    shown.messages += ran.messages
    (output,) = shown.outputs
    assert "Hello" not in output["data"]["text/markdown"]
    assert "one answer" in output["data"]["text/markdown"]


def test_a_cell_that_follows_is_interrupted_alone(desk):
    """The call that it shares began in another cell, and goes on."""
    gate = Gate()
    sent, _ = follow(desk, gate)
    desk.kernel.interrupt()
    ran = desk.kernel.collect(sent)
    assert ran.status == "error"
    assert ran.reply["ename"] == "Stopped"
    assert len(ran.traceback) == 1
    gate.open()
    assert desk.value("call.result(30).text") == TEXT
    assert len(desk.server.received) == 1


def test_the_shell_has_the_command_too(home, tmp_path):
    def run(*words: str) -> subprocess.CompletedProcess:
        command = [str(Path(sys.executable).with_name("mixmagic")), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    stats = run("cache", "stats")
    assert stats.returncode == 0, stats.stderr
    assert str(home / "cache" / "cache.db") in stats.stdout
    assert run("cache", "clear").stdout == "Deleted: 0 answers.\n"
    assert run("cache", "export", str(tmp_path / "x")).stdout.startswith("Wrote 0 answers")
    off = run("cache", "off")
    assert off.returncode == 1
    assert "`cache = false`" in off.stderr

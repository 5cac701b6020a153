"""A notebook that was recorded in one kernel replays in another: the same outputs and values."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from kernels import Desk, Kernel
from server import CUT, HANG, Answer, chunk, frames, refusal, usage, whole
from server import together as words

# Imports that fail in the replaying kernel: optional packages, and all that sends.
BLOCKED = ["xllamacpp", "mistral_common", "sentencepiece", "genai_prices", "keyring", "filelock",
           "pip", "httpx", "httpcore"]  # fmt: skip
# Every process that the replaying kernel starts, and every connection, is written down.
SITE = f"""
import importlib.machinery, os, sys

real = importlib.machinery.PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {BLOCKED!r} else real(name, path, target)

importlib.machinery.PathFinder.find_spec = find_spec

def audit(event, arguments):
    remote = event == "socket.connect" and len(arguments[1]) == 2 and not str(
        arguments[1][0]).startswith(("127.", "localhost"))
    if remote or event in ("subprocess.Popen", "os.posix_spawn", "socket.getaddrinfo"):
        with open(os.environ["AUDIT"], "a") as file:
            file.write(repr((event, arguments)) + "\\n")

sys.addaudithook(audit)
"""
FOOTER = re.compile(r"^(.+? · (?:≈ )?[\d,]+ → [\d,]+ tokens).*$", re.MULTILINE)
LINE = "%mixmagic cassette lesson.jsonl --mode once"
SETUP = """
import mixmagic
from concurrent.futures import ThreadPoolExecutor
schema = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}
animal = "an owl"

def facts(answer):
    return (answer.text, answer.others, answer.reasoning, answer.finish, answer.usage,
            answer.logprobs, answer.model.name, answer.value)
"""
THOUGHT = frames({"choices": [{"index": 0, "delta": {"reasoning": "Hm, an owl. "}}]}, done=False)
TWO = [
    frames(chunk("one"), done=False),
    frames({"choices": [{"index": 1, "delta": {"content": "two"}}]}, done=False),
    frames(
        chunk("", "stop"),
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}], **usage(9, 2)},
    ),
]
LOGPROBS = {"content": [{"token": "Hi", "logprob": -0.25}]}
THREADS = """
def ask(number):
    return mixmagic.ask(f"Question {number}").text

with ThreadPoolExecutor(8) as pool:
    print(list(pool.map(ask, range(24))))
"""
STOP = """
from mixmagic.calls.running import Call
session = mixmagic.session()
call = Call(session.stream, session.request("Count."))
call.start()
for piece in call.deltas():
    if "three" in piece.text:
        call.stop()
"""


def numbered(received) -> Answer:
    """Answer a question of the threads by its number."""
    number = received.body["messages"][-1]["content"].split()[-1]
    return Answer(words("The answer", f" to {number}"))


# Cells, and the server's answers to each.
CELLS: dict[str, tuple[str, list]] = {
    "streamed": ("%%mixtral\nHello", [Answer(words("Hi", " *there*", "\n\n1. one\n2. two"))]),
    "a line": ("%mixtral Hello you", [Answer(words("Hi"))]),
    "whole": ("%%mixtral --no-stream\nHello", [whole("Hi")]),
    "an expression": ("%%mixtral -t 0 -o a\nDescribe {{ animal }}.", [Answer(words("Owl"))]),
    "several": ("%%mixtral -n 2\nHello", [Answer(TWO)]),
    "logprobs": (
        "%%mixtral --logprobs\nHello",
        [Answer([frames(chunk("Hi"), chunk("", "stop", **usage(9, 1)))])],
    ),
    "repaired": (
        "%%mixtral --schema schema -o value\nHow old?",
        [Answer(words('{"age": "old"}')), Answer(words('{"age": 7}'))],
    ),
    "unusable": (
        "%%mixtral --schema schema\nHow old again?",
        [Answer(words("no")), Answer(words("never"))],
    ),
    "code": ("%%mixtral -f code -o code\nWrite.", [Answer(words("Sure:\n```python\nx = 1\n```"))]),
    "table": ("%%mixtral -f json -o data\nList.", [Answer(words("[1, 2, 3]"))]),
    "chat": ("%%mixtral -c owls\nName one.", [Answer(words("A barn owl."))]),
    "chat again": ("%%mixtral -c owls\nAnother?", [Answer(words("A snowy owl."))]),
    "thoughts": ("%%mixtral\nThink.", [Answer([THOUGHT, *words("An owl.")])]),
    "task": ("%%mixtral --task code\nWrite it.", [Answer(words("x = 1"))]),
    "provider": ("%%mixtral -m together:8x7b\nHello", [Answer(words("Hi"))]),
    "cut off": (
        "%%mixtral --max-tokens 1\nHello",
        [Answer([frames(chunk("Hi"), chunk("", "length", **usage(9, 1)))])],
    ),
    "refused": ("%%mixtral\nRefuse.", [refusal(400, {"error": {"message": "too hot"}})]),
    "busy": ("%%mixtral\nBusy.", [refusal(503, {"error": "busy"})]),
    "broken": ("%%mixtral\nBreak.", [Answer([*words("Hi", " there")[:2], CUT])]),
    "ask": ("answer = mixmagic.ask('Hello')\nfacts(answer)", [Answer(words("Hi", "!"))]),
    "display": ("mixmagic.ask('Hello again')", [Answer(words("Hi", " *you*"))]),
    "stream": (
        "print(''.join(map(str, mixmagic.stream('Stream'))))", [Answer(words("Hi", " there"))]
    ),
    "repeats": (
        "[mixmagic.ask('One of many', temperature=1).text for _ in range(3)]",
        [Answer(words(word)) for word in ("a", "b", "c")],
    ),
    "threads": (THREADS, [numbered]),
    "stopped": (STOP, [Answer([*words("one", " two", " three", " four")[:3], HANG])]),
    "what was stopped": ("facts(call.outcome())", []),
}  # fmt: skip


def shown(ran) -> str:
    """What a reader sees of a cell, without the parts of footers that differ from run to run."""
    text = FOOTER.sub(r"\1", re.sub(r"\x1b\[[\d;]*m", "", ran.text))
    return re.sub(r"http://127\.0\.0\.1:\d+\S*|\[url\]", "[url]", text)


@pytest.fixture(scope="module", params=[False, True], ids=["executed", "live"])
def recorded(request, tmp_path_factory) -> tuple[Path, dict[str, tuple[str, str]], bool]:
    """A folder with a cassette, and what each cell showed when it was recorded.

    Under nbclient, and in a front end with a person, where answers stream.
    """
    folder = tmp_path_factory.mktemp("recorded")
    desk = Desk(folder)
    try:
        assert desk.run(LINE).status == desk.run(SETUP).status == "ok"
        outputs = {}
        for name, (cell, answers) in CELLS.items():
            ran = desk.run(cell, *answers, live=request.param)
            outputs[name] = (ran.status, shown(ran))
        assert desk.kernel.run("facts(a), value, code, data").status == "ok"
    finally:
        desk.close()
    return folder, outputs, request.param


@pytest.fixture(scope="module")
def replayed(recorded, tmp_path_factory) -> dict[str, tuple[str, str]]:
    """What each cell shows on another machine: no key, no packages, another home and default."""
    folder, _, live = recorded
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(SITE)
    env = {name: value for name, value in os.environ.items() if not name.startswith("TOGETHER")}
    env |= {
        "HOME": str(site / "home"),
        "MIXMAGIC_HOME": str(site / "mixmagic"),
        "MIXMAGIC_MODEL": "local",
        "FIREWORKS_API_KEY": "another-key-0815",
        "MIXMAGIC_BLOCK_NETWORK": "1",
        "PYTHONPATH": str(site),
        "AUDIT": str(site / "audit"),
    }
    kernel = Kernel(env, str(folder))
    try:
        assert kernel.run("%load_ext mixmagic").status == "ok"
        (site / "audit").write_text("")
        before = (folder / "lesson.jsonl").read_bytes()
        for code in (LINE, SETUP):
            assert kernel.run(code).status == "ok"
        outputs = {}
        for name, (cell, _) in CELLS.items():
            ran = kernel.run(cell, live=live)
            outputs[name] = (ran.status, shown(ran))
        outputs["loaded"] = kernel.run(
            f"import sys; print([name for name in {BLOCKED!r} if name in sys.modules])"
        ).text
        outputs["audit"] = (site / "audit").read_text()
        outputs["spent"] = kernel.run("print(mixmagic.spend().total.cost)").text
        assert (folder / "lesson.jsonl").read_bytes() == before
    finally:
        kernel.close()
    return outputs


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_shows_the_same(recorded, replayed, name):
    status, text = replayed[name]
    assert status == recorded[1][name][0], text
    assert text == recorded[1][name][1]
    assert "CassetteMiss" not in text


def test_the_cells_had_the_answers_that_they_are_about(recorded):
    outputs = recorded[1]
    failed = {name for name, (status, _) in outputs.items() if status == "error"}
    assert failed == {"unusable", "refused", "busy", "broken", "stopped"}
    for name, text in (
        ("repaired", '"age": 7'), ("thoughts", "owl"), ("threads", "to 23"), ("several", "two"),
        ("repeats", "['a', 'b', 'c']"), ("stopped", "Stopped"), ("what was stopped", "one two"),
    ):  # fmt: skip
        assert text in outputs[name][1], (name, outputs[name])


def test_nothing_is_imported_started_called_or_spent(replayed):
    assert replayed["loaded"].strip() == "[]"
    assert replayed["audit"] == ""
    assert replayed["spent"].strip() == "0"


def test_the_file_has_neither_keys_nor_urls(recorded):
    text = (recorded[0] / "lesson.jsonl").read_text("utf-8")
    for secret in ("canary", "4711", "127.0.0.1", "http://", str(recorded[0]), "Bearer"):
        assert secret not in text
    assert len({json.loads(line)["key"] for line in text.splitlines()}) > 40


def test_a_line_of_a_notebook_cannot_record_anew(kernel):
    for mode in ("new", "all"):
        ran = kernel.run(f"%mixmagic cassette x.jsonl --mode {mode}")
        assert ran.status == "error"
        assert f"MIXMAGIC_CASSETTE_MODE={mode}" in ran.text


def test_a_line_without_a_file_says_how_to_record_one(together, kernel):
    together.plan = [Answer(words("Hi"))]
    ran = kernel.run("%mixmagic cassette x.jsonl")
    assert ran.traceback == [
        "BadArguments: There is no cassette x.jsonl.",
        "Hint: Record it: `mixmagic record NOTEBOOK`, or here with --mode once.",
    ]
    assert "CassetteMiss: There is no cassette x.jsonl." in kernel.run("%mixtral Hello").text
    ran = kernel.run("%mixmagic cassette")
    assert "this front end does not name the notebook" in ran.text
    assert kernel.run("%mixtral Hello").status == "error"
    assert not together.received  # no cell is paid for by accident
    assert kernel.run("%mixmagic cassette off").text == "No cassette is in use: calls are made.\n"
    assert kernel.run("%mixtral Hello").status == "ok"


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_kernel_that_is_killed_loses_the_call_under_way_alone(together, start_kernel, tmp_path):
    together.plan = [Answer(words("Hi")), Answer([*words("Ho")[:1], HANG])]
    kernel = start_kernel()
    kernel.run(LINE)
    assert kernel.run("%%mixtral\nOne").status == "ok"
    kernel.send("%%mixtral\nTwo")
    together.wait(lambda: len(together.received) == 2)
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    together.plan = [Answer(words("Ho"))]
    again = start_kernel(MIXMAGIC_CASSETTE_MODE="once", MIXMAGIC_CASSETTE="lesson.jsonl")
    assert "recorded 20" in again.run("%%mixtral\nOne").text
    assert again.run("%%mixtral\nTwo").status == "ok"
    assert len(together.received) == 3
    assert len((tmp_path / "lesson.jsonl").read_bytes().splitlines()) == 2


def test_a_line_may_ask_for_the_recorded_pace(together, start_kernel):
    together.plan = [Answer([words("Hi")[0], 0.5, *words(" there")])]
    kernel = start_kernel()
    kernel.run(LINE)
    kernel.run("%%mixtral\nHello")
    kernel.run("%mixmagic cassette lesson.jsonl --pace live")
    ran = kernel.run("%%mixtral\nHello")
    assert ran.status == "ok"
    first, last = ran.messages[0][0], ran.messages[-1][0]
    assert last - first >= 0.5


def test_the_model_of_an_ipython_profile_does_not_count(together, start_kernel):
    together.plan = [Answer(words("Hi"))]
    kernel = start_kernel(bare=True)
    kernel.run("get_ipython().config.Mixmagic.model = 'together:8x22b'\n%load_ext mixmagic")
    name = "import mixmagic; print(mixmagic.session().model)"
    assert kernel.run(name).text == "together:8x22b\n"
    kernel.run(LINE)
    assert kernel.run(name).text == "8x7b\n"
    kernel.run("%mixmagic use disco")  # the notebook's own line does
    assert kernel.run(name).text == "together:disco\n"
    kernel.run("%mixmagic cassette off")
    assert kernel.run(name).text == "together:disco\n"


MANY = """
import mixmagic
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(8) as pool:
    print([str(answer) for answer in pool.map(mixmagic.ask, map(str, range({}, {})))])
"""


def test_two_kernels_record_at_once(together, start_kernel, tmp_path):
    together.plan = [lambda asked: Answer(words(asked.body["messages"][-1]["content"]))]
    two = [start_kernel(), start_kernel()]
    for kernel in two:
        assert kernel.run(LINE).status == "ok"
    cells = [MANY.format(0, 60), MANY.format(30, 90)]
    sent = [kernel.send(cell) for kernel, cell in zip(two, cells, strict=True)]
    live = [kernel.collect(cell).text for kernel, cell in zip(two, sent, strict=True)]
    file = tmp_path / "lesson.jsonl"
    texts = [json.loads(line)["answer"]["text"] for line in file.read_bytes().splitlines()]
    assert set(texts) == set(map(str, range(90)))
    other = start_kernel(MIXMAGIC_CASSETTE="lesson.jsonl", MIXMAGIC_CASSETTE_MODE="none")
    assert [other.run(cell).text for cell in cells] == live


WORKER = """
import multiprocessing, mixmagic

with multiprocessing.get_context("spawn").Pool(2) as pool:
    print(sorted(map(str, pool.map(mixmagic.ask, ["One", "Two"]))))
"""


def test_workers_use_the_cassette_of_their_notebook(together, start_kernel):
    together.plan = [Answer(words("Hi"))]
    for line in (LINE, "%mixmagic cassette lesson.jsonl"):
        kernel = start_kernel()
        kernel.run(line)
        ran = kernel.run(WORKER)
        assert (ran.status, ran.text) == ("ok", "['Hi', 'Hi']\n")
        assert len(together.received) == 2


@pytest.mark.embedded
def test_an_embedded_model_is_replayed_without_it(start_kernel, tmp_path):
    kernel = start_kernel(MIXMAGIC_CASSETTE="lesson.jsonl", MIXMAGIC_CASSETTE_MODE="once")
    cell = "%%mixtral -m local -t 0 --max-tokens 8\nHello"
    live = kernel.run(cell, timeout=120)
    assert live.status == "ok", live.text
    (tmp_path / "sitecustomize.py").write_text(SITE)
    other = start_kernel(
        MIXMAGIC_CASSETTE="lesson.jsonl",
        MIXMAGIC_CASSETTE_MODE="none",
        MIXMAGIC_HOME=str(tmp_path / "another"),
        PYTHONPATH=str(tmp_path),
        AUDIT=str(tmp_path / "audit"),
    )
    again = other.run(cell)
    assert shown(again) == shown(live)
    assert other.run("%%mixtral -m local --dry-run\nHello").status == "ok"
    assert not (tmp_path / "another" / "cache").exists()

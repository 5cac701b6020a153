"""All front ends: a text beside each output, and one output per cell if it is not live."""

from __future__ import annotations

import os
import subprocess
import sys

import nbformat
import pytest
from kernels import Desk
from nbformat.v4 import new_code_cell, new_notebook
from server import CUT, Answer, chunk, frames, together, usage

pytestmark = pytest.mark.kernel


def choice(index: int, text: str | None, finish: str | None = None, **more):
    """A chunk of one of several answers."""
    made = chunk(text, finish, **more)
    made["choices"][0]["index"] = index
    return made


HELLO = Answer(together("Hello", " there"))
CODE = Answer(together("Do:\n\n```python\nx = 1\n```\n\nthen\n\n```python\ny = 2\n```\n"))
TABLE = Answer(together("| way | n |\n|---|---:|\n| hand | 1 |"))
PERSON = "from dataclasses import dataclass\n@dataclass\nclass Person:\n    name: str\n    age: int"
ANN = Answer(together('{"name": "Ann", ', '"age": 7}'))
TWO = [choice(at, text) for at, text in enumerate(("One", "Two"))]
TWO += [choice(0, None, "stop"), choice(1, None, "stop", **usage(9, 2))]
# One cell of each kind; each shows something.
CELLS = {
    "%%mixtral -o answer\nHi {{ 1 + 1 }}": HELLO,
    "answer": None,
    "mixmagic.ask('Hi')": HELLO,
    "%mixtral Hi": HELLO,
    "%%mixtral -n 2\nHi": Answer([frames(*TWO)]),
    "%%mixtral -i\nHow?": CODE,
    "%%mixtral -c talk\nHi": HELLO,
    "%%mixtral -f text\nHi": HELLO,
    "%%mixtral -f code -o code\nHow?": CODE,
    "%%mixtral -f json\nWho?": ANN,
    "%%mixtral -f latex\nHow?": Answer(together(r"\[ a^2 \]")),
    "%%mixtral -f html\nHow?": Answer(together("<p>Hello</p>")),
    "%%mixtral -f table -o frame\nHow?": TABLE,
    "frame": None,
    "%%mixtral --schema Person -o ann\nWho?": ANN,
    "ann": None,
    "%%mixtral --dry-run\nHi": None,
    "%%mixtral --as curl\nHi": None,
    "%mixmagic use 8x7b": None,
    "%mixmagic models": None,
    "%mixmagic models --for code": None,
    "%mixmagic budget 1": None,
    "%mixmagic spend": None,
    "%mixmagic spend --all --by day": None,
    "%mixmagic spend --elsewhere": None,
    "%mixmagic spend --resolve": None,
    "mixmagic.spend()": None,
    "%mixmagic prices": None,
    "%mixmagic chats": None,
    "%mixmagic chats show talk": None,
    "%mixmagic templates": None,
    "%mixmagic doctor": HELLO,
}
# What is shown while a person waits, or when something goes wrong.
LIVE = {
    "%%mixtral -f json\nSlowly": Answer([1.2, ANN.steps[0], 0.1, *ANN.steps[1:]]),
    "%%mixtral\nGo on.": Answer(together(*["A paragraph of a long answer.\n\n"] * 400)),
    "%mixtral Go on.": Answer(together(*["A paragraph of a long answer.\n\n"] * 400)),
    "%%mixtral\nHalf": Answer([frames(chunk("Half an"), done=False), CUT]),
    "%mixtral Nothing": Answer([1.2, CUT]),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.run(f"import mixmagic\n{PERSON}")
    yield desk
    desk.close()


def shown(ran) -> list[dict[str, str]]:
    """All that has been displayed, updates included."""
    kinds = ("display_data", "update_display_data", "execute_result")
    return [m["content"]["data"] for _, m in ran.messages if m["msg_type"] in kinds]


def test_each_output_has_its_text(desk):
    """Outputs on the way to it have only one MIME type."""
    richer = ""
    for code, answer in {**CELLS, **LIVE}.items():
        ran = desk.run(code, *filter(None, [answer]))
        assert code in LIVE or ran.status == "ok", (code, ran.text)
        for data in shown(ran):
            assert "text/plain" in data or len(data) == 1, (code, list(data))
            assert "object at 0x" not in data.get("text/plain", ""), code
            richer += str(data)
        if shown(ran):
            assert "text/plain" in shown(ran)[-1], code
    assert all(each in richer for each in ("text/markdown", "<table", "<svg"))


def test_a_cell_that_is_not_live_has_one_output(desk):
    for code, answer in CELLS.items():
        ran = desk.run(code, *filter(None, [answer]), live=False)
        assert ran.status == "ok", (code, ran.text)
        kinds = [each["kind"] for each in ran.outputs]
        # What is printed in pieces is one output: whoever saves the notebook joins them.
        assert len(kinds) - max(0, kinds.count("stream") - 1) == 1, (code, kinds)
        assert ran.reply["payload"] == [], code


def notebook(path, *cells: str) -> str:
    made = new_notebook(cells=[new_code_cell(each) for each in cells])
    made.cells[0].metadata["tags"] = ["parameters"]
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(made, path)
    return str(path)


def test_papermill_runs_a_notebook_with_parameters_and_ends_at_a_failed_cell(together, tmp_path):
    together.plan = [HELLO, CODE, TABLE, Answer([b"{}"], 401)]
    cells = ["%%mixtral\n{{ word }}", "%%mixtral -i\nHow?", "%%mixtral -f table\nHow?"]
    setup, late = ["word = 'none'", "%load_ext mixmagic"], ["%mixtral No", "print('late')"]
    source = notebook(tmp_path / "in.ipynb", *setup, *cells, *late)
    command = [sys.executable, "-m", "papermill", source, str(tmp_path / "out.ipynb")]
    ran = subprocess.run(
        [*command, "-p", "word", "given", "--log-output"],
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    assert "Hello there\n\ntogether:8x7b · 9 → 2 tokens" in ran.stderr
    assert "late" not in ran.stderr
    assert together.received[0].body["messages"][0]["content"] == "given\n"
    out = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    by_source = {cell.source: cell.get("outputs", []) for cell in out.cells}
    assert [len(by_source[each]) for each in (*cells, *late)] == [1, 1, 1, 1, 0]
    (failed,) = by_source["%mixtral No"]
    assert [line.partition(":")[0] for line in failed.traceback] == ["KeyRejected", "Hint"]


def script(*words: str) -> subprocess.CompletedProcess[str]:
    """IPython run with pipes instead of a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "--ext", "mixmagic", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_script_of_everything_runs_as_far_as_nothing_fails(together, tmp_path):
    path = tmp_path / "script.ipy"
    cells = [each.replace("%%mixtral", "%mixtral").replace("\n", " ") for each in CELLS]
    end = ["%mixtral -m nonsense Hi", "print('late')"]
    path.write_text("\n".join(["import mixmagic", PERSON, *cells, *end]))
    together.plan = [answer for answer in CELLS.values() if answer]
    ran = script(str(path))
    assert (ran.returncode, ran.stderr) == (1, "")
    assert not {"\x1b", "\r"} & set(ran.stdout)
    assert "no new cell: that takes an interactive notebook" in ran.stdout
    assert "budget is $" in ran.stdout
    assert "a terminal: answers stream" in ran.stdout
    error, hint = ran.stdout.splitlines()[-2:]
    assert error.startswith("UnknownModel: ")
    assert hint.startswith("Hint: ")

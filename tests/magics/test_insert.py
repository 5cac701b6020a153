"""New cells from an answer's code: what they are, and what a front end is told about them."""

from __future__ import annotations

import doctest
import json
from types import SimpleNamespace

import pytest
from IPython.core.interactiveshell import InteractiveShell
from kernels import Desk
from linear import is_linear
from server import Answer, together

from mixmagic.calls.completion import Completion
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Request
from mixmagic.magics._shell import insert
from mixmagic.magics._shell.insert import Cells, blocks, cells
from mixmagic.text.code_blocks import CodeBlock

SETUP = """
import mixmagic
from mixmagic.magics._shell.insert import Cells, blocks, cells
new_cells = Cells(get_ipython(), mixmagic.session())
"""
ASK = "print(new_cells.insert({!r}))"
ASKED = Request(Catalog().resolve("8x7b"), ())


def answer(text: str, finish: str = "stop") -> Completion:
    return Completion(text, Usage(1, 1), None, finish, ASKED, 1.0, 0.5)


THREE = ["first = 1", "second = 2", "third = 3"]


def test_blocks_of_an_answer_in_order():
    text = (
        "So:\n\n```python\nx = 1\n\n\ny = 2\n```\nand\n~~~Bash title\nls `pwd`\n~~~~\n"
        "1. a list\n\n   ```{.python}\n   if x:\n       y\n   ```\n\n"
        "````markdown\n```python\nno\n```\n````\n"
        "```\nplain\r\n```\n```json\n{}\n```\n`not ``` one`\n```py inline``` no\n```\n\n```\n"
    )
    assert blocks(answer(text)) == [
        CodeBlock("python", "x = 1\n\n\ny = 2"),
        CodeBlock("Bash", "ls `pwd`"),
        CodeBlock("{.python}", "if x:\n    y"),
        CodeBlock("markdown", "```python\nno\n```"),
        CodeBlock("", "plain"),
        CodeBlock("json", "{}"),
    ]


def test_a_block_left_open_is_kept_only_of_a_whole_answer():
    assert blocks(answer("```python\nx = (1,")) == [CodeBlock("python", "x = (1,")]
    cut = answer("```python\na\n```\n```python\nx = (1,", "length")
    assert blocks(cut) == [CodeBlock("python", "a")]


def test_what_a_terminal_would_obey_is_in_no_cell():
    assert blocks(answer("```python\nx = '\x1b[31m\x07'\n\ty\n```")) == [
        CodeBlock("python", "x = ''\n\ty")
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([("python", "x"), ("", "its output"), ("json", "{}"), ("py", "y")], ["x", "y"]),
        ([("", "x"), ("text", "no"), ("", "y")], ["x", "y"]),
        ([("sh", "ls"), ("bash", "%%bash\nls")], ["%%bash\nls", "%%bash\nls"]),
        ([("ipython", "%time x"), ("{.python}", "y")], ["%time x", "y"]),
        ([("pycon", ">>> x = 1\n>>> x\n1"), ("python", ">>> y\n2")], ["x = 1\nx", "y"]),
        ([("sql", "select 1")], []),
        ([], []),
    ],
)
def test_which_blocks_become_cells(found, expected):
    assert cells([CodeBlock(*each) for each in found]) == expected


def test_examples_hold():
    runner, finder = doctest.DocTestRunner(), doctest.DocTestFinder()
    for example in finder.find(cells, globs={**vars(insert), "CodeBlock": CodeBlock}):
        assert runner.run(example).failed == 0
    assert runner.tries == 1


class Shell:
    """What `Cells` needs of IPython's shell."""

    def __init__(self) -> None:
        self.events = SimpleNamespace(register=lambda name, function: None)
        self.inserted: list[str] = []
        self.set_next_input = self.inserted.append


def test_thousands_of_blocks_that_are_offered_again_are_looked_up_in_linear_time():
    def offer(text: str) -> None:
        sources, shell = text.split(), Shell()
        new_cells = Cells(shell, SimpleNamespace(notebook=None))
        new_cells._begins(SimpleNamespace(cell_id="a"))
        new_cells.insert(sources)
        assert "already" in new_cells.insert(sources)
        assert (
            new_cells.insert([*sources, "x = 1"]) == "one more follows, each when the one above"
            " it has run"
        )
        assert shell.inserted == [sources[0]]

    assert is_linear(offer, lambda size: " ".join(map(str, range(size))), 20_000, 2)


@pytest.mark.parametrize("line", ["x\n", "x\ny\n", "\n"])
def test_a_long_cell_is_compared_with_what_ran_in_linear_time(line):
    def compare(text: str) -> None:
        assert insert._alike(f"{text}\na = 1", f"{text}\nb = 2")
        assert not insert._alike("y = 1\nz = 2\n" * 1000, f"{text}\nb = 2")

    assert is_linear(compare, lambda size: line * (size // len(line)), 200_000, 2)


class Notebook:
    """A kernel whose cells have identities, as a notebook's."""

    def __init__(self, desk: Desk) -> None:
        self.kernel = desk.kernel

    def run(self, cell: str, code: str, *, live: bool = True):
        session = self.kernel.client.session
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": live}
        message = session.msg("execute_request", {**content, "user_expressions": {}})
        message["metadata"]["cellId"] = cell
        self.kernel.client.shell_channel.send(message)
        return self.kernel.collect(message["header"]["msg_id"])

    def new(self, cell: str, code: str, **options) -> tuple[str, list[str]]:
        """What is printed, and the cells that the front end is asked to insert."""
        ran = self.run(cell, code, **options)
        payload = ran.reply.get("payload", [])
        assert all(not each["replace"] for each in payload)
        return ran.text.strip(), [each["text"] for each in payload]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


@pytest.fixture
def notebook(desk):
    assert desk.run(SETUP).status == "ok"
    yield Notebook(desk)
    desk.run("new_cells.close()")


def test_an_answer_s_code_comes_below_and_is_not_run(desk, notebook):
    text = "Do:\n\n```python\nraise SystemError\n```\n"
    desk.run("%%mixtral -m 8x7b -o answer\nHow?", Answer(together(text)))
    said, new = notebook.new("a", "print(new_cells.insert(cells(blocks(answer))))")
    assert (said, new) == ("new cell below", ["raise SystemError"])
    assert desk.value("1") == 1


def test_several_come_in_order_each_below_the_one_before(notebook):
    said, new = notebook.new("a", ASK.format(THREE))
    assert said == "new cell below; 2 more follow, each when the one above it has run"
    assert new == THREE[:1]
    assert notebook.new("other", "unrelated = 7") == ("", [])
    assert notebook.new("b", THREE[0]) == ("", THREE[1:2])
    assert notebook.new("c", THREE[1]) == ("", THREE[2:])
    assert notebook.new("d", THREE[2]) == ("", [])
    assert [notebook.new(cell, each)[1] for cell, each in zip("bcd", THREE, strict=True)] == [
        []
    ] * 3


def test_once_also_when_the_cell_is_run_again(notebook):
    notebook.new("a", ASK.format(THREE))
    there = "its code is in a cell below already"
    assert notebook.new("a", ASK.format(THREE)) == (there, [])
    assert notebook.new("b", THREE[0])[1] == THREE[1:2]
    assert notebook.new("a", ASK.format(THREE)) == (there, [])
    assert notebook.new("c", THREE[1])[1] == THREE[2:]
    assert notebook.new("a", ASK.format(["another = 4"])) == ("new cell below", ["another = 4"])
    assert notebook.new("elsewhere", ASK.format(THREE))[1] == THREE[:1]


def test_a_cell_may_be_changed_and_may_fail_before_the_next_one_comes(notebook):
    long = "def mean(values):\n    return sum(values) / len(values)\nmean([])"
    notebook.new("a", ASK.format([long, "second = 2"]))
    assert notebook.new("b", long)[1] == []  # it has failed
    assert notebook.new("c", long.replace("[]", "[7]"))[1] == []  # another cell, however alike
    assert notebook.new("b", "mean = 3  # another way")[1] == ["second = 2"]


def test_a_changed_cell_is_recognised_at_once(notebook):
    notebook.new("a", ASK.format(["count = len(range(100))", "second = 2"]))
    assert notebook.new("b", "count = len(range(10))  # fewer")[1] == ["second = 2"]


def test_a_cell_that_ran_before_is_never_the_inserted_one(notebook):
    notebook.new("b", THREE[0])
    notebook.new("a", ASK.format(THREE))
    assert notebook.new("b", THREE[0])[1] == []
    assert notebook.new("new", THREE[0])[1] == THREE[1:2]


def test_a_front_end_s_own_code_is_no_cell(notebook):
    notebook.new("a", ASK.format(THREE))
    client = notebook.kernel.client
    notebook.kernel.collect(client.execute(THREE[0], store_history=False))
    assert notebook.new("other", "unrelated = 7") == ("", [])
    assert notebook.new("b", THREE[0])[1] == THREE[1:2]


def test_two_answers_in_one_cell_follow_one_another(notebook):
    code = "for each in (['one = 1'], ['two = 2']):\n    print(new_cells.insert(each))"
    said, new = notebook.new("a", code)
    assert new == ["one = 1"]
    assert list(filter(None, said.splitlines())) == [  # perhaps sent in two pieces
        "new cell below",
        "one more follows, each when the one above it has run",
    ]
    assert notebook.new("b", "one = 1")[1] == ["two = 2"]


def test_no_code_no_cell(notebook):
    assert notebook.new("a", ASK.format([])) == ("no code for a new cell in this answer", [])


@pytest.mark.parametrize("line", ["%%mixtral -m 8x7b -i\nHow?", "%mixtral -m 8x7b fix"])
def test_where_nobody_watches_the_footer_says_so(desk, line):
    desk.run("1 / 0")
    code = Answer(together("```python\nraise SystemError\n```"))
    ran = desk.run(line, code, live=False)
    (output,) = ran.outputs
    assert f" · {insert.NOBODY} · session " in output["data"]["text/plain"]
    assert ran.reply["payload"] == []
    watched = desk.run(line, code)
    assert insert.NOBODY not in watched.text
    assert [each["text"] for each in watched.reply["payload"]] == ["raise SystemError"]


def test_a_closed_one_is_silent(desk, notebook):
    notebook.new("a", ASK.format(THREE))
    desk.run("new_cells.close()")
    assert notebook.new("b", THREE[0]) == ("", [])


@pytest.mark.parametrize(("saved", "first"), [([], 0), (THREE[:1], 1), (THREE, None)])
def test_what_the_saved_notebook_has_is_not_inserted_again(desk, notebook, tmp_path, saved, first):
    """Restart and Run All: the kernel remembers nothing, the notebook does."""
    sources = [{"cell_type": "markdown", "source": THREE[2]}]
    sources += [{"cell_type": "code", "source": [each]} for each in saved]
    path = tmp_path / "book.ipynb"
    path.write_text(json.dumps({"cells": sources}))
    desk.run(f"%env JPY_SESSION_NAME={path}")
    try:
        _, new = notebook.new("a", ASK.format(THREE))
        assert new == (THREE[:1] if first == 0 else [])
        _, new = notebook.new("b", THREE[0])
        assert new == ([] if first is None else THREE[1:2])
    finally:
        desk.run("import os\ndel os.environ['JPY_SESSION_NAME']")


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"cells": [1]}', '{"cells": [{}]}'])
def test_a_notebook_that_cannot_be_read_is_none(desk, notebook, tmp_path, text):
    path = tmp_path / "book.ipynb"
    if text is not None:
        path.write_text(text)
    desk.run(f"%env JPY_SESSION_NAME={path}")
    try:
        assert notebook.new("a", ASK.format(THREE))[1] == THREE[:1]
    finally:
        desk.run("import os\ndel os.environ['JPY_SESSION_NAME']")


class Terminal(InteractiveShell):
    """IPython's shell as its terminal has it: the next input is what the prompt begins with."""

    def prompt(self) -> str:
        given, self.rl_next_input = self.rl_next_input, None
        return given or ""


def test_in_a_terminal_the_next_prompt_begins_with_it(session):
    shell = Terminal()
    shell.rl_next_input = None
    new = Cells(shell, session)
    shell.user_ns |= {"insert": new.insert, "taken": new.taken}
    try:
        shell.run_cell("seen = taken()")  # as of `ipython -c`
        assert shell.user_ns["seen"] is False
        shell.run_cell(f"seen, said = taken(), insert({THREE!r})", store_history=True)
        assert shell.user_ns["seen"] is True
        for each in THREE:
            assert shell.prompt() == each
            shell.run_cell(each, store_history=True)
        assert shell.prompt() == ""
        assert shell.user_ns["third"] == 3
    finally:
        new.close()
        InteractiveShell.clear_instance()

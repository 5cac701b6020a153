"""New cells from an answer's code: their sources, and the messages to a front end."""

from __future__ import annotations

import doctest
import json

import pytest
from IPython.core.interactiveshell import InteractiveShell
from kernels import Desk
from server import Answer, together
from traitlets.config import Config

from mixmagic.calls.completion import Completion
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Request
from mixmagic.magics._shell import insert
from mixmagic.magics._shell.hooks import Hooks
from mixmagic.magics._shell.insert import NewCells, _blocks, sources
from mixmagic.text.code_blocks import CodeBlock

SETUP = """
import mixmagic
from mixmagic.magics._shell.hooks import Hooks
from mixmagic.magics._shell.insert import NewCells, code_cells
hooks = Hooks(get_ipython())
new_cells = NewCells(mixmagic.session(), hooks)
"""
ASK = "print(new_cells.insert({!r}))"
ADDED = "added a cell below"
THERE = "the code is in a cell below already"
NOBODY = "no new cell: that takes an interactive notebook"
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
    assert _blocks(answer(text)) == [
        CodeBlock("python", "x = 1\n\n\ny = 2"),
        CodeBlock("Bash", "ls `pwd`"),
        CodeBlock("{.python}", "if x:\n    y"),
        CodeBlock("markdown", "```python\nno\n```"),
        CodeBlock("", "plain"),
        CodeBlock("json", "{}"),
    ]


def test_a_block_left_open_is_kept_only_of_a_whole_answer():
    assert _blocks(answer("```python\nx = (1,")) == [CodeBlock("python", "x = (1,")]
    cut = answer("```python\na\n```\n```python\nx = (1,", "length")
    assert _blocks(cut) == [CodeBlock("python", "a")]


def test_no_control_characters_are_in_a_cell():
    assert _blocks(answer("```python\nx = '\x1b[31m\x07'\n\ty\n```")) == [
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
    assert sources([CodeBlock(*each) for each in found]) == expected


def test_examples_hold():
    runner, finder = doctest.DocTestRunner(), doctest.DocTestFinder()
    for example in finder.find(sources, globs={**vars(insert), "CodeBlock": CodeBlock}):
        assert runner.run(example).failed == 0
    assert runner.tries == 1


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
        """Return the printed text, and the cells that the front end is asked to insert."""
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
    desk.run("hooks.close()")


def test_an_answer_s_code_comes_below_and_is_not_run(desk, notebook):
    text = "Do:\n\n```python\nraise SystemError\n```\n"
    desk.run("%%mixtral -m 8x7b -o answer\nHow?", Answer(together(text)))
    said, new = notebook.new("a", "print(new_cells.insert(code_cells(answer)))")
    assert (said, new) == (ADDED, ["raise SystemError"])
    assert desk.value("1") == 1


@pytest.mark.parametrize(
    ("count", "rest"),
    [(2, "another code block stays in the answer"), (3, "2 more stay in the answer")],
)
def test_only_the_first_of_several_becomes_a_cell(notebook, count, rest):
    said, new = notebook.new("a", ASK.format(THREE[:count]))
    assert (said, new) == (f"added a cell below; {rest}", THREE[:1])
    assert notebook.new("b", THREE[0]) == ("", [])


def test_once_even_if_the_cell_is_run_again(notebook):
    notebook.new("a", ASK.format(THREE))
    assert notebook.new("a", ASK.format(THREE)) == (THERE, [])
    assert notebook.new("b", THREE[0]) == ("", [])
    assert notebook.new("a", ASK.format(THREE)) == (THERE, [])
    assert notebook.new("a", ASK.format(["another = 4"])) == (ADDED, ["another = 4"])
    assert notebook.new("elsewhere", ASK.format(THREE))[1] == THREE[:1]


def test_a_cell_that_asks_twice_gets_one_new_cell(notebook):
    """A front end would take the last one alone."""
    code = "for each in (['one = 1'], ['two = 2']):\n    print(new_cells.insert(each))"
    said, new = notebook.new("a", code)
    assert new == ["one = 1"]
    assert list(filter(None, said.splitlines())) == [  # perhaps sent in two pieces
        ADDED,
        "this cell has added a cell already: the code stays in the answer",
    ]
    assert notebook.new("a", ASK.format(["two = 2"])) == (ADDED, ["two = 2"])


def test_without_code_there_is_no_new_cell(notebook):
    assert notebook.new("a", ASK.format([])) == ("no code for a new cell in this answer", [])


@pytest.mark.parametrize("line", ["%%mixtral -m 8x7b -i\nHow?", "%mixtral -m 8x7b fix"])
def test_without_an_interactive_notebook_the_footer_says_so(desk, line):
    desk.run("1 / 0")
    code = Answer(together("```python\nraise SystemError\n```"))
    ran = desk.run(line, code, live=False)
    (output,) = ran.outputs
    assert f" · {NOBODY} · session " in output["data"]["text/plain"]
    assert ran.reply["payload"] == []
    watched = desk.run(line, code)
    assert NOBODY not in watched.text
    assert [each["text"] for each in watched.reply["payload"]] == ["raise SystemError"]


@pytest.mark.parametrize(("saved", "new"), [([], THREE[:1]), (THREE[1:], THREE[:1]), (THREE, [])])
def test_code_of_the_saved_notebook_is_not_inserted_again(desk, notebook, tmp_path, saved, new):
    """Restart and Run All: the kernel remembers nothing, the notebook does."""
    cells = [{"cell_type": "markdown", "source": THREE[0]}]
    cells += [{"cell_type": "code", "source": [source]} for source in saved]
    path = tmp_path / "book.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    desk.run(f"%env JPY_SESSION_NAME={path}")
    try:
        assert notebook.new("a", ASK.format(THREE))[1] == new
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
    shell = Terminal(config=Config({"HistoryManager": {"enabled": False}}))
    shell.rl_next_input = None
    hooks = Hooks(shell)
    new = NewCells(session, hooks)
    shell.user_ns |= {"insert": new.insert, "are_taken": new.are_taken}
    try:
        shell.run_cell("seen = are_taken()")  # as of `ipython -c`
        assert shell.user_ns["seen"] is False
        shell.run_cell(f"seen, said = are_taken(), insert({THREE!r})", store_history=True)
        assert shell.user_ns["seen"] is True
        assert shell.prompt() == THREE[0]
        shell.run_cell(THREE[0], store_history=True)
        assert shell.prompt() == ""
    finally:
        hooks.close()
        InteractiveShell.clear_instance()

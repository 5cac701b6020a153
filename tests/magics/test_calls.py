"""Calls of the magics: assigned, in functions, by aliases, without a percent sign."""

from __future__ import annotations

import subprocess
import sys

import pytest
from kernels import Desk
from server import Answer, together

HELLO = Answer(together("Hello", " ", "there"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


def prompts(desk) -> list[str]:
    """Return the prompts that the server received."""
    return [each.body["messages"][-1]["content"] for each in desk.server.received]


@pytest.mark.parametrize(
    ("cell", "asked"),
    [
        ("x = %mixtral Hi", "Hi"),
        ("x = %mixtral -t 0 Really?", "Really?"),
        ("x = get_ipython().run_line_magic('mixtral', 'Hi')", "Hi"),
        ("x = get_ipython().run_cell_magic('mixtral', '-t 0', 'Hi\\n')", "Hi\n"),
        ("x, = [get_ipython().run_line_magic('mixtral', q) for q in ['Hi']]", "Hi"),
        ("if True:\n    x = %mixtral Hi", "Hi"),
        ("def asked():\n    x = %mixtral Hi\n    return x\nx = asked()", "Hi"),
        ("%time x = get_ipython().run_line_magic('mixtral', 'Hi')", "Hi"),
    ],
)
def test_the_value_of_the_magic_is_the_answer(desk, cell, asked):
    desk.run("x = None")
    ran = desk.run(cell, HELLO)
    assert ran.status == "ok", ran.text
    assert prompts(desk) == [asked]
    assert desk.value("(type(x).__name__, x.text, x is _)") == ("Completion", "Hello there", True)
    assert ran.text.count("Hello there") == 1, ran.text


def test_answers_of_a_loop_are_a_list(desk):
    cell = "texts = []\nfor q in 'ab':\n    r = %mixtral {{ q }}\n    texts.append(r.text)"
    assert desk.run(cell, HELLO).status == "ok"
    assert desk.value("texts") == ["Hello there"] * 2
    assert prompts(desk) == ["a", "b"]


@pytest.mark.parametrize(
    "cell",
    [
        "%mixtral Hi",
        "%%mixtral\nHi",
        "mixtral Hi",
        "%time %mixtral Hi",
        "%%time\n%mixtral Hi",
        "%%time\n%%mixtral\nHi",
        "get_ipython().run_cell_magic('mixtral', '', 'Hi')",
        "ip = get_ipython()\nip.run_line_magic('mixtral', 'Hi')",
        "%config InteractiveShell.ast_node_interactivity = 'all'\n1\n%mixtral Hi",
    ],
)
@pytest.mark.parametrize("live", [True, False])
def test_a_magic_that_is_a_statement_shows_its_answer_once(desk, cell, live):
    ran = desk.run(cell, HELLO, live=live)
    desk.run("%config InteractiveShell.ast_node_interactivity = 'last_expr'")
    assert ran.status == "ok", ran.text
    assert ran.text.count("Hello there") == 1, ran.text
    assert "Completion" not in ran.text
    assert "Hello there" in desk.run("_").text, "`_` has it"


def test_what_is_captured_of_a_magic_is_its_answer_once(desk):
    desk.run("%%capture held\n%mixtral Hi", HELLO, live=False)
    assert desk.value("len(held.outputs)") == 1
    desk.run("%%capture held\n%%mixtral\nHi", HELLO, live=False)
    assert desk.value("len(held.outputs)") == 1


def test_a_value_that_is_assigned_can_be_shown_afterwards(desk):
    ran = desk.run("x = %mixtral Hi\nx", HELLO)
    assert ran.text.count("Hello there") == 2
    assert ran.kinds.count("execute_result") == 1


def test_what_is_not_sent_is_a_value_too(desk):
    desk.plan()
    ran = desk.run("plan = %mixtral --dry-run Hi\ncode = %mixtral --as curl Hi")
    assert ran.status == "ok", ran.text
    assert desk.value("(type(plan).__name__, code[:4])") == ("Plan", "curl")
    assert prompts(desk) == []


def test_a_failed_magic_binds_nothing(desk):
    desk.run("x = 1")
    assert desk.run("x = %mixtral -t cold Hi").status == "error"
    assert desk.value("x") == 1


@pytest.mark.parametrize(
    "call",
    [
        "%mixtral Tell {{ q }}",
        "return get_ipython().run_cell_magic('mixtral', '', 'Tell {{ q }}')",
        "return [get_ipython().run_line_magic('mixtral', '{{ how }} {{ q }}') for how in ['Tell']]",
        "return [get_ipython().run_cell_magic('mixtral', '', '{{ h }} {{ q }}') for h in ['Tell']]",
        "return (lambda q: get_ipython().run_cell_magic('mixtral', '', 'Tell {{ q }}'))(q)",
        "%ask Tell {{ q }}",
        "return get_ipython().run_cell_magic('ask', '', 'Tell {{ q }}')",
        "%time %mixtral Tell {{ q }}",
    ],
)
def test_a_magic_in_a_function_sees_its_names_before_those_of_the_notebook(desk, call):
    desk.run("q = 'GLOBAL'\n%alias_magic ask mixtral")
    desk.plan(HELLO)
    ran = desk.run(f"def tell(q):\n    {call}\ntell('local')\nNone")
    assert ran.status == "ok", ran.text
    assert prompts(desk) == ["Tell local"]


def test_an_unknown_name_in_a_function_is_an_error(desk):
    desk.run("def tell(qq):\n    get_ipython().run_cell_magic('mixtral', '', 'Tell {{ nowhere }}')")
    ran = desk.run("tell(1)")
    assert ran.reply["ename"] == "BadArguments"
    assert len(ran.traceback) == 2


@pytest.mark.parametrize(
    ("cell", "asked"),
    [
        ("%ai What is a monad?", "What is a monad?"),
        ("x = %ai What is a monad?", "What is a monad?"),
        ("%again -t 0 Is {x} $HOME {{ 1 + 1 }}?", "Is {x} $HOME 2?"),
        ("for each in [1]:\n    %ai Really ??", "Really ??"),
        ("%%ai -t 0\nIs {x} $HOME {{ 1 + 1 }}?", "Is {x} $HOME 2?\n"),
        ("%warm Why?", "Why?"),
        ("mixtral What is a monad?", "What is a monad?"),
        ("mixtral What's {x} or $HOME?", "What's {x} or $HOME?"),
        ("ai Is it {{ 1 + 1 }}?", "Is it 2?"),
    ],
)
def test_aliases_and_automagic_ask_as_the_magic_does(desk, cell, asked):
    desk.run("x, HOME = 1, 2\n%alias_magic ai mixtral\n%alias_magic again ai")
    desk.run("%alias_magic -l warm mixtral -p '-t 1'")
    ran = desk.run(cell, HELLO)
    assert ran.status == "ok", ran.text
    assert prompts(desk) == [asked]
    assert ran.text.count("Hello there") == 1, ran.text


@pytest.mark.parametrize("cell", ["mixtral?", "%mixtral?", "%ai?", "mixtral??", "len?"])
def test_a_magic_s_own_question_mark_is_still_ipython_s(desk, cell):
    desk.run("%alias_magic ai mixtral")
    desk.plan()
    ran = desk.run(cell)
    assert ran.status == "ok"
    assert ran.reply["payload"], "the manual is shown"
    assert prompts(desk) == []


def test_a_variable_of_the_magic_s_name_is_a_variable(desk):
    desk.plan()
    desk.run("mixtral = 5")
    ran = desk.run("mixtral is 5 or int?")
    desk.run("del mixtral")
    assert ran.status == "ok"
    assert prompts(desk) == []


def test_automagic_that_is_off_stays_off(desk):
    desk.run("%automagic 0")
    desk.plan()
    desk.run("mixtral What is a monad?")
    desk.run("%automagic 1")
    assert prompts(desk) == []


@pytest.mark.parametrize("option", ["--help", "-h", "-t 0 --help"])
def test_help_is_the_manual(desk, option):
    desk.plan()
    for cell in (f"%mixtral {option}", f"%%mixtral {option}\nHi"):
        ran = desk.run(cell)
        assert ran.status == "ok", ran.text
        assert "--max-tokens" in ran.text
    for cell in ("%mixmagic --help", "%mixmagic -h", "%mixmagic spend --help"):
        ran = desk.run(cell)
        assert ran.status == "ok", ran.text
        assert "%mixmagic spend" in ran.text
    assert prompts(desk) == []


def test_an_empty_line_says_where_the_prompt_goes(desk):
    desk.plan()
    for cell in ("%mixtral", "%mixtral -t 0", "%mixtral  "):
        ran = desk.run(cell)
        assert ran.reply["ename"] == "BadArguments"
        assert "after %mixtral" in ran.traceback[1], ran.traceback


def test_unloading_leaves_no_transformer_behind(desk):
    counted = (
        "shell = get_ipython()\ncount = (len(shell.ast_transformers),"
        " len(shell.input_transformer_manager.token_transformers))\nprint(count)"
    )
    before = desk.run(counted).text.strip()
    assert desk.run("%reload_ext mixmagic").status == "ok"
    assert desk.run(counted).text.strip() == before
    assert desk.run("x = %mixtral Hi?", HELLO).text.count("Hello there") == 1


def test_in_a_terminal_automagic_asks_too(together):
    together.plan = [HELLO]
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "--no-banner", "-i"]
    cells = "%load_ext mixmagic\nmixtral What is a monad?\nx = %mixtral Hi\nx.text[:5]\nexit\n"
    ran = subprocess.run(
        command, input=cells, capture_output=True, text=True, check=True, timeout=120
    )
    assert [r.body["messages"][-1]["content"] for r in together.received] == [
        "What is a monad?",
        "Hi",
    ], ran.stdout + ran.stderr
    assert "'Hello'" in ran.stdout


def test_the_footer_names_the_conversation(desk):
    for cell, name, asked in (
        ("%mixtral -c Tell me more", "Tell", "me more"),
        ("%mixtral -c -- Tell me", "chat", "Tell me"),
        ("%mixtral -c {{ 1 + 1 }} apples", "chat", "2 apples"),
        ("%%mixtral -c tea\nHi", "tea", "Hi"),
    ):
        ran = desk.run(cell, HELLO)
        assert f"conversation {name}" in ran.text, ran.text
        assert prompts(desk)[-1].strip() == asked


@pytest.mark.parametrize(
    "expression",
    ["await x", "await later(1) + 1", "[each async for each in x]", "f(await x)", "(await\nx)"],
)
def test_what_has_to_be_awaited_is_awaited_in_a_line_before(desk, expression):
    desk.plan()
    ran = desk.run(f"%%mixtral\nTell {{{{ {expression} }}}}")
    assert ran.reply["ename"] == "BadArguments"
    assert len(ran.traceback) == 2
    assert "`value = " in ran.traceback[1]
    assert prompts(desk) == []


@pytest.mark.parametrize(
    ("setup", "value", "hint"),
    [
        ("v = (each for each in 'ab')", "v", "{{ list(v) }}"),
        ("async def later(): return 1\nv = later()", "v", "`value = await v`"),
        ("class Bare: pass\nv = [Bare()]", "v", "_repr_prompt_"),
        ("import httpx\nv = httpx.Response(200, text='tea')", "v", "{{ v.text }}"),
        ("v = open('/dev/null')", "v", "{{ v.read() }}"),
    ],
)
def test_a_value_that_says_nothing_is_refused_and_nothing_is_sent(desk, setup, value, hint):
    desk.plan(HELLO)
    assert desk.run(setup).status == "ok"
    for cell in (f"%mixtral Tell {{{{ {value} }}}}", f"%%mixtral\nTell {{{{ {value} }}}}"):
        ran = desk.run(cell)
        assert ran.reply["ename"] == "BadArguments", ran.text
        assert len(ran.traceback) == 2
        assert hint in ran.traceback[1]
    desk.run("getattr(v, 'close', int)()\ndel v")
    assert prompts(desk) == []


def test_what_is_cut_or_raises_is_said_in_the_footer(desk):
    desk.run(
        "import polars as pl\nwide = pl.DataFrame({f'c{n}': [n] for n in range(60)})\n"
        "class Bad:\n    def __repr__(self): raise ValueError('no')\n"
        "import pandas as pd\nframe = pd.DataFrame({'a': [1, Bad()], 'b': ['tea', 'milk']})"
    )
    ran = desk.run("%mixtral Sum up {{ wide }} and {{ frame }}", HELLO)
    assert "wide cut to 50 of 60 columns" in ran.text
    assert "frame cut to 1 value that raised ValueError" in ran.text
    (prompt,) = prompts(desk)
    assert "Only the first 50 of 60 columns" in prompt
    assert "<Bad that raised ValueError>" in prompt
    assert "milk" in prompt


def test_answers_are_counted_as_values(desk):
    desk.run(
        "answers = []\nfor q in 'aab':\n    x = %mixtral {{ q }}\n    answers.append(x)", HELLO
    )
    assert desk.value("(len(set(answers)), len({x: 1 for x in answers}))") == (3, 3)

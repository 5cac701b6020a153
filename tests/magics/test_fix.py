"""`%mixtral fix`: the failure that it is about, and the prompt."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import Answer, refusal, together

from mixmagic.magics._shell.failures import Failure
from mixmagic.magics._shell.fix import fixed

SETUP = """
import mixmagic
from mixmagic.magics._shell.failures import Failures
from mixmagic.magics._shell.hooks import Hooks
failures = Failures(Hooks(get_ipython()))
"""
SHOW = "print(failures.last().prompt())"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    assert desk.run(SETUP).status == "ok"
    yield desk
    desk.close()


def test_the_cell_and_its_traceback_without_ipython_s_frames(desk):
    desk.run("def divide(x):\n    return 1 / x")
    cell = "zero = 0\ndivide(zero)"
    assert desk.run(cell).status == "error"
    desk.run("'a cell that does not fail'")
    prompt = desk.run(SHOW).text
    assert prompt.startswith(f"The cell:\n\n```python\n{cell}\n```\n\nThe error:\n\n```\nTraceback")
    assert "ZeroDivisionError: division by zero\n```\n\nIn the line that failed:" in prompt
    assert prompt.rstrip().endswith("```\nx: int 0\n```")
    assert "in divide\n    return 1 / x" in prompt
    assert "interactiveshell" not in prompt
    assert "\x1b" not in prompt


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("def (", "SyntaxError: invalid syntax"),
        ("%%time\nundefined_name", "NameError: name 'undefined_name' is not defined"),
        ("await 3", "TypeError: object int can't be used in 'await' expression"),
        ("def again():\n    again()\nagain()", "RecursionError: maximum recursion depth exceeded"),
        ("raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])", "KeyError: 'b'"),
        ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise OSError", "During handling"),
    ],
)
def test_every_kind_of_failure(desk, cell, said):
    assert desk.run(cell).status == "error"
    prompt = desk.run(SHOW).text
    assert f"```python\n{cell}\n```" in prompt
    assert said in prompt
    assert "run_cell_async" not in prompt
    assert len(prompt) < 6_000


def test_a_stop_and_an_error_of_ours_are_nothing_to_fix(desk):
    desk.run("int('the one')")
    desk.run("raise KeyboardInterrupt")
    desk.run("%%mixtral -m nothing\nHi")
    assert (
        desk.run("%mixtral -m 8x7b Hi", refusal(401, {"error": {"message": "no"}})).status
        == "error"
    )
    assert "int('the one')" in desk.run(SHOW).text


@pytest.mark.parametrize("how", [{"silent": True}, {"store_history": False}])
def test_a_front_end_s_own_code_is_nothing_to_fix(desk, how):
    desk.run("int('the one')")
    client = desk.kernel.client
    desk.kernel.collect(client.execute("int('its own')", **how))
    assert "int('the one')" in desk.run(SHOW).text


def test_the_shapes_of_the_values_in_the_line_that_failed(desk):
    desk.run("import os, pandas as pd\ndf = pd.DataFrame({'month': ['Jan'], 'sales': [1]})")
    desk.run("df['Month'].sum()")
    shape = "df: pandas DataFrame of 1 row and 2 columns: 'month' (str), 'sales' (int64)"
    assert f"In the line that failed:\n\n```\n{shape}\n```" in desk.run(SHOW).text
    desk.run("keys = {os.environ['TOGETHER_API_KEY']: 1}\nkeys['x']")
    desk.run("%mixtral fix", Answer(together("Hello")))
    assert "keys: dict of 1: '[key]'" in desk.sent["messages"][-1]["content"]


@pytest.mark.parametrize("magic", ["%time", "%%time\n", "%timeit", "%%timeit -n 1 -r 1\n"])
def test_the_shapes_are_known_in_cells_that_a_magic_runs(desk, magic):
    desk.run("table = {'Jan': 1}")
    desk.run(f"{magic} x = table['Feb']")
    assert "In the line that failed:\n\n```\ntable: dict of 1: 'Jan'\n```" in desk.run(SHOW).text


def test_a_traceback_that_python_cannot_read_is_the_error_alone(desk):
    desk.run("code = compile('x = 1\\ny = 1 / 0', 'made by hand', 'exec')")
    ran = desk.run("exec(code.replace(co_linetable=b''))")
    assert "Error in callback" not in ran.text
    assert "The error:\n\n```\n" in desk.run(SHOW).text
    assert "exec(code.replace" in desk.run(SHOW).text


def test_options_may_follow_the_word(desk):
    desk.run("1 / 0")
    for line in ("fix -m 8x22b --max-tokens 9", "-m 8x22b --max-tokens 9 fix"):
        assert desk.run(f"%mixtral {line}", Answer(together("Divide by 1."))).status == "ok"
        assert (desk.sent["model"].split("/")[1][:13], desk.sent["max_tokens"]) == (
            "Mixtral-8x22B",
            9,
        )
        assert "ZeroDivisionError" in desk.sent["messages"][-1]["content"]
    desk.run("%mixtral fix -t 0 my sentence", Answer(together("Fixed.")))
    assert desk.sent["messages"][-1]["content"] == "fix -t 0 my sentence"


def test_no_frames_are_kept(desk):
    desk.run(
        "class Big: pass\n"
        "def fail():\n    big = Big()\n    references.append(weakref.ref(big))\n    1 / 0"
    )
    desk.run("import gc, sys, weakref\nreferences = []\nfail()")
    desk.run("int('x')")  # Python keeps the last one's frames
    desk.run("[setattr(sys, each, None) for each in ('last_value', 'last_traceback', 'last_exc')]")
    desk.run("gc.collect()")
    assert desk.value("references[0]() is None") is True


def test_without_a_failure_two_lines_say_what_to_do(start_kernel):
    kernel = start_kernel()
    kernel.run(SETUP)
    ran = kernel.run(SHOW)
    assert ran.traceback == [
        "BadArguments: There is nothing to fix: no cell of this session has failed.",
        "Hint: Run the cell that fails, then `%mixtral fix` in another one.",
    ]
    assert kernel.run(SHOW).traceback == ran.traceback  # its own failure is none


def test_a_failure_before_the_extension_was_loaded(start_kernel):
    kernel = start_kernel(bare=True)
    kernel.run("def divide(x):\n    return 1 / x")
    kernel.run("x = 0\ndivide(x)")
    kernel.run("'other'")
    kernel.run(f"%load_ext mixmagic\n{SETUP}")
    prompt = kernel.run(SHOW).text
    assert "```python\nx = 0\ndivide(x)\n```" in prompt
    assert "ZeroDivisionError" in prompt


def test_a_syntax_error_before_the_extension_was_loaded(start_kernel):
    kernel = start_kernel(bare=True)
    kernel.run("'other'")
    kernel.run("def (")
    kernel.run(f"%load_ext mixmagic\n{SETUP}")
    prompt = kernel.run(SHOW).text
    assert "```python\ndef (\n```" in prompt
    assert "SyntaxError: invalid syntax" in prompt


def test_what_is_long_is_cut_in_the_middle():
    failure = Failure("first\n" + "x = 1\n" * 5000 + "last", "y" * 9000 + "ValueError: the end")
    prompt = failure.prompt("Keep it short.")
    assert len(prompt) < 12_500
    assert "```python\nfirst\n" in prompt
    assert "\nlast\n```" in prompt
    assert "ValueError: the end\n```" in prompt
    assert " characters …\n" in prompt
    assert prompt.endswith("\n\nKeep it short.")


def test_fences_in_a_cell_end_nothing():
    prompt = Failure('"""\n```\n````\n"""', "E").prompt()
    assert '`````python\n"""\n```\n````\n"""\n`````' in prompt


@pytest.mark.parametrize(("field", "longest"), [("cell", 8_000), ("traceback", 4_000)])
def test_keys_are_taken_out_before_anything_is_cut(field, longest):
    secret = "canary-key-4711"
    text = "x" * (longest // 3 - 7) + secret + "y" * 20_000
    failure = Failure(**{"cell": "c", "traceback": "t", field: text})
    prompt = failure.prompt(redact=lambda each: each.replace(secret, "[key]"))
    assert "canary" not in prompt
    assert "canary" in failure.prompt()


def test_of_a_huge_error_more_is_kept_than_is_sent_but_not_all(desk):
    desk.run("raise ValueError('long ' * 100_000)")
    assert 4_000 < len(desk.value("failures.last().traceback")) < 17_000
    assert len(desk.run(SHOW).text) < 5_000


def test_a_cell_that_is_not_known_is_left_out():
    assert Failure("", "E: x").prompt() == "The error:\n\n```\nE: x\n```"


@pytest.mark.parametrize(
    ("cell", "sources", "place"),
    [
        ("1 / 0", ["1 / 1", "1.0"], 0),
        ("1 / 0", ["1.0", "1 / 1"], 1),
        ("x = 1\n1 / 0", ["1 / 0", "x = 1\n1 / 2"], 1),
        ("1 / 0", ["1 / 0", "1 / 1"], 1),
        ("1 / 0", ["1 / 0"], 0),
        ("import x", ["try:\n    import x\nexcept ImportError:\n    x = 0", "!pip install x"], 0),
        ("import x", ["!pip install x", "x = None"], 1),
        ("%pip install xx", ["%pip install x", "print(1)"], 0),
        ("%%bash\nlss", ["print('lss')", "%%bash\nls"], 1),
        ("", ["a", "b"], 0),
    ],
)  # fmt: skip
def test_the_fixed_cell_is_the_most_similar_one(cell, sources, place):
    assert fixed(sources, cell) == [sources[place]]


@pytest.mark.parametrize("sources", [[], ["%%bash\npip install x"], ["!pip install x"]])
def test_code_that_only_installs_is_not_the_fixed_cell(sources):
    assert fixed(sources, "import x") == []

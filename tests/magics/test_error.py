"""`{{ error }}`: the last error of the user's cells."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import Answer, refusal, together

HELLO = Answer(together("Hello"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


def asked(desk: Desk, code: str = "%%mixtral\nExplain this error: {{ error }}") -> str:
    """Return the prompt that was sent."""
    ran = desk.run(code, HELLO)
    assert ran.status == "ok", ran.text
    return desk.sent["messages"][-1]["content"]


def test_the_traceback_of_the_user_s_cells(desk):
    desk.run("def divide(x):\n    return 1 / x")
    assert desk.run("zero = 0\ndivide(zero)").status == "error"
    desk.run("'a cell that does not fail'")
    assert asked(desk).splitlines() == [
        "Explain this error:",
        "",
        "Traceback (most recent call last):",
        '  File "<cell>", line 2, in <module>',
        "    divide(zero)",
        '  File "<cell>", line 2, in divide',
        "    return 1 / x",
        "           ~~^~~",
        "ZeroDivisionError: division by zero",
    ]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("def (", ['File "<cell>", line 1', "SyntaxError: invalid syntax"]),
        ("  x = 1\n y = 2", ["IndentationError"]),
        ("%%time\nundefined_name", ["NameError: name 'undefined_name' is not defined"]),
        ("%time undefined_name", ["NameError: name 'undefined_name' is not defined"]),
        ("await 3", ["TypeError: object int can't be used in 'await' expression"]),
        ("raise KeyboardInterrupt", ["KeyboardInterrupt"]),
        (
            "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise OSError('disk') from e",
            ["ZeroDivisionError: division by zero", "direct cause", "OSError: disk"],
        ),
        (
            "raise ExceptionGroup('two', [ValueError('a'), ExceptionGroup('in', [KeyError('b')])])",
            ["ExceptionGroup: two (2 sub-exceptions)", "ValueError: a", "KeyError: 'b'"],
        ),
        ("import json\njson.loads('{')", ["JSONDecodeError", 'File "json/']),
        ("def again():\n    again()\nagain()", ["RecursionError: maximum recursion depth"]),
    ],
)
def test_every_kind_of_error_without_frames_of_others(desk, cell, says):
    desk.run(cell)
    prompt = asked(desk)
    assert [text for text in says if text not in prompt] == []
    others = ("IPython", "mixmagic", "ipykernel_", "site-packages")
    assert [text for text in others if text in prompt] == []


def test_an_error_that_a_magic_shows_without_failing(desk):
    desk.run("import pathlib\npathlib.Path('bad.py').write_text('1 / 0')")
    assert desk.run("%run bad.py").status == "ok"
    prompt = asked(desk)
    assert "bad.py" in prompt
    assert "ZeroDivisionError" in prompt


def test_an_error_of_code_that_no_one_sees_is_not_it(desk):
    desk.run("int('the one')")
    desk.kernel.collect(desk.kernel.client.execute("int('its own')", silent=True))
    desk.run("1 + 1")
    assert "the one" in asked(desk)


def test_our_own_errors_are_not_it_so_that_a_prompt_can_be_sent_again(desk):
    desk.run("int('the one')")
    assert desk.run("%mixtral -m nothing Hi").status == "error"
    no = refusal(401, {"error": {"message": "no"}})
    assert desk.run("%%mixtral -m 8x7b\n{{ error }}", no).status == "error"
    assert "int('the one')" in asked(desk)


def test_a_variable_of_the_user_wins(desk):
    desk.run("int('x')")
    desk.run("error = 'my own'")
    assert asked(desk) == "Explain this error: my own\n"
    desk.run("del error")
    desk.run("def f(error):\n    %mixtral {{ error }}")
    assert asked(desk, "f('a local one')") == "a local one"
    caught = "try:\n    1 / 0\nexcept ArithmeticError as error:\n    %mixtral {{ error }}"
    assert "ZeroDivisionError" in asked(desk, caught)


def test_it_is_a_text_in_an_expression(desk):
    desk.run("int('x')")
    assert asked(desk, "%mixtral {{ str(error).splitlines()[-1] }}").startswith("ValueError: inv")


def test_keys_are_not_in_it_even_where_it_is_cut(desk):
    desk.run("import os; secret = os.environ['TOGETHER_API_KEY']")
    assert len(desk.value("secret")) >= 8
    desk.run("raise ValueError('x' * 1200 + secret + 'y' * 20_000)")
    prompt = asked(desk)
    assert desk.value("secret")[:4] not in prompt
    desk.run("raise ValueError(f'key {secret} is bad')")
    assert "ValueError: key [key] is bad" in asked(desk)


def test_what_is_written_like_a_key_is_not_in_it_either(desk):
    desk.run("key = 'sk-proj-' + '8fK2mQ9xW2rT7uY5nB4vC6zL1pJ3'\nraise ValueError(f'{key}: no')")
    assert "ValueError: [key]: no" in asked(desk)
    cell = "open_it(api_key='9f8e7d6c5b4a39281706f5e4d3c2b1a0')"
    desk.run(cell)
    assert desk.run("%mixtral fix", HELLO).status == "ok"
    sent = desk.sent["messages"][-1]["content"]
    assert sent.count("open_it(api_key='[key]')") == 2, "in the cell and in its traceback"


def test_a_long_error_is_cut(desk):
    desk.run("raise ValueError('long ' * 100_000)")
    assert len(asked(desk)) < 5_000


def test_it_is_the_same_in_another_kernel(desk, start_kernel):
    cell = "x = {}\nx['a']"
    desk.run(cell)
    first = asked(desk)
    desk.run("1\n2")
    desk.run(cell)
    assert asked(desk) == first


def test_without_an_error_two_lines_say_so_again_and_again(start_kernel):
    kernel = start_kernel()
    for _ in range(2):
        ran = kernel.run("%%mixtral -m local --as curl\n{{ error }}")
        assert ran.traceback == [
            "BadArguments: There is no `{{ error }}`: no cell of this session has failed.",
            "Hint: Run the cell that fails first, or insert a variable of your own.",
        ]


def test_errors_before_the_extension_was_loaded_and_reloaded(start_kernel):
    kernel = start_kernel(bare=True)
    kernel.run("x = {}\nx['early']")
    kernel.run("%load_ext mixmagic")
    kernel.run("%mixtral -m nothing Hi")
    for _ in range(2):
        ran = kernel.run("%%mixtral -m local --as curl\n{{ error }}")
        assert "KeyError: 'early'" in ran.text
        kernel.run("%reload_ext mixmagic")
        kernel.run("%mixtral -m nothing Hi")


def test_with_errors_of_ours_alone_fix_and_error_say_so(start_kernel):
    kernel = start_kernel(bare=True)
    kernel.run("%load_ext mixmagic")
    hint = kernel.run("%mixtral -m nothing Hi").traceback[1]
    kernel.run("%reload_ext mixmagic")
    for code, none in (("fix", "nothing to fix"), ("{{ error }}", "no `{{ error }}`")):
        message, said_hint = kernel.run(f"%mixtral {code}").traceback
        assert message == (
            f"BadArguments: There is {none}: the only errors were mixmagic's own, the last one"
            " UnknownModel."
        )
        assert said_hint == hint

"""`%%mixtral` and `%mixtral` in a real kernel: what is sent, what is bound, what is refused."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import CUT, Answer, refusal, together, whole

HELLO = Answer(together("Hello", " ", "there"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


def assert_two_lines(ran, kind: str) -> None:
    """The cell failed with a message and a hint, and with no traceback."""
    assert ran.status == "error"
    assert ran.reply["ename"] == kind
    assert len(ran.traceback) == 2, ran.traceback
    assert ran.traceback[0].startswith(f"{kind}: ")
    assert ran.traceback[1].startswith("Hint: ")
    assert not any("\n" in line for line in ran.traceback)


def test_cell_body_reaches_the_server_byte_for_byte(desk):
    body = "  Héllo {x} {{y}} $HOME `ls` \\n 'q' \"d\" 世界 🙂\n\n\t%%not a magic\n!echo no\n? \n"
    assert desk.run(f"%%mixtral -t 0 --raw\n{body}", HELLO).status == "ok"
    assert desk.sent["messages"] == [{"role": "user", "content": body}]


@pytest.mark.parametrize(
    "prompt",
    [
        'It\'s "x" {y} {z}} $HOME $1 ~ C:\\new é 世界 ; !ls | cat',
        "What is a monad?",
        "Really ??",
        "-5 degrees is -t cold -o not",
        'a "quoted" end"',
    ],
)
def test_line_prompt_reaches_the_server_byte_for_byte(desk, prompt):
    desk.run("x, y, z, HOME = 'ab', 'cd', 'ef', 'gh'  # what IPython would put in")
    dashes = "-- " if prompt.startswith("-") else ""
    assert desk.run(f"%mixtral {dashes}{prompt}", HELLO).status == "ok"
    assert desk.sent["messages"] == [{"role": "user", "content": prompt}]


@pytest.mark.parametrize(
    ("cell", "prompts"),
    [
        ("asked = %mixtral Why is it?", ["Why is it?"]),
        ("%mixtral Is it \\\nreally?", ["Is it  really?"]),
        ("%%time\n%mixtral Why?", ["Why?"]),
        ("!echo it's \"\"\"\n%mixtral [ or ( what?\n%mixtral Who?", ["[ or ( what?", "Who?"]),
        ("if True:\n\tif True:\n\t\t%mixtral It's \"\"\" why?\n", ["It's \"\"\" why?"]),
    ],
)  # fmt: skip
def test_a_last_question_mark_is_the_prompt_s_wherever_a_statement_begins(desk, cell, prompts):
    assert desk.run(cell, HELLO).status == "ok"
    assert [each.body["messages"][-1]["content"] for each in desk.server.received] == prompts


def test_a_string_that_has_such_a_line_stays_as_it_is(desk):
    desk.plan(HELLO)
    text = "\nUsage:\n%mixtral What is this?\n  x = %mixtral Is it?\n"
    ran = desk.kernel.run(f'text = """{text}"""\n%mixtral What\'s it?\nsame = text')
    assert ran.status == "ok", ran.text
    assert desk.value("(text, same)") == (text, text)
    assert [each.body["messages"][-1]["content"] for each in desk.server.received] == ["What's it?"]
    desk.run(f'def documented():\n    """{text}"""')
    assert desk.value("documented.__doc__") == text


def test_line_magic_takes_options_before_the_prompt(desk):
    assert (
        desk.run("""%mixtral -t 0 -s "be brief" -o line_out It's -t time""", HELLO).status == "ok"
    )
    assert desk.sent["temperature"] == 0
    assert [m["content"] for m in desk.sent["messages"]] == ["be brief", "It's -t time"]
    assert desk.value("line_out.text") == "Hello there"


def test_line_magic_within_python_code_shows_its_answer_there(desk):
    ran = desk.run("for i in range(2):\n    print('before', i)\n    %mixtral Hi {i}", HELLO)
    assert ran.status == "ok"
    assert ran.text.index("before 0") < ran.text.index("Hello there") < ran.text.index("before 1")
    assert [r.body["messages"][0]["content"] for r in desk.server.received] == ["Hi {i}"] * 2


def test_options_reach_the_wire(desk):
    line = (
        "-m 8x22b -t 0.5 --max-tokens 7 --top-p 0.9 --seed 3 --stop END --stop 'two words'"
        ' -s "You are {terse}."'
    )
    assert desk.run(f"%%mixtral {line}\nHi", HELLO).status == "ok"
    body = dict(desk.sent)
    assert [m["role"] for m in body.pop("messages")] == ["system", "user"]
    assert body == {
        "model": "mistralai/Mixtral-8x22B-Instruct-v0.1",
        "temperature": 0.5,
        "max_tokens": 7,
        "top_p": 0.9,
        "seed": 3,
        "stop": ["END", "two words"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert desk.sent["messages"][0]["content"] == "You are {terse}."


def test_a_value_may_begin_with_a_dash(desk):
    desk.run("%%mixtral -s '-t 0' --stop \"---\" --stop '-m' --stop --- --stop -5\nHi", HELLO)
    assert desk.sent["messages"][0]["content"] == "-t 0"
    assert desk.sent["stop"] == ["---", "-m", "---", "-5"]
    desk.run("%mixtral -s '-x' - Hi", HELLO)
    assert [each["content"] for each in desk.sent["messages"]] == ["-x", "- Hi"]


def test_stop_reads_signs_that_cannot_be_typed_in_one_line(desk):
    line = r"""--stop "\n" --stop '\n\n' --stop \n --stop=a\tb --stop '\\n' --stop a\ b"""
    desk.run(f"%%mixtral {line} -s 'a\\nb'\nHi", HELLO)
    assert desk.sent["stop"] == ["\n", "\n\n", "\n", "a\tb", "\\n", "a b"]
    assert desk.sent["messages"][0]["content"] == "a\\nb"


def test_a_path_keeps_its_backslashes(desk):
    desk.run(r"%mixtral -s C:\models\new.gguf Hi", HELLO)
    assert desk.sent["messages"][0]["content"] == r"C:\models\new.gguf"


def test_without_options_nothing_but_the_prompt_is_sent(desk):
    desk.run("%%mixtral\nHi", HELLO)
    assert set(desk.sent) == {"model", "messages", "stream", "stream_options"}


def test_no_stream_asks_for_the_whole_answer(desk):
    ran = desk.run("%%mixtral --no-stream -o o\nHi", whole("All at once.", 11, 4))
    assert ran.status == "ok"
    assert "stream" not in desk.sent
    assert ran.text.startswith("All at once.\n\ntogether:8x7b · 11 → 4 tokens · $0.0000090 ·")
    assert "tokens/s" not in ran.text


def test_out_binds_the_completion(desk):
    assert desk.run("%%mixtral -o answer\nHi", HELLO).status == "ok"
    about = "(type(answer).__name__, answer.text, answer.finish, answer.model.id, str(answer.cost))"
    assert desk.value(about) == (
        "Completion",
        "Hello there",
        "stop",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "0.000007200",
    )
    assert desk.value("(answer.usage.prompt_tokens, answer.usage.completion_tokens)") == (9, 3)
    assert desk.value("[kept is answer for kept in Out.values()].count(True)") == 1


@pytest.mark.parametrize("name", ["2x", "a.b", "class", "a-b"])
def test_out_takes_only_a_variables_name(desk, name):
    ran = desk.run(f"%%mixtral -o {name}\nHi", HELLO)
    assert_two_lines(ran, "BadArguments")
    assert f"-o cannot be '{name}'" in ran.traceback[0]
    assert desk.server.received == [], "nothing is sent, and paid, for a name that cannot be bound"


@pytest.mark.parametrize(
    ("line", "kind", "says", "hint"),
    [
        ("--temprature 1", "BadArguments", "--temprature", "Did you mean --temperature?"),
        ("--temp 1", "BadArguments", "--temp", "Did you mean --temperature or --template?"),
        ("--maxtokens 5", "BadArguments", "--maxtokens", "Did you mean --max-tokens?"),
        ("-t warm", "BadArguments", "a number, not 'warm'", ""),
        ("-t 7", "BadArguments", "temperature cannot be 7", "from 0 to 2"),
        ("-t nan", "BadArguments", "temperature cannot be nan", "from 0 to 2"),
        ("--max-tokens 0", "BadArguments", "max_tokens cannot be 0", "at least 1"),
        ("-m", "BadArguments", "expected one argument", ""),
        ("-s 'unclosed", "BadArguments", "expected one argument", ""),
        ("-s -t 0", "BadArguments", "expected one argument", ""),
        ("-s '--'", "BadArguments", "its value cannot be --", ""),
        ("hello world", "BadArguments", "'hello world'", "below the %%mixtral line"),
        ("-t 0 8x7b", "BadArguments", "'8x7b'", "-m names a model"),
        ("-m 8x7", "UnknownModel", "'8x7'", "Did you mean 8x7b"),
        ("-m ''", "UnknownModel", "No model is named", ""),
    ],
)
def test_a_wrong_line_fails_in_two_lines_with_a_hint(desk, line, kind, says, hint):
    ran = desk.run(f"%%mixtral {line}\nHi", HELLO)
    assert_two_lines(ran, kind)
    assert says in ran.traceback[0]
    assert hint in ran.traceback[1]
    assert desk.server.received == []


@pytest.mark.parametrize(
    ("line", "says", "hint"),
    [
        ("-t 9", "temperature cannot be 9", "from 0 to 2"),
        ("--task cod", "'cod'", "Did you mean code?"),
        ("--budget much", "'much'", "0.50"),
        ("-f jsn", "'jsn'", "Did you mean json?"),
        ("--as crul", "'crul'", "Did you mean curl?"),
        ("--as curl -o program", "no answer for -o or -i", "Leave out --as, or -o and -i."),
        ("--as curl -i", "no answer for -o or -i", "Leave out --as, or -o and -i."),
    ],
)
def test_options_are_checked_before_an_expression_runs(desk, line, says, hint):
    ran = desk.run(f"%%mixtral {line}\n{{{{ print('evaluated') }}}}", HELLO)
    assert_two_lines(ran, "BadArguments")
    assert says in ran.traceback[0]
    assert hint in ran.traceback[1]
    assert ran.kinds.count("stream") == 0


@pytest.mark.parametrize(
    "cell", ["%%mixtral\n \n\t\n", "%%mixtral -t 0\n\n", "%mixtral", "%mixtral -t 0"]
)
def test_an_empty_prompt_is_refused(desk, cell):
    ran = desk.run(cell, HELLO)
    assert_two_lines(ran, "BadArguments")
    assert desk.server.received == []


@pytest.mark.parametrize(
    ("answer", "kind", "says", "hint"),
    [
        (
            refusal(
                401, {"error": {"message": "Invalid API key", "type": "invalid_request_error"}}
            ),
            "KeyRejected",
            "401",
            "api.together.ai/settings/api-keys",
        ),
        (
            refusal(429, {"error": {"message": "slow down"}}, retry_after="7"),
            "RateLimited",
            "asks to wait 7 s",
            "again",
        ),
        (refusal(500, b"<html>\n<h1>oops</h1>\n</html>"), "Unavailable", "500", "again"),
        (
            refusal(
                400,
                {
                    "error": {
                        "message": "Unable to access non-serverless model m.\nPlease visit …",
                        "type": "invalid_request_error",
                        "code": "model_not_available",
                    }
                },
            ),
            "UnknownModel",
            "Unable to access non-serverless model m. Please visit",
            "--live",
        ),
        (refusal(503, {}), "Unavailable", "503", "again"),
    ],
)
def test_an_http_error_is_two_lines_and_nothing_else(desk, answer, kind, says, hint):
    ran = desk.run("%%mixtral -o bound_on_error\nHi", answer)
    assert_two_lines(ran, kind)
    assert says in ran.traceback[0]
    assert hint in ran.traceback[1]
    assert "canary-key" not in ran.text
    shown = [output for output in ran.outputs if output["kind"] != "error"]
    assert shown == [], "an answer that never began leaves nothing half-shown"
    assert desk.value("'bound_on_error' in globals()") is False


def test_without_a_key_the_two_lines_name_the_variable_and_the_way_without(desk):
    desk.kernel.run("import os; kept = os.environ.pop('TOGETHER_API_KEY')")
    ran = desk.run("%%mixtral\nHi", HELLO)
    desk.kernel.run("os.environ['TOGETHER_API_KEY'] = kept")
    assert_two_lines(ran, "MissingKey")
    assert "TOGETHER_API_KEY is not set" in ran.traceback[0]
    assert "Use -m local (`%mixmagic use MODEL` for all cells)" in ran.traceback[1]
    assert desk.server.received == []


def test_the_manual_names_every_option(desk):
    ran = desk.run("%mixtral -h")
    for option in ("-m", "-t", "--max-tokens", "--top-p", "--seed", "--stop", "-s", "-o"):
        assert option in ran.text
    assert "%%%%" not in ran.text


def test_unload_takes_the_magics_away_and_load_brings_them_back(desk):
    assert desk.run("%unload_ext mixmagic").status == "ok"
    gone = desk.run("%%mixtral\nHi", HELLO)
    assert "mixtral" in gone.text
    assert "not found" in gone.text
    assert desk.server.received == []
    assert desk.run("%load_ext mixmagic").status == "ok"
    back = desk.run("%mixtral What is back?", HELLO)
    assert back.status == "ok", back.text
    assert desk.sent["messages"][0]["content"] == "What is back?"


def test_what_had_come_of_a_broken_answer_is_bound(desk):
    ran = desk.run("%%mixtral -o broken\nHi", Answer([*together("Half an")[:-1], CUT]))
    assert_two_lines(ran, "StreamBroken")
    assert desk.value("(broken.text, broken.finish)") == ("Half an", "broken off")
    assert desk.value("broken.cost > 0")


def test_a_refused_call_binds_nothing(desk):
    desk.run("refused = 'as it was'")
    desk.run("%%mixtral -o refused\nHi", refusal(402, {"error": {"message": "no"}}))
    assert desk.value("refused") == "as it was"


def test_a_comment_behind_the_options_is_left_out(desk):
    for line in ("%%mixtral # a note", "%%mixtral -t 0 # a note", "%%mixtral #note"):
        assert desk.run(f"{line}\nHi", HELLO).status == "ok"
        assert desk.sent["messages"] == [{"role": "user", "content": "Hi\n"}]
    assert desk.run("%%mixtral a note\nHi", HELLO).status == "error"
    assert desk.run("%mixtral # Tea", HELLO).status == "ok"
    assert desk.sent["messages"] == [{"role": "user", "content": "# Tea"}]

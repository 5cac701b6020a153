"""A command is one file: the magic, the shell, help, the overview and completion derive from it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import shown
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from mixmagic import cli, commands, magics
from mixmagic.commands._parser import HelpAsked
from mixmagic.errors import BadArguments

HELLO = '''"""Greet someone.

By name, or the world.
"""

from mixmagic.commands._parser import Parser


def parser(prog):
    made = Parser(prog, __doc__)
    made.add("name", nargs="?", default="world", values=lambda session, names: ["Ann", "Bob"])
    made.add("--loud", action="store_true", help="in capitals")
    made.add("--tone", choices=("kind", "cold"))
    return made


def run(session, options, out):
    text = f"Hello, {options.name}!"
    out.print(text.upper() if options.loud else text)
    return 3
'''


@pytest.fixture
def hello(tmp_path, monkeypatch):
    """One more command, in a folder of its own."""
    (tmp_path / "hello.py").write_text(HELLO)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("mixmagic.commands.hello", None)
    vars(commands).pop("hello", None)


@pytest.fixture
def shell(session):
    made = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    magics.register(made, session)
    yield made
    magics.unregister(made)
    InteractiveShell.clear_instance()


def test_a_new_file_is_a_command_of_the_magic(hello, shell, capsys):
    shell.run_line_magic("mixmagic", "hello --loud 'Ann Lee'")
    shell.run_line_magic("mixmagic", "hello")
    assert capsys.readouterr().out == "HELLO, ANN LEE!\nHello, world!\n"
    shell.run_line_magic("mixmagic", "hello -h")
    text = capsys.readouterr().out
    assert text.startswith("usage: %mixmagic hello [-h] [--loud] [--tone {kind,cold}] [name]\n")
    assert "By name, or the world." in text
    assert "in capitals" in text
    shell.run_line_magic("mixmagic", "")
    overview = capsys.readouterr().out
    assert re.search(r"^  %mixmagic hello +Greet someone\.$", overview, re.MULTILINE)
    with pytest.raises(BadArguments, match="--lou") as caught:
        shell.run_line_magic("mixmagic", "hello --lou")
    assert caught.value.hint == "Did you mean --loud? `%mixmagic hello -h` shows the options."


def test_a_new_file_is_a_command_of_the_shell(hello, capsys):
    assert cli.main(["hello", "Ann"]) == 3
    assert cli.main(["hello", "-h"]) == 0
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Hello, Ann!\nusage: mixmagic hello ")
    assert re.search(r"^  mixmagic hello +Greet someone\.$", out, re.MULTILINE)
    assert cli.main(["hello", "--lou"]) == 2
    assert cli.main(["helo"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[1::2] == [
        "Hint: Did you mean --loud? `mixmagic hello -h` shows the options.",
        "Hint: Did you mean hello? `mixmagic` lists all commands.",
    ]


def test_a_new_file_is_completed(hello, shell):
    def offered(typed: str) -> list[str]:
        with provisionalcompleter():
            return [each.text for each in shell.Completer.completions(typed, len(typed))]

    assert offered("%mixmagic he") == ["hello"]
    assert offered("%mixmagic hello ") == ["Ann", "Bob", "--loud", "--tone"]
    assert offered("%mixmagic hello A") == ["Ann"]
    assert offered("%mixmagic hello --lo") == ["--loud"]
    assert offered("%mixmagic hello --tone ") == ["kind", "cold"]
    assert offered("%mixmagic hello --tone=c") == ["cold"]


@pytest.mark.parametrize("only", ["notebook", "shell"])
def test_a_command_may_be_for_one_place_alone(hello, only):
    with (hello / "hello.py").open("a") as file:
        file.write(f"\n\nONLY_IN = {only!r}\n")
    other = {"notebook": "shell", "shell": "notebook"}[only]
    assert "hello" in commands.overview(only)
    assert "hello" not in commands.overview(other)
    commands.parse(["hello"], only)
    with pytest.raises(BadArguments, match="has no command 'hello'") as caught:
        commands.parse(["hello"], other)
    assert f"hello` is for a {only}." in caught.value.hint


@pytest.mark.parametrize("place", ["notebook", "shell"])
def test_every_command_has_help_and_a_summary_that_fits_a_line(place):
    for name, command in commands.available(place).items():
        with pytest.raises(HelpAsked) as caught:
            commands.parse([name, "--help"], place)
        assert commands.summary(command) in str(caught.value)
        assert re.fullmatch(r"[A-Z].{10,80}\.", commands.summary(command))
        parser = commands.parser(name, place)
        for argument in {*parser.options.values(), *parser.positionals} if parser.options else ():
            assert argument.action.help or argument.action.metavar, (name, argument.action)


def test_the_commands_are_found_without_importing_them():
    code = (
        "import sys, mixmagic.commands as commands\n"
        "assert commands.names() == sorted(commands.names()) and 'spend' in commands.names()\n"
        "print([name for name in sys.modules if name.startswith('mixmagic.commands.')])"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "[]\n"


def test_the_readme_names_every_command_and_no_other():
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    table = text[text.index("| magic |") :].partition("\n\n")[0]
    named = set(re.findall(r"%mixmagic (\w+)", table)) | set(re.findall(r"`(log\w+)`", table))
    assert named == set(commands.available("notebook"))
    in_shells = set(re.findall(r"(?<!%)\bmixmagic ([a-z_]+)", text)) & set(commands.names())
    assert in_shells <= set(commands.available("shell"))
    assert set(commands.available("shell")) - set(commands.available("notebook")) <= in_shells


def test_in_a_shell_a_period_and_a_budget_need_no_session(session):
    (table,) = shown(session, "spend", place="shell")
    assert "this month" in table.caption
    (table,) = shown(session, "spend")
    assert "this session" in table.caption
    for scope in ([], ["--per", "session"]):
        with pytest.raises(BadArguments, match="no session to limit") as caught:
            shown(session, "budget", "2", *scope, place="shell")
        assert "--per day" in caught.value.hint
    (line,) = shown(session, "budget", "2", "--per", "day", place="shell")
    assert line == "Today's budget is $2.00: $0 spent, $2.00 remaining."


def test_a_notebook_writes_csv_files_too(session, tmp_path):
    path = tmp_path / "spend.csv"
    assert shown(session, "spend", "--csv", str(path)) == [f"Wrote 0 rows to {path}."]
    assert path.read_text().startswith("model,")


def test_a_shell_has_no_kernel_to_keep_a_key(session):
    with pytest.raises(BadArguments, match="no kernel"):
        shown(session, "login", "together", "--kernel", place="shell")

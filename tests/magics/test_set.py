"""`%mixmagic set`, `%config Mixmagic` and the overview, in a real kernel and in a shell."""

from __future__ import annotations

import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell
from kernels import Desk
from server import Answer, together
from traitlets.config import Config

from mixmagic.errors import BadArguments
from mixmagic.magics.mixmagic import Mixmagic

HELLO = Answer(together("Hello"))
JSON = Answer(together('{"a": 1}'))


def messages(desk) -> list[str]:
    return [each["content"] for each in desk.sent["messages"]]


def test_what_is_set_counts_for_cells_and_for_python(desk):
    said = desk.run('%mixmagic set system "Be brief."').text
    assert said == "system: Be brief. (this session)\n"
    desk.run("%mixmagic set temperature 0.5")
    desk.run("%mixmagic set max-tokens 77\n%mixmagic set stop END '###'")
    for code in (
        "%mixtral Hi",
        "%%mixtral\nHi",
        "import mixmagic; _a = mixmagic.ask('Hi')",
        "for _p in mixmagic.stream('Hi'): pass",
    ):
        assert desk.run(code, HELLO).status == "ok"
        assert [each.strip() for each in messages(desk)] == ["Be brief.", "Hi"], code
        assert desk.sent["temperature"] == 0.5
        assert desk.sent["max_tokens"] == 77
        assert desk.sent["stop"] == ["END", "###"]
    desk.run('%mixtral -t 0 -s "" Hi', HELLO)
    assert (messages(desk), desk.sent["temperature"]) == (["Hi"], 0)
    desk.run("%mixtral --task code Hi", HELLO)
    assert desk.sent["temperature"] == 0.5, "the preset does not win"
    said = desk.run("%mixmagic set temperature off").text
    assert said == "temperature: not set\n"
    desk.run("%mixtral --task code Hi", HELLO)
    assert desk.sent["temperature"] == 0.2


def test_a_default_is_in_the_dry_run_and_in_the_program(desk):
    desk.run("%mixmagic set max-tokens 77")
    desk.run("%mixmagic set system Answer like a pirate.")
    assert "77" in desk.run("%mixtral --dry-run Hi").text
    assert "Answer like a pirate." in desk.run("%mixtral --as curl Hi").text


def test_a_template_wins_over_a_default_and_a_cell_over_both(desk):
    folder = desk.home / "config" / "templates"
    folder.mkdir(parents=True)
    (folder / "t.md").write_text('+++\nsystem = "T."\ntemperature = 0.3\n+++\n{{ cell }}')
    desk.run("%mixmagic set system S.\n%mixmagic set temperature 1\n%mixmagic set seed 4")
    desk.run("%%mixtral --template t\nHi", HELLO)
    assert (messages(desk)[0], desk.sent["temperature"], desk.sent["seed"]) == ("T.", 0.3, 4)
    desk.run("%%mixtral --template t -t 0 -s C.\nHi", HELLO)
    assert (messages(desk)[0], desk.sent["temperature"]) == ("C.", 0)


def test_a_format_is_for_cells_alone(desk):
    desk.run("%mixmagic set format json")
    desk.run("%%mixtral -o data\nHi", JSON)
    assert desk.value("data") == {"a": 1}
    assert "JSON" in messages(desk)[0]
    desk.run("import mixmagic; _a = mixmagic.ask('Hi')", JSON)
    assert messages(desk) == ["Hi"]
    desk.run("%%mixtral -f text\nHi", HELLO)
    assert "JSON" not in messages(desk)[0]
    desk.run("1/0")
    assert desk.run("%mixtral fix", HELLO).status == "ok", "an explanation is no JSON"
    ran = desk.run("%mixmagic set format jason")
    assert "Did you mean json?" in ran.traceback[1]
    assert "`off` takes it back" in ran.traceback[1]
    (desk.home / "config").mkdir()
    (desk.home / "config" / "config.toml").write_text('format = "tabel"')
    ran = desk.run("%mixtral Hi", HELLO)
    assert "There is no format 'tabel'. It comes from config.toml." in ran.traceback[0]
    assert len(ran.traceback) == 2


def test_save_keeps_it_for_other_sessions_and_the_users_comments(desk):
    file = desk.home / "config" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("# Mine.\nidle_timeout = 50  # slow\n")
    said = " ".join(desk.run("%mixmagic set temperature 0.25 --save").text.split())
    assert f"Saved in {file}." in said
    assert file.read_text() == "# Mine.\nidle_timeout = 50  # slow\ntemperature = 0.25\n"
    assert "temperature: 0.25 (this session and config.toml)" in said
    desk.run("%mixtral Hi", HELLO)
    assert desk.sent["temperature"] == 0.25
    desk.run("%mixmagic set system --save Be brief.\n%mixmagic set --save seed 4")
    assert 'system = "Be brief."\nseed = 4\n' in file.read_text()
    desk.run("%mixmagic set system off --save\n%mixmagic set --save seed off")
    said = desk.run("%mixmagic set model local --save").text
    assert "Using local" in said
    assert 'model = "local"' in file.read_text()
    desk.run("%mixmagic set temperature off --save\n%mixmagic set model off --save")
    assert file.read_text() == "# Mine.\nidle_timeout = 50  # slow\n"
    desk.run("%mixtral Hi", HELLO)
    assert "temperature" not in desk.sent
    desk.run("%env MIXMAGIC_SEED=9")
    assert (
        "But MIXMAGIC_SEED sets it, too, and wins." in desk.run("%mixmagic set seed 3 --save").text
    )


def test_a_damaged_file_is_two_lines_and_nothing_is_lost(desk):
    file = desk.home / "config" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("# Mine.\nmodel = ")
    for line in ("set seed 3", "set seed 3 --save", "set", "set seed"):
        ran = desk.run(f"%mixmagic {line}")
        assert ran.reply["ename"] == "BadArguments"
        assert len(ran.traceback) == 2
        assert str(file) in ran.traceback[0]
    assert file.read_text() == "# Mine.\nmodel = "
    ran = desk.run("%mixmagic")
    assert ran.status == "ok"
    assert f"{file} cannot be read" in " ".join(ran.text.split())
    assert "%mixmagic doctor" in ran.text


@pytest.mark.parametrize(
    ("line", "says", "hint"),
    [
        ("set sistem x", "`set` knows no 'sistem'", "Did you mean system?"),
        ("set temperature hot", "temperature cannot be 'hot'", "from 0 to 2. `off` takes it back."),
        ("set temperature none", "temperature cannot be 'none'", "`off` takes it back."),
        ("set max-tokens 1.5", "max_tokens cannot be '1.5'", "a whole number"),
        ("set seed -1", "seed cannot be -1", "at least 0"),
        ("set model 8x7", "No model is called '8x7'", "Did you mean 8x7b"),
        ("set budget much", "An amount of dollars cannot be 'much'", ""),
        ("set temperature --save", "The value is missing.", ""),
        ("set temperature --sav 1", "--sav", "Did you mean --save?"),
    ],
)
def test_a_wrong_line_fails_in_two_lines(shared, line, says, hint):
    ran = shared.run(f"%mixmagic {line}")
    assert ran.status == "error"
    assert len(ran.traceback) == 2
    assert says in ran.traceback[0]
    assert hint in ran.traceback[1]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("shared"))
    yield desk
    desk.close()


def test_config_sets_the_same(desk):
    desk.run('%config Mixmagic.system = "Be brief."')
    desk.run("%config Mixmagic.temperature = 0.5")
    desk.run("%config Mixmagic.max_tokens = 77\n%config Mixmagic.stop = ['END']")
    desk.run("%mixtral Hi", HELLO)
    assert messages(desk) == ["Be brief.", "Hi"]
    assert (desk.sent["temperature"], desk.sent["max_tokens"]) == (0.5, 77)
    assert desk.sent["stop"] == ["END"]
    shown = desk.run("%config Mixmagic").text
    assert "Mixmagic.temperature" in shown
    assert "0.5" in shown
    assert "system       Be brief.  this session" in desk.run("%mixmagic").text
    desk.run("%config Mixmagic.temperature = None")
    desk.run("%mixtral Hi", HELLO)
    assert "temperature" not in desk.sent
    ran = desk.run("%config Mixmagic.temperature = 5")
    assert "temperature cannot be 5.0. It takes a number from 0 to 2." in ran.text
    assert desk.run("%mixtral Hi", HELLO).status == "ok"


def test_the_profile_sets_defaults_too(tmp_path):
    folder = tmp_path / "desk"
    folder.mkdir()
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "ipython_kernel_config.py").write_text(
        "c.Mixmagic.system = 'From the profile.'\nc.Mixmagic.seed = 3\n"
    )
    (tmp_path / "ipython").mkdir()
    (tmp_path / "profile").rename(tmp_path / "ipython" / "profile_default")
    desk = Desk(folder, IPYTHONDIR=str(tmp_path / "ipython"))
    try:
        desk.run("%mixtral Hi", HELLO)
        assert (messages(desk)[0], desk.sent["seed"]) == ("From the profile.", 3)
        assert "IPython profile" in desk.run("%mixmagic set seed").text
    finally:
        desk.close()


def test_the_overview_says_where_each_value_comes_from(desk):
    file = desk.home / "config" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("temperature = 1\nidle_timeout = 50\nbudget_day = 3\n")
    (desk.home.parent / "mixmagic.toml").write_text("max_tokens = 300\nbudget_month = 5\n")
    desk.run("%env MIXMAGIC_SEED=9")
    desk.run('%mixmagic set system "Be brief."\n%mixmagic set budget 0.50')
    lines = desk.run("%mixmagic").text.splitlines()
    assert lines[0].startswith("Settings")
    found = {tuple(line.split(None, 1)) for line in lines if "  " in line.strip()}
    rows = {name: rest.split() for name, rest in found}
    assert rows["model"] == ["8x7b", "default"]
    assert rows["system"] == ["Be", "brief.", "this", "session"]
    assert rows["temperature"] == ["1", "config.toml"]
    assert rows["max-tokens"] == ["300", "mixmagic.toml"]
    assert rows["seed"] == ["9", "MIXMAGIC_SEED"]
    assert rows["idle_timeout"] == ["50", "config.toml"]
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "\nbudget $0.50 %mixmagic budget\n" in text
    assert "\nbudget per day $3 config.toml\n" in text.replace("$3.00", "$3")
    assert "\nbudget per month $5 mixmagic.toml\n" in text.replace("$5.00", "$5")
    assert "Commands:" in lines
    assert desk.run("%mixmagic set").text.splitlines()[0].split() == ["model", "8x7b", "default"]


def test_in_a_shell_defaults_are_saved_and_shown(home):
    def run(*words: str):
        code = "import sys; from mixmagic.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    ran = run("set", "temperature", "0.2")
    assert ran.returncode != 0
    assert "Add --save" in ran.stderr
    assert len(ran.stderr.splitlines()) == 2
    ran = run("set", "temperature", "0.2", "--save")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"Saved in {home}/config/config.toml.\n"
    ran = run()
    assert ran.returncode == 0
    assert "  temperature  0.2      config.toml\n" in ran.stdout
    assert "mixmagic doctor" in ran.stdout
    assert run("set", "temperature").stdout == "temperature: 0.2 (config.toml)\n"
    assert run("set", "budget", "2", "--save").returncode == 0
    assert 'budget_session = "2"' in (home / "config" / "config.toml").read_text()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("temperature = 5", "c.Mixmagic.temperature of the IPython profile: "),
        ("temperature = 'hot'", "c.Mixmagic.temperature of the IPython profile: "),
        ("model = 'nope'", "c.Mixmagic.model of the IPython profile: No model is called 'nope'."),
        ("format = 'nope'", "c.Mixmagic.format of the IPython profile: "),
    ],
)
def test_a_wrong_value_in_the_profile_is_named_with_its_setting(session, line, says):
    config = Config()
    exec(f"c.Mixmagic.{line}", {"c": config})
    with pytest.raises(BadArguments) as error:
        Mixmagic(InteractiveShell(config=config), session, None)
    assert error.value.message.startswith(says)
    assert error.value.hint

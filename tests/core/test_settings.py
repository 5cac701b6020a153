from __future__ import annotations

import os
from decimal import Decimal

import pytest

from mixmagic.core.settings import Settings
from mixmagic.errors import BadArguments


@pytest.fixture
def write(home):
    """Write the settings file."""

    def write(text: str | bytes):
        path = home / "config" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def load(home, **environ) -> Settings:
    return Settings.load({"MIXMAGIC_HOME": str(home), **environ})


def test_defaults(home):
    settings = load(home)
    assert (settings.model, settings.live) == (None, None)
    assert settings.config_dir == home / "config"
    assert settings.data_dir == home / "data"
    assert settings.cache_dir == home / "cache"


def test_the_environment_is_that_of_the_process(home, monkeypatch):
    monkeypatch.setenv("MIXMAGIC_MODEL", "disco")
    assert Settings.load().model == "disco"
    assert Settings.load().data_dir == home / "data"


def test_reading_settings_makes_no_folder(home):
    load(home)
    assert {each.name for each in home.iterdir()} == {"cache"}


def test_home_may_be_relative_or_the_user_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("here").data_dir == tmp_path / "here" / "data"
    assert load("~/there").data_dir == tmp_path / "there" / "data"


def test_folders_are_the_platform_s_without_a_home(tmp_path, monkeypatch):
    for name, folder in (("CONFIG", "c"), ("DATA", "d"), ("CACHE", "e")):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / folder))
    settings = Settings.load({})
    folders = settings.config_dir, settings.data_dir, settings.cache_dir
    assert folders == tuple(tmp_path / folder / "mixmagic" for folder in "cde")


def test_file_wins_over_defaults_and_environment_over_file(home, write):
    write('model = "8x22b"\nlive = false\n')
    assert (load(home).model, load(home).live) == ("8x22b", False)
    settings = load(home, MIXMAGIC_MODEL="local", MIXMAGIC_LIVE="1")
    assert (settings.model, settings.live) == ("local", True)


@pytest.mark.parametrize(
    ("word", "live"),
    [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("False", False), ("no", False)],
)
def test_live_takes_words(home, word, live):
    assert load(home, MIXMAGIC_LIVE=word).live is live


def test_empty_variables_are_unset(home, write):
    write('model = "8x22b"\n')
    settings = load(home, MIXMAGIC_MODEL="", MIXMAGIC_LIVE="")
    assert (settings.model, settings.live) == ("8x22b", None)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("model = ", "cannot be read", "Fix the file"),
        (b"model = '\xff'", "cannot be read", "Fix the file"),
        ("modle = 'x'", "no setting 'modle'", "Settings are: model."),
        ("xyzzy = 1", "no setting 'xyzzy'", "Settings are: model, system, temperature, "),
        ("[model]\nname = 'x'", "'model' cannot be {'name': 'x'}", "It takes a text."),
        ("model = 5", "'model' cannot be 5", "It takes a text."),
        ("live = 'yes'", "'live' cannot be 'yes'", "It takes true or false."),
    ],
)
def test_a_bad_file_is_named(home, write, text, says, hint):
    path = write(text)
    with pytest.raises(BadArguments) as caught:
        load(home)
    assert says in caught.value.message
    assert str(path) in caught.value.message
    assert hint in caught.value.hint


def test_a_folder_in_the_file_s_place_is_named(home):
    (home / "config" / "config.toml").mkdir(parents=True)
    with pytest.raises(BadArguments, match=r"config\.toml cannot be read"):
        load(home)


def test_a_bad_variable_is_refused(home):
    with pytest.raises(BadArguments, match="'live' cannot be 'maybe'") as caught:
        load(home, MIXMAGIC_LIVE="maybe")
    assert caught.value.hint == "It takes true or false."


@pytest.mark.parametrize("text", ["1_0", "\N{ARABIC-INDIC DIGIT THREE}", "１０", "2.5", "ten"])  # noqa: RUF001
def test_numbers_in_odd_writings_are_refused(home, text):
    with pytest.raises(BadArguments, match="'budget_floor' cannot be") as caught:
        load(home, MIXMAGIC_BUDGET_FLOOR=text)
    assert caught.value.hint == "It takes a whole number from 0 up."
    if text != "2.5":
        with pytest.raises(BadArguments, match="'idle_timeout' cannot be"):
            load(home, MIXMAGIC_IDLE_TIMEOUT=text)
    assert load(home, MIXMAGIC_BUDGET_FLOOR=" 10 ").budget_floor == 10


def test_settings_are_read_once(home, monkeypatch):
    settings = load(home)
    monkeypatch.setitem(os.environ, "MIXMAGIC_MODEL", "local")
    assert settings.model is None


@pytest.mark.parametrize("text", ["inf", "nan", "-inf", "0", "-1"])
def test_a_timeout_is_a_finite_number_of_seconds_over_0(home, text):
    with pytest.raises(BadArguments, match="'idle_timeout' cannot be"):
        load(home, MIXMAGIC_IDLE_TIMEOUT=text)


@pytest.mark.parametrize(
    "text", ["max_retries = true", "budget_floor = false", "max_retries = 1.0"]
)
def test_a_whole_number_is_neither_a_truth_value_nor_a_float(home, write, text):
    write(text)
    with pytest.raises(BadArguments, match="cannot be"):
        load(home)


def test_a_notebook_that_does_not_exist_leaves_the_working_folder(home, tmp_path, monkeypatch):
    """A console's session has a name, too, and no folder of its own."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    missing = tmp_path / "elsewhere" / "gone.ipynb"
    assert load(home, JPY_SESSION_NAME=str(missing)).folder == tmp_path / "there"
    missing.parent.mkdir()
    missing.touch()
    assert load(home, JPY_SESSION_NAME=str(missing)).folder == missing.parent


def test_a_version_changes_with_the_file_and_each_variable(home, write, monkeypatch):
    settings = load(home)
    versions = [settings.version()]
    write("model = 'local'")
    versions.append(settings.version())
    for variable in ("MIXMAGIC_MODEL", "MIXMAGIC_HOME", "JPY_SESSION_NAME", "MIXMAGIC_CA_FILE"):
        monkeypatch.setenv(variable, f"{home}/é")
        versions.append(settings.version())
    assert len(set(versions)) == len(versions)
    assert settings.version() == versions[-1]


class TestBesideTheNotebook:
    """A file `mixmagic.toml` in the notebook's folder sets what its calls take by default."""

    @pytest.fixture
    def beside(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

        def write(text: str):
            (tmp_path / "mixmagic.toml").write_text(text)
            return tmp_path / "mixmagic.toml"

        return write

    def test_it_wins_over_the_users_file_and_the_environment_over_it(self, home, write, beside):
        write('model = "local"')
        assert (load(home).model, load(home).beside) == ("local", {})
        beside('model = "8x22b"')
        assert (load(home).model, load(home).beside) == ("8x22b", {"model": "8x22b"})
        settings = load(home, MIXMAGIC_MODEL="disco")
        assert (settings.model, settings.beside) == ("disco", {"model": "8x22b"})

    def test_it_is_that_of_the_notebooks_folder(self, home, tmp_path, beside):
        beside('model = "local"')
        (tmp_path / "lessons").mkdir()
        (tmp_path / "lessons" / "one.ipynb").touch()
        (tmp_path / "lessons" / "mixmagic.toml").write_text('model = "8x22b"')
        settings = load(home, JPY_SESSION_NAME=str(tmp_path / "lessons" / "one.ipynb"))
        assert settings.beside == {"model": "8x22b"}

    def test_a_change_is_seen(self, session, beside):
        assert session.model == "8x7b"
        beside('model = "8x22b"')
        assert session.model == "8x22b"
        beside('model = "local"  # again')
        assert session.model == "local"

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('ca_file = "mine.pem"', "mixmagic.toml cannot set 'ca_file'"),
            ('cassette = "x"', "mixmagic.toml cannot set 'cassette'"),
            ("idle_timeout = 5", "mixmagic.toml cannot set 'idle_timeout'"),
            ("budget_floor = 5", "mixmagic.toml cannot set 'budget_floor'"),
            ("cache = false", "mixmagic.toml cannot set 'cache'"),
            ('base_url = "http://127.0.0.1"', "mixmagic.toml cannot set 'base_url'"),
            ('[aliases]\nlocal = "openrouter:a/b"', "mixmagic.toml cannot set 'aliases'"),
            ("temperature = 3", "'temperature' cannot be 3"),
            ("max_tokens = 0", "'max_tokens' cannot be 0"),
            ("stop = [1]", "'stop' cannot be"),
            ("budget_day = -1", "'budget_day' cannot be -1"),
            ("model = 3", "'model' cannot be 3"),
            ("model", "mixmagic.toml cannot be read"),
        ],
    )
    def test_it_sets_defaults_and_budgets_alone(self, home, beside, text, says):
        beside(text)
        with pytest.raises(BadArguments, match=says):
            load(home)

    def test_it_lowers_a_budget_and_never_raises_one(self, home, write, beside):
        beside('budget_day = "2"\nbudget_month = 1')
        assert load(home).budgets == {"day": 2, "month": 1}
        write("budget_day = 1\nbudget_month = 5\nbudget_session = 3")
        settings = load(home, MIXMAGIC_BUDGET_SESSION="4")
        assert settings.budgets == {"session": 4, "day": 1, "month": 1}
        assert settings.sources["budget_month"] == "mixmagic.toml"
        assert settings.sources["budget_day"] == "config.toml"
        assert load(home, MIXMAGIC_BUDGET_DAY="9").budgets["day"] == 2
        assert load(home, MIXMAGIC_BUDGET_DAY="0.5").budgets["day"] == Decimal("0.5")


def test_defaults_of_calls_come_from_files_and_variables(home, write):
    write('system = "Be brief."\ntemperature = 1\nstop = "END"\nmax_tokens = 9\n')
    settings = load(home, MIXMAGIC_TEMPERATURE="0.5", MIXMAGIC_SEED="7", MIXMAGIC_SYSTEM="Be kind.")
    assert (settings.system, settings.temperature, settings.seed) == ("Be kind.", 0.5, 7)
    assert (settings.stop, settings.max_tokens) == (["END"], 9)
    assert settings.sources == {
        "system": "MIXMAGIC_SYSTEM",
        "temperature": "MIXMAGIC_TEMPERATURE",
        "seed": "MIXMAGIC_SEED",
        "stop": "config.toml",
        "max_tokens": "config.toml",
    }


@pytest.mark.parametrize(
    ("name", "text", "takes"),
    [
        ("temperature", "hot", "a number from 0 to 2"),
        ("temperature", "nan", "a number from 0 to 2"),
        ("max_tokens", "1.5", "a whole number"),
        ("seed", "-1", "a whole number"),
        ("top_p", "2", "a number from 0 to 1"),
    ],
)
def test_a_wrong_default_in_a_variable_is_refused(home, name, text, takes):
    with pytest.raises(BadArguments, match=f"'{name}' cannot be") as caught:
        load(home, **{f"MIXMAGIC_{name.upper()}": text})
    assert takes in caught.value.hint
    assert f"MIXMAGIC_{name.upper()}" in caught.value.message


@pytest.mark.parametrize("name", ["cassette", "cassette_mode"])
def test_a_cassette_is_for_one_run(home, write, name):
    write(f'{name} = "once"')
    with pytest.raises(BadArguments, match=f"cannot set '{name}'") as caught:
        load(home)
    assert f"MIXMAGIC_{name.upper()}" in caught.value.hint
    write("")
    settings = load(home, **{f"MIXMAGIC_{name.upper()}": "once"})
    assert getattr(settings, name) == "once"


def test_a_name_that_a_project_s_file_misspells_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixmagic.toml").write_text("max-tokens = 5")
    with pytest.raises(BadArguments, match="cannot set 'max-tokens'") as error:
        Settings.load({"MIXMAGIC_HOME": str(tmp_path / "home")})
    assert error.value.hint == "Did you mean max_tokens?"


def test_an_invalid_value_is_told_with_its_place_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadArguments) as error:
        Settings.load({"MIXMAGIC_HOME": str(tmp_path / "home"), "MIXMAGIC_TEMPERATURE": "hot"})
    assert str(error.value) == "The setting 'temperature' cannot be 'hot' (MIXMAGIC_TEMPERATURE)."
    (tmp_path / "mixmagic.toml").write_text("seed = 1.5")
    with pytest.raises(BadArguments) as error:
        Settings.load({"MIXMAGIC_HOME": str(tmp_path / "home")})
    assert str(error.value).endswith("cannot be 1.5 (" + str(tmp_path / "mixmagic.toml") + ").")

"""The user's own names of models: wherever a model is named, and in cassettes without them."""

from __future__ import annotations

import tomllib

import pytest
from kernels import Desk
from server import Answer
from server import together as words

from mixmagic import cli, commands
from mixmagic.errors import BadArguments, CassetteMiss, UnknownModel
from mixmagic.sessions import Session

HI = Answer(words("Hi"))


@pytest.fixture
def alias(session):
    """Run the command; return what it prints."""

    def alias(*given: str) -> str:
        printed: list[str] = []

        class Out:
            shell, live = None, False
            print = staticmethod(printed.append)

        commands.parse(["alias", *given], "shell")(session, Out())
        return "\n".join(printed)

    return alias


@pytest.fixture
def config(home):
    (home / "config").mkdir()
    file = home / "config" / "config.toml"
    file.write_text("# Mine.\nidle_timeout = 50\n")
    return file


def test_it_is_set_shown_and_removed(alias, config, session):
    assert "You have no aliases" in alias()
    said = alias("Fast", "fireworks:8x7b")
    assert said == f"fast: fireworks:8x7b (Fireworks AI)\nSaved in {config}."
    alias("own", "openrouter:mistralai/never-heard-of")
    assert config.read_text().startswith("# Mine.\nidle_timeout = 50\n\n[aliases]\n")
    assert alias().splitlines() == [
        "fast: fireworks:8x7b (Fireworks AI)",
        "own: openrouter:mistralai/never-heard-of (OpenRouter)",
    ]
    assert alias("FAST") == "fast: fireworks:8x7b (Fireworks AI)"
    assert session.request("Hi", model="fast").model.name == "fireworks:8x7b"
    alias("fast", "8x22b")
    assert session.request("Hi", model=" Fast ").model.name == "together:8x22b"
    assert f"Removed the alias fast from {config}." == alias("fast", "off")
    with pytest.raises(UnknownModel, match="No model is called 'fast'"):
        session.request("Hi", model="fast")
    with pytest.raises(BadArguments, match="no alias 'fast'") as caught:
        alias("fast", "off")
    assert caught.value.hint == "Aliases are own."
    assert tomllib.loads(config.read_text())["aliases"] == {
        "own": "openrouter:mistralai/never-heard-of"
    }


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        (("8x7b", "local"), BadArguments, "'8x7b' is already a name of together:8x7b"),
        (("LOCAL", "8x7b"), BadArguments, "'local' is already a name of local"),
        (("fast", "8x7"), UnknownModel, "No model is called '8x7'"),
        (("fast", "nowhere:x"), UnknownModel, "No model is called 'nowhere:x'"),
        (("fast", "fast"), UnknownModel, "No model is called 'fast'"),
        (("a:b", "local"), BadArguments, "cannot be called 'a:b'"),
        (("two words", "local"), BadArguments, "cannot be called 'two words'"),
        (("", "local"), BadArguments, "cannot be called ''"),
        (("off", "local"), BadArguments, "cannot be called 'off'"),
    ],
)
def test_a_wrong_alias_is_refused_and_nothing_saved(alias, config, line, kind, says):
    before = config.read_text()
    with pytest.raises(kind, match=says) as caught:
        alias(*line)
    assert "\n" not in caught.value.hint
    assert config.read_text() == before


def test_an_alias_of_an_alias_names_its_model(alias, config):
    alias("fast", "fireworks:8x7b")
    assert alias("quick", "fast").startswith("quick: fireworks:8x7b (")
    alias("fast", "off")
    assert alias("quick") == "quick: fireworks:8x7b (Fireworks AI)"


def test_a_chain_that_was_written_by_hand_is_refused(config, session):
    config.write_text('[aliases]\na = "b"\nb = "a"\nc = "c"\nd = "no-such"\nE = "local"\n')
    for name in "abcd":
        with pytest.raises(UnknownModel, match=f"Your alias '{name}' means") as caught:
            session.request("Hi", model=name)
        assert f"`%mixmagic alias {name} MODEL`" in caught.value.hint
    assert session.request("Hi", model="e").model.name == "local"


def test_neither_name_hides_the_other_if_the_catalog_has_it_later(alias, config, home, session):
    alias("fast", "fireworks:8x7b")
    (home / "config" / "catalog").mkdir()
    (home / "config" / "catalog" / "acme.toml").write_text(
        'name = "acme"\nlabel = "Acme"\nbase_url = "http://127.0.0.1:9"\nkey_required = false\n'
        '[[models]]\nid = "acme/m"\naliases = ["fast"]\n'
    )
    with pytest.raises(
        UnknownModel, match="'fast' is both your alias for fireworks:8x7b"
    ) as caught:
        Session().request("Hi", model="fast")
    assert "`%mixmagic alias fast off`" in caught.value.hint
    assert Session().request("Hi", model="acme:fast").model.id == "acme/m"


def test_an_alias_of_a_shared_name_goes_to_the_cheapest_provider(
    alias, config, session, monkeypatch
):
    alias("mine", "8x7b")
    for name in ("OPENROUTER", "MISTRAL"):
        monkeypatch.setenv(f"{name}_API_KEY", "canary-key-4711")
    chosen = session.select("8x7b").model.name
    assert chosen == "openrouter:8x7b"
    assert session.select("mine").model.name == chosen
    assert session.resolved(session.request("Hi", model="mine")).model.name == chosen


def test_files_and_templates_may_name_it(alias, config, session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alias("fast", "fireworks:8x7b")
    (tmp_path / "mixmagic.toml").write_text('model = "fast"')
    assert session.request("Hi").model.name == "fireworks:8x7b"
    monkeypatch.setenv("MIXMAGIC_MODEL", "FAST")
    assert session.request("Hi").model.name == "fireworks:8x7b"


def test_a_recording_with_an_alias_replays_without_it_or_with_another(
    alias, config, together, session, tmp_path
):
    alias("fast", "together:8x22b")
    file = str(tmp_path / "lesson.cassette.jsonl")
    session.player.use(file, "once")
    together.plan = [HI]
    assert session.ask("Hello", model="fast").model.name == "together:8x22b"
    for text in ("", '[aliases]\nfast = "local"\n', '[aliases]\nfast = "no-such"\n'):
        config.write_text(text)
        other = Session()
        other.player.use(file)
        answer = other.ask("Hello", model="fast")
        assert (answer.text, answer.model.name) == ("Hi", "together:8x22b")
        assert other.request("Hello", model="fast").model.context == 65_536
        other.model = "fast"
        assert other.ask("Hello").text == "Hi"
        with pytest.raises(CassetteMiss):
            other.ask("Something else", model="fast")


def test_in_a_shell(home, capsys):
    assert cli.main(["alias", "fast", "8x22b"]) == 0
    assert cli.main(["alias"]) == 0
    assert "fast: 8x22b (Together AI)" in capsys.readouterr().out
    assert cli.main(["alias", "fast", "x"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_in_a_notebook(tmp_path):
    folder = tmp_path / "desk"
    folder.mkdir()
    desk = Desk(folder)
    try:
        assert "Saved in" in desk.run("%mixmagic alias fast together:8x22b").text
        desk.run("%mixtral -m fast Hi", HI)
        assert "8x22B" in desk.sent["model"]
        desk.run(
            "%mixmagic alias fast disco\nimport mixmagic; _a = mixmagic.ask('Hi', model='fast')", HI
        )
        assert "Disco" in desk.sent["model"]
        templates = desk.home / "config" / "templates"
        templates.mkdir()
        (templates / "t.md").write_text('+++\nmodel = "fast"\n+++\n{{ cell }}')
        desk.run("%%mixtral --template t\nHi", HI)
        assert "Disco" in desk.sent["model"]
        said = desk.run("%mixmagic use fast").text
        assert "Using together:disco in this session" in said
        desk.run("%mixtral Hi", HI)
        assert "Disco" in desk.sent["model"]
        assert "fast" in desk.run("%mixmagic").text
        desk.run("ip = get_ipython()")
        assert desk.value("ip.complete('fa', '%mixtral -m fa', 14)[1]") == ["fast"]
    finally:
        desk.close()

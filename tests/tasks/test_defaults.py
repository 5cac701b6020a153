"""What calls take by default, and the order in which it is looked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from server import Answer
from server import together as words

from mixmagic.errors import BadArguments
from mixmagic.sessions import Session

HI = Answer(words("Hi"))


@pytest.fixture
def ask(session, together):
    """Ask, and return the body of the request that was sent."""

    def ask(prompt="Hello", **params):
        together.plan = [HI]
        session.ask(prompt, **params)
        return together.received[-1].body

    return ask


def config(home, text: str) -> None:
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "config.toml").write_text(text)


def test_each_place_wins_over_the_next(session, ask, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "temperature" not in ask()
    config(home, "temperature = 0.1")
    assert (ask()["temperature"], session.origin("temperature")) == (0.1, "config.toml")
    (tmp_path / "mixmagic.toml").write_text("temperature = 0.2")
    assert (ask()["temperature"], session.origin("temperature")) == (0.2, "mixmagic.toml")
    monkeypatch.setenv("MIXMAGIC_TEMPERATURE", "0.3")
    assert ask()["temperature"] == 0.3
    assert session.origin("temperature") == "MIXMAGIC_TEMPERATURE"
    session.set_default("temperature", 0.4)
    assert (ask()["temperature"], session.origin("temperature")) == (0.4, "this session")
    assert ask(temperature=0)["temperature"] == 0
    session.set_default("temperature", None)
    assert ask()["temperature"] == 0.3


def test_every_default_reaches_the_wire(session, ask):
    values = {"max_tokens": 9, "top_p": 0.5, "seed": 3, "stop": "END", "system": "Be brief."}
    for name, value in values.items():
        session.set_default(name, value)
    body = ask()
    assert {name: body[name] for name in ("max_tokens", "top_p", "seed", "stop")} == {
        "max_tokens": 9,
        "top_p": 0.5,
        "seed": 3,
        "stop": ["END"],
    }
    assert [each["content"] for each in body["messages"]] == ["Be brief.", "Hello"]
    assert "stop" not in ask(stop=[]), "an empty list is a value, too"


def test_a_stream_has_them_too(session, together):
    session.set_default("system", "Be brief.")
    together.plan = [HI]
    list(session.stream(session.request("Hello")))
    assert together.received[-1].body["messages"][0]["content"] == "Be brief."


def test_a_calls_own_system_prompt_is_the_only_one(session, ask):
    session.set_default("system", "Be brief.")
    assert [each["content"] for each in ask(system="Be kind.")["messages"]] == ["Be kind.", "Hello"]
    assert [each["role"] for each in ask(system="")["messages"]] == ["user"]
    own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "Hello"}]
    assert ask(own)["messages"] == own
    chat = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    assert [each["role"] for each in ask(chat)["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]


def test_a_temperature_that_is_set_wins_over_a_tasks(session, ask):
    assert ask(task="code")["temperature"] == 0.2
    session.set_default("temperature", 1)
    assert ask(task="code")["temperature"] == 1
    assert ask(task="code", temperature=0)["temperature"] == 0


def test_the_last_word_counts(session, ask, home):
    session.set_default("seed", 1)
    config(home, "seed = 2")
    assert ask()["seed"] == 2
    session.set_default("seed", 1)
    config(home, "seed = 2\ntemperature = 1")
    assert ask()["seed"] == 1, "another setting is no word on it"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("temperature", 3, "temperature cannot be 3"),
        ("temperature", "hot", "temperature cannot be 'hot'"),
        ("max_tokens", 0, "max_tokens cannot be 0"),
        ("system", 5, "system cannot be 5"),
        ("sistem", "x", "no default 'sistem'"),
        ("idle_timeout", 5, "no default 'idle_timeout'"),
    ],
)
def test_a_wrong_default_is_refused_when_it_is_set(session, name, value, says):
    with pytest.raises(BadArguments, match=says):
        session.set_default(name, value)
    assert session.defaults() == {}


ASK = """
import json, sys
from mixmagic.sessions import Session
session = Session()
session.player.use("lesson.cassette.jsonl", sys.argv[1])
for name, value in json.loads(sys.argv[2]).items():
    session.set_default(name, value)
print(session.ask("Hello").text)
"""


def test_a_recording_replays_on_machines_with_other_settings_environment_and_keys(
    together, tmp_path
):
    """Only the notebook's own lines and the project's file count while a cassette is in use."""
    (tmp_path / "mixmagic.toml").write_text('system = "From the project."\nmax_tokens = 50\n')
    together.plan = [HI]

    def run(machine: str, mode: str, own: dict, text: str = "", **env: str):
        home = tmp_path / machine
        (home / "config").mkdir(parents=True)
        (home / "config" / "config.toml").write_text(text)
        keys = ("TOGETHER", "FIREWORKS", "MIXMAGIC")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(keys)}
        return subprocess.run(
            [sys.executable, "-c", ASK, mode, json.dumps(own)],
            env={**clean, "MIXMAGIC_HOME": str(home), **env},
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    keys = {name: os.environ[name] for name in ("TOGETHER_BASE_URL", "TOGETHER_API_KEY")}
    own = {"temperature": 0.25}
    recorded = run("a", "once", own, 'system = "Mine."\nseed = 5', MIXMAGIC_TOP_P="0.5", **keys)
    assert recorded.stdout == "Hi\n", recorded.stderr
    sent = together.received[0].body
    assert sent["messages"][0]["content"] == "From the project."
    assert (sent["temperature"], sent["max_tokens"]) == (0.25, 50)
    assert not {"seed", "top_p"} & sent.keys()
    others = [
        ("b", "", {}),
        ("c", 'model = "local"\nsystem = "Theirs."\ntemperature = 1\nmax_tokens = 7', {}),
        ("d", "", {"MIXMAGIC_SYSTEM": "Env.", "MIXMAGIC_SEED": "1", "MIXMAGIC_MODEL": "disco"}),
        ("e", "", {"FIREWORKS_API_KEY": "canary-key-4711"}),
    ]
    for machine, text, env in others:
        replayed = run(machine, "none", own, text, **env)
        assert replayed.stdout == "Hi\n", (machine, replayed.stderr)
    assert len(together.received) == 1
    missed = run("f", "none", {"temperature": 0.5})
    assert "the nearest differs in temperature (0.5, recorded 0.25)" in missed.stderr


def test_a_profiles_default_does_not_count_in_a_replay_but_a_notebooks_line_does(session, tmp_path):
    session.set_default("seed", 1, by_profile=True)
    assert (session.defaults(), session.origin("seed")) == ({"seed": 1}, "IPython profile")
    session.player.use(str(tmp_path / "x.jsonl"), "once")
    assert (session.defaults(), session.origin("seed")) == ({}, "default")
    session.set_default("seed", 1)
    assert session.defaults() == {"seed": 1}, "the same value, by the notebook's own line"


def test_a_forked_or_new_session_starts_with_the_settings_alone(session, home):
    session.set_default("seed", 1)
    assert Session().defaults() == {}

"""A model that several providers serve: the cheapest with a key is used, however it is named."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from server import Answer
from server import together as words

import mixmagic
from mixmagic.errors import BudgetExceeded, MissingKey
from mixmagic.sessions import Session

REASON = "the cheapest of 2 providers with a key"
FIREWORKS = "accounts/fireworks/models/mixtral-8x7b-instruct"
ACME = """
name = "acme"
url_env = "ACME_BASE_URL"
key_env = "ACME_API_KEY"
[[models]]
id = "acme-mixtral"
aliases = ["8x7b"]
context = 32_768
price = { input = "9", output = "9" }
"""


@pytest.fixture
def two(home, server, monkeypatch):
    """The scripted server as two providers of the same model, Fireworks the cheaper one."""
    (home / "config" / "catalog").mkdir(parents=True)
    (home / "config" / "catalog" / "acme.toml").write_text(ACME)
    for name in ("FIREWORKS", "ACME"):
        monkeypatch.setenv(f"{name}_BASE_URL", server.url)
        monkeypatch.setenv(f"{name}_API_KEY", "canary-key-4711")
    server.plan = [Answer(words("Hi"))]
    return server


def test_an_answer_says_whom_it_comes_from_and_why(two, session):
    answer = session.ask("Hello", model="8x7b")
    assert answer.model.name == "fireworks:8x7b"
    assert two.received[0].body["model"] == FIREWORKS
    assert answer.notes == (REASON,)
    assert answer.footer().endswith(f" · {REASON}")


def test_a_named_provider_is_used_without_a_note(two, session):
    answer = session.ask("Hello", model="acme:8x7b")
    assert two.received[0].body["model"] == "acme-mixtral"
    assert answer.notes == ()


def test_the_default_model_and_the_settings_one_are_chosen_too(two, home, monkeypatch):
    assert Session().ask("Hello").notes == (REASON,)
    (home / "config" / "config.toml").write_text('model = "mixtral"')
    assert Session().request("Hello").model.name == "together:8x7b", "nobody else calls it so"
    monkeypatch.setenv("MIXMAGIC_MODEL", "8x7b")
    assert Session().ask("Hello").model.name == "fireworks:8x7b"


def test_a_stream_says_it_first(two, session):
    first, *others = session.stream(session.request("Hello", model="8x7b"))
    assert (first.text, first.note) == ("", REASON)
    assert [each.note for each in others] == [""] * len(others)
    assert "".join(map(str, others)) == "Hi"


def test_what_is_planned_counted_and_held_is_what_is_asked(two, session):
    request = session.request("Hello", model="8x7b", max_tokens=100)
    assert session.plan(request).request.model.name == "fireworks:8x7b"
    assert session.resolved(request).model.name == "fireworks:8x7b"
    assert request.model.name == "together:8x7b", "the name's first row, whatever the keys"
    # 1.60 a million out: 100 tokens are $0.00016, and $0.0009 at the other one.
    with pytest.raises(BudgetExceeded):
        session.ask("Hello", model="8x7b", max_tokens=100, budget="0.0001")
    assert session.ask("Hello", model="8x7b", max_tokens=100, budget="0.0005").text == "Hi"
    assert [spent.name for spent in session.ledger.spent()] == [f"fireworks:{FIREWORKS}"]


def test_a_key_that_comes_or_goes_changes_who_is_asked(two, session, monkeypatch):
    monkeypatch.delenv("FIREWORKS_API_KEY")
    answer = session.ask("Hello", model="8x7b")
    assert (answer.model.name, answer.notes) == ("acme:8x7b", ())
    monkeypatch.setenv("FIREWORKS_API_KEY", "canary-key-4711")
    assert session.ask("Hello", model="8x7b").model.name == "fireworks:8x7b"


def test_without_any_key_the_error_names_the_keys_that_would_do(session):
    with pytest.raises(MissingKey, match="OPENROUTER_API_KEY is not set"):
        session.ask("Hello", model="8x7b")


def test_choosing_costs_next_to_nothing(two, session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("".join(f"VARIABLE_{n}={n}\n" for n in range(50)))
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        session.select("8x7b")
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.001


def test_no_key_is_looked_for_before_a_call_needs_one(tmp_path):
    script = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "mixmagic")
import mixmagic
session = mixmagic.session()
print("backends" in vars(session), "mixmagic.backends" in sys.modules, "keyring" in sys.modules)
session.request("Hi", model="disco")
session.request("Hi", model="together:8x7b")
session.request("Hi", model="local")
print("keyring" in sys.modules, "dotenv" in sys.modules)
session.request("Hi", model="8x7b")
session.request("Hi", task="code")
print("keyring" in sys.modules)
session.select("8x7b")
print("keyring" in sys.modules)
"""
    (tmp_path / ".env").write_text("X=1")
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert ran.stdout == "False False False\nFalse False\nFalse\nTrue\n"


def test_the_public_functions_choose(two, monkeypatch):
    made = Session()
    monkeypatch.setattr(mixmagic.sessions, "_of_process", {"session": made})
    assert mixmagic.ask("Hello", model="8x7b").notes == (REASON,)
    assert [each.note for each in mixmagic.stream("Hello") if each.note] == [REASON]
    made.close()

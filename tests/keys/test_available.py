"""Who is set up: looked for once, until something changes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from mixmagic.catalog import Catalog
from mixmagic.keys import available
from mixmagic.keys.available import Keys, has_key
from mixmagic.keys.credentials import Credentials
from mixmagic.values import Provider

PROVIDERS = Catalog().providers
FIREWORKS, OLLAMA = PROVIDERS["fireworks"], PROVIDERS["ollama"]


class Slow(KeyringBackend):
    """A keyring that takes its time."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, str] = {}
        self.asked: list[str] = []

    def get_password(self, service, username):
        self.asked.append(username)
        time.sleep(0.02)
        return self.kept.get(username)

    def set_password(self, service, username, password):
        self.kept[username] = password


@pytest.fixture
def slow(monkeypatch):
    made = Slow()
    monkeypatch.setattr(keyring.core, "_keyring_backend", made)
    return made


@pytest.fixture
def known(tmp_path, slow):
    return Keys(Credentials(tmp_path / ".env"))


@pytest.mark.parametrize(
    ("provider", "variable", "there"),
    [
        ("together", "TOGETHER_API_KEY", True),
        ("together", "TOGETHER_BASE_URL", False),  # needs a key besides
        ("ollama", "OLLAMA_HOST", True),
        ("local", None, False),
    ],
)
def test_who_is_set_up(monkeypatch, provider, variable, there):
    asked = PROVIDERS[provider]
    access = Credentials(Path("nowhere/.env"))
    assert not has_key(access, asked)  # not even Ollama, whose address is this machine's
    if variable:
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert has_key(access, asked) == there


def test_a_server_of_a_user_s_own_file_that_needs_no_key_is_set_up():
    mine = Provider("mine", "Mine", base_url="http://127.0.0.1:9/v1", key_required=False)
    assert has_key(Credentials(Path("nowhere/.env")), mine)
    assert not has_key(Credentials(Path("nowhere/.env")), replace(mine, base_url=""))


def test_what_the_keyring_says_holds_for_a_minute(known, slow, monkeypatch):
    assert not any(known(FIREWORKS) for _ in range(9))
    assert slow.asked == ["fireworks"]
    slow.kept["fireworks"] = "canary-key-4711"
    assert not known(FIREWORKS)
    monkeypatch.setattr(available, "_HOLDS", -1.0)
    known.forget()
    assert known(FIREWORKS)
    slow.kept.clear()
    assert known(FIREWORKS), "what it has said is kept: `Credentials.store` alone takes it away"
    known._credentials.store(FIREWORKS, "")
    assert not known(FIREWORKS)


def test_the_environment_and_the_file_are_looked_at_each_time(known, tmp_path, monkeypatch):
    assert not known(FIREWORKS)
    monkeypatch.setenv("FIREWORKS_API_KEY", "canary-key-4711")
    assert known(FIREWORKS)
    monkeypatch.setenv("FIREWORKS_API_KEY", " ")
    assert not known(FIREWORKS)
    (tmp_path / ".env").write_text("FIREWORKS_API_KEY=canary-key-4711")
    assert known(FIREWORKS)
    (tmp_path / ".env").write_text("")
    assert not known(FIREWORKS)
    assert not known(OLLAMA)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    assert known(OLLAMA)


def test_looking_again_costs_next_to_nothing(known, tmp_path):
    (tmp_path / ".env").write_text("".join(f"VARIABLE_{n}={n}\n" for n in range(50)))
    providers = [FIREWORKS, OLLAMA, PROVIDERS["openrouter"]]
    for each in providers:
        known(each)
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        for each in providers:
            known(each)
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.001

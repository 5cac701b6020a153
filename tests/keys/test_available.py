"""Providers that are set up: checked once, until something changes."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from server import whole

from mixmagic.catalog import Catalog
from mixmagic.core import lazy
from mixmagic.core.values import Provider
from mixmagic.errors import Stopped
from mixmagic.keys import available
from mixmagic.keys.available import Availability, is_available
from mixmagic.keys.credentials import Credentials
from mixmagic.sessions import Session

PROVIDERS = Catalog().providers
FIREWORKS, OLLAMA = PROVIDERS["fireworks"], PROVIDERS["ollama"]


class Slow(KeyringBackend):
    """A slow keyring."""

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
    return Availability(Credentials(tmp_path / ".env"))


@pytest.mark.parametrize(
    ("provider", "variable", "there"),
    [
        ("together", "TOGETHER_API_KEY", True),
        ("together", "TOGETHER_BASE_URL", False),  # needs a key besides
        ("ollama", "OLLAMA_HOST", True),
        ("local", None, False),
    ],
)
def test_a_provider_with_a_key_or_a_server_is_set_up(monkeypatch, provider, variable, there):
    asked = PROVIDERS[provider]
    access = Credentials(Path("nowhere/.env"))
    assert not is_available(access, asked)  # not even Ollama, whose address is this machine's
    if variable:
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert is_available(access, asked) == there


def test_a_server_of_a_user_s_own_file_that_needs_no_key_is_set_up():
    mine = Provider("mine", "Mine", base_url="http://127.0.0.1:9/v1", key_required=False)
    assert is_available(Credentials(Path("nowhere/.env")), mine)
    assert not is_available(Credentials(Path("nowhere/.env")), replace(mine, base_url=""))


def test_the_keyring_s_answer_is_cached_for_a_minute(known, slow):
    assert not any(known(FIREWORKS) for _ in range(9))
    assert slow.asked == ["fireworks"]
    slow.kept["fireworks"] = "canary-key-4711"
    assert not known(FIREWORKS)
    now = time.monotonic()
    for seconds, found in ((58, False), (61, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(available.time, "monotonic", lambda seconds=seconds: now + seconds)
            assert known(FIREWORKS) == found
    known.forget()
    slow.kept.clear()
    assert known(FIREWORKS), "what it has said is kept: `Credentials.store` alone takes it away"
    known._credentials.store(FIREWORKS, "")
    known.forget()
    assert not known(FIREWORKS)


def test_the_environment_and_the_file_are_read_each_time(known, tmp_path, monkeypatch):
    assert not known(FIREWORKS)
    monkeypatch.setenv("FIREWORKS_API_KEY", "canary-key-4711")
    assert known(FIREWORKS)
    monkeypatch.setenv("FIREWORKS_API_KEY", " ")
    assert not known(FIREWORKS)
    (tmp_path / ".env").write_text("FIREWORKS_API_KEY=canary-key-4711")
    assert known(FIREWORKS)
    (tmp_path / ".env").write_text("")
    assert not known(FIREWORKS)
    (tmp_path / ".env").write_text("FIREWORKS_API_KEY=canary-key-4711")
    assert known(FIREWORKS)
    same_size, times = "FIREWORKS_API_KET=canary-key-4711", (tmp_path / ".env").stat()
    (tmp_path / ".env").write_text(same_size)
    os.utime(tmp_path / ".env", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not known(FIREWORKS), "neither its size nor its time of change has changed"
    (tmp_path / ".env").write_text("")
    assert not known(OLLAMA)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    assert known(OLLAMA)


def test_a_second_check_is_cheap(known, tmp_path):
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


class Locked(KeyringBackend):
    """A keyring that waits for the user's password."""

    priority = 0  # not chosen by keyring itself

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.begun, self.unlocked = threading.Event(), threading.Event()

    def get_password(self, service, username):
        self.asked.append(username)
        self.begun.set()
        assert self.unlocked.wait(20)
        return "canary-key-4711" if username in ("fireworks", "openrouter") else None

    def set_password(self, service, username, password):
        raise NotImplementedError


@pytest.fixture
def locked(monkeypatch):
    made = Locked()
    monkeypatch.setattr(keyring.core, "_keyring_backend", made)
    yield made
    made.unlocked.set()


def run(work, count: int = 1) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for each in threads:
        each.start()
    return threads


def test_a_waiting_keyring_blocks_no_other_call(session, server, locked, monkeypatch):
    """Neither another provider's call, nor a first import, nor a fork."""
    monkeypatch.setenv("MISTRAL_API_KEY", "canary-key-4711")
    monkeypatch.setenv("MISTRAL_BASE_URL", server.url)
    server.plan = [whole("Hi")]
    choices = []
    waiting = run(lambda: choices.append(session.select("8x7b")))
    assert locked.begun.wait(10)
    done = threading.Event()

    def work() -> None:
        session.request("Hello", model="local")
        assert session.ask("Hello", model="mistral:8x7b").text == "Hi"
        assert Session().request("Hello", model="mistral:8x7b").model.provider.name == "mistral"
        with lazy.lock:
            pid = os.fork()
        if not pid:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        done.set()

    run(work)
    assert done.wait(20), "somebody waits for the keyring"
    assert not choices
    locked.unlocked.set()
    for each in waiting:
        each.join(10)
    assert [choice.model.provider.name for choice in choices] == ["openrouter"]


class Counted:
    """A lock that counts the threads that have tried to acquire it."""

    def __init__(self) -> None:
        self._lock, self.came = threading.Lock(), threading.Semaphore(0)

    def __enter__(self) -> None:
        self.came.release()
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("provider", [FIREWORKS, PROVIDERS["together"], OLLAMA])
def test_concurrent_threads_ask_a_keyring_once(tmp_path, locked, provider):
    """With or without a key, and for a provider that requires one or does not."""
    credentials, found = Credentials(tmp_path / ".env"), []
    lock = credentials._asking[provider.name] = Counted()
    threads = run(lambda: found.append(credentials.find(provider)[0]), 8)
    assert all(lock.came.acquire(timeout=10) for _ in threads)
    locked.unlocked.set()
    for each in threads:
        each.join(10)
    assert found == ["canary-key-4711" if provider is FIREWORKS else ""] * 8
    assert locked.asked == [provider.name]


def test_the_keyring_is_asked_for_several_keys_at_once(tmp_path, locked):
    credentials = Credentials(tmp_path / ".env")
    run(lambda: credentials.find(FIREWORKS))
    run(lambda: credentials.find(OLLAMA))
    deadline = time.monotonic() + 10
    while len(locked.asked) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {*locked.asked} == {"fireworks", "ollama"}


def test_a_key_added_to_the_keyring_meanwhile_is_found(tmp_path, slow):
    credentials = Credentials(tmp_path / ".env")
    assert credentials.find(FIREWORKS) == ("", "")
    slow.kept["fireworks"] = "canary-key-4711"
    assert credentials.find(FIREWORKS) == ("canary-key-4711", "in the keyring")
    assert credentials.find(FIREWORKS) == ("canary-key-4711", "in the keyring")
    assert slow.asked == ["fireworks"] * 2


def test_a_key_of_the_keyring_is_a_secret_once_it_was_read(tmp_path, slow):
    credentials = Credentials(tmp_path / ".env")
    slow.kept["fireworks"] = "canary-key-4711"
    assert credentials.redact("canary-key-4711") == "canary-key-4711", "nobody has asked yet"
    credentials.find(FIREWORKS)
    assert credentials.redact("canary-key-4711") == "[key]"


def test_an_interrupted_thread_releases_the_keyring(tmp_path, monkeypatch):
    class Interrupts(Slow):
        priority = 0

        def get_password(self, service, username):
            if not self.asked:
                self.asked.append(username)
                raise KeyboardInterrupt
            return "canary-key-4711"

    monkeypatch.setattr(keyring.core, "_keyring_backend", Interrupts())
    credentials = Credentials(tmp_path / ".env")
    with pytest.raises(Stopped):
        credentials.find(FIREWORKS)
    assert credentials.find(FIREWORKS)[0] == "canary-key-4711"

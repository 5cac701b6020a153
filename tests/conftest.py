"""Fixtures: a home of its own for every test, the scripted server, real kernels."""

from __future__ import annotations

import os
import signal
import ssl
import sys
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from kernels import Kernel
from server import Server

from mixmagic.backends.local import weights
from mixmagic.keys import urls

# A loaded machine is no reason to fail; the same examples are tried each time.
settings.register_profile(
    "mixmagic", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mixmagic")
_KEYS = ("TOGETHER", "MISTRAL", "FIREWORKS", "OPENROUTER", "OPENAI", "OLLAMA")


def pytest_configure(config: pytest.Config) -> None:
    """Give notebooks and tests a home without keys, with the embedded model's weights.

    The weights are fetched once and kept in pytest's cache folder.
    """
    for name in list(os.environ):
        if name.startswith((*_KEYS, "MIXMAGIC_")) and name != "MIXMAGIC_SCREENSHOTS":
            del os.environ[name]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest ignore it
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
    monkeypatch.setattr(urls, "_answered", {})  # another test's server may have had this port
    return home


@pytest.fixture
def server():
    scripted = Server()
    yield scripted
    scripted.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> trustme.CA:
    """A certificate authority that nobody knows; its PEM file is `authority.pem`."""
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

"""Fixtures of servers with TLS, of proxies, and of the official packages."""

from __future__ import annotations

import pytest
from server import Answer, together

KEY = "canary-key-4711"
_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def surroundings(monkeypatch):
    """No proxy and no certificates but the test's; a key for Together."""
    for name in (*_NAMES, *map(str.lower, _NAMES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)


@pytest.fixture
def secure(tls_server, monkeypatch):
    """A provider that is reached by https, with a certificate by the private authority."""
    monkeypatch.setenv("TOGETHER_BASE_URL", tls_server.url)
    tls_server.plan = [Answer(together("Hi"))]
    return tls_server


@pytest.fixture
def both(server, monkeypatch):
    """The scripted server in place of both providers, for their official packages and for us."""
    monkeypatch.setenv("TOGETHER_BASE_URL", server.url.removesuffix("/v1"))
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return server

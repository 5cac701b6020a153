"""Fixtures: a session or a kernel of one module, and a server in Together's place, plain or TLS."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.table import MAX_RETRIES
from kernels import Desk
from server import Server

from mixmagic.core.settings import Settings
from mixmagic.sessions import Session

KEY = "canary-key-4711"
# Retries come soon if no header asks for a wait. Each 429 counts, though the provider has accepted
# calls: those of the faults before.
SWIFT = """
import mixmagic.layers.retry
mixmagic.layers.retry._FIRST = 0.01
mixmagic.layers.retry._succeeds_in_time = lambda error, wait: False
"""


@pytest.fixture(scope="session")
def certificate(authority) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 by `authority`, for servers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module", params=["plain", "tls"])
def transport(request) -> str:
    return request.param


@dataclass
class Place:
    """One session for all faults of a module, its home and its server."""

    session: Session
    server: Server
    home: Path


@pytest.fixture(scope="module")
def place(transport, tmp_path_factory, authority, certificate):
    """A session that asks the server in Together's place; it retries soon."""
    server = Server(certificate if transport == "tls" else None)
    home = tmp_path_factory.mktemp("place") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXMAGIC_HOME", str(home))
        patch.setenv("MIXMAGIC_CA_FILE", str(authority.pem))
        patch.setenv("MIXMAGIC_MAX_RETRIES", str(MAX_RETRIES))
        patch.setenv("TOGETHER_BASE_URL", server.url)
        patch.setenv("TOGETHER_API_KEY", KEY)
        patch.setattr("mixmagic.layers.retry._FIRST", 0.01)
        patch.setattr("mixmagic.layers.retry._succeeds_in_time", lambda error, wait: False)
        session = Session(Settings.load())  # another test's home is not its own
        assert session.settings.max_retries == MAX_RETRIES
        yield Place(session, server, home)
        session.close()
    server.close()


@pytest.fixture(scope="module")
def start_desk(transport, tmp_path_factory, authority, certificate):
    """Start kernels with mixmagic, and the server in Together's place."""
    desks = []

    def start(**env: str) -> Desk:
        server = Server(certificate if transport == "tls" else None)
        own = {"TOGETHER_BASE_URL": server.url, "MIXMAGIC_CA_FILE": str(authority.pem)}
        desk = Desk(tmp_path_factory.mktemp("desk"), **{**own, **env})
        desks.append(desk)
        desk.server.close()
        desk.server = server
        assert desk.kernel.run(SWIFT).status == "ok"
        return desk

    with pytest.MonkeyPatch.context() as patch:
        # A module's kernel starts before a test has its home.
        patch.setenv("MIXMAGIC_HOME", os.environ["MIXMAGIC_HOME"])
        yield start
    for desk in desks:
        desk.close()


@pytest.fixture(scope="module")
def desk(start_desk) -> Desk:
    """A kernel that retries calls."""
    return start_desk(MIXMAGIC_MAX_RETRIES=str(MAX_RETRIES))

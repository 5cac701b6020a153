"""Faults before a request is sent: no listener, a full queue, no TLS. All are retried."""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from faults.cells import cell, check_cell, shown
from faults.table import TRIES, Fault, check_outcome, good, outcome, rows

from mixmagic.errors import ConnectTimedOut, Unavailable
from mixmagic.sessions import Session

LIMIT = 0.5  # seconds
THREADS = 4


class Listener:
    """Accept connections, count them, and send `says` to each, or keep it open in silence."""

    def __init__(self, says: bytes | None) -> None:
        self.seen = 0
        self._says = says
        self._kept: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.seen += 1
                if self._says is None:
                    self._kept.append(connection)
                    continue
                with connection, contextlib.suppress(OSError):
                    connection.recv(1)
                    connection.sendall(self._says)

    def close(self) -> None:
        self._socket.close()
        for each in self._kept:
            each.close()


class Full:
    """A listener that never accepts and whose queue is full: connecting never ends."""

    seen = None

    def __init__(self) -> None:
        self._sockets = [socket.create_server(("127.0.0.1", 0), backlog=0)]
        self.port = self._sockets[0].getsockname()[1]
        for _ in range(3):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
            self._sockets.append(waiting)

    def close(self) -> None:
        for each in self._sockets:
            each.close()


class Closed:
    """A port without a listener."""

    seen = None

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]

    def close(self) -> None:
        pass


UNREACHABLE = Fault("", Unavailable, (), bill="free", says="cannot be reached")
LATE = Fault("", ConnectTimedOut, (), bill="free", says="no connection within 0.5 s")
WAYS = {
    "nobody listens": ("http", Closed, UNREACHABLE),
    "nobody listens, TLS": ("https", Closed, UNREACHABLE),
    "nobody accepts": ("http", Full, LATE),
    "nobody shakes hands": ("https", lambda: Listener(None), LATE),
    "HTTP instead of TLS": ("https", lambda: Listener(b"HTTP/1.1 400 No\r\n\r\n"), UNREACHABLE),
    "the end instead of TLS": ("https", lambda: Listener(b""), UNREACHABLE),
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request):
    """The URL to call instead of Together's, and the fault that it gives."""
    scheme, make, fault = request.param
    made = make()
    yield f"{scheme}://127.0.0.1:{made.port}/v1", made, fault
    made.close()


@pytest.fixture(scope="module")
def session(place):
    made = Session(replace(place.session.settings, connect_timeout=LIMIT))
    yield made
    made.close()


@pytest.fixture(scope="module")
def desk(start_desk):
    return start_desk(MIXMAGIC_CONNECT_TIMEOUT=str(LIMIT), MIXMAGIC_MAX_RETRIES="1")


@pytest.mark.parametrize("transport", ["tls"], indirect=True, scope="module")
def test_threads_that_cannot_reach_it(place, session, way, monkeypatch):
    """Half are streamed; each call is retried, ends in the same error, and is not recorded."""
    url, listener, fault = way
    before = len(rows(place.home))
    with monkeypatch.context() as patch, ThreadPoolExecutor(THREADS) as pool:
        patch.setenv("TOGETHER_BASE_URL", url)
        for error, text in pool.map(lambda n: outcome(session, "Hi", n % 2 == 0), range(THREADS)):
            check_outcome(fault, error, text)
    assert listener.seen in (None, THREADS * TRIES)
    place.server.plan = [good(stream=True)]
    assert outcome(session, "Hi again", True) == (None, "All well")
    (after,) = rows(place.home)[before:]
    assert after["status"] == "ok"


@pytest.mark.parametrize("transport", ["tls"], indirect=True, scope="module")
def test_a_refused_call_is_made_again(place, session, monkeypatch):
    nobody = f"http://127.0.0.1:{Closed().port}/v1"
    monkeypatch.setenv("TOGETHER_BASE_URL", nobody)
    monkeypatch.setattr("mixmagic.layers.retry._FIRST", 0.3)
    place.server.plan = [good(stream=True)]
    request = session.request("Hi", model="8x7b")
    text, told = "", []
    for delta in session.stream(request):
        text += delta.text
        if delta.progress:
            told.append(delta.progress)
            monkeypatch.setenv("TOGETHER_BASE_URL", place.server.url)
    assert text == "All well"
    assert "cannot be reached: next try" in told[0]


@pytest.mark.parametrize("transport", ["tls"], indirect=True, scope="module")
@pytest.mark.parametrize("stream", [True, False])
def test_a_cell_that_cannot_reach_it(desk, way, stream):
    url, listener, fault = way
    before = len(rows(desk.home))
    set_url = "import os; os.environ['TOGETHER_BASE_URL'] = {!r}"
    assert desk.run(set_url.format(url), good(stream)).status == "ok"
    check_cell(fault, desk.run(cell(stream)))
    assert listener.seen in (None, 2)
    assert desk.run(set_url.format(desk.server.url)).status == "ok"
    assert shown(desk.run(cell(stream)))[0].startswith("All well\n")
    (after,) = rows(desk.home)[before:]
    assert after["status"] == "ok"

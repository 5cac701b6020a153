"""Connections are kept, reused and dropped, and a request is repeated at most once."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import math
import socket
import ssl
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from server import CUT, RESET, Answer, Raw, chunk, frames, whole

from mixmagic.backends.http import backend, network, transport
from mixmagic.core.settings import Settings
from mixmagic.errors import StreamBroken
from mixmagic.sessions import Session

SCHEMES = ["http", "https"]
END = frames(chunk("", "stop"))


@pytest.fixture
def provider(request):
    """The scripted server in Together's place, with or without TLS."""
    name = "together" if request.param == "http" else "together_tls"
    return request.getfixturevalue(name)


def ask(session: Session, **how) -> str:
    return session.ask("Hello", model="8x7b", **how).text


def connections(server) -> list[int]:
    return [received.connection for received in server.received]


@pytest.mark.parametrize("end", [CUT, RESET])
@pytest.mark.parametrize("stream", [True, False])
def test_a_request_on_an_idle_connection_without_a_response_is_repeated_once(
    session, together, end, stream
):
    together.plan = [whole("One"), Raw([end]), whole("Two")]
    assert [ask(session), ask(session, stream=stream)] == ["One", "Two"]
    first, again, fresh = connections(together)
    assert first == again != fresh


def test_the_repeat_uses_a_new_connection_even_if_others_are_idle(session, together):
    seen = set()

    def plan(request):
        known = request.connection in seen
        seen.add(request.connection)
        return Raw([CUT]) if known else Answer([frames(chunk("Hi"), done=False), 0.3, END])

    together.plan = [plan]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ask(session), range(4)))
    before = len(together.received)
    assert len(session.backends._made["http"].transport.connections) > 1
    assert ask(session) == "Hi"
    assert len(together.received) == before + 2


@pytest.mark.parametrize("provider", ["https"], indirect=True)
def test_with_tls_it_is_an_error_because_it_may_be_billed(session, provider):
    provider.plan = [whole("One"), Raw([CUT]), whole("Two")]
    ask(session)
    with pytest.raises(StreamBroken):
        ask(session)
    assert len(provider.received) == 2


def test_a_new_connection_without_a_response_is_an_error(session, together):
    together.plan = [Raw([CUT]), whole("Two")]
    with pytest.raises(StreamBroken):
        ask(session)
    assert len(together.received) == 1


def test_a_second_connection_without_a_response_is_an_error(session, together):
    together.plan = [whole("One"), Raw([CUT]), Raw([CUT]), whole("Two")]
    ask(session)
    with pytest.raises(StreamBroken):
        ask(session)
    assert len(together.received) == 3


@pytest.mark.parametrize("began", [b"H", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"])
def test_an_idle_connection_with_a_partial_response_is_an_error(session, together, began):
    together.plan = [whole("One"), Raw([began, CUT]), whole("Two")]
    ask(session)
    with pytest.raises(StreamBroken):
        ask(session)
    assert len(together.received) == 2


STALE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\nstale"


@pytest.mark.parametrize("provider", SCHEMES, indirect=True)
@pytest.mark.parametrize("behind", [b"\r\n", b"x", STALE], ids=["a line end", "a byte", "another"])
@pytest.mark.parametrize("form", ["length", "chunks"])
def test_a_connection_with_bytes_after_a_response_is_not_reused(session, provider, behind, form):
    """Fails if a new httpcore does not check whether an idle connection is readable."""
    body = json.dumps({"choices": [{"message": {"content": "One"}, "finish_reason": "stop"}]})
    raw, json_type = body.encode(), b"content-type: application/json\r\n"
    framed = {
        "length": b"content-length: %d\r\n\r\n%s" % (len(raw), raw),
        "chunks": b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(raw), raw),
    }
    head = b"HTTP/1.1 200 OK\r\n" + json_type
    provider.plan = [Raw([head + framed[form] + behind]), whole("Two")]
    assert [ask(session, stream=False) for _ in range(2)] == ["One", "Two"]
    assert len(set(connections(provider))) == 2


@pytest.mark.parametrize("provider", SCHEMES, indirect=True)
def test_many_calls_share_pools_of_sixteen(session, provider, monkeypatch):
    """Pools are dropped once they are unused for as long as an idle connection is kept."""
    arrived, proceed = threading.Semaphore(0), threading.Event()

    def plan(request):
        arrived.release()
        proceed.wait(30)
        return whole("Hi")

    provider.plan = [plan]
    http = session.backends._backend(session.catalog.provider("together")).transport
    with ThreadPoolExecutor(40) as pool:
        answers = [pool.submit(ask, session, stream=False) for _ in range(40)]
        for _ in answers:
            assert arrived.acquire(timeout=30)
        (pools,) = http._pools.values()
        assert [each.calls for each in pools] == [16, 16, 8]
        proceed.set()
        assert [each.result(30) for each in answers] == ["Hi"] * 40
    assert [each.calls for each in pools] == [0, 0, 0]
    assert len(http.connections) == 40
    monkeypatch.setattr(transport, "_KEEP_ALIVE", 0.0)
    for _ in range(2):
        ask(session, stream=False)
    assert len(pools) == 1


def test_a_closed_session_leaves_no_filter_on_the_libraries_logs(session, together):
    together.plan = [whole("Hi")]
    loggers = [logging.getLogger(name) for name in backend._LOGGERS]
    before = [len(logger.filters) for logger in loggers]
    ask(session)
    assert [len(logger.filters) for logger in loggers] == [count + 1 for count in before]
    session.close()
    assert [len(logger.filters) for logger in loggers] == before


@pytest.mark.parametrize("provider", SCHEMES, indirect=True)
def test_a_session_that_is_dropped_leaves_no_connection(home, provider):
    provider.plan = [whole("Hi")]
    session = Session()
    assert ask(session) == "Hi"
    del session
    gc.collect()
    assert provider.wait(lambda: provider.received[0].closed_at)


def resetting(listener: socket.socket, answer: bytes) -> None:
    """Reset the first connection in the middle of its request; answer the second one."""
    with contextlib.suppress(OSError):
        first, _ = listener.accept()
        first.recv(1000)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        second, _ = listener.accept()
        with second, second.makefile("rb") as reader:
            length = 0
            while line := reader.readline().strip().lower():
                length = int(line.partition(b":")[2]) if b"content-length" in line else length
            reader.read(length)
            second.sendall(answer)


def test_a_request_that_was_only_partly_sent_is_sent_again(home, monkeypatch):
    body = json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})
    answer = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=resetting, args=(listener, answer), daemon=True)
        thread.start()
        monkeypatch.setenv("OPENAI_BASE_URL", f"127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("OPENAI_API_KEY", "canary-key-4711")
        monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "1")
        with contextlib.closing(Session()) as session:
            got = session.ask("Hello", model="openai:m", system="x" * 20_000_000, stream=False)
        thread.join(30)
    assert got.text == "Hi"
    assert any(note.startswith("after 1 ") for note in got.notes), got.notes


def test_an_abort_leaves_the_tls_to_the_thread_that_reads(authority):
    """`SSLSocket.shutdown` would remove it, and the reader would fail with a `ValueError`."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    context = ssl.create_default_context(cafile=str(authority.pem))
    near, far = socket.socketpair()
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(served.wrap_socket, far, server_side=True)
        with context.wrap_socket(near, server_hostname="127.0.0.1") as tls, server.result(30):
            call = network.CallConnection(Settings.load(), math.inf)
            call.use(tls)
            call.abort()
            with contextlib.suppress(OSError):
                assert tls.read(1) == b""


def test_proxies_are_those_of_the_environment_at_its_creation(monkeypatch):
    """Hosts exempted by NO_PROXY: by name, by suffix, with a port, as an IPv6 address, or all."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("all_proxy", "proxy.example:3128")

    def through(url: str, exempt: str) -> str:
        monkeypatch.setenv("NO_PROXY", exempt)
        return transport.Transport("", str).proxy_host(httpx.URL(url))

    there = "proxy.example"
    assert through("https://api.example/v1", "") == there
    assert through("https://api.example/v1", "api.example") == ""
    assert through("https://api.example/v1", "other.example, .example") == ""
    assert through("https://api.example/v1", "api.example:443") == ""
    assert through("https://api.example:8443/v1", "api.example:443") == there
    assert through("https://myapi.example/v1", "api.example") == there
    assert through("http://[::1]:8000/v1", "::1") == ""
    assert through("http://[::1]:8000/v1", "[::1]") == ""
    assert through("http://[::1]:8000/v1", "[::1]:8000") == ""
    assert through("http://[::1]:8000/v1", "::2") == there
    assert through("https://api.example/v1", "x, *") == ""
    assert through("https://api.example/v1", "http://api.example") == there
    assert through("https://api.example/v1", "https://api.example") == ""

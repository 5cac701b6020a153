"""Name lookups and connections are shared by calls, and abandoned at once."""

from __future__ import annotations

import math
import queue
import socket
import threading
import time

import pytest
from patience import soon
from server import whole
from unreachable import blackhole, hung_name

from mixmagic.backends.http.resolver import Resolver, connect
from mixmagic.errors import ConnectTimedOut, Stopped, Unavailable
from mixmagic.sessions import Session

# Seconds: far below the timeout, far above what a busy machine needs.
SOON, TIMEOUT = 60.0, "600"


def asked(names: Resolver, host: str, port: int = 1) -> queue.SimpleQueue:
    answers: queue.SimpleQueue = queue.SimpleQueue()
    names.ask(host, port, answers)
    return answers


def looking_up() -> int:
    return sum(thread.name == "mixmagic-names" for thread in threading.enumerate())


@pytest.fixture
def hung(monkeypatch):
    """A resolver that does not answer for `hung.example`; return the names it is asked for."""
    with hung_name(monkeypatch) as seen:
        yield seen


def at(*addresses):
    return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in addresses]


def refusing() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()


def test_an_address_is_known_without_a_thread():
    answers = asked(Resolver(), "127.0.0.1", 80)
    assert answers.get_nowait()[0][4] == ("127.0.0.1", 80)


def test_a_name_is_looked_up():
    found = asked(Resolver(), "localhost", 80).get(timeout=5)
    assert {address[4][1] for address in found} == {80}


@pytest.mark.parametrize("host", ["no.such.host.invalid", f"{'a' * 64}.example", "a..b"])
def test_an_unknown_name_is_an_error_for_all_who_wait(host):
    assert isinstance(asked(Resolver(), host).get(timeout=20), (OSError, UnicodeError))


def test_one_thread_looks_up_a_name_for_all_who_wait(hung):
    names = Resolver()
    answers = [asked(names, "hung.example") for _ in range(50)]
    assert looking_up() == 1
    assert len(hung) == 1
    assert all(each.empty() for each in answers)


def test_a_name_is_looked_up_again_later():
    names = Resolver()
    for _ in range(2):
        assert asked(names, "localhost").get(timeout=5)
    assert names._waiting == {}


def test_stops_while_a_name_is_looked_up_are_prompt_and_leave_one_thread(hung, home, monkeypatch):
    """No matter how many calls are stopped, the system is asked once."""
    monkeypatch.setenv("MIXMAGIC_CONNECT_TIMEOUT", TIMEOUT)
    session = Session()
    session.plan(session.request("Hi", model="openai:any"))  # what a first call loads is there
    monkeypatch.setenv("OPENAI_BASE_URL", "http://hung.example/v1")
    for number in range(20):
        request = session.request("Hi", model="openai:any")

        def stop(request=request) -> None:
            until = time.monotonic() + 30
            while not hung and time.monotonic() < until:
                time.sleep(0.005)
            time.sleep(0.02)
            request.control.stop.set()

        timer = threading.Thread(target=stop)
        timer.start()
        at = time.monotonic()
        with pytest.raises(Stopped) as stopped:
            list(session.stream(request))
        assert time.monotonic() - at < soon(SOON)
        assert stopped.value.sent is False
        timer.join(timeout=60)
        assert looking_up() == 1, number


def test_a_slow_name_lookup_is_a_connection_timeout(hung, session, monkeypatch, home):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://hung.example/v1")
    monkeypatch.setenv("MIXMAGIC_CONNECT_TIMEOUT", "0.2")
    with pytest.raises(ConnectTimedOut):
        session.ask("Hi", model="openai:any")


def test_the_next_address_is_tried_if_one_refuses_or_does_not_answer():
    with blackhole() as dead, socket.create_server(("127.0.0.1", 0)) as alive:
        addresses = at(refusing(), dead, alive.getsockname())
        until, used = time.monotonic() + 3, []

        def remaining() -> float:
            """As `CallConnection.remaining`."""
            if (seconds := until - time.monotonic()) <= 0:
                raise AssertionError("one address took the time of all")
            return seconds

        sock = connect(addresses, remaining, used.append, None, ())
        with sock:
            assert sock.getpeername() == alive.getsockname()
            assert sock.gettimeout() is None
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert used[-1] is sock
        assert [each.fileno() for each in used[:-1]] == [-1, -1]


def test_if_no_address_answers_the_last_error_is_raised():
    with pytest.raises(ConnectionRefusedError):
        connect(at(refusing(), refusing()), lambda: 1.0, lambda sock: None, None, ())
    with pytest.raises(OSError, match="no address"):
        connect([], lambda: 1.0, lambda sock: None, None, ())


def test_a_socket_has_its_source_address_and_options():
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    with socket.create_server(("127.0.0.1", 0)) as alive:
        addresses = at(alive.getsockname())
        with connect(addresses, lambda: 1.0, lambda s: None, "127.0.0.2", [option]) as sock:
            assert sock.getsockname()[0] == "127.0.0.2"
            assert sock.getsockopt(*option[:2])


def test_aborting_a_connection_closes_its_socket():
    class Unwanted(Exception):
        pass

    calls, used = [], []

    def left() -> float:
        calls.append(1)
        if len(calls) > 2:
            raise Unwanted
        return math.inf

    with blackhole() as dead, pytest.raises(Unwanted):
        connect(at(dead), left, used.append, None, ())
    assert used[0].fileno() == -1


def test_stops_while_connecting_leave_no_thread(home, monkeypatch, server):
    monkeypatch.setenv("MIXMAGIC_CONNECT_TIMEOUT", TIMEOUT)
    session = Session()
    session.plan(session.request("Hi", model="openai:any"))  # what a first call loads is there
    before = threading.active_count()
    with blackhole() as dead:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{dead[1]}/v1")
        for _ in range(20):
            request = session.request("Hi", model="openai:any")
            timer = threading.Timer(0.02, request.control.stop.set)
            timer.start()
            began = time.monotonic()
            with pytest.raises(Stopped):
                list(session.stream(request))
            assert time.monotonic() - began < soon(SOON)
            timer.join(timeout=60)
    session.close()
    assert threading.active_count() <= before


def test_a_refused_connection_is_reported_and_the_next_call_works(session, together, monkeypatch):
    url = together.url
    host, port = refusing()
    monkeypatch.setenv("TOGETHER_BASE_URL", f"http://{host}:{port}")
    with pytest.raises(Unavailable, match="Connection refused"):
        session.ask("Hi", model="8x7b")
    monkeypatch.setenv("TOGETHER_BASE_URL", url)
    together.plan = [whole("Hi")]
    assert session.ask("Hi", model="8x7b").text == "Hi"

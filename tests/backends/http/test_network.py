"""Calls stopped by another thread end at once and leave nothing behind."""

from __future__ import annotations

import math
import signal
import socket
import threading
from pathlib import Path

import pytest
from server import HANG, Answer, Raw, chunk, frames, refusal, whole
from server import together as as_together
from unreachable import blackhole

from mixmagic.backends.http.network import CallConnection, SocketStream
from mixmagic.core.settings import Settings
from mixmagic.errors import IdleTimedOut, MixmagicError, Stopped

HI = frames(chunk("Hi"), done=False)
SOON = 3.0  # seconds: far below any timeout, far above what a busy machine needs


class Call:
    """A streamed call in a separate thread."""

    def __init__(self, session, model: str = "8x7b", **params) -> None:
        self.request = session.request("Hello", model=model, **params)
        self.text = ""
        self.error: BaseException | None = None
        self.begun = threading.Event()
        self._stream = session.stream
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            for delta in self._stream(self.request):
                self.text += delta.text
                self.begun.set()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the test looks at it
            self.error = error

    def stop(self) -> None:
        """Stop it from this thread; check that it ends at once, as stopped."""
        self.request.control.stop.set()
        self.thread.join(SOON)
        assert not self.thread.is_alive()
        assert type(self.error) is Stopped, repr(self.error)


def seen_closed(server, number: int = -1) -> bool:
    return server.wait(lambda: server.received[number].closed_at)


def test_stop_before_the_head(session, together):
    together.plan = [Answer([HANG])]
    call = Call(session)
    together.wait(lambda: together.received)
    call.stop()
    assert seen_closed(together)
    assert call.text == ""


@pytest.mark.parametrize("stream", [True, False])
def test_stop_in_the_middle_of_an_answer(session, together, stream):
    half = b'{"choices": [{"message": {"content": "Hi"'
    kind = "text/event-stream" if stream else "application/json"
    together.plan = [Answer([HI if stream else half, HANG], type=kind)]
    call = Call(session, stream=stream)
    if stream:
        assert call.begun.wait(5)
    else:
        together.wait(lambda: together.received)
    call.stop()
    assert seen_closed(together)
    assert call.text == ("Hi" if stream else "")


def test_stop_while_only_pings_are_received(session, together):
    """Bytes keep coming, so that no read would ever time out."""
    together.plan = [Answer([HI, *[b":\n\n", 0.01] * 2000])]
    call = Call(session)
    assert call.begun.wait(5)
    call.stop()
    assert seen_closed(together)


def test_stop_inside_an_error_s_body(session, together):
    together.plan = [Answer([b'{"error": ', HANG], 500, type="application/json")]
    call = Call(session)
    together.wait(lambda: together.received)
    call.stop()
    assert seen_closed(together)


@pytest.mark.parametrize("steps", [[HANG], [HI, HANG]], ids=["before the head", "in the middle"])
def test_stop_on_a_reused_connection(session, together_tls, steps):
    together = together_tls
    together.plan = [whole("Hi")]
    session.ask("Hello", model="8x7b")
    together.plan = [Answer(steps)]
    call = Call(session)
    together.wait(lambda: len(together.received) == 2)
    if len(steps) > 1:
        assert call.begun.wait(5)
    call.stop()
    assert seen_closed(together)
    together.plan = [whole("Hi")]
    assert session.ask("Hello", model="8x7b").text == "Hi"


def test_stop_before_the_call(session, together):
    """A call that is stopped before it begins is not sent."""
    together.plan = [whole("Hi")]
    request = session.request("Hello", model="8x7b")
    request.control.stop.set()
    with pytest.raises(Stopped):
        list(session.stream(request))
    assert session.ask("Hello", model="8x7b").text == "Hi"


def test_stop_one_of_many(session, together):
    """The others continue, because each call has its own connection."""
    together.plan = [Answer([HI, HANG])]
    calls = [Call(session) for _ in range(4)]
    assert all(call.begun.wait(5) for call in calls)
    calls[1].stop()
    assert together.wait(lambda: sum(r.closed_at is not None for r in together.received) == 1)
    assert [call.thread.is_alive() for call in calls] == [True, False, True, True]
    for call in calls:
        call.stop()


def test_stop_after_the_end_changes_nothing(session, together_tls):
    """The connection now belongs to the next call, which must not be affected."""
    together = together_tls
    together.plan = [whole("Hi")]
    first = session.request("Hello", model="8x7b")
    list(session.stream(first))
    together.plan = [Answer([HI, HANG])]
    second = Call(session)
    assert second.begun.wait(5)
    first.control.stop.set()
    assert not together.received[-1].closed_at
    assert second.thread.is_alive()
    second.stop()


def first_text(session, request):
    """A stream whose answer was received, but whose reader has not continued."""
    deltas = session.stream(request)
    while not next(deltas).text:
        pass
    return deltas


def test_stopping_a_received_answer_does_not_affect_the_next_call_on_its_connection(
    session, together_tls
):
    together_tls.plan = [whole("One"), Answer([HI, 0.5, *as_together("there")])]
    first = session.request("Hello", model="8x7b", stream=False)
    deltas = first_text(session, first)
    second = Call(session)
    assert second.begun.wait(5)
    first.control.stop.set()
    second.thread.join(SOON)
    assert (second.error, second.text) == (None, "Hithere")
    assert len({each.connection for each in together_tls.received}) == 1
    deltas.close()


def test_an_ended_answer_does_not_change_the_next_call_s_timeouts(
    session, together_tls, monkeypatch
):
    monkeypatch.setenv("MIXMAGIC_IDLE_TIMEOUT", "0.7")
    together_tls.plan = [whole("One"), Answer([HI, HANG])]
    deltas = first_text(session, session.request("Hello", model="8x7b", stream=False))
    second = Call(session)
    assert second.begun.wait(5)
    list(deltas)
    second.thread.join(SOON)
    assert type(second.error) is IdleTimedOut


def test_closing_the_iterator_stops_the_call(session, together):
    together.plan = [Answer([HI, HANG])]
    deltas = session.stream(session.request("Hello", model="8x7b"))
    assert next(deltas).text == "Hi"
    deltas.close()
    assert seen_closed(together)


def test_a_stop_is_a_stop_even_if_the_body_ends_with_its_connection(session, monkeypatch):
    """Without a length or chunks, a connection shut down looks like a whole body."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("OPENAI_BASE_URL", f"127.0.0.1:{listener.getsockname()[1]}")
        call = Call(session, "openai:any")
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            head = b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
            connection.sendall(head + HI)
            assert call.begun.wait(5)
            call.stop()


def test_stop_while_sending(session, monkeypatch):
    """The server has stopped reading."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("OPENAI_BASE_URL", f"127.0.0.1:{listener.getsockname()[1]}")
        call = Call(session, "openai:any", system="x" * 50_000_000)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1) == b"P"
            call.stop()


def connecting(port: int) -> int:
    """The connections to `port` whose handshake is not answered yet."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux")
def test_stop_while_connecting(session, server, monkeypatch):
    """A server with a full queue does not answer the handshake; the stop must not wait for it."""
    with blackhole() as (_, port):
        monkeypatch.setenv("OPENAI_BASE_URL", f"127.0.0.1:{port}")
        already = connecting(port)
        call = Call(session, "openai:any")
        try:
            server.wait(lambda: connecting(port) > already)
            call.stop()
        finally:
            call.thread.join(SOON)


def test_ctrl_c_ends_an_ask_and_keeps_the_answer_so_far(session, together):
    """The signal arrives while the main thread is reading from the socket."""
    together.plan = [Answer([HI, HANG])]

    def interrupt():
        together.wait(lambda: together.received)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(Stopped, match=r"tokens? kept") as caught:
        session.ask("Hello", model="8x7b")
    interrupter.join(timeout=60)
    assert caught.value.completion.finish == "stopped"
    assert caught.value.completion.text in ("", "Hi")
    assert seen_closed(together)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
def test_fifty_stopped_calls_leave_nothing_behind(session, together):
    """No thread, no descriptor, no connection in the pool; and the client works."""

    def stopped_call():
        call = Call(session)
        assert call.begun.wait(5)
        call.stop()
        # The server's thread for it ends a moment later.
        together.wait(lambda: threading.active_count() <= threads)

    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    together.plan = [whole("Hi"), Answer([HI, HANG])]
    session.ask("Hello", model="8x7b")  # starts the threads that stay
    threads = threading.active_count()
    stopped_call()
    before = descriptors()
    for _ in range(50):
        stopped_call()
    together.wait(lambda: descriptors() <= before)  # threads may close theirs a moment later
    assert session.backends._made["http"].transport.connections == []
    together.plan = [whole("Hi")]
    assert session.ask("Hello", model="8x7b").text == "Hi"


@pytest.mark.parametrize("first", ["use", "abort"])
def test_a_call_is_aborted_before_or_after_it_gets_its_socket(first):
    near, far = socket.socketpair()
    with near, far:
        call = CallConnection(Settings.load(), math.inf)
        if first == "use":
            call.use(near)
            call.abort()
        else:
            call.abort()
            call.use(near)
        far.settimeout(SOON)
        assert far.recv(1) == b""
        call.abort()


def test_a_call_aborted_without_a_socket_shuts_down_a_later_one():
    call = CallConnection(Settings.load(), math.inf)
    call.abort()
    call.use(None)
    near, far = socket.socketpair()
    with near, far:
        call.use(near)
        far.settimeout(SOON)
        assert far.recv(1) == b""


def test_an_error_is_not_a_stop(session, together):
    together.plan = [refusal(500, {"error": {"message": "no"}})]
    call = Call(session)
    call.thread.join(SOON)
    assert isinstance(call.error, MixmagicError)


def test_a_connection_with_bytes_after_its_last_response_is_replaced(
    session, together, monkeypatch
):
    """Even if it becomes idle just when another thread looks for one."""
    body = whole("Hi").steps[0]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
    together.plan = [Raw([head % len(body) + body + b"HTTP/1.1 500 Late\r\n\r\n"]), whole("Hi")]
    monkeypatch.setattr(SocketStream, "get_extra_info", lambda *_: None)
    assert [session.ask("Hello", model="8x7b").text for _ in range(2)] == ["Hi", "Hi"]
    assert len({each.connection for each in together.received}) == 2

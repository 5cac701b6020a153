"""Network connections that another thread can break off, and that keep to the call's time.

For `backends.http` alone. A thread that waits in a socket's read cannot be woken by closing its
response; shutting the socket down wakes it at once. And a read's own timeout begins anew with
each byte, so that a server's pings would keep a call alive for ever. So every connection is
wrapped to know the call that uses it.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from ssl import SSLContext
from typing import Any

import httpcore

# Its backend would look a name up and connect in one call, which cannot be broken off.
from httpcore._backends.sync import SyncStream

from mixmagic.backends.http.connecting import Addresses, Names, connect
from mixmagic.core.settings import Settings
from mixmagic.errors import (
    ConnectTimedOut,
    FirstByteTimedOut,
    IdleTimedOut,
    TimedOut,
    TotalTimedOut,
)

_thread = threading.local()
_QUESTIONS = (b"POST ", b"GET ")  # and not CONNECT, which is for a proxy
_PIECE = 16 * 1024


class Line:
    """The connection that one call is using: how long it may take, and how to break it off.

    Args:
        settings: The timeouts.
        deadline: When the call must be over, on the monotonic clock.

    Attributes:
        late: The error of a wait that takes too long now.
        sent: Whether a part of the question has gone out.
        unsent: Whether a part of it could not.
        accepted: Whether the server has said that it will answer it.
    """

    def __init__(self, settings: Settings, deadline: float) -> None:
        self.late: type[TimedOut] = ConnectTimedOut
        self.sent = self.unsent = self.accepted = False
        self._settings, self._deadline = settings, deadline
        self._lock = threading.RLock()  # re-entrant: a signal handler may break off
        self._socket: socket.socket | None = None
        self._stream: _Stream | None = None
        self._broken = False
        self._addresses: queue.SimpleQueue[Addresses | Exception] = queue.SimpleQueue()
        self.expect(settings.connect_timeout, ConnectTimedOut)

    def expect(self, seconds: float, late: type[TimedOut]) -> None:
        """From now on, something must come within `seconds`, or it is `late`."""
        self._until, self.late = time.monotonic() + seconds, late
        if self._until > self._deadline:
            self._until, self.late = self._deadline, TotalTimedOut

    @property
    def over(self) -> bool:
        """True if the call is broken off, or something takes too long now."""
        return self._broken or time.monotonic() >= self._until

    def left(self) -> float:
        """Seconds until it is too late.

        Raises:
            httpcore.ReadTimeout: It is.
            httpcore.ReadError: The call is broken off.
        """
        if self._broken:
            raise httpcore.ReadError("broken off")
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left

    def connect(
        self, names: Names, host: str, port: int, source: str | None, options: Iterable[Any]
    ) -> httpcore.NetworkStream:
        """Open a connection; ends at once when the call is broken off, or too late."""
        names.ask(host, port, self._addresses)
        try:
            addresses = self._looked_up()
            if isinstance(addresses, Exception):
                raise addresses
            return SyncStream(connect(addresses, self.left, self.use, source, options))
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None

    def _looked_up(self) -> Addresses | Exception:
        """The host's addresses, as soon as they are known."""
        while True:
            # In steps: Python's queue can miss the end of a wait that a signal made late.
            with contextlib.suppress(queue.Empty):
                return self._addresses.get(timeout=min(max(self.left(), 0.01), 0.1))

    def asks(self, buffer: bytes) -> None:
        """A part of the question, or of a talk with a proxy, goes out."""
        if buffer.startswith(_QUESTIONS):
            self.sent = True
        if self.sent:
            self.expect(self._settings.first_byte_timeout, FirstByteTimedOut)

    def answers(self) -> None:
        """A piece of the answer has come: the next one has its time."""
        self.expect(self._settings.idle_timeout, IdleTimedOut)

    def use(self, sock: Any) -> None:
        """Note the socket that the call now uses."""
        with self._lock:
            self._socket = sock
            if self._broken:
                self.break_off()

    def take(self, stream: object) -> None:
        """The answer has begun to come over `stream`, in whatever thread it is read."""
        self.unsent = False
        if isinstance(stream, _Stream):
            self._stream = stream
            stream.line = self
            self.use(stream.get_extra_info("socket"))

    def free(self) -> None:
        """The answer is here: from now on its connection may be another call's."""
        with self._lock:
            self._socket, stream, self._stream = None, self._stream, None
        if stream is not None and stream.line is self:
            stream.line = None

    def break_off(self) -> None:
        """Shut the connection down: its reader and the server both see it end."""
        with self._lock:
            self._broken = True
            self._addresses.put(OSError("broken off"))
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Not SSLSocket.shutdown, which would say goodbye in TLS first.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let this thread's connections report to this line while the block runs."""
        _thread.line = self
        try:
            yield
        finally:
            _thread.line = None


class _Stream(httpcore.NetworkStream):
    """A connection that reports to the line of the call that uses it."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self.line: Line | None = None
        self._report()

    def _report(self) -> Line | None:
        line: Line | None = getattr(_thread, "line", None)
        if line is None:
            return self.line
        line.use(self.get_extra_info("socket"))
        return line

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        line = self._report()
        return self._inner.read(max_bytes, timeout if line is None else line.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        line = self._report()
        if line is None:
            self._inner.write(buffer, timeout)
            return
        line.asks(buffer)
        try:
            for start in range(0, len(buffer), _PIECE):  # each has only what is left of the time
                self._inner.write(buffer[start : start + _PIECE], line.left())
        except httpcore.NetworkError:
            line.unsent = True
            raise

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        line = self._report()
        if line is None:
            return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))
        # The handshake takes the socket's handle away; a copy of it can be shut down meanwhile.
        own = self.get_extra_info("socket")
        try:
            with socket.fromfd(own.fileno(), own.family, own.type) as copy:
                line.use(copy)
                try:
                    secured = self._inner.start_tls(ssl_context, server_hostname, line.left())
                finally:
                    line.use(None)
        except BaseException as error:
            self._inner.close()  # nobody else does
            if isinstance(error, OSError):
                raise httpcore.ConnectError(str(error)) from None
            raise
        return _Stream(secured)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    """Opens connections that can be broken off."""

    def __init__(self) -> None:
        self._names = Names()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        line: Line = _thread.line
        return _Stream(line.connect(self._names, host, port, local_address, socket_options or ()))

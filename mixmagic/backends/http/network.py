"""Network connections that another thread can abort, and that respect the call's timeouts.

Used only by `backend` and `transport`. Closing a response does not wake a thread that is reading
its socket, but shutting the socket down does. And a read timeout starts again with each byte, so
that a server's pings could keep a call alive forever. So every connection knows the call that uses
it.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import httpcore

from mixmagic.backends.http.framing import ResponseCutter
from mixmagic.backends.http.resolver import Addresses, Resolver, connect
from mixmagic.core.settings import Settings
from mixmagic.errors import (
    ConnectTimedOut,
    FirstByteTimedOut,
    IdleTimedOut,
    TimedOut,
    TotalTimedOut,
)

_thread = threading.local()
_METHODS = (b"POST ", b"GET ")  # not CONNECT, which is for a proxy
_WRITE_SIZE = 16 * 1024
_TLS_RECORD_SIZE = 16 * 1024
_Result = TypeVar("_Result")


class Socket(Protocol):
    """The methods that this module uses of a socket, with or without TLS."""

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes, /) -> int: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class CallConnection:
    """The connection of one call: its timeouts, and a way to abort it from another thread.

    Args:
        settings: The timeouts.
        deadline: The time when the call must be over, on the monotonic clock.

    Attributes:
        timeout_error: The error to raise if the current wait takes too long.
        sent: True once a part of the request has been written.
        unsent: True if a part of the request could not be written.
        stale: True if the request was sent over a reused connection and no byte of the response has
            been received: the server may have closed the connection without reading it.
        aborted: True if the call has been aborted.
        moved: Set this to True when a part of the answer is received: it restarts the idle timeout.
        accepted: True once the server has answered with a success status.
    """

    def __init__(self, settings: Settings, deadline: float) -> None:
        self.sent = self.unsent = self.stale = self.accepted = False
        self._settings, self._deadline = settings, deadline
        self._lock = threading.RLock()  # reentrant: a signal handler may abort
        self._socket: Socket | None = None
        self._stream: SocketStream | None = None
        self.aborted = self.moved = False
        self._addresses: queue.SimpleQueue[Addresses | Exception] = queue.SimpleQueue()
        self.timeout_error: type[TimedOut]
        self.expect(settings.connect_timeout, ConnectTimedOut)

    def expect(self, seconds: float, error: type[TimedOut]) -> None:
        """Set the timeout of the next wait, and the error to raise if it takes longer."""
        self.moved = False
        self._until, self.timeout_error = time.monotonic() + seconds, error
        if self._until > self._deadline:
            self._until, self.timeout_error = self._deadline, TotalTimedOut

    @property
    def over(self) -> bool:
        """True if the call has been aborted, or the current wait takes too long."""
        if self.moved:
            self.expect(self._settings.idle_timeout, IdleTimedOut)
        return self.aborted or time.monotonic() >= self._until

    def remaining(self) -> float:
        """Return the seconds until the current wait times out.

        Raises:
            httpcore.ReadTimeout: It has timed out.
            httpcore.ReadError: The call has been aborted.
        """
        if self.aborted:
            raise httpcore.ReadError("aborted")
        now = time.monotonic()
        if self.moved:
            self.moved, idle = False, self._settings.idle_timeout
            self._until, self.timeout_error = now + idle, IdleTimedOut
            if self._until <= self._deadline:
                return idle  # always the same value, so that the socket's timeout is set once
            self._until, self.timeout_error = self._deadline, TotalTimedOut
        seconds = self._until - now
        if seconds <= 0:
            raise httpcore.ReadTimeout
        return seconds

    def connect(
        self, resolver: Resolver, host: str, port: int, source: str | None, options: Iterable[Any]
    ) -> socket.socket:
        """Return a connected socket; stop if the call is aborted, or after its timeout."""
        if self.sent:  # the request is sent again
            self.expect(self._settings.connect_timeout, ConnectTimedOut)
        resolver.ask(host, port, self._addresses)
        try:
            addresses = self._wait_for_addresses()
            if isinstance(addresses, Exception):
                raise addresses
            return connect(addresses, self.remaining, self.use, source, options)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None

    def _wait_for_addresses(self) -> Addresses | Exception:
        """Wait for the host's addresses, and return them."""
        while True:
            # In steps: a wait that a signal interrupts near its end may never end.
            with contextlib.suppress(queue.Empty):
                return self._addresses.get(timeout=min(max(self.remaining(), 0.01), 0.1))

    def on_write(self, data: bytes, *, reused: bool) -> None:
        """Record that a part of the request, or of a proxy's handshake, is about to be written."""
        if data.startswith(_METHODS):
            self.sent, self.stale = True, reused
        if self.sent:
            self.expect(self._settings.first_byte_timeout, FirstByteTimedOut)

    def use(self, sock: Socket | None) -> None:
        """Set the socket to shut down if the call is aborted."""
        with self._lock:
            self._socket = sock
            if self.aborted:
                self.abort()

    def attach(self, stream: SocketStream) -> None:
        """Use `stream` from now on, no matter in which thread it is read."""
        stream.call, self._stream = self, stream
        self.use(stream.socket)

    def detach(self) -> None:
        """Release the connection: from now on, another call may use it."""
        with self._lock:
            self._socket, stream, self._stream = None, self._stream, None
        if stream is not None:
            stream.call = None

    def abort(self) -> None:
        """Shut the connection down: both its reader and the server see its end."""
        with self._lock:
            self.aborted = True
            self._addresses.put(OSError("aborted"))
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    _shut_down(self._socket)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Attach this call to every connection that this thread opens or writes to."""
        _thread.call = self
        try:
            yield
        finally:
            _thread.call = None


class SocketStream(httpcore.NetworkStream):
    """A socket that knows the call that uses it, and returns no bytes after a response.

    Attributes:
        socket: The socket, with or without TLS.
        call: The call that uses it; `None` between calls.
    """

    def __init__(self, sock: Socket) -> None:
        self.socket = sock
        self.call: CallConnection | None = None
        self._cutter = ResponseCutter()
        self._timeout: float | None = -1.0  # the socket's timeout; not set yet
        self._head = b""  # of a request: sent with the beginning of its body
        self._used = self._ended = False
        _active_call().attach(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes of the response, but none after its end."""
        cutter = self._cutter
        if cutter.rest:
            return cutter.cut(cutter.rest)
        if (call := self.call) is None:
            raise httpcore.ReadError("the call has ended")
        seconds = call.remaining()
        try:
            if seconds != self._timeout:
                self._timeout = seconds
                self.socket.settimeout(seconds)
            data = self.socket.recv(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None
        if call.stale and data:
            call.stale = False
        self._ended = not data  # with TLS, long before the socket ends
        return cutter.cut(data)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write a part of the request."""
        call = _active_call()
        call.attach(self)
        if buffer.startswith(_METHODS):
            if self._cutter.rest:
                # Bytes after its last response: httpcore closes it, and takes another connection.
                raise httpcore.ConnectionNotAvailable
            self._cutter.begin_head()
            self._head = buffer  # httpcore writes the body next, or that there is none
            return
        buffer, self._head = self._head + buffer, b""
        call.on_write(buffer, reused=self._used)
        try:
            for start in range(0, len(buffer), _WRITE_SIZE):
                self._send(buffer[start : start + _WRITE_SIZE], call)
        except httpcore.NetworkError:
            call.unsent = True
            raise

    def _send(self, data: bytes, call: CallConnection) -> None:
        while data:
            self._timeout = call.remaining()  # the time is for all pieces together
            try:
                self.socket.settimeout(self._timeout)
                data = data[self.socket.send(data) :]
            except TimeoutError:
                raise httpcore.WriteTimeout from None
            except OSError as error:
                raise httpcore.WriteError(str(error)) from None

    def begin_body(self, length: int | None) -> None:
        """Expect the body of a response whose head has been read: see `ResponseCutter`."""
        self._used = True
        self._cutter.begin_body(length)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the connection with TLS: inside TLS, if the one to a proxy has it already."""
        call, secured = _active_call(), self.socket
        try:
            secured = tls = _with_tls(secured, ssl_context, server_hostname)
            call.use(tls)
            tls.settimeout(call.remaining())
            tls.do_handshake()
        except BaseException as error:
            call.use(None)
            secured.close()  # httpcore does not
            if isinstance(error, TimeoutError):
                raise httpcore.ConnectTimeout from None
            if isinstance(error, OSError):
                raise httpcore.ConnectError(str(error)) from None
            raise
        return SocketStream(secured)

    def get_extra_info(self, info: str) -> Any:
        """Return information for httpcore, which does not reuse a readable idle connection."""
        if info == "is_readable":
            return self._ended or bool(self._cutter.rest) or _is_readable(self.socket)
        if info == "ssl_object":
            return self.socket if isinstance(self.socket, (ssl.SSLSocket, _TLSInTLS)) else None
        return {"socket": self.socket}.get(info)


class _TLSInTLS:
    """TLS inside TLS: a connection to a server through a proxy with an `https` URL.

    The module `ssl` wraps only plain sockets.
    """

    def __init__(self, inner: Socket, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self.inner = inner
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        self.settimeout, self.fileno, self.close = inner.settimeout, inner.fileno, inner.close
        self.pending = self._tls.pending
        self.selected_alpn_protocol = self._tls.selected_alpn_protocol

    def do_handshake(self) -> None:
        self._run(self._tls.do_handshake)

    def recv(self, size: int) -> bytes:
        try:
            return self._run(lambda: self._tls.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def send(self, data: bytes) -> int:
        return self._run(lambda: self._tls.write(data))

    def _run(self, operation: Callable[[], _Result]) -> _Result:
        """Run a TLS operation; transfer its bytes until it is done."""
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._flush()
                if data := self.inner.recv(_TLS_RECORD_SIZE):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        data = self._outgoing.read()
        while data:
            data = data[self.inner.send(data) :]


class NetworkBackend(httpcore.NetworkBackend):
    """Opens a connection for the call that is active in the current thread."""

    def __init__(self) -> None:
        self._resolver = Resolver()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a host."""
        call, options = _active_call(), socket_options or ()
        return SocketStream(call.connect(self._resolver, host, port, local_address, options))


def _active_call() -> CallConnection:
    call: CallConnection = _thread.call
    return call


def _with_tls(
    sock: Socket, context: ssl.SSLContext, server_hostname: str | None
) -> ssl.SSLSocket | _TLSInTLS:
    """Return a socket with TLS, before its handshake."""
    if isinstance(sock, socket.socket) and not isinstance(sock, ssl.SSLSocket):
        return context.wrap_socket(
            sock, server_hostname=server_hostname, do_handshake_on_connect=False
        )
    return _TLSInTLS(sock, context, server_hostname)


def _shut_down(sock: Socket) -> None:
    """Shut down a socket that another thread may be reading."""
    while isinstance(sock, _TLSInTLS):
        sock = sock.inner
    # Not SSLSocket.shutdown, which would discard the TLS state that the reading thread uses.
    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # type: ignore[arg-type]


def _is_readable(sock: Socket) -> bool:
    """True if a socket has unread bytes, or its end."""
    if sock.fileno() < 0:
        return True
    if isinstance(sock, (ssl.SSLSocket, _TLSInTLS)) and sock.pending():
        return True
    if hasattr(select, "poll"):  # `select` does not accept large descriptors
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])

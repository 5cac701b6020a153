"""Network connections that another thread can break off. For `backends.http` alone.

A thread that waits in a socket's read cannot be woken by closing its response; shutting the
socket down wakes it at once. So every connection is wrapped to tell which call uses it.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from ssl import SSLContext
from typing import Any

import httpcore

_thread = threading.local()


class Line:
    """The connection that one call is using, and the means to break it off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stream: httpcore.NetworkStream | None = None
        self._broken = False
        self._opened: queue.SimpleQueue[httpcore.NetworkStream | Exception] = queue.SimpleQueue()

    def open(self, connect: Callable[[], httpcore.NetworkStream]) -> httpcore.NetworkStream:
        """Connect in a thread that is left behind when the call is broken off.

        Neither the look-up of a name nor a connection's handshake can be interrupted.
        """

        def run() -> None:
            try:
                opened: httpcore.NetworkStream | Exception = connect()
            except Exception as error:  # noqa: BLE001  # raised again below
                opened = error
            with self._lock:
                if self._broken and isinstance(opened, httpcore.NetworkStream):
                    opened.close()
                else:
                    self._opened.put(opened)

        threading.Thread(target=run, name="mixmagic-connect", daemon=True).start()
        opened = self._opened.get()
        if isinstance(opened, Exception):
            raise opened
        return opened

    def use(self, stream: httpcore.NetworkStream) -> None:
        """Note the connection that the call now uses."""
        self._stream = stream
        if self._broken:
            self.break_off()

    def free(self) -> None:
        """The call is over: its connection may be another's now."""
        self._stream = None

    def break_off(self) -> None:
        """Shut the connection down: its reader and the server both see it end."""
        with self._lock:
            self._broken = True
            self._opened.put(httpcore.ConnectError("stopped"))
        stream = self._stream
        if stream is None:
            return
        sock = stream.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which would say goodbye in TLS first.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let this thread's connections report to this line while the block runs."""
        _thread.line = self
        try:
            yield
        finally:
            _thread.line = None


class _Stream(httpcore.NetworkStream):
    """A connection that reports to the line of the thread that uses it."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self._report()

    def _report(self) -> None:
        line: Line | None = getattr(_thread, "line", None)
        if line is not None:
            line.use(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._report()
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._report()
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        self._report()
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    """Opens connections that can be broken off."""

    def __init__(self, inner: httpcore.NetworkBackend | None = None) -> None:
        self._inner = inner or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        def connect() -> httpcore.NetworkStream:
            return self._inner.connect_tcp(host, port, timeout, local_address, socket_options)

        line: Line | None = getattr(_thread, "line", None)
        return _Stream(connect() if line is None else line.open(connect))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)

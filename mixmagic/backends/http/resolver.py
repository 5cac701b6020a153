"""Resolve host names and connect sockets so that aborting a call ends both at once.

Used only by `network`. Neither operation can be interrupted: name resolution runs in a thread that
is abandoned, and connecting is done in small steps.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401  # or the first look-up imports it, and a fork may interrupt that
import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# The result of `socket.getaddrinfo`.
Addresses = Sequence[tuple[Any, ...]]
Results = queue.SimpleQueue[Addresses | Exception]
# Seconds between two checks if the call has been aborted.
_TICK = 0.05


class Resolver:
    """Resolves host names, each in one thread, no matter how many calls wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, int], list[Results]] = {}

    def ask(self, host: str, port: int, results: Results) -> None:
        """Put the host's addresses, or the error, into `results` as soon as they are known."""
        with contextlib.suppress(OSError, UnicodeError):  # an IP address needs no thread
            results.put(_addresses(host, port, socket.AI_NUMERICHOST))
            return
        with self._lock:
            waiting = self._waiting.setdefault((host, port), [])
            waiting.append(results)
            if len(waiting) > 1:
                return
        threading.Thread(
            target=self._look_up, args=(host, port), name="mixmagic-names", daemon=True
        ).start()

    def _look_up(self, host: str, port: int) -> None:
        result: Addresses | Exception
        try:
            result = _addresses(host, port)
        except (OSError, UnicodeError) as error:  # the latter if IDNA cannot encode the name
            result = error
        with self._lock:
            waiting = self._waiting.pop((host, port))
        for results in waiting:
            results.put(result)


def _addresses(host: str, port: int, flags: int = 0) -> Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


def connect(
    addresses: Addresses,
    remaining: Callable[[], float],
    use: Callable[[socket.socket], None],
    source: str | None,
    options: Iterable[Any],
) -> socket.socket:
    """Return a socket connected to the first address that accepts.

    Args:
        addresses: The addresses to try, in this order; each gets its share of the time.
        remaining: Returns the seconds until the timeout; raises if it has passed, or if the call
            has been aborted.
        use: Called with each socket before it is connected.
        source: The local address to use.
        options: Arguments for `setsockopt`.

    Raises:
        OSError: No address accepts the connection.
    """
    failure = OSError("it has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in options:
                sock.setsockopt(*option)
            if source:
                sock.bind((source, 0))
            use(sock)
            _connect(sock, address, remaining, remaining() / (len(addresses) - number))
            return sock  # noqa: TRY300  # the rest is for errors
        except BaseException as error:
            if sock is not None:
                sock.close()
            if not isinstance(error, OSError):
                raise
            failure = error
    raise failure


def _connect(
    sock: socket.socket, address: Any, remaining: Callable[[], float], seconds: float
) -> None:
    """Connect in small steps, so that aborting the call ends the wait."""
    until = time.monotonic() + seconds
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        while not selector.select(min(remaining(), _TICK)):
            if time.monotonic() > until:
                raise TimeoutError("timed out")
    remaining()
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))
    sock.setblocking(True)

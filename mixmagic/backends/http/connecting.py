"""Names looked up and sockets connected so that a stop ends both at once.

For `backends.network` alone. Neither the system's look-up of a name nor its connecting can be
interrupted: the first happens in a thread that is left behind, the second in small steps.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401  # else in the middle of a first look-up: a fork may come then
import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# What `socket.getaddrinfo` gives, or why it gives nothing.
Addresses = Sequence[tuple[Any, ...]]
Answers = queue.SimpleQueue[Addresses | Exception]
# Seconds between two looks at whether it is still wanted.
_TICK = 0.05


class Names:
    """Host names, each looked up by one thread, however many calls wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, int], list[Answers]] = {}

    def ask(self, host: str, port: int, answers: Answers) -> None:
        """Put the host's addresses into `answers` as soon as they are known."""
        with contextlib.suppress(OSError, UnicodeError):  # an address needs no look-up
            answers.put(_addresses(host, port, socket.AI_NUMERICHOST))
            return
        with self._lock:
            waiting = self._waiting.setdefault((host, port), [])
            waiting.append(answers)
            if len(waiting) > 1:
                return
        threading.Thread(
            target=self._look_up, args=(host, port), name="mixmagic-names", daemon=True
        ).start()

    def _look_up(self, host: str, port: int) -> None:
        found: Addresses | Exception
        try:
            found = _addresses(host, port)
        except (OSError, UnicodeError) as error:  # the latter where IDNA cannot encode the name
            found = error
        with self._lock:
            waiting = self._waiting.pop((host, port))
        for answers in waiting:
            answers.put(found)


def _addresses(host: str, port: int, flags: int = 0) -> Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


def connect(
    addresses: Addresses,
    left: Callable[[], float],
    use: Callable[[socket.socket], None],
    source: str | None,
    options: Iterable[Any],
) -> socket.socket:
    """A socket connected to the first of the addresses that answers.

    Args:
        addresses: Where to try, in this order; each gets its share of the time.
        left: Seconds until it is too late; raises where it is, or is no longer wanted.
        use: Told of each socket before it is connected.
        source: The local address to use.
        options: What `setsockopt` is called with.

    Raises:
        OSError: None of them answers.
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
            _connect(sock, address, left, left() / (len(addresses) - number))
            return sock  # noqa: TRY300  # what follows is for errors
        except BaseException as error:
            if sock is not None:
                sock.close()
            if not isinstance(error, OSError):
                raise
            failure = error
    raise failure


def _connect(sock: socket.socket, address: Any, left: Callable[[], float], seconds: float) -> None:
    """Connect in small steps, so that a call that is no longer wanted does not wait."""
    until = time.monotonic() + seconds
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        while not selector.select(min(left(), _TICK)):
            if time.monotonic() > until:
                raise TimeoutError("timed out")
    left()
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))
    sock.setblocking(True)

"""Servers and host names that never answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def blackhole() -> Iterator[tuple[str, int]]:
    """Return the address of a server whose queue is full: it answers no handshake."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


@contextlib.contextmanager
def hung_name(monkeypatch) -> Iterator[list[str]]:
    """The look-ups of `hung.example`, none of which is answered while the block runs."""
    real, seen, go_on = socket.getaddrinfo, [], threading.Event()

    def getaddrinfo(host, port, *more, flags=0, **rest):
        if host != "hung.example":
            return real(host, port, *more, flags=flags, **rest)
        if flags:
            raise socket.gaierror
        seen.append(host)
        go_on.wait(60)
        return real("127.0.0.1", port, *more, **rest)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield seen
    go_on.set()

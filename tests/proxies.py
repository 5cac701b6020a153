"""A scripted proxy: CONNECT for https, whole URLs for http."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass, field


@dataclass
class Asked:
    """A request that the proxy received, and the bytes that passed through."""

    method: str
    target: str
    headers: dict[str, str]
    closed_at: float | None = None
    tunnelled: bytearray = field(default_factory=bytearray)

    @property
    def passed(self) -> bytes:
        """All requests of the connection, the first one included."""
        return f"{self.method} {self.target}".encode() + bytes(self.tunnelled)

    @property
    def credentials(self) -> str:
        """`user:password` as it was sent, or nothing."""
        sent = self.headers.get("proxy-authorization", "").removeprefix("Basic ")
        return base64.b64decode(sent).decode()


class Proxy:
    """Passes on what it is asked, or refuses it, or never answers.

    Args:
        refuse: The status to refuse everything with; 0 passes it on.
        echo: Whether a refusal repeats the headers that it was sent.
        hang: Whether to say nothing at all.
        tls: With a certificate, where the proxy itself speaks TLS.
    """

    def __init__(
        self,
        *,
        refuse: int = 0,
        echo: bool = False,
        hang: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.received: list[Asked] = []
        self._refuse, self._echo, self._hang, self._tls = refuse, echo, hang, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, credentials: str = "") -> str:
        scheme = "http" if self._tls is None else "https"
        at = f"{credentials}@" if credentials else ""
        return f"{scheme}://{at}127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            with client:
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            received = client.recv(65536)
            if not received:
                return
            head += received
        head, _, body = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        asked = Asked(method, target, {name.lower(): value for name, value in headers.items()})
        self.received.append(asked)
        if self._hang:
            while client.recv(65536):
                pass
            asked.closed_at = time.monotonic()
        elif self._refuse:
            client.sendall(self._refusal(asked))
        elif method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            self._pass_on(client, target, b"", asked)
        else:
            url = urllib.parse.urlsplit(target)
            own = "\r\n".join(line for line in lines if not line.lower().startswith("proxy-"))
            raw = f"{method} {url.path} HTTP/1.1\r\n{own}\r\n\r\n".encode("latin-1") + body
            self._pass_on(client, url.netloc, raw, asked)

    def _refusal(self, asked: Asked) -> bytes:
        sent = " ".join(asked.headers.values()) + f" ({asked.credentials})" if self._echo else "no"
        page = f"<html>{sent}</html>" if self._refuse % 2 else sent
        head = f"HTTP/1.1 {self._refuse} {sent}\r\nx-echo: {sent}\r\nconnection: close\r\n"
        return f"{head}content-length: {len(page)}\r\n\r\n{page}".encode("latin-1")

    @staticmethod
    def _pass_on(client: socket.socket, target: str, raw: bytes, asked: Asked) -> None:
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as origin:
            origin.sendall(raw)
            ends = {end.fileno(): end for end in (client, origin)}
            poll = select.poll()
            for descriptor in ends:
                poll.register(descriptor, select.POLLIN)
            while True:
                for descriptor, _ in poll.poll():
                    each = ends[descriptor]
                    passing = each.recv(65536)
                    if not passing:
                        asked.closed_at = time.monotonic()
                        return
                    if each is client:
                        asked.tunnelled += passing
                    (origin if each is client else client).sendall(passing)

"""The HTTP transport of a process: httpcore's connection pools, proxies and certificates.

httpx's own transport has no argument for a network backend, which is needed to stop a call at once.
Used only by `backend`.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from mixmagic.backends.http import network
from mixmagic.core import lazy
from mixmagic.errors import BadArguments

# Calls of one pool at the same time. At the beginning and the end of each request httpcore loops
# over all connections of the pool: several small pools are much faster than a large one.
_CALLS_PER_POOL = 16
_KEEP_ALIVE = 30.0  # seconds that an idle connection is kept
# The request extension for its `CallConnection`.
CALL = "mixmagic.call"
_FAILURES = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError,
             httpcore.ProxyError, httpcore.UnsupportedProtocol)  # fmt: skip


class Transport(httpx.BaseTransport):
    """Sends requests whose connections can be aborted.

    A request has its `network.CallConnection` as the extension `CALL`. Proxies and certificates are
    read from the environment when the transport is created.

    Args:
        ca_file: A PEM file of certificates to trust besides the usual ones; may be empty.
        redact: Removes keys from a message.

    Attributes:
        trusted: The certificates that servers and proxies are checked with.

    Raises:
        BadArguments: A certificate file cannot be read.
    """

    def __init__(self, ca_file: str, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._lock = threading.Lock()
        self._pools: dict[httpx.URL | None, list[_Pool]] = {}
        self._routes: dict[tuple[str, str, int | None], httpx.Proxy | None] = {}
        # So that a session that is dropped without being closed leaves no connections open.
        weakref.finalize(self, _close, self._pools).atexit = False
        self._network = network.NetworkBackend()
        with self._checked():
            self._proxies = getproxies()
            self.trusted = httpx.create_ssl_context()
            if ca_file:
                self.trusted.load_verify_locations(Path(ca_file).expanduser())

    @property
    def connections(self) -> list[httpcore.ConnectionInterface]:
        """The connections in use, and the idle ones."""
        with self._lock:
            pools = [pool for pools in self._pools.values() for pool in pools]
        return [connection for pool in pools for connection in pool.connections.connections]

    def proxy_host(self, url: httpx.URL) -> str:
        """Return the host of the proxy that a request goes through; empty if it needs none."""
        proxy = self._route(url)
        return "" if proxy is None else proxy.url.host

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return its response, with a body that has not been read.

        A server may close an idle connection just when a request is sent. Without TLS, the request
        is sent once more, over a new connection, if no byte of a response was received: local
        servers are free. With TLS, this is an error.
        """
        call: network.CallConnection = request.extensions[CALL]
        with _as_httpx:
            try:
                return self._send(request, call)
            except (httpcore.NetworkError, httpcore.RemoteProtocolError):
                if not call.stale or call.aborted or request.url.scheme != "http":
                    raise
            return self._send(request, call, fresh=True)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            pools = self._pools.copy()
            self._pools.clear()
        _close(pools)

    def _send(
        self, request: httpx.Request, call: network.CallConnection, *, fresh: bool = False
    ) -> httpx.Response:
        """Send a request once; over a new connection if `fresh`."""
        url = request.url
        if url.userinfo:  # a base URL with a user's name and password
            request = next(httpx.BasicAuth(url.username, url.password).auth_flow(request))
        sent = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
        )
        pool = self._enter(self._route(url), fresh=fresh)
        try:
            with call.active():
                answer = pool.connections.handle_request(sent)
        except BaseException:
            self._leave(pool)
            call.detach()
            raise
        body = _Body(answer.stream, call, lambda: self._leave(pool))
        headers = httpx.Headers(answer.headers)
        answer.extensions["network_stream"].begin_body(_length(answer.status, headers))
        return httpx.Response(answer.status, headers=headers, stream=body, request=request)

    def _enter(self, proxy: httpx.Proxy | None, *, fresh: bool) -> _Pool:
        """Return a pool with room for a call; a new one if `fresh`, which has no connection yet."""
        unused = None
        with self._lock:
            pools = self._pools.setdefault(None if proxy is None else proxy.url, [])
            if len(pools) > 1 and pools[-1].is_unused():
                unused = pools.pop()
            usable = () if fresh else pools
            pool = next((pool for pool in usable if pool.calls < _CALLS_PER_POOL), None)
            if pool is None:
                pool = _Pool(self._make(proxy))
                pools.append(pool)
            pool.calls += 1
        if unused is not None:
            unused.connections.close()
        return pool

    def _leave(self, pool: _Pool) -> None:
        with self._lock:
            pool.calls -= 1
            pool.left = time.monotonic()

    def _make(self, proxy: httpx.Proxy | None) -> httpcore.ConnectionPool:
        """Return a new pool of connections, through a proxy if there is one."""
        options: dict[str, Any] = {
            "ssl_context": self.trusted,
            "max_connections": None,  # the throttle limits them
            "keepalive_expiry": _KEEP_ALIVE,
            "network_backend": self._network,
        }
        if proxy is None:
            return httpcore.ConnectionPool(**options)
        url = proxy.url
        options["proxy_url"] = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        options["proxy_auth"] = proxy.raw_auth
        if url.scheme.startswith("socks"):
            return httpcore.SOCKSProxy(**options)
        if url.scheme == "https":
            options["proxy_ssl_context"] = self.trusted
        return httpcore.HTTPProxy(**options)

    def _route(self, url: httpx.URL) -> httpx.Proxy | None:
        """Return the proxy that requests to a URL's host go through; None if they need none."""
        key = url.scheme, url.host, url.port
        if key not in self._routes:
            with self._checked():
                self._routes[key] = _proxy(url, self._proxies)
        return self._routes[key]

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        """Turn errors of the proxy and certificate settings into ours."""
        try:
            yield
        except (ImportError, OSError, RuntimeError, ValueError, httpx.InvalidURL) as error:
            raise BadArguments(
                f"The proxy or certificate settings are invalid: {self._redact(str(error))}",
                "Check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR and ca_file.",
            ) from None


class _Pool:
    """A pool of httpcore's, and the number of calls that use it."""

    def __init__(self, connections: httpcore.ConnectionPool) -> None:
        self.connections = connections
        self.calls = 0
        self.left = 0.0

    def is_unused(self) -> bool:
        """Return True if no call has used it since its connections expired."""
        return not self.calls and time.monotonic() - self.left > _KEEP_ALIVE


def _close(pools: Mapping[httpx.URL | None, Iterable[_Pool]]) -> None:
    for group in pools.values():
        for pool in group:
            pool.connections.close()


class _Body(httpx.SyncByteStream):
    """The body of a response as received, not decompressed."""

    def __init__(
        self, content: Any, call: network.CallConnection, leave: Callable[[], None]
    ) -> None:
        self._content, self._call, self._leave = content, call, leave
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        call = self._call
        with _as_httpx:
            for chunk in self._content:
                yield chunk
                if call.aborted:  # there may be chunks that have been received
                    raise httpcore.ReadError("aborted")
        self.close()

    def close(self) -> None:
        """Give the connection back, or close it if the body has not been read to its end."""
        if not self._closed:
            self._closed = True
            self._call.detach()  # first: after the next line, another call may use it
            try:
                self._content.close()
            finally:
                self._leave()


class _AsHttpx:
    """Raises httpcore's errors as httpx's, which have the same names."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _FAILURES):
            raise getattr(httpx, type(error).__name__)(str(error)) from error


_as_httpx = _AsHttpx()


def _length(status: int, headers: httpx.Headers) -> int | None:
    """Return the length of a body; None if it is chunked, or ends with its connection."""
    if status in (204, 304):
        return 0
    length = headers.get("content-length")
    return None if length is None or "transfer-encoding" in headers else int(length)


def _proxy(url: httpx.URL, proxies: dict[str, str]) -> httpx.Proxy | None:
    """Return the proxy that the environment names for a URL; None if it names none, or exempts it.

    Raises:
        ImportError: It is a SOCKS proxy, and socksio is not installed.
        ValueError: It is not a valid URL for a proxy.
    """
    address = proxies.get(url.scheme) or proxies.get("all")
    if not address or _is_exempt(url, proxies.get("no", "").split(",")):
        return None
    proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    if proxy.url.scheme.startswith("socks"):
        try:
            lazy.load("socksio")
        except ImportError:
            raise ImportError(
                'a SOCKS proxy needs the package socksio: `pip install "httpx[socks]"`.'
            ) from None
    return proxy


def _is_exempt(url: httpx.URL, entries: Iterable[str]) -> bool:
    """True if NO_PROXY or the system's settings exempt a URL's host from the proxy."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return (
        any(entry.strip() in ("*", f"{url.scheme}://{host}") for entry in entries)
        or bool(proxy_bypass(f"{host}:{port}"))
        or bool(proxy_bypass(url.host))
    )

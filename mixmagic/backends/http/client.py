"""The one `httpx.Client`: what httpx has no argument for. For `backends.http` alone."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from mixmagic.backends.http import decompression, network
from mixmagic.errors import BadArguments

# The pool holds no more than the throttle lets through; it must not be a limit of its own.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30)


def make(ca_file: str, redact: Callable[[str], str]) -> httpx.Client:
    """A client whose connections can be broken off; proxies and certificates as usual."""
    try:
        trusted = httpx.create_ssl_context()
        if ca_file:
            trusted.load_verify_locations(Path(ca_file).expanduser())
        # No timeouts but those of `network.Line`, which bound what httpx's begin anew.
        client = httpx.Client(
            headers={"accept-encoding": decompression.ACCEPTED},
            verify=trusted,
            timeout=None,  # noqa: S113
            limits=_LIMITS,
        )
    except (
        ImportError,
        OSError,
        RuntimeError,
        ValueError,
        ssl.SSLError,
        httpx.InvalidURL,
    ) as error:
        raise BadArguments(
            f"The proxy or certificate settings make no sense: {redact(str(error))}",
            "Check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR and ca_file.",
        ) from None
    # httpx has no argument for this, and a transport of one's own would lose the proxies.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if isinstance(transport, httpx.HTTPTransport):
            pool: Any = transport._pool  # noqa: SLF001
            pool._network_backend = network.Backend()  # noqa: SLF001
            pool._proxy_ssl_context = trusted  # noqa: SLF001  # where it is a proxy's
    return client


def proxy_host(client: httpx.Client, url: httpx.URL) -> str:
    """Return the host of the proxy that a request goes through; empty if it goes there directly.

    By what the client itself does: its proxies are those of the environment that it was made in.
    """
    pool: Any = getattr(client._transport_for_url(url), "_pool", None)  # noqa: SLF001
    proxy = getattr(pool, "_proxy_url", None)
    return "" if proxy is None else bytes(proxy.host).decode("ascii")


class Alone(httpx.SyncByteStream):
    """A response's bytes, behind which nothing may have come, not even the connection's end.

    httpcore would use the connection again, and take that for the beginning of the next answer.
    """

    def __init__(self, response: httpx.Response, line: network.Line) -> None:
        self._inner: Any = response.stream
        self._line = line

    def __iter__(self) -> Iterator[bytes]:
        yield from self._inner

    def close(self) -> None:
        # httpx and httpcore wrap it, layer by layer, and offer no other way to it.
        layer = self._inner
        for name in ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state"):
            layer = getattr(layer, name, None)
        if any(getattr(layer, "trailing_data", ())):
            layer.send_failed()  # then httpcore closes the connection before anybody can have it
        self._line.free()  # first: behind the next line it may be another call's
        self._inner.close()

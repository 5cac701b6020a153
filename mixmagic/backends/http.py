"""OpenAI-compatible servers: POST, and server-sent events over one `httpx.Client`.

The only module that imports httpx; the session imports it at the first call that needs it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import ssl
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from mixmagic.backends import faults, limits, network, reading
from mixmagic.backends.access import Access, base_url
from mixmagic.backends.wire import encode
from mixmagic.errors import (
    BadArguments,
    ConnectTimedOut,
    FirstByteTimedOut,
    IdleTimedOut,
    MixmagicError,
    ProviderError,
    Stopped,
    StreamBroken,
    TotalTimedOut,
    Unavailable,
    one_line,
)
from mixmagic.settings import Settings
from mixmagic.stop import Stop
from mixmagic.values import Delta, Model, Provider, Request, Stream

# The pool holds no more than the throttle lets through; it must not be a limit of its own.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30)
_LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "proxy", "socks")))
# Seconds that the end of a response may take: behind `[DONE]`, and behind a finish reason alone,
# which the token counts may follow.
_AFTER_DONE, _AFTER_FINISH = 0.1, 5.0
_OF_HTTPX = (httpx.HTTPError, httpx.StreamError)
# A host that IDNA cannot encode, or a port that is too high, is found late.
_OF_URLS = (httpx.InvalidURL, UnicodeError, OverflowError)


class Backend:
    """Every HTTP provider, over one client that is made at the first call."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self.access, self._settings = access, settings
        self._lock = threading.Lock()
        self._made: httpx.Client | None = None

    def open(self, provider: Provider) -> Stream:
        """How to ask `provider`: see `mixmagic.backends.Backends.open`."""
        return self._stream

    def models(
        self, provider: Provider, key: str = "", timeout: float = math.inf
    ) -> list[Mapping[str, Any]]:
        """What the provider's `/models` lists: a bare array, or one under `data`.

        Args:
            provider: Whom to ask.
            key: The key to ask with, where it is not the one that is found.
            timeout: Seconds that it may take.

        Raises:
            MixmagicError: It could not be asked, or answered something else.
        """
        model = Model("", provider)
        with self._exchange(model, time.monotonic() + timeout) as (client, line):
            sent = client.build_request(
                "GET", f"{base_url(provider)}/models", headers=self.access.headers(model, key)
            )
            with line.held(), contextlib.closing(client.send(sent, stream=True)) as response:
                self._accepted(model, response)
                raw = b"".join(response.iter_bytes())
        try:
            listing = json.loads(raw)
            entries = listing["data"] if isinstance(listing, dict) else listing
            if not isinstance(entries, list):
                raise TypeError
            return [entry for entry in entries if isinstance(entry, dict)]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ProviderError(
                f"{provider.label} answered /models with something that is no list.",
                f"Check {provider.url_env or 'the URL'}.",
            ) from None

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None
                for name in _LOGGERS:
                    logging.getLogger(name).removeFilter(self.access.clean)

    def _client(self) -> httpx.Client:
        """The client of this process."""
        with self._lock:
            if self._made is None:
                self._made = _make_client(self._settings.ca_file)
                for name in _LOGGERS:
                    logging.getLogger(name).addFilter(self.access.clean)
            return self._made

    def _stream(self, request: Request) -> Generator[Delta, None, None]:
        try:
            yield from self._call(request)
        except (MixmagicError, Stopped) as error:
            # Without what it came from: the frames below hold what was sent, the key too.
            error.__context__ = None
            raise

    def _call(self, request: Request) -> Generator[Delta, None, None]:
        model, provider = request.model, request.model.provider
        with self._exchange(model, request.deadline, request.stop) as (client, line):
            sent = client.build_request(
                "POST",
                f"{base_url(provider)}/chat/completions",
                json=encode(request),
                headers=self.access.headers(model),
            )
            if sent.url.scheme == "http" and self.access.exposed(sent.url.host, model):
                yield Delta(note=f"the key travels unencrypted to {sent.url.host}")
            with line.held():
                response = client.send(sent, stream=True)
            try:
                line.take(response.extensions["network_stream"])
                self._accepted(model, response)
                yield Delta(limits=limits.limits(response.headers, provider.dialect.rate_window))
                yield from _read(response, reading.Answer(model, self.access), line)
            finally:
                line.free()
                response.close()

    def _accepted(self, model: Model, response: httpx.Response) -> None:
        """Go on only with an answer: everything but 200 is an error."""
        if response.status_code == 200:
            return
        raw = reading.page(response.iter_bytes())
        moved = response.headers.get("location", "") if response.is_redirect else ""
        body = self.access.redact({"error": moved} if moved else faults.parse(raw))
        headers = response.headers
        error = faults.from_status(model, response.status_code, body, limits.wait(headers))
        if isinstance(error, ProviderError):
            error.limits = limits.limits(headers, model.provider.dialect.rate_window)
            if headers.get("x-should-retry", "").lower() == "false":
                error.retryable = False
            elif headers.get("x-should-retry", "").lower() == "true":
                error.retryable = response.status_code not in faults.NEVER_AGAIN
        raise error

    @contextlib.contextmanager
    def _exchange(
        self, model: Model, deadline: float, stop: Stop | None = None
    ) -> Iterator[tuple[httpx.Client, network.Line]]:
        """One question and its answer: what httpx raises becomes an error of ours."""
        line, stop = network.Line(self._settings, deadline), stop or Stop()
        error: MixmagicError | Stopped
        with stop.calling(line.break_off):
            try:
                yield self._client(), line
                return  # noqa: TRY300  # what follows is for errors
            except (*_OF_HTTPX, *_OF_URLS) as raised:
                error = self._named(model, raised, line)
            except MixmagicError as raised:
                error = raised
            except KeyboardInterrupt:
                error = Stopped(sent=line.sent)
        if stop.is_set():  # a shut connection can look like anything
            error = Stopped(sent=line.sent)
        if isinstance(error, ProviderError) and error.status is None:
            error.sent = line.sent and not line.unsent
        raise error from None

    def _named(self, model: Model, error: Exception, line: network.Line) -> MixmagicError:
        """The error of ours that an error of httpx means."""
        provider = model.provider
        reason = one_line(self.access.redact(str(error)), 200) or type(error).__name__
        url = self.access.redact(base_url(provider))
        if isinstance(error, (*_OF_URLS, httpx.UnsupportedProtocol)):
            return BadArguments(
                f"{url!r} is no URL for {provider.label}: {reason}.",
                f"Set {provider.url_env} to something like https://host/v1.",
            )
        if isinstance(error, httpx.TimeoutException):
            return self._late(model, line)
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return Unavailable(
                f"{provider.label}'s certificate at {url} is not trusted: {reason}.",
                "If it is your organisation's own, name its CA's PEM file: set ca_file in"
                " config.toml, or MIXMAGIC_CA_FILE.",
            )
        if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
            return Unavailable(
                f"{provider.label} cannot be reached at {url}: {reason}.",
                provider.note
                if provider.free
                else "Check the network, the proxy and"
                f" {provider.url_env}; `%mixmagic use local` needs no network.",
                retryable=True,
            )
        return StreamBroken(
            f"The connection to {provider.label} broke before the answer was whole.",
            "What came until then is kept; run the cell again for a whole answer.",
            retryable=line.unsent,
        )

    def _late(self, model: Model, line: network.Line) -> MixmagicError:
        """The error of a wait that took too long."""
        label, settings = model.provider.label, self._settings
        late = line.late
        if late is ConnectTimedOut:
            return ConnectTimedOut(
                f"{label} cannot be reached: no connection within {settings.connect_timeout:g} s.",
                "Check the network and the proxy; connect_timeout in config.toml allows more.",
                retryable=True,
            )
        if late is TotalTimedOut:
            return faults.total(label)
        if late is FirstByteTimedOut:
            return FirstByteTimedOut(
                f"{label} sent nothing of an answer for {settings.first_byte_timeout:g} s.",
                "Run the cell again; first_byte_timeout in config.toml allows more.",
            )
        return late(
            f"{label} sent nothing more for {settings.idle_timeout:g} s.",
            "What came until then is kept; idle_timeout in config.toml allows more.",
        )


def _read(response: httpx.Response, answer: reading.Answer, line: network.Line) -> Iterator[Delta]:
    """The pieces of an answer that the server has begun to send."""
    try:
        for chunk in response.iter_bytes():
            yield from answer.feed(chunk)
            if answer.whole:
                # The connection's end is awaited, so that it can be used again, but not for long.
                line.expect(_AFTER_DONE if answer.done else _AFTER_FINISH, IdleTimedOut)
            elif answer.alive:
                line.answers()
    except _OF_HTTPX:
        if not answer.whole:
            raise
    yield from answer.close()


def _make_client(ca_file: str) -> httpx.Client:
    """A client whose connections can be broken off; proxies and certificates as usual."""
    try:
        trusted = httpx.create_ssl_context()
        if ca_file:
            trusted.load_verify_locations(Path(ca_file).expanduser())
        # No timeouts but those of `network.Line`, which bound what httpx's begin anew.
        client = httpx.Client(verify=trusted, timeout=None, limits=_LIMITS)  # noqa: S113
    except (ImportError, OSError, ValueError, ssl.SSLError) as error:
        raise BadArguments(
            f"The proxy or certificate settings make no sense: {error}",
            "Check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE, SSL_CERT_DIR and ca_file.",
        ) from None
    # httpx has no argument for this, and a transport of one's own would lose the proxies.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = network.Backend()  # noqa: SLF001
    return client

"""OpenAI-compatible servers: POST requests, answered with server-sent events.

Only this module and `transport` import httpx. They are imported at the first call that needs them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, cast

import httpx

from mixmagic.backends import adapting, error_bodies, provider_errors
from mixmagic.backends.dialects import Dialects
from mixmagic.backends.http import (
    decompression,
    listing,
    network,
    rate_limits,
    reading,
    transport,
)
from mixmagic.core import lazy
from mixmagic.core.cancel import Stop
from mixmagic.core.sealed import sealed
from mixmagic.core.settings import Settings
from mixmagic.core.values import Delta, Model, Provider, Request, Stream
from mixmagic.errors import (
    BadArguments,
    IdleTimedOut,
    MixmagicError,
    ProviderError,
    Stopped,
    StreamBroken,
    Unavailable,
    one_line,
)
from mixmagic.keys.credentials import Credentials
from mixmagic.keys.urls import base_url, join, redact_query

_LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "proxy", "socks")))
# Seconds to wait for the end of a response: after `[DONE]`; and after a finish reason, which token
# counts may follow, or after the head of an error.
_AFTER_DONE, _AFTER_FINISH = 0.1, 5.0
# A note on an answer that is complete, although its response has not ended.
_LEFT_OPEN = "the provider did not end the response: anything sent after the answer is missing"
# As bytes, which httpx need not encode; those of a provider are texts.
_HEADERS: tuple[tuple[Any, Any], ...] = (
    (b"accept", b"*/*"),
    (b"accept-encoding", decompression.ACCEPTED.encode()),
    (b"connection", b"keep-alive"),
    (b"user-agent", b"mixmagic"),
)
_LONGEST_LISTING = 16 * 1024 * 1024  # bytes; OpenRouter's is about half a megabyte
# The errors that can break off a response.
_BROKEN = (httpx.HTTPError, httpx.StreamError, decompression.Undecodable)
# Errors of an invalid URL: IDNA cannot encode the host, or the port is too high.
_OF_URLS = (httpx.InvalidURL, UnicodeError, OverflowError)

# A provider's URL is parsed once, and not at each call.
_parsed = functools.lru_cache(64)(httpx.URL)


class HttpBackend:
    """All HTTP providers, over one transport that is created at the first call."""

    def __init__(self, settings: Settings, access: Credentials) -> None:
        self.access, self._settings = access, settings
        self._lock = threading.Lock()
        self._dialects = Dialects()
        self._transport: transport.Transport | None = None

    def open(self, provider: Provider) -> Stream:
        """Return the function that sends a request: see `mixmagic.backends.Backends.open`."""
        return self._stream

    def models(
        self, provider: Provider, key: str = "", timeout: float = 60.0
    ) -> list[Mapping[str, Any]]:
        """Return the models that the provider serves, as entries of OpenAI's `/models`.

        Args:
            provider: The provider to ask.
            key: The key to send, if not the one that is set up.
            timeout: Seconds that the call may take.

        Raises:
            MixmagicError: The call failed, or its answer is not a list.
        """
        with sealed(self.access.redact):
            return self._listed(provider, key, timeout)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
                self._transport = None
                for name in _LOGGERS:
                    logging.getLogger(name).removeFilter(self.access.clean)

    @property
    def transport(self) -> transport.Transport:
        """The transport, created when first needed."""
        if (made := self._transport) is not None:
            return made
        with lazy.lock, self._lock:  # in this order, as everywhere
            if self._transport is None:
                self._transport = transport.Transport(self._settings.ca_file, self.access.redact)
                for name in _LOGGERS:
                    logging.getLogger(name).addFilter(self.access.clean)
            return self._transport

    def _listed(self, provider: Provider, key: str, timeout: float) -> list[Mapping[str, Any]]:
        model, deadline = Model("", provider), time.monotonic() + timeout

        def get(url: str) -> bytes:
            with self._exchange(model, deadline) as call:
                sent = httpx.Request(
                    "GET",
                    _parsed(join(url, "models")),
                    headers=[*_HEADERS, *self.access.headers(model, key).items()],
                    extensions={transport.CALL: call},
                )
                with contextlib.closing(self.transport.handle_request(sent)) as response:
                    self._accepted(model, response, call, key)
                    return reading.page(_decoded(response, call), _LONGEST_LISTING)

        entries = listing.entries(provider, listing.fetch(provider, get))
        return list(self.access.redact(entries))

    def _stream(self, request: Request) -> Generator[Delta, None, None]:
        with sealed(self.access.redact):
            yield from adapting.send_adapted(
                request, self._dialects, lambda url, body: self._call(request, url, body)
            )

    def _call(
        self, request: Request, url: str, body: Mapping[str, Any]
    ) -> Generator[Delta, None, None]:
        model, provider = request.model, request.model.provider
        with self._exchange(model, request.control.deadline, request.control.stop) as call:
            sent = httpx.Request(
                "POST",
                _parsed(join(url, "chat/completions")),
                json=body,
                headers=[*_HEADERS, *self.access.headers(model).items()],
                extensions={transport.CALL: call},
            )
            if sent.url.scheme == "http":
                proxy = self.transport.proxy_host(sent.url)
                if warning := self.access.exposure(model, sent.url.host, proxy):
                    yield Delta(note=warning, passing=True)
            with contextlib.closing(self.transport.handle_request(sent)) as response:
                self._accepted(model, response, call)
                call.accepted = True
                headers = dict(response.headers.items())  # several times as fast to look up
                yield Delta(limits=rate_limits.limits(headers, provider.dialect.rate_window))
                answer = reading.ResponseReader(request, self.access)
                yield from _read_answer(response, answer, call)

    def _accepted(
        self, model: Model, response: httpx.Response, call: network.CallConnection, key: str = ""
    ) -> None:
        """Raise the error of a response whose status is not a success."""
        if response.is_success:
            return
        call.expect(_AFTER_FINISH, IdleTimedOut)
        raw = reading.page(_until_cut(response, call))
        headers = response.headers
        location = headers.get("location", "") if response.is_redirect else ""
        body = self.access.redact({"error": location} if location else error_bodies.parse_body(raw))
        url = self.access.redact(redact_query(str(response.request.url)))
        asked = provider_errors.Asked(url, self.access.source(model.provider, key))
        error = provider_errors.from_status(
            model, response.status_code, body, rate_limits.wait(headers), asked
        )
        if isinstance(error, ProviderError):
            error.limits = rate_limits.limits(headers, model.provider.dialect.rate_window)
            if headers.get("x-should-retry", "").lower() == "false":
                error.retryable = False
            elif headers.get("x-should-retry", "").lower() == "true":
                error.retryable = response.status_code not in provider_errors.NEVER_AGAIN
        raise error

    @contextlib.contextmanager
    def _exchange(
        self, model: Model, deadline: float, stop: Stop | None = None
    ) -> Iterator[network.CallConnection]:
        """Run one HTTP exchange; turn httpx's errors into ours."""
        call, stop = network.CallConnection(self._settings, deadline), stop or Stop()
        error: MixmagicError | Stopped
        with stop.calling(call.abort):
            try:
                yield call
                return  # noqa: TRY300  # the rest is for errors
            except (*_BROKEN, *_OF_URLS) as raised:
                error = self._named(model, raised, call)
            except MixmagicError as raised:
                error = raised
            except KeyboardInterrupt:
                error = Stopped(sent=call.sent)
        if stop.is_set():  # the connection was shut down, which can cause any error
            error = Stopped(sent=call.sent)
        if isinstance(error, MixmagicError):
            error.transmitted = call.sent
            if call.accepted or (isinstance(error, ProviderError) and error.status is None):
                error.sent = call.sent and not call.unsent
        raise error from None

    def _named(self, model: Model, error: Exception, call: network.CallConnection) -> MixmagicError:
        """Return our error for an error of httpx."""
        provider = model.provider
        reason = one_line(self.access.redact(str(error)), 200) or type(error).__name__
        reason = re.sub(r"\[Errno -?\d+\] ", "", reason)
        url = self.access.redact(redact_query(base_url(provider)))
        if isinstance(error, (*_OF_URLS, httpx.UnsupportedProtocol)):
            return BadArguments(
                f"{url!r} is not a valid URL for {provider.label}: {reason}.",
                f"Set {provider.url_env} to something like https://host/v1.",
            )
        if isinstance(error, decompression.Undecodable):
            return StreamBroken(
                f"{provider.label}'s answer cannot be decompressed: {reason}.",
                f"Run the cell again; check {provider.url_env or 'the URL'} and the proxy.",
            )
        if isinstance(error, httpx.TimeoutException):
            return provider_errors.timeout_error(provider.label, call.timeout_error, self._settings)
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return Unavailable(
                f"{provider.label}'s certificate at {url} is not trusted: {reason}.",
                "If your organization issued it, set ca_file in config.toml, or MIXMAGIC_CA_FILE,"
                " to the PEM file of its CA.",
            )
        if isinstance(error, httpx.ProxyError):
            return Unavailable(
                f"The proxy does not let a call to {provider.label} through: {reason}.",
                "Check the proxy: HTTPS_PROXY, with its user and password, and NO_PROXY.",
                retryable=not reason.startswith("4"),  # the proxy's status
            )
        if isinstance(error, httpx.ConnectError):
            return Unavailable(
                f"{provider.label} cannot be reached at {url}: {reason}.",
                provider.note
                if provider.free
                else "Check the network, the proxy and"
                f" {provider.url_env}; `%mixmagic use local` needs no network.",
                retryable=True,
            )
        return StreamBroken(
            f"The connection to {provider.label} broke before the answer was complete.",
            "The part received is kept; run the cell again for a complete answer.",
            retryable=call.unsent,
        )


def _read_answer(
    response: httpx.Response, answer: reading.ResponseReader, call: network.CallConnection
) -> Iterator[Delta]:
    """Yield the pieces of an answer, until it ends or breaks off."""
    try:
        try:
            yield from _arriving(response, answer, call)
        except _BROKEN as error:
            yield from answer.rest(torn=True)
            if not answer.whole or (answer.doubtful and not answer.done):
                raise
            if not answer.done and isinstance(error, httpx.TimeoutException):
                yield Delta(note=_LEFT_OPEN)
        else:
            yield from answer.close()
    except MixmagicError:
        yield from answer.held()
        raise


def _arriving(
    response: httpx.Response, answer: reading.ResponseReader, call: network.CallConnection
) -> Iterator[Delta]:
    """Yield the pieces of an answer as they arrive, within the timeouts."""
    done = False
    for chunk in _decoded(response, call):
        if (delta := answer.feed_text(chunk)) is not None:
            call.moved = True
            yield delta
            continue
        yield from answer.feed(chunk)
        if answer.done:
            # Wait briefly for the end of the response, so that its connection can be reused.
            if not done:
                call.expect(_AFTER_DONE, IdleTimedOut)
                done = True
        elif answer.whole and not answer.hasty:
            if answer.moved:
                call.expect(_AFTER_FINISH, IdleTimedOut)
        elif answer.alive:
            call.moved = True


def _decoded(response: httpx.Response, call: network.CallConnection) -> Iterable[bytes]:
    """Return the body of a response, decompressed.

    httpx's own decoder decompresses a whole chunk at once, no matter how large the result is.

    Raises:
        httpx.ReadTimeout: The call was stopped, or a wait took too long.
        Undecodable: The body cannot be decompressed.
    """
    decoder = decompression.Decoder(response.headers.get("content-encoding", ""))
    chunks = cast("httpx.SyncByteStream", response.stream)
    return _decompressed(chunks, decoder, call) if decoder.codings else chunks


def _decompressed(
    chunks: Iterable[bytes], decoder: decompression.Decoder, call: network.CallConnection
) -> Iterator[bytes]:
    """Yield decompressed slices; between them, check if the call was stopped or timed out."""
    for chunk in chunks:
        for piece in decoder.feed(chunk):
            if call.over:
                raise httpx.ReadTimeout("")
            if piece:
                yield piece


def _until_cut(response: httpx.Response, call: network.CallConnection) -> Iterator[bytes]:
    """Yield as much of a response's body as can be read."""
    with contextlib.suppress(*_BROKEN):
        yield from _decoded(response, call)

"""OpenAI-compatible servers: POST, and server-sent events over one `httpx.Client`.

The only module that imports httpx; the session imports it at the first call that needs it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import httpx

from mixmagic.backends import access, faults, network, sse, wire
from mixmagic.errors import (
    BadArguments,
    MixmagicError,
    ProviderError,
    Stopped,
    StreamBroken,
    Unavailable,
    one_line,
)
from mixmagic.settings import Settings
from mixmagic.stop import Stop
from mixmagic.values import Delta, Model, Provider, Request, Stream

# Seconds without a byte: a long prompt on a busy server takes a while to its first token.
_TIMEOUT = httpx.Timeout(120, connect=10, pool=None)
# The pool holds no more than the throttle lets through; it must not be a limit of its own.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30)
_parse = json.JSONDecoder().decode  # json.loads without its looks at options
_OF_HTTPX = (httpx.HTTPError, httpx.StreamError)
# A host that IDNA cannot encode, or a port that is too high, is found late.
_OF_URLS = (httpx.InvalidURL, UnicodeError, OverflowError)


class Backend:
    """Every HTTP provider, over one client that is made at the first call."""

    def __init__(self, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._made: httpx.Client | None = None
        self._process = 0

    def open(self, provider: Provider) -> Stream:
        """How to ask `provider`: see `mixmagic.backends.Backends.open`."""
        return self._stream

    def models(self, provider: Provider) -> list[Mapping[str, Any]]:
        """What the provider's `/models` lists: a bare array, or one under `data`.

        Raises:
            MixmagicError: It could not be asked, or answered something else.
        """
        model = Model("", provider)
        with _named_errors(model):
            response = self._client().get(
                f"{access.base_url(provider)}/models", headers=access.headers(model)
            )
            if response.status_code != 200:
                body = access.hidden(model, faults.parse(response.content))
                raise faults.from_status(model, response.status_code, body)
        try:
            listing = response.json()
            entries = listing["data"] if isinstance(listing, dict) else listing
            if not isinstance(entries, list):
                raise TypeError
            return [entry for entry in entries if isinstance(entry, dict)]
        except (ValueError, KeyError, TypeError):
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

    def _client(self) -> httpx.Client:
        """The client of this process: a forked child must not share its parent's sockets."""
        with self._lock:
            if self._made is None or self._process != os.getpid():
                self._made = _make_client()
                self._process = os.getpid()
            return self._made

    def _stream(self, request: Request) -> Generator[Delta, None, None]:
        model, line = request.model, network.Line()
        with request.stop.calling(line.break_off), _named_errors(model, request.stop):
            client = self._client()
            sent = client.build_request(
                "POST",
                f"{access.base_url(model.provider)}/chat/completions",
                json=wire.encode(request),
                headers=access.headers(model),
            )
            with line.held():
                response = client.send(sent, stream=True)
            try:
                line.use(response.extensions["network_stream"])
                if response.status_code != 200:
                    body = access.hidden(model, faults.parse(response.read()))
                    raise faults.from_status(
                        model, response.status_code, body, _retry_after(response)
                    )
                yield from _answer(model, response)
            finally:
                line.free()
                response.close()


def _make_client() -> httpx.Client:
    """A client whose connections can be broken off; proxies and certificates as usual."""
    try:
        client = httpx.Client(timeout=_TIMEOUT, limits=_LIMITS, follow_redirects=False)
    except (ImportError, OSError, ValueError) as error:
        raise BadArguments(
            f"The environment's proxy or certificate settings make no sense: {error}",
            "Check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
        ) from None
    # httpx has no argument for this, and a transport of one's own would lose the proxies.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = network.Backend()  # noqa: SLF001
    return client


def _answer(model: Model, response: httpx.Response) -> Iterator[Delta]:
    """The pieces of an answer that the server has begun to send."""
    if "text/event-stream" not in response.headers.get("content-type", "").lower():
        delta = _piece(model, response.read())
        if not (delta.text or delta.reasoning or delta.finish):
            raise StreamBroken(
                f"{model.provider.label} sent an answer without content.", "Run the cell again."
            )
        yield delta
        return
    finished = False
    for event in _events(response):
        if event.data == "[DONE]":
            finished = True
            continue
        if event.type == "error":
            raise faults.in_stream(model, access.hidden(model, _json(model, event.data)))
        delta = _piece(model, event.data)
        finished = finished or delta.finish is not None
        yield delta
    if not finished:
        raise StreamBroken(
            f"{model.provider.label} closed the connection before the answer was whole.",
            "What came until then is kept; run the cell again for a whole answer.",
        )


def _events(response: httpx.Response) -> Iterator[sse.Event]:
    """The events of a streamed body."""
    decoder = sse.Decoder()
    for chunk in response.iter_bytes():
        yield from decoder.feed(chunk)
    yield from decoder.close()


def _piece(model: Model, text: str | bytes) -> Delta:
    """One JSON text as a piece of the answer."""
    frame = _json(model, text)
    try:
        return wire.decode(model, frame)
    except MixmagicError:
        frame = access.hidden(model, frame)
    # The same error again, from a frame without the key, whatever of it is quoted.
    return wire.decode(model, frame)


def _json(model: Model, text: str | bytes) -> Any:
    """Parse what should be JSON."""
    try:
        return _parse(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        start = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise StreamBroken(
            f"{model.provider.label} sent no JSON: {one_line(access.hidden(model, start), 80)!r}",
            f"Check {model.provider.url_env or 'the URL'}: is an OpenAI-compatible API there?",
        ) from None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait."""
    for header, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(response.headers[header]) / unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


@contextlib.contextmanager
def _named_errors(model: Model, stop: Stop | None = None) -> Iterator[None]:
    """Turn what httpx raises into errors of ours; after a stop, into `Stopped`."""
    try:
        yield
    except (*_OF_HTTPX, *_OF_URLS) as error:
        if stop is not None and stop.is_set():
            raise Stopped from None
        raise _named(model, error) from None
    except sse.EventTooLong as error:
        raise StreamBroken(f"{model.provider.label} sent {error}.", "Ask for less.") from None
    except MixmagicError:
        if stop is not None and stop.is_set():  # a shut connection can look like a body's end
            raise Stopped from None
        raise


def _named(model: Model, error: Exception) -> MixmagicError:
    """The error of ours that an error of httpx means."""
    provider = model.provider
    reason = one_line(access.hidden(model, str(error)), 200) or type(error).__name__
    url = access.base_url(provider)
    if isinstance(error, (*_OF_URLS, httpx.UnsupportedProtocol)):
        return BadArguments(
            f"{url!r} is no URL for {provider.label}: {reason}.",
            f"Set {provider.url_env} to something like https://host/v1.",
        )
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
        return Unavailable(
            f"{provider.label} cannot be reached at {url}: {reason}.",
            provider.note
            if provider.free
            else "Check the network, the proxy and"
            f" {provider.url_env}; `%mixmagic use local` needs no network.",
        )
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(
            f"{provider.label} sent nothing for {_TIMEOUT.read:g} s.", "Run the cell again."
        )
    return StreamBroken(
        f"The connection to {provider.label} broke before the answer was whole.",
        "What came until then is kept; run the cell again for a whole answer.",
    )

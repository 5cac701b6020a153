"""Backends: the ways to reach a model, one package for each protocol named in the catalog.

May import `keys`, `catalog`, `calls` and the packages below them; `layers` and `sessions` use it.
To add a protocol `x`, write `backends/x/backend.py` with a class `XBackend(settings, credentials)`
that has the methods of `Backend`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mixmagic.backends import thoughts
from mixmagic.calls import tokens
from mixmagic.core import lazy
from mixmagic.core.settings import Settings
from mixmagic.core.values import Message, Model, Provider, Stream
from mixmagic.keys import urls
from mixmagic.keys.credentials import Credentials


class Backend(Protocol):
    """A way to reach the models of a provider."""

    def open(self, provider: Provider) -> Stream:
        """Return the function that sends a request to a model of the provider."""

    def models(
        self, provider: Provider, key: str = "", timeout: float = 60.0
    ) -> list[Mapping[str, Any]]:
        """Return the models that the provider serves, as entries of OpenAI's `/models`."""

    def close(self) -> None:
        """Release connections, threads and memory."""


@runtime_checkable
class CountingBackend(Backend, tokens.Counter, Protocol):
    """A backend that can count tokens exactly."""


class Backends:
    """The backends of one session, each imported when first needed.

    Args:
        settings: Timeouts, folders, and the path of the file `.env`.
        providers: The providers of the catalog.

    Attributes:
        access: The providers' keys.
    """

    def __init__(self, settings: Settings, providers: Iterable[Provider] = ()) -> None:
        self.access = Credentials(settings.dotenv, providers)
        self._settings = settings
        self._made: dict[str, Backend] = {}

    def open(self, provider: Provider) -> Stream:
        """Return the function that sends a request to a model of `provider`."""
        return thoughts.apart(self._backend(provider).open(provider))

    def models(
        self, provider: Provider, key: str = "", timeout: float = 60.0
    ) -> list[Mapping[str, Any]]:
        """Return the models that `provider` serves, as entries of OpenAI's `/models`.

        Args:
            provider: The provider to ask.
            key: The key to send, if not the one that is set up.
            timeout: Seconds that the call may take.

        Raises:
            MixmagicError: The call failed.
        """
        return self._backend(provider).models(provider, key, timeout)

    def count(self, messages: Sequence[Message], model: Model) -> tokens.Count:
        """Return the number of tokens of a conversation; see `tokens.count`.

        An embedded model is loaded if necessary, however long that takes, and counts exactly;
        Ctrl-C ends the wait. If it cannot be loaded, the number is an estimate.

        Args:
            messages: The conversation, oldest first.
            model: The model to count for.
        """
        provider = model.provider
        # Do not import a backend only to count.
        if provider.counts_exactly and isinstance(
            backend := self._backend(provider), CountingBackend
        ):
            exact = backend.count(messages, model, load=True)
            if exact is not None:
                return tokens.Count(exact, exact, exact=True)
        return tokens.count(messages, model)

    def endpoint(self, model: Model) -> str | Path:
        """Return what answers as a model: the base URL of its provider, or the file that it is.

        The embedded model's file need not be there: its hash is known.
        """
        if model.provider.backend != "local":
            return urls.endpoint(model.provider)
        weights = lazy.load("mixmagic.backends.local.weights")
        if weights.is_embedded(model):
            return f"sha256:{weights.SHA256}"
        path: Path = lazy.load("mixmagic.backends.local.gguf").path(model, self._settings.cache_dir)
        return path

    def close(self) -> None:
        """Release connections, threads and memory."""
        made, self._made = self._made, {}
        for backend in made.values():
            backend.close()

    def _backend(self, provider: Provider) -> Backend:
        name = provider.backend

        def make() -> Backend:
            module = importlib.import_module(f"mixmagic.backends.{name}.backend")
            backend: Backend = getattr(module, f"{name.title()}Backend")(
                self._settings, self.access
            )
            return backend

        return lazy.get_or_make(self._made, name, make)

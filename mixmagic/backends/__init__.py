"""How to reach a model: one module for each wire protocol, named in the catalog.

May import `catalog`, `tokens`, `settings` and what stands below them. A module of this room has
a class `Backend(settings, access)` with `open(provider)`, `models(provider)` and `close()`.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from mixmagic.backends import thoughts
from mixmagic.calls import tokens
from mixmagic.core import lazy
from mixmagic.core.settings import Settings
from mixmagic.core.values import Message, Model, Provider, Stream
from mixmagic.keys.credentials import Credentials


class Backend(Protocol):
    """What a module of this room offers."""

    def open(self, provider: Provider) -> Stream:
        """How to ask the provider's models."""

    def models(
        self, provider: Provider, key: str = "", timeout: float = 60.0
    ) -> list[Mapping[str, Any]]:
        """What the provider says that it serves, as OpenAI's `/models` entries."""

    def close(self) -> None:
        """Give back connections, threads and memory."""


@runtime_checkable
class Counting(Backend, tokens.Counter, Protocol):
    """A module's that has its models' tokenizers."""


class Backends:
    """The backends of one session, each imported and made when first needed.

    Args:
        settings: Where the file `.env` is, among others.
        providers: The providers of the catalog.

    Attributes:
        access: The providers' keys.
    """

    def __init__(self, settings: Settings, providers: Iterable[Provider] = ()) -> None:
        self.access = Credentials(settings.dotenv, providers)
        self._settings = settings
        self._lock = threading.Lock()
        self._made: dict[str, Backend] = {}

    def open(self, provider: Provider) -> Stream:
        """How to ask the models of `provider`."""
        return thoughts.apart(self._backend(provider).open(provider))

    def models(
        self, provider: Provider, key: str = "", timeout: float = 60.0
    ) -> list[Mapping[str, Any]]:
        """What `provider` says that it serves, as OpenAI's `/models` entries.

        Args:
            provider: Whom to ask.
            key: The key to ask with, where it is not the one that is found.
            timeout: Seconds that it may take.

        Raises:
            MixmagicError: It could not be asked.
        """
        return self._backend(provider).models(provider, key, timeout)

    def count(self, messages: Sequence[Message], model: Model) -> tokens.Count:
        """The tokens of a conversation, as `tokens.count` has it.

        An embedded model is loaded for it, and then counts exactly, however long it takes: Ctrl-C
        ends the wait. Where it cannot be loaded it is an estimate.

        Args:
            messages: The conversation, oldest first.
            model: Who is asked.
        """
        provider = model.provider
        # No other backend is imported to count.
        if provider.counts_exactly and isinstance(backend := self._backend(provider), Counting):
            exact = backend.count(messages, model, load=True)
            if exact is not None:
                return tokens.Count(exact, exact, exact=True)
        return tokens.count(messages, model)

    def close(self) -> None:
        """Give back connections, threads and memory."""
        with self._lock:
            made, self._made = self._made, {}
        for backend in made.values():
            backend.close()

    def _backend(self, provider: Provider) -> Backend:
        with lazy.lock, self._lock:  # its module is imported
            if provider.backend not in self._made:
                module = importlib.import_module(f"mixmagic.backends.{provider.backend}.backend")
                self._made[provider.backend] = module.Backend(self._settings, self.access)
            return self._made[provider.backend]

"""How to reach a model: one module for each wire protocol, named in the catalog.

May import `catalog`, `tokens`, `settings` and what stands below them. A module of this room has
a class `Backend(settings, access)` with `open(provider)`, `models(provider)` and `close()`.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from mixmagic.backends.access import Access
from mixmagic.settings import Settings
from mixmagic.values import Provider, Stream


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


class Backends:
    """The backends of one session, each imported and made when first needed.

    Attributes:
        access: The providers' keys.
    """

    def __init__(self, settings: Settings) -> None:
        self.access = Access(settings.dotenv)
        self._settings = settings
        self._lock = threading.Lock()
        self._made: dict[str, Backend] = {}

    def open(self, provider: Provider) -> Stream:
        """How to ask the models of `provider`."""
        return self._backend(provider).open(provider)

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

    def close(self) -> None:
        """Give back connections, threads and memory."""
        with self._lock:
            made, self._made = self._made, {}
        for backend in made.values():
            backend.close()

    def _backend(self, provider: Provider) -> Backend:
        with self._lock:
            if provider.backend not in self._made:
                module = importlib.import_module(f"mixmagic.backends.{provider.backend}")
                self._made[provider.backend] = module.Backend(self._settings, self.access)
            return self._made[provider.backend]

"""Which providers a person has set up. May be imported by `parts` and what stands above it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mixmagic import forks
from mixmagic.backends.access import Access
from mixmagic.values import Provider

# Seconds for which the keyring's word holds: asking it takes a while.
_HOLDS = 60.0


def has_key(access: Access, provider: Provider) -> bool:
    """Whether a person has set a provider up: its key, or the address of one that needs none.

    One's own machine counts where its variable names it (`OLLAMA_HOST`): whether a server runs
    there is not known before it is asked.
    """
    own = not provider.key_required and (
        _set(provider.url_env) or bool(provider.base_url and not provider.url_env)
    )
    return own or bool(access.find(provider)[0])


class Keys:
    """`has_key`, remembered: until the environment or the file `.env` changes, or for a minute.

    Args:
        access: The providers' keys.
        dotenv: The file `.env`; it need not exist.

    Example:
        >>> Keys(session.backends.access, session.settings.dotenv)(catalog.providers["together"])
        True
    """

    def __init__(self, access: Access, dotenv: Path) -> None:
        self._access, self._dotenv = access, dotenv
        self._found: dict[str, tuple[object, float, bool]] = {}

    def __call__(self, provider: Provider) -> bool:
        state = (_set(provider.key_env), _set(provider.url_env), self._version())
        before, until, found = self._found.get(provider.name, (None, 0.0, False))
        if before != state or time.monotonic() > until:
            with forks.lock:  # what reads the file, and the keyring, is imported
                found = has_key(self._access, provider)
            self._found[provider.name] = (state, time.monotonic() + _HOLDS, found)
        return found

    def forget(self) -> None:
        """Look again: the keyring has changed."""
        self._found.clear()

    def _version(self) -> tuple[int, int] | None:
        """What changes with the file `.env`; `None` where there is none."""
        try:
            found = self._dotenv.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def _set(variable: str) -> bool:
    """Whether an environment variable says something."""
    return bool(variable and os.environ.get(variable, "").strip())

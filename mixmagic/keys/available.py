"""Which providers a person has set up. May be imported by `parts` and what stands above it."""

from __future__ import annotations

import os
import time

from mixmagic.core.sealed import sealed
from mixmagic.core.values import Provider
from mixmagic.keys.credentials import Credentials
from mixmagic.keys.headers import variables

# Seconds for which an answer holds: asking the keyring takes a while.
_HOLDS = 60.0


def has_key(credentials: Credentials, provider: Provider) -> bool:
    """Return True if a person has set a provider up: its key, or the address of one without keys.

    A server on one's own machine counts if its variable names it (`OLLAMA_HOST`): nobody knows if
    it runs before it is asked.
    """
    own = not provider.key_required and (
        _is_set(provider.url_env) or bool(provider.base_url and not provider.url_env)
    )
    if credentials.lacking(provider):
        return False
    return own or bool(credentials.find(provider)[0])


class Keys:
    """`has_key`, remembered: until the environment or the file `.env` changes, or for a minute.

    Args:
        credentials: The providers' keys.

    Example:
        >>> Keys(session.backends.access)(session.catalog.providers["together"])
        True
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._found: dict[str, tuple[object, float, bool]] = {}

    def __call__(self, provider: Provider) -> bool:
        names = (provider.key_env, provider.url_env, *variables(provider))
        state = (*map(_is_set, names), self._credentials.dotenv.version())
        before, until, found = self._found.get(provider.name, (None, 0.0, False))
        if before != state or time.monotonic() > until:
            # No lock is held: a keyring may take long, and asks for a password.
            found = has_key(self._credentials, provider)
            self._found[provider.name] = (state, time.monotonic() + _HOLDS, found)
        return found

    def forget(self) -> None:
        """Look again: the keyring has changed."""
        self._found.clear()


def _is_set(variable: str) -> bool:
    """Return True if an environment variable has a value."""
    with sealed():
        return bool(variable and os.environ.get(variable, "").strip())

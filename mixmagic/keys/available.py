"""The providers that are set up. May be imported by `sessions` and the packages above it."""

from __future__ import annotations

import time

from mixmagic.core.servers import needs_key
from mixmagic.core.values import Provider
from mixmagic.keys.credentials import Credentials
from mixmagic.keys.environment import is_set
from mixmagic.keys.headers import variables

# Seconds to cache a result: asking the keyring takes a while.
_CACHED_FOR = 60.0


def is_available(credentials: Credentials, provider: Provider) -> bool:
    """Return True if the user has set a provider up: its key, or a server that needs none.

    A server that needs no key is set up if an environment variable (`OLLAMA_HOST`) or the user's
    catalog file has its URL. It need not be running.
    """
    if credentials.lacking(provider):
        return False
    is_server = not needs_key(provider) and (
        is_set(provider.url_env) or bool(provider.base_url and not provider.url_env)
    )
    return is_server or bool(credentials.find(provider)[0])


class Availability:
    """`is_available`, cached until the environment or the file `.env` changes, or for a minute.

    Args:
        credentials: The providers' keys.

    Example:
        >>> session.available(session.catalog.providers["together"])
        True
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._answers: dict[str, tuple[object, float, bool]] = {}

    def __call__(self, provider: Provider) -> bool:
        names = (*provider.key_envs, provider.url_env, *variables(provider))
        state = (*map(is_set, names), self._credentials.dotenv.version())
        before, until, answer = self._answers.get(provider.name, (None, 0.0, False))
        if before != state or time.monotonic() > until:
            # Without a lock: a keyring may be slow, or ask for a password.
            answer = is_available(self._credentials, provider)
            self._answers[provider.name] = (state, time.monotonic() + _CACHED_FOR, answer)
        return answer

    def forget(self) -> None:
        """Clear the cache, because the keyring has changed."""
        self._answers.clear()

"""The server of a provider that is called: its own, or one that the environment names instead."""

from __future__ import annotations

import functools
import os
import urllib.parse

from mixmagic.core.sealed import sealed
from mixmagic.core.values import Provider


def is_own_server(provider: Provider) -> bool:
    """Return True if the environment names a server of the user's in place of the provider's.

    Prices and services of the provider do not hold there. Without a base URL in its catalog file, a
    provider has no server of its own that could be replaced.

    Example:
        >>> is_own_server(Catalog().providers["together"])
        False
    """
    with sealed():
        url = os.environ.get(provider.url_env, "").strip() if provider.url_env else ""
    if not url or not provider.base_url:
        return False
    return _host(url) not in (_host(provider.base_url), *provider.hosts)


def needs_key(provider: Provider) -> bool:
    """Return True if a call without a key is refused before it is sent."""
    return provider.key_required and not (provider.any_server and is_own_server(provider))


@functools.lru_cache(64)
def _host(url: str) -> str:
    """Return the host of a URL with or without a scheme, or an empty string."""
    try:
        return urllib.parse.urlsplit(f"//{url.partition('://')[2] or url}").hostname or ""
    except ValueError:
        return ""

"""URLs of a provider's API: the base URL, paths joined to it, and forms that may be shown.

A URL with a path is used as it stands. A bare host may have its API at `/v1`, as OpenAI has, or at
its root, as Perplexity has: both are tried, and the one that answers is remembered.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import urllib.parse
from collections.abc import Iterator

from mixmagic.core.sealed import sealed
from mixmagic.core.values import Provider
from mixmagic.keys.environment import sounds_secret
from mixmagic.keys.redact import HIDDEN

# What is pasted with the URL of a whole endpoint.
_ENDPOINT = re.compile(r"(?:^|/)(chat/completions|completions|models)$", re.IGNORECASE)
# Parameters of a query that hold a secret, besides those that are called like a variable of one.
_SECRET = re.compile(r"^(?:sig|signature|code|auth|authorization|credentials?|jwt|sid)$", re.I)
# The base URLs that have answered, by the first one that is tried.
_answered: dict[str, str] = {}


def base_url(provider: Provider) -> str:
    """Return where the provider's API starts: the environment's URL, else the catalog's.

    Example:
        >>> base_url(Catalog().providers["together"])
        'https://api.together.ai/v1'
    """
    return base_urls(provider)[0]


def base_urls(provider: Provider) -> tuple[str, ...]:
    """Return where the provider's API may start, the likeliest place first."""
    with sealed():
        urls = _candidates(_configured(provider))
        found = _answered.get(urls[0], urls[0])
        return (found, *(url for url in urls if url != found))


def remember(provider: Provider, url: str) -> None:
    """Note that the provider's API starts at `url`, one of its `base_urls`."""
    with sealed():
        _answered[_candidates(_configured(provider))[0]] = url


def join(base: str, path: str) -> str:
    """Return the URL of an endpoint; a query stays behind its path.

    Example:
        >>> join("https://host/openai/deployments/x?api-version=2024-10-21", "chat/completions")
        'https://host/openai/deployments/x/chat/completions?api-version=2024-10-21'
    """
    if _is_careless(base):
        return f"{base}/{path}"
    head, mark, query = base.partition("?")
    return f"{head.rstrip('/')}/{path}{mark}{query}"


def shown(url: str) -> str:
    """Return a URL as it may be shown: of its query only versions.

    The user and the password are for `Credentials.redact`.

    Example:
        >>> shown("https://host/v1?api-version=2024-10-21&key=0123456789")
        'https://host/v1?api-version=2024-10-21&key=[key]'
    """
    if _is_careless(url):
        return url
    head, mark, query = url.partition("?")
    return f"{head}{mark}{'&'.join(map(_shown_item, query.split('&')))}"


def query_secrets(url: str) -> Iterator[str]:
    """Yield the values of a URL's query that must not be shown anywhere."""
    for item in url.partition("?")[2].partition("#")[0].split("&"):
        name, _, value = item.partition("=")
        plain = urllib.parse.unquote_plus(name).replace("-", "_").replace(".", "_")
        if value and (sounds_secret(plain) or _SECRET.search(plain)):
            yield value
            yield urllib.parse.unquote_plus(value)


def host_of(url: str) -> str:
    """Return the host of a URL without a scheme, or an empty text."""
    try:
        return urllib.parse.urlsplit(f"//{url}").hostname or ""
    except ValueError:
        return ""


def is_here(host: str) -> bool:
    """Return True if a host is this machine: by its address, or as `localhost`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address.is_loopback or address.is_unspecified


def _configured(provider: Provider) -> str:
    """The URL that is set, with a scheme."""
    url = os.environ.get(provider.url_env, "").strip() if provider.url_env else ""
    if url and "://" not in url:
        own = urllib.parse.urlsplit(provider.base_url)
        # As Ollama reads OLLAMA_HOST; a key is never sent unencrypted for lack of a scheme.
        scheme = "https" if provider.key_required and not is_here(host_of(url)) else "http"
        host, rest = re.match(r"([^/?#]*)(.*)", url, re.DOTALL).groups()  # type: ignore[union-attr]  # it always matches
        port = f":{own.port}" if own.port and not re.search(r":\d+$", host) else ""
        url = f"{scheme}://{host}{port}{rest}"
    return url or provider.base_url


@functools.lru_cache(256)
def _candidates(url: str) -> tuple[str, ...]:
    """Return the base URLs at which the API of a configured URL may be found."""
    if _is_careless(url):
        return (url,)
    head, _, query = url.partition("#")[0].partition("?")
    scheme, mark, rest = head.partition("://")
    host, _, path = rest.partition("/")
    path = path.strip("/")
    paths = [path] if path else ["v1", ""]
    if endpoint := _ENDPOINT.search(path):
        start, name = path[: endpoint.start()], endpoint[1].lower()
        if name != "models":
            paths = [start] if start else ["", "v1"]
        else:  # which some have in the base URL itself: Azure AI Foundry
            paths = [start, path] if start else [path, "v1", ""]
    behind = f"?{query}" if query else ""
    return tuple(f"{scheme}{mark}{host}{f'/{each}' * bool(each)}{behind}" for each in paths)


def _shown_item(item: str) -> str:
    """One parameter of a query, as it may be shown."""
    name, equals, value = item.partition("=")
    if not equals:
        return HIDDEN if item else ""
    return item if not value or "version" in name.lower() else f"{name}={HIDDEN}"


def _is_careless(url: str) -> bool:
    """True if a password has signs that should have been escaped: then it is not a valid URL."""
    return re.match(r"[^/?#]*://[^/?#@]*:[^/?#@]*[?#].*@", url) is not None

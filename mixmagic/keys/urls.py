"""URLs of a provider's API: the base URL, paths joined to it, and secrets in them.

A URL with a path is used as is. A bare host may have its API at `/v1`, like OpenAI, or at its root,
like Perplexity: both are tried, and the one that answers is remembered.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import urllib.parse
from collections.abc import Iterator

from mixmagic.core.sealed import sealed
from mixmagic.core.servers import needs_key
from mixmagic.core.values import Provider
from mixmagic.keys.environment import sounds_secret
from mixmagic.keys.redact import HIDDEN

# The path of an endpoint, in a URL that was pasted whole.
_ENDPOINT = re.compile(r"(?:^|/)(chat/completions|completions|models)$", re.IGNORECASE)
# Query parameters that hold a secret, besides those whose names `sounds_secret` recognizes.
_SECRET = re.compile(r"^(?:sig|signature|code|auth|authorization|credentials?|jwt|sid)$", re.I)
# The base URLs that have answered, by the first candidate.
_answered: dict[str, str] = {}


def base_url(provider: Provider) -> str:
    """Return the base URL of the provider's API: the environment's, else the catalog's.

    Example:
        >>> base_url(Catalog().providers["together"])
        'https://api.together.ai/v1'
    """
    return base_urls(provider)[0]


def base_urls(provider: Provider) -> tuple[str, ...]:
    """Return the possible base URLs of the provider's API, the likeliest first."""
    with sealed():
        urls = _candidates(_configured(provider), provider.url_path)
        first = _answered.get(urls[0], urls[0])
        return (first, *(url for url in urls if url != first))


def endpoint(provider: Provider) -> str:
    """Return the first of the provider's `base_urls`, whichever has answered: it identifies it."""
    with sealed():
        return _candidates(_configured(provider), provider.url_path)[0]


def remember(provider: Provider, url: str) -> None:
    """Remember that `url`, one of the provider's `base_urls`, is the right one."""
    with sealed():
        _answered[endpoint(provider)] = url


def join(base: str, path: str) -> str:
    """Return the URL of an endpoint; a query stays after the path.

    Example:
        >>> join("https://host/openai/deployments/x?api-version=2024-10-21", "chat/completions")
        'https://host/openai/deployments/x/chat/completions?api-version=2024-10-21'
    """
    if _has_unescaped_password(base):
        return f"{base}/{path}"
    head, mark, query = base.partition("?")
    return f"{head.rstrip('/')}/{path}{mark}{query}"


def redact_query(url: str) -> str:
    """Return a URL without the values in its query, except versions.

    The user and password are left to `Credentials.redact`.

    Example:
        >>> redact_query("https://host/v1?api-version=2024-10-21&key=0123456789")
        'https://host/v1?api-version=2024-10-21&key=[key]'
    """
    if _has_unescaped_password(url):
        return url
    head, mark, query = url.partition("?")
    return f"{head}{mark}{'&'.join(map(_redact_parameter, query.split('&')))}"


def query_secrets(url: str) -> Iterator[str]:
    """Yield the secrets in a URL's query."""
    for item in url.partition("?")[2].partition("#")[0].split("&"):
        name, _, value = item.partition("=")
        plain = urllib.parse.unquote_plus(name).replace("-", "_").replace(".", "_")
        if value and (sounds_secret(plain) or _SECRET.search(plain)):
            yield value
            yield urllib.parse.unquote_plus(value)


def host_of(url: str) -> str:
    """Return the host of a URL without a scheme, or an empty string."""
    try:
        return urllib.parse.urlsplit(f"//{url}").hostname or ""
    except ValueError:
        return ""


@functools.lru_cache(256)
def is_here(host: str) -> bool:
    """Return True if a host is this machine: by its address, or as `localhost`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address.is_loopback or address.is_unspecified


def _configured(provider: Provider) -> str:
    """The configured URL, with a scheme."""
    url = os.environ.get(provider.url_env, "").strip() if provider.url_env else ""
    if url and "://" not in url:
        default = urllib.parse.urlsplit(provider.base_url)
        # As Ollama reads OLLAMA_HOST. But a missing scheme never sends a key unencrypted.
        scheme = "https" if needs_key(provider) and not is_here(host_of(url)) else "http"
        host, rest = re.match(r"([^/?#]*)(.*)", url, re.DOTALL).groups()  # type: ignore[union-attr]  # it always matches
        port = f":{default.port}" if default.port and not re.search(r":\d+$", host) else ""
        url = f"{scheme}://{host}{port}{rest}"
    return url or provider.base_url


@functools.lru_cache(256)
def _candidates(url: str, own_path: str = "") -> tuple[str, ...]:
    """Return the possible base URLs for a configured URL, the likeliest first.

    Args:
        url: The URL.
        own_path: The path that belongs to a bare host, if it is known.
    """
    if _has_unescaped_password(url):
        return (url,)
    head, _, query = url.partition("#")[0].partition("?")
    scheme, mark, rest = head.partition("://")
    host, _, path = rest.partition("/")
    path = path.strip("/")
    paths = [path or own_path] if path or own_path else ["v1", ""]
    if endpoint := _ENDPOINT.search(path):
        start, name = path[: endpoint.start()], endpoint[1].lower()
        if name != "models":
            paths = [start] if start else ["", "v1"]
        else:  # may be part of the base URL: Azure AI Foundry's
            paths = [start, path] if start else [path, "v1", ""]
    suffix = f"?{query}" if query else ""
    return tuple(f"{scheme}{mark}{host}{f'/{path}' * bool(path)}{suffix}" for path in paths)


def _redact_parameter(item: str) -> str:
    """One query parameter without its value, except a version."""
    name, equals, value = item.partition("=")
    if not equals:
        return HIDDEN if item else ""
    return item if not value or "version" in name.lower() else f"{name}={HIDDEN}"


def _has_unescaped_password(url: str) -> bool:
    """True if a password has unescaped punctuation: then the URL is not valid."""
    return re.match(r"[^/?#]*://[^/?#@]*:[^/?#@]*[?#].*@", url) is not None

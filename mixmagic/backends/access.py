"""Where a provider is and with what key it is asked: read when a call is sent.

The one place that touches keys, and that takes them out of what is shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from mixmagic.backends import faults
from mixmagic.errors import MissingKey
from mixmagic.values import Model, Provider

_VERSIONED = re.compile(r"/v\d+[a-z]*(/|$)")


def base_url(provider: Provider) -> str:
    """Where the provider's API starts: the environment's word, else the catalog's."""
    url = os.environ.get(provider.url_env, "").strip() if provider.url_env else ""
    url = (url or provider.base_url).rstrip("/")
    if "://" not in url:
        url = f"http://{url}"
    return url if _VERSIONED.search(url) else f"{url}/v1"


def in_environment(provider: Provider) -> str:
    """The provider's key, or nothing."""
    return os.environ.get(provider.key_env, "").strip() if provider.key_env else ""


def key(model: Model) -> str:
    """The provider's key, read when a call is sent; empty where it needs none."""
    provider = model.provider
    found = in_environment(provider)
    if not found and provider.key_required:
        raise faults.missing_key(model)
    if not (found.isascii() and found.isprintable()) or " " in found:
        raise MissingKey(
            f"{provider.key_env} holds characters that no key has.",
            f"Copy the key again (from {provider.key_url or provider.label}).",
        )
    return found


def headers(model: Model) -> dict[str, str]:
    """The headers of a call."""
    found = key(model)
    return {"authorization": f"Bearer {found}"} if found else {}


def hidden(model: Model, value: Any) -> Any:
    """A text, or a JSON value, without the provider's key, should somebody have echoed it.

    Done before anything is cut to length: half a key is a key's beginning.
    """
    found = in_environment(model.provider)
    return _without(found, value) if found else value


def _without(key: str, value: Any) -> Any:
    """A JSON value whose texts do not hold `key`."""
    if isinstance(value, str):
        return value.replace(key, "[key]")
    if isinstance(value, Mapping):
        return {_without(key, name): _without(key, each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without(key, each) for each in value]
    return value

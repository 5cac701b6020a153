"""Store a provider's API key in the system's keyring, or remove it."""

from __future__ import annotations

from typing import NamedTuple

from mixmagic.backends import Backends
from mixmagic.core.values import Provider
from mixmagic.errors import BadArguments, MissingKey, MixmagicError
from mixmagic.keys.redact import Secret

_WRONG = "mixmagic-checks-this"
# Seconds to wait for a provider to refuse it.
_PATIENCE = 10.0


class Kept(NamedTuple):
    """A key that is now in the keyring.

    Attributes:
        models: Number of models that the provider lists.
        checked: True if the provider has accepted the key; some list their models without one.
    """

    models: int
    checked: bool


def keyed(provider: Provider) -> Provider:
    """Return the provider if it takes API keys.

    Raises:
        BadArguments: It takes no API key.
    """
    if not provider.key_env:
        raise BadArguments(f"{provider.label} takes no API key.", "Just ask it.")
    return provider


def login(backends: Backends, provider: Provider, key: str) -> Kept:
    """Check an API key with its provider, and store it in the system's keyring: nowhere else.

    Returns:
        The number of its models, and whether the key has been checked.

    Raises:
        BadArguments: The provider takes no key, or the key is empty.
        MixmagicError: The key is not accepted, or cannot be stored.

    Example:
        >>> login(session.backends, session.catalog.provider("together"), getpass.getpass())
    """
    key = Secret(key.strip())  # for the frames of a traceback
    keyed(provider)
    if not key:
        where = provider.key_url or provider.label
        raise BadArguments("There is no key.", f"Copy it from {where}.")
    kept = Kept(len(backends.models(provider, key)), _checks_keys(backends, provider))
    backends.access.store(provider, key)
    return kept


def _checks_keys(backends: Backends, provider: Provider) -> bool:
    """Return True if the provider refuses to list its models for an invalid key."""
    try:
        backends.models(provider, _WRONG, _PATIENCE)
    except MissingKey:
        return True
    except MixmagicError as error:  # some answer 400; other errors say nothing about keys
        return getattr(error, "status", None) == 400
    return False


def logout(backends: Backends, provider: Provider) -> None:
    """Remove a provider's API key from the system's keyring.

    Raises:
        BadArguments: The provider takes no key.
        MixmagicError: There is no keyring, or it cannot be used.
    """
    backends.access.store(keyed(provider), "")

"""Keep a provider's API key in the system's keyring, or take it out."""

from __future__ import annotations

from typing import NamedTuple

from mixmagic.backends import Backends
from mixmagic.core.values import Provider
from mixmagic.errors import BadArguments, MissingKey, MixmagicError
from mixmagic.keys.redact import Secret

_WRONG = "mixmagic-checks-this"
# Seconds that a provider has to refuse it.
_PATIENCE = 10.0


class Kept(NamedTuple):
    """A key that is in the keyring now.

    Attributes:
        models: How many models the provider lists.
        checked: Whether that says that it accepts the key: some list them to anybody.
    """

    models: int
    checked: bool


def keyed(provider: Provider) -> Provider:
    """The provider, where it takes API keys.

    Raises:
        BadArguments: It takes none.
    """
    if not provider.key_env:
        raise BadArguments(f"{provider.label} takes no API key.", "Just ask it.")
    return provider


def login(backends: Backends, provider: Provider, key: str) -> Kept:
    """Check an API key with its provider, and keep it in the system's keyring.

    Args:
        backends: The way to the provider.
        provider: Whose key it is.
        key: The key; it is never shown or written anywhere else.

    Returns:
        What the provider said of it.

    Raises:
        BadArguments: The provider takes no key, or there is none.
        MixmagicError: The key is not accepted, or cannot be kept.

    Example:
        >>> login(session.backends, session.provider("together"), getpass.getpass())
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
    """Whether the provider refuses to list its models for a key that is none."""
    try:
        backends.models(provider, _WRONG, _PATIENCE)
    except MissingKey:
        return True
    except MixmagicError as error:  # some say 400; other trouble says nothing of keys
        return getattr(error, "status", None) == 400
    return False


def logout(backends: Backends, provider: Provider) -> None:
    """Take a provider's API key out of the system's keyring.

    Raises:
        BadArguments: The provider takes no key.
        MixmagicError: There is no keyring, or it cannot be used.
    """
    backends.access.store(keyed(provider), "")

"""Keep a provider's API key in the system's keyring, or take it out."""

from __future__ import annotations

from mixmagic.backends import Backends
from mixmagic.backends.access import Key
from mixmagic.errors import BadArguments
from mixmagic.values import Provider


def keyed(provider: Provider) -> Provider:
    """The provider, where it takes API keys.

    Raises:
        BadArguments: It takes none.
    """
    if not provider.key_env:
        raise BadArguments(f"{provider.label} takes no API key.", "Just ask it.")
    return provider


def login(backends: Backends, provider: Provider, key: str) -> int:
    """Check an API key with its provider, and keep it in the system's keyring.

    Args:
        backends: The way to the provider.
        provider: Whose key it is.
        key: The key; it is never shown or written anywhere else.

    Returns:
        How many models the provider lists for it.

    Raises:
        BadArguments: The provider takes no key, or there is none.
        MixmagicError: The key is not accepted, or cannot be kept.

    Example:
        >>> login(session.backends, session.provider("together"), getpass.getpass())
    """
    key = Key(key.strip())  # for the frames of a traceback
    keyed(provider)
    if not key:
        where = provider.key_url or provider.label
        raise BadArguments("There is no key.", f"Copy it from {where}.")
    count = len(backends.models(provider, key))
    backends.access.store(provider, key)
    return count


def logout(backends: Backends, provider: Provider) -> None:
    """Take a provider's API key out of the system's keyring.

    Raises:
        BadArguments: The provider takes no key.
        MixmagicError: There is no keyring, or it cannot be used.
    """
    backends.access.store(keyed(provider), "")

"""Keep a provider's API key in the system's keyring, or in memory, or remove it."""

from __future__ import annotations

from typing import NamedTuple

from mixmagic.backends import Backends
from mixmagic.core.values import Provider
from mixmagic.errors import (
    BadArguments,
    MissingKey,
    MixmagicError,
    NetworkBlocked,
    TimedOut,
    Unavailable,
)
from mixmagic.keys.redact import Secret

_WRONG = "mixmagic-checks-this"
# Seconds to wait for a provider to refuse it.
_PATIENCE = 10.0


class Kept(NamedTuple):
    """A key that is kept now.

    Attributes:
        models: Number of models that the provider lists; `None` if it could not be asked.
        checked: True if the provider has accepted the key; some list their models without one.
        problem: The problem of the provider that could not be asked, or of the keyring.
        in_keyring: True if it is in the system's keyring; else it is in this process's memory.
    """

    models: int | None
    checked: bool
    problem: str
    in_keyring: bool


def keyed(provider: Provider) -> Provider:
    """Return the provider if it takes API keys.

    Raises:
        BadArguments: It takes no API key.
    """
    if not provider.key_env:
        raise BadArguments(f"{provider.label} takes no API key.", "Just ask it.")
    return provider


def login(backends: Backends, provider: Provider, key: str, *, in_keyring: bool = True) -> Kept:
    """Check an API key with its provider, and keep it in the system's keyring, or in memory.

    A key is not lost if the provider cannot be reached, or the keyring fails after all: it is kept
    unchecked, or in memory.

    Args:
        backends: The backends, with the keys.
        provider: The provider.
        key: The key.
        in_keyring: False to keep it in this process's memory alone.

    Raises:
        BadArguments: The provider takes no key, or the key is empty.
        MixmagicError: The key is not accepted.

    Example:
        >>> login(session.backends, session.catalog.provider("together"), getpass.getpass())
    """
    key = Secret(key.strip())  # for the frames of a traceback
    keyed(provider)
    if not key:
        where = provider.key_url or provider.label
        raise BadArguments("There is no key.", f"Copy it from {where}.")
    models, checked, problem = None, False, ""
    try:
        models = len(backends.models(provider, key))
        checked = _checks_keys(backends, provider)
    except (Unavailable, TimedOut, NetworkBlocked) as error:
        problem = error.message
    if in_keyring:
        try:
            backends.access.store(provider, key)
        except MixmagicError as error:
            problem, in_keyring = error.message, False
    backends.access.keep(provider, "" if in_keyring else key)
    return Kept(models, checked, problem, in_keyring)


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
    """Remove a provider's API key from this process's memory and the system's keyring.

    Raises:
        BadArguments: The provider takes no key.
        MixmagicError: There is no keyring, or it cannot be used.
    """
    was_kept = backends.access.has_kept(keyed(provider))
    backends.access.keep(provider, "")
    try:
        backends.access.store(provider, "")
    except MixmagicError:
        if not was_kept:
            raise

"""The system's keyring, where the package `keyring` is installed. For `backends.access` alone."""

from __future__ import annotations

from collections.abc import Callable

from mixmagic.errors import MissingPackage, Stopped, StoreError
from mixmagic.values import Provider

_SERVICE = "mixmagic"  # what the keyring files our keys under
Redact = Callable[[str], str]


def get(provider: Provider, redact: Redact) -> str:
    """The provider's key, or nothing.

    Raises:
        MissingPackage: There is no keyring.
        StoreError: It cannot be used.
    """
    return _do(redact, "get_password", provider) or ""


def put(provider: Provider, key: str, redact: Redact) -> None:
    """Keep the provider's key; an empty one takes it out.

    Raises:
        MissingPackage: There is no keyring.
        StoreError: It does not take it.
    """
    if key:
        _do(redact, "set_password", provider, key)
    elif get(provider, redact):
        _do(redact, "delete_password", provider)


def _do(redact: Redact, action: str, provider: Provider, *words: str) -> str | None:
    """Let the keyring do something; what it raises becomes an error of ours."""
    cure = f"Set {provider.key_env} in the environment, or in a file .env beside the notebook."
    failure: StoreError | Stopped
    try:
        import keyring
    except ImportError:
        raise MissingPackage(
            "Keeping keys needs the package keyring, which is not installed.",
            f'Run `pip install "mixmagic[keyring]"`. Or: {cure}',
        ) from None
    try:
        found: str | None = getattr(keyring, action)(_SERVICE, provider.name, *words)
        return found  # noqa: TRY300  # what follows is for errors
    except KeyboardInterrupt:  # while it asks to be unlocked
        failure = Stopped(sent=False)
    except Exception as error:  # noqa: BLE001  # a plug-in's errors share no base with anybody's
        failure = _unusable(redact(str(error)), cure)
    raise failure  # without its context: the keyring's frames hold the key


def _unusable(reason: str, cure: str) -> StoreError:
    """The error of a keyring that is there and fails."""
    return StoreError(f"The system's keyring cannot be used: {reason or 'it says nothing'}.", cure)

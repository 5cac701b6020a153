"""The system's keyring, if the package `keyring` is installed. Used only by `keys.credentials`."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import sys
from collections.abc import Callable

from mixmagic.core import lazy
from mixmagic.core.sealed import sealed
from mixmagic.core.values import Provider
from mixmagic.errors import MissingPackage, Stopped, StoreError
from mixmagic.keys.redact import Secret

_SERVICE = "mixmagic"  # the service name under which keys are stored
Redact = Callable[[str], str]


def get(provider: Provider, redact: Redact) -> Secret:
    """Return the provider's key; empty if there is none.

    Raises:
        MissingPackage: The package keyring is not installed.
        StoreError: The keyring cannot be used.
    """
    return _do(redact, "get_password", provider)


def put(provider: Provider, key: Secret, redact: Redact) -> None:
    """Store the provider's key; an empty one removes it.

    Raises:
        MissingPackage: The package keyring is not installed.
        StoreError: The keyring cannot be used.
    """
    if key:
        _do(redact, "set_password", provider, key)
    elif get(provider, redact):
        _do(redact, "delete_password", provider)


def _do(redact: Redact, action: str, provider: Provider, *keys: Secret) -> Secret:
    """Call a function of the keyring; turn its exceptions into ours."""
    remedy = f"Set {provider.key_env} in the environment, or in a file .env beside the notebook."
    try:
        keyring = lazy.load("keyring")
    except ImportError:
        raise MissingPackage(
            "Storing keys needs the package keyring, which is not installed.",
            f'Run `pip install "mixmagic[keyring]"`. Or: {remedy}',
        ) from None
    failure: StoreError | Stopped
    try:
        with sealed(redact):
            _import_plugins()
            run = getattr(keyring, action)
            return Secret(run(_SERVICE, provider.name, *(key.reveal() for key in keys)) or "")
    except KeyboardInterrupt:  # the user refused to unlock it
        failure = Stopped(sent=False)
    except Exception as error:  # noqa: BLE001  # a plug-in's errors have no common base
        reason = redact(str(error)) or "it gives no reason"
        failure = StoreError(f"The system's keyring cannot be used: {reason}.", remedy)
    raise failure


@functools.cache
def _import_plugins() -> None:
    """Import keyring's plug-ins so that no fork can interrupt it; do not open a keyring."""
    metadata = sys.modules.get("importlib_metadata", importlib.metadata)  # as keyring does
    with lazy.lock:
        for plugin in metadata.entry_points(group="keyring.backends"):
            with contextlib.suppress(Exception):  # keyring also skips a broken plug-in
                importlib.import_module(plugin.module)

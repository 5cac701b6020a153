"""The error of a call that cannot be sent without a key, and the ways to get one."""

from __future__ import annotations

from mixmagic.core.values import Model
from mixmagic.errors import MissingKey


def missing_key(model: Model) -> MissingKey:
    """Return the error of a call for which there is no key."""
    provider = model.provider
    return MissingKey(
        f"{provider.label} needs an API key, and {provider.key_env} is not set.", key_hint(model)
    )


def missing_variable(model: Model, name: str, header: str) -> MissingKey:
    """Return the error of a call whose header names a variable that has no value."""
    return MissingKey(
        f"{model.provider.label} needs the header {header}, and {name} is not set.",
        f"Set {name} in the environment or in a file .env beside the notebook;"
        " `%mixmagic use local` needs no key.",
    )


def key_hint(model: Model) -> str:
    """Return a hint on how to get a key, and how to do without one."""
    provider = model.provider
    where = f" (from {provider.key_url})" if provider.key_url else ""
    setting = (
        f"Set {provider.key_env}{where} in the environment or in a file .env beside the notebook,"
        f" or run `%mixmagic login {provider.name}`; "
    )
    return f"{setting if provider.key_env else ''}`%mixmagic use local` needs no key."

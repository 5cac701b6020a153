"""Checks what a person would check when something does not work. May be asked for anywhere."""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mixmagic.backends import access, weights
from mixmagic.catalog import Catalog
from mixmagic.errors import MixmagicError, StoreError
from mixmagic.settings import Settings
from mixmagic.store.db import Database
from mixmagic.values import Model

_PACKAGES = ("mixmagic", "ipython", "ipykernel", "httpx")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's.

    Attributes:
        name: What was looked at.
        ok: Whether it is well; `None` where it is not set up and need not be.
        detail: What was found, and what to do about it.
    """

    name: str
    ok: bool | None
    detail: str

    @property
    def mark(self) -> str:
        """One sign for a person's eye."""
        return {True: "ok", False: "✗", None: "-"}[self.ok]


def examine(settings: Settings, catalog: Catalog, ledger: Database, model: str) -> Iterator[Check]:
    """Check everything that an answer needs, one line each; nothing is sent anywhere.

    Args:
        settings: Where files live.
        catalog: The models that can be named.
        ledger: The spend record's file.
        model: The name of the model that is asked by default.
    """
    versions = [f"Python {sys.version.split()[0]}", *(f"{p} {_version(p)}" for p in _PACKAGES)]
    yield Check("versions", True, ", ".join(versions))
    yield Check("settings", True, f"{settings.config_dir / 'config.toml'}")
    yield _try("model", lambda: _describe(catalog.resolve(model)))
    asked = _asked(catalog, model)
    for provider in catalog.providers.values():
        if provider.key_env:
            present = bool(access.in_environment(provider))
            needed = asked == provider.name and provider.key_required
            found = "is set" if present else f"is not set ({provider.key_url or 'not needed'})"
            ok = True if present else False if needed else None
            yield Check(f"key: {provider.label}", ok, f"{provider.key_env} {found}")
    yield _try("data folder", lambda: _writable(settings))
    yield _try("ledger", lambda: _intact(ledger))
    yield _embedded(settings, required=asked == "local")


def _try(name: str, look: Callable[[], str]) -> Check:
    """A check that is well unless it raises."""
    try:
        return Check(name, True, look())
    except MixmagicError as error:
        return Check(name, False, f"{error.message} {error.hint}")


def _version(package: str) -> str:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _describe(model: Model) -> str:
    """A model and what should be known of it."""
    return " · ".join(filter(None, (f"{model.name} at {model.provider.label}", model.about)))


def _asked(catalog: Catalog, model: str) -> str:
    """The provider of the model that is asked by default."""
    try:
        return catalog.resolve(model).provider.name
    except MixmagicError:
        return ""


def _writable(settings: Settings) -> str:
    """The data folder, written to for a moment."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.data_dir) as file:
            file.write(b"mixmagic")
    except OSError as error:
        raise StoreError(
            f"{settings.data_dir} cannot be written: {error.strerror}.",
            "Mend its permissions, free some space, or set MIXMAGIC_HOME to another folder.",
        ) from None
    return str(settings.data_dir)


def _intact(ledger: Database) -> str:
    """The ledger, read through."""
    found = ledger.check()
    if found != "ok":
        raise StoreError(f"{ledger.path} is damaged: {found}.", "Move it away: a new one is begun.")
    count = ledger.rows("SELECT COUNT(*) FROM calls")[0][0]
    return f"{ledger.path}, {count:,} calls"


def _embedded(settings: Settings, *, required: bool) -> Check:
    """The embedded model: its library and its weights."""
    library, path = _version("xllamacpp"), weights.path(settings.cache_dir)
    if library == "not installed":
        return Check(
            "embedded model",
            False if required else None,
            'xllamacpp: `pip install "mixmagic[local]"`',
        )
    if not path.exists():
        return Check(
            "embedded model", None, "its weights come at first use, or by `mixmagic local install`"
        )
    return Check("embedded model", True, f"xllamacpp {library}, {path}")

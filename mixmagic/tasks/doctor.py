"""Checks of everything that an answer needs, for when something does not work."""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mixmagic.backends import Backends
from mixmagic.backends.local import weights
from mixmagic.catalog import Catalog
from mixmagic.catalog.selection import Selection
from mixmagic.core.extras import install
from mixmagic.core.servers import needs_key
from mixmagic.core.settings import Settings
from mixmagic.core.values import Provider
from mixmagic.errors import MixmagicError, StoreError, TotalTimedOut, Unavailable, counted
from mixmagic.keys.environment import is_set
from mixmagic.keys.urls import base_url, redact_query
from mixmagic.store.cache import AnswerCache
from mixmagic.store.sqlite import network_filesystem
from mixmagic.store.sqlite.database import Database

_PACKAGES = ("mixmagic", "ipython", "ipykernel", "httpx", "xllamacpp", "keyring")
# Seconds to wait for a provider.
_PATIENCE = 4.0
# Days after which prices and names should be checked again.
_FRESH = 180


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes:
        name: The subject of the check.
        ok: True if it works; `None` if it is not set up and need not be.
        detail: The finding, and what to do about it.
    """

    name: str
    ok: bool | None
    detail: str

    @property
    def mark(self) -> str:
        """The result as one sign."""
        return {True: "ok", False: "✗", None: "-"}[self.ok]


def examine(
    settings: Settings,
    catalog: Catalog,
    backends: Backends,
    ledger: Database,
    answers: AnswerCache,
    *,
    answering: Callable[[], Selection],
) -> Iterator[Check]:
    """Check everything that an answer needs, one line each, in a few seconds.

    The providers that are set up are asked for their list of models; nothing else is sent.

    Args:
        settings: The folders, among others.
        catalog: The models that can be named.
        backends: The connections to the providers, and their keys.
        ledger: The file of the spend record.
        answers: The answer cache.
        answering: Returns the model that is used by default; raises if it cannot answer.
    """
    versions = [f"Python {sys.version.split()[0]}", *(f"{p} {_version(p)}" for p in _PACKAGES)]
    yield Check("versions", True, ", ".join(versions))
    yield _settings_file(settings)
    try:
        Path.cwd()
    except OSError:
        advice = "it has been deleted, so no file .env is read there: go to another with `%cd ~`"
        yield Check("working folder", False, advice)
    yield _try("model", lambda: _describe(answering()))
    yield _catalog(catalog)
    default = _default_provider(answering)
    providers = catalog.providers.values()
    remote = [provider for provider in providers if provider.key_env or provider.headers]
    unused = []
    for provider, checks in [
        (provider, _begin(_provider, backends, provider, default == provider.name))
        for provider in remote
    ]:
        yield from checks.result()
        if not checks.result():
            unused.append(provider)
    if unused:
        yield Check("not set up", None, f"{', '.join(map(_how_to_set_up, unused))}")
    yield _try("data folder", lambda: _writable(settings))
    yield _try("ledger", lambda: _intact(ledger))
    yield _cache(answers)
    yield _embedded(settings, required=default == "local")


def _begin(check: Callable[..., list[Check]], *args: object) -> Future[list[Check]]:
    """Start a check in a daemon thread: a pool would wait for it after Ctrl-C."""
    future: Future[list[Check]] = Future()

    def run() -> None:
        try:
            future.set_result(check(*args))
        except BaseException as error:  # noqa: BLE001  # raised again by `result`
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _settings_file(settings: Settings) -> Check:
    """Name the file of the user's settings, if there is one."""
    path = settings.config_dir / "config.toml"
    if path.exists():
        return Check("settings", True, str(path))
    return Check("settings", None, f"the defaults: there is no {path}")


def _how_to_set_up(provider: Provider) -> str:
    """Return the variable that sets a provider up."""
    return f"{provider.label} ({provider.key_env if needs_key(provider) else provider.url_env})"


def _provider(backends: Backends, provider: Provider, needed: bool) -> list[Check]:
    """Check a provider's key and its connection; return nothing if it is not set up."""
    key, where = backends.access.find(provider)
    checks = [Check(f"key: {provider.label}", True, where)] if key else []
    lacking = backends.access.lacking(provider)
    if lacking and (key or provider.headers):
        found = f"{', '.join(lacking)} not set: {provider.note or 'its catalog file names it'}"
        return [*checks, Check(provider.label, False if key else None, found)]
    if not needed and not key and (needs_key(provider) or not backends.access.is_set_up(provider)):
        return []
    started = time.monotonic()

    def url() -> str:  # of two possible ones, that which answered
        return str(backends.access.redact(redact_query(base_url(provider))))

    # A server on this machine need not be running; with a key, an answer is expected.
    ok = False if needed or key else None
    try:
        count = len(backends.models(provider, timeout=_PATIENCE))
    except TotalTimedOut:  # this check's own limit: no setting allows more
        found = f"{url()}: no answer within {_PATIENCE:g} s"
    except Unavailable as error:
        if ok is None and not is_set(provider.url_env):
            return []  # a server that the user may not have
        found = f"{error.message} {error.hint}"
    except MixmagicError as error:
        found = f"{error.message} {error.hint}"
    else:
        ok, latency = True, (time.monotonic() - started) * 1000
        found = f"{url()} answers in {latency:.0f} ms, {counted(count, 'model')}"
    return [*checks, Check(provider.label, ok, backends.access.redact(found))]


def _catalog(catalog: Catalog) -> Check:
    """Check the age of the catalog's rows."""
    dates = [model.checked for model in catalog.models if model.checked]
    oldest = min(dates, default=datetime.now(UTC).date())
    age = (datetime.now(UTC).date() - oldest).days
    rows = f"{counted(len(catalog.models), 'model')}, checked {oldest} or later"
    if age > _FRESH:
        cure = "`pip install --upgrade mixmagic`, or compare `%mixmagic models --live`"
        return Check("catalog", False, f"{rows}, {counted(age, 'day')} ago: {cure}")
    return Check("catalog", True, rows)


def _try(name: str, check: Callable[[], str]) -> Check:
    """Return a check that succeeds unless it raises."""
    try:
        return Check(name, True, check())
    except MixmagicError as error:
        return Check(name, False, f"{error.message} {error.hint}")


def _version(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _describe(selection: Selection) -> str:
    """Return a model's name, provider and notes."""
    model = selection.model
    where = f"{model.name} at {model.provider.label}"
    return " · ".join(filter(None, (where, selection.reason, model.about)))


def _default_provider(answering: Callable[[], Selection]) -> str:
    """Return the name of the default model's provider; empty if it cannot answer."""
    try:
        return answering().model.provider.name
    except MixmagicError:
        return ""


def _writable(settings: Settings) -> str:
    """Write a temporary file into the data folder, and return its path."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.data_dir) as file:
            file.write(b"mixmagic")
    except OSError as error:
        raise StoreError(
            f"{settings.data_dir} cannot be written: {error.strerror}.",
            "Fix its permissions, free some space, or set MIXMAGIC_HOME to another folder.",
        ) from None
    return str(settings.data_dir)


def _intact(ledger: Database) -> str:
    """Read the whole ledger, and return its path and size."""
    found = ledger.check()
    if found != "ok":
        raise StoreError(f"{ledger.path} is damaged: {found}.", "Move it away: a new one is begun.")
    count = ledger.rows("SELECT COUNT(*) FROM calls")[0][0]
    found = f"{ledger.path}, {counted(count, 'call')}"
    if kind := network_filesystem.network_type(ledger.path):
        journal = "rollback journal" if ledger.journal == "delete" else ledger.journal
        found += f", on a network folder ({kind}): {journal}; budgets hold as far as its locks do"
    return found


def _cache(answers: AnswerCache) -> Check:
    """Check the answer cache; calls go on without it."""
    if not answers.on:
        return Check("answer cache", None, "off")
    try:
        found = answers.statistics()
    except StoreError as error:
        return Check("answer cache", None, f"not used: {error.message} {error.hint}")
    size = f"{found.size / 1e6:,.1f} of {found.limit / 1e6:,.0f} MB"
    detail = f"{answers.database.path}, {counted(found.answers, 'answer')}, {size}"
    if kind := network_filesystem.network_type(answers.database.path):
        detail += f", on a network folder ({kind}): only calls of one kernel share an answer"
    return Check("answer cache", True, detail)


def _embedded(settings: Settings, *, required: bool) -> Check:
    """Check the embedded model's library and weights."""
    library, path = _version("xllamacpp"), weights.path(settings.cache_dir)
    if library == "not installed":
        return Check(
            "embedded model",
            False if required else None,
            f"xllamacpp: {install('local')}",
        )
    if not path.exists():
        return Check(
            "embedded model", None, "its weights come at first use, or by `mixmagic local install`"
        )
    return Check("embedded model", True, f"xllamacpp {library}, {path}")

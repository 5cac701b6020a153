"""A provider's URL and key, looked up for every call.

The only module that reads keys. Every key that it has read is redacted from all output.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib.metadata
import logging
import math
import os
import re
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mixmagic.core import environment, lazy
from mixmagic.core.extras import install
from mixmagic.core.sealed import sealed
from mixmagic.core.servers import needs_key
from mixmagic.core.values import Model, Provider
from mixmagic.errors import MissingKey, MissingPackage, Stopped, StoreError
from mixmagic.keys.environment import DotEnv, is_set, sounds_like_url, sounds_secret, without_keys
from mixmagic.keys.headers import filled, is_confidential, key_header, variables
from mixmagic.keys.placeholders import is_secret
from mixmagic.keys.redact import Fingerprints, Redactor, Secret
from mixmagic.keys.urls import base_url, host_of, is_here, query_secrets

_KEYRING_SERVICE = "mixmagic"  # the name that our keys are filed under
# A URL's user and password; the second pattern allows an unescaped slash in the password.
_USER = re.compile(r"(?<=://)[^/?#\s]+(?=@)")
_UNESCAPED_USER = re.compile(r"(?<=://)[^/?#\s:]*:.+(?=@)")


def _url_secrets(url: str) -> Iterator[str]:
    """Yield the secrets in a URL: its user and password, and the keys in its query."""
    yield from query_secrets(url)
    url = url if "://" in url else f"http://{url}"
    if match := _USER.search(url) or _UNESCAPED_USER.search(url):
        user, colon, password = match[0].partition(":")
        secret = password if colon else user
        sent = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}"
        yield base64.b64encode(sent.encode()).decode()
        # Errors quote a part of an unescaped password, as an invalid port.
        yield from map(urllib.parse.unquote, (secret, *re.split(r"[/?#]", secret)))


class Credentials:
    """The providers' keys, in one process.

    A key is read from the environment, a `.env` file next to the notebook, or the system's keyring,
    in this order. The first two are read again for each call. All keys in them are secrets from the
    start, used or not, and remain secrets if they are removed.

    Args:
        dotenv: The `.env` file; it need not exist.
        providers: The providers; their variables hold keys, regardless of the variables' names.

    Attributes:
        dotenv: The `.env` file.
    """

    def __init__(self, dotenv: Path, providers: Iterable[Provider] = ()) -> None:
        self.dotenv = DotEnv(dotenv)
        self._providers = tuple(providers)
        self._key_names = {name for provider in self._providers for name in provider.key_envs}
        self._key_names.update(*map(variables, self._providers))
        self._url_names = {provider.url_env for provider in self._providers if provider.url_env}
        self._noted_version: object = None  # of the environment whose keys have been added
        # The keyring's answers and their times: asking it takes a while.
        self._kept: dict[str, tuple[Secret, float]] = {}
        self._asking: dict[str, threading.Lock] = {}
        self._in_memory: dict[str, Secret] = {}
        self._secrets: set[Secret] = set()
        self._compiled = (0, Fingerprints(()))
        for provider in self._providers:
            self._note_url(provider.base_url)
            for header, text in provider.headers.items():
                if is_confidential(header):  # its scheme, as in `Basic`, is not secret
                    self._noted(filled(text, lambda _: "").rpartition(" ")[2])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without the secrets."""
        return type(self), (self.dotenv.path, self._providers)

    def find(self, provider: Provider) -> tuple[Secret, str]:
        """Return the provider's key and its source; two empty strings if there is none."""
        if not provider.key_envs:
            return Secret(), ""
        with sealed():
            for name in provider.key_envs:
                key, source = self._variable(name)
                if key:
                    return key, source
            if provider.name in self._in_memory:
                return self._in_memory[provider.name], "kept in this kernel"
            key = self._in_keyring(provider)
            return key, "in the keyring" if key else ""

    def source(self, provider: Provider, key: str) -> str | None:
        """Return the source of a call's key; empty if it has no key, `None` if unknown.

        Args:
            provider: The provider to call.
            key: The key to send; empty for the one that is set up.
        """
        source = "the one that was given" if key else self.find(provider)[1]
        return source or (None if variables(provider) else "")

    def lacking(self, provider: Provider) -> list[str]:
        """Return the variables in the provider's headers, and of its URL, that are not set."""
        with sealed():
            unset = [name for name in variables(provider) if not self._variable(name)[0]]
        return unset + [provider.url_env] * _lacks_url(provider)

    def is_set_up(self, provider: Provider) -> bool:
        """Return True if the provider has a key or a URL of the user's, or is on this machine."""
        is_local = is_here(host_of(provider.base_url.partition("://")[2]))
        has_headers = bool(variables(provider)) and not self.lacking(provider)
        return is_set(provider.url_env) or is_local or has_headers or any(self.find(provider))

    def require(self, model: Model) -> None:
        """Check that the key and the variables that a call to a model needs are set.

        Raises:
            MissingKey: As for `headers`.
        """
        if model.provider.key_env or model.provider.headers:
            self.headers(model)

    def headers(self, model: Model, key: str = "") -> dict[str, str]:
        """Return the headers of a call: the key's, overridden by those of the catalog file.

        Args:
            model: The model to call.
            key: The key to send, if not the one that is set up.

        Raises:
            MissingKey: A key is needed and not set, or is not valid; or a variable in a header is
                not set, or not valid.
        """
        provider = model.provider
        if _lacks_url(provider):
            raise missing_url(model)
        self._note_url(base_url(provider))
        secret = self._noted(key, typed=True) if key else self.find(provider)[0]
        if not secret and needs_key(provider):
            raise missing_key(model)
        if not (secret.isascii() and secret.isprintable()) or " " in secret:
            raise MissingKey(
                f"{provider.key_env} has characters that are not valid in a key.",
                f"Copy the key again (from {provider.key_url or provider.label}).",
            )
        name, scheme = key_header(provider)
        if not model.id and provider.list_key_header:
            name, scheme = provider.list_key_header, ""
        sent: dict[str, str] = {name.lower(): Secret(scheme + secret)} if secret else {}
        for header, template in provider.headers.items():
            sent[header.lower()] = self._header(model, header, template)
        return sent

    def _header(self, model: Model, header: str, template: str) -> Secret:
        """Return the value of a header of the catalog file."""

        def value(name: str) -> str:
            secret = self._variable(name)[0]
            if not secret:
                raise missing_variable(model, name, header)
            if not (secret.isascii() and secret.isprintable()):
                raise MissingKey(
                    f"{name} has characters that are not valid in the header {header}.",
                    f"Set {name} again, to printable ASCII on one line.",
                )
            return secret.reveal()

        return Secret(filled(template, value))

    def exposure(self, model: Model, host: str, proxy: str = "") -> str:
        """Return a warning if a call sends a key over a network without TLS, or an empty string.

        Args:
            model: The model to call.
            host: The host to call.
            proxy: The host of the proxy that the call goes through, if any.
        """
        if (is_here(host) and not proxy) or not self._sends_secrets(model.provider):
            return ""
        way = f"through the proxy {proxy}" if proxy else f"to {host}"
        return f"the key travels unencrypted {way}"

    def _sends_secrets(self, provider: Provider) -> bool:
        """Return True if a call carries a secret: as the key, in another header or in the URL."""
        with sealed():
            keys = [self.find(provider)[0], *(self._variable(n)[0] for n in variables(provider))]
            values = [*map(Secret.reveal, keys), *query_secrets(base_url(provider))]
            return any(map(is_secret, values))

    def store(self, provider: Provider, key: str) -> None:
        """Store a key in the system's keyring; an empty key deletes the stored one.

        Raises:
            MissingPackage: The package keyring is not installed.
            StoreError: The keyring cannot be used.
        """
        key = secret = self._noted(key, typed=True)  # a traceback shows the value of `key`
        with self._lock(provider):
            try:
                _put_in_keyring(provider, secret, self.redact)
            finally:
                self._kept.pop(provider.name, None)

    def keep(self, provider: Provider, key: str) -> None:
        """Keep a key in this process's memory alone; an empty key forgets it."""
        self._in_memory.pop(provider.name, None)
        if key:
            self._in_memory[provider.name] = self._noted(key, typed=True)

    def has_kept(self, provider: Provider) -> bool:
        """Return True if a key is kept in this process's memory."""
        return provider.name in self._in_memory

    def check_keyring(self, provider: Provider) -> None:
        """Check that the system's keyring can be used, before asking the user for a key.

        Raises:
            MissingPackage: The package keyring is not installed.
            StoreError: The keyring cannot be used.
        """
        with self._lock(provider):
            _from_keyring(provider, self.redact)

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that needs no keys."""
        return without_keys(self._key_names)

    def redact(self, value: Any) -> Any:
        """Return a text or JSON value with its keys redacted: see `Fingerprints.redact`."""
        return self._fingerprints().redact(value)

    def redactors(self) -> tuple[Redactor, Redactor] | None:
        """Return two redactors, for an answer and its reasoning; `None` if there are no keys."""
        known = self._fingerprints()
        return (Redactor(known), Redactor(known)) if known else None

    def clean(self, record: logging.LogRecord) -> bool:
        """Redact a log record: a filter for the loggers of HTTP libraries. It drops no record."""
        record.msg, record.args = self.redact(record.getMessage()), None
        return True

    def _fingerprints(self) -> Fingerprints:
        """Return the fingerprints of all secrets, those now in the environment included."""
        with sealed():
            self._note_variables()
            # Secrets are never removed, so an equal number means the same ones. `copy` is atomic:
            # other threads may be adding secrets.
            if len(self._secrets) != self._compiled[0]:
                secrets = self._secrets.copy()
                self._compiled = (len(secrets), Fingerprints(map(Secret.reveal, secrets)))
        return self._compiled[1]

    def _note_variables(self) -> None:
        """Add the keys, and the passwords in URLs, of the environment and the `.env` file."""
        version = environment.version(), self.dotenv.version()
        if version == self._noted_version:
            return
        for variables_ in (os.environ, self.dotenv):
            for name in variables_:
                if name in self._key_names or sounds_secret(name):
                    self._noted(variables_.get(name) or "")
                if name in self._url_names or sounds_like_url(name):
                    self._note_url(variables_.get(name) or "")
        self._noted_version = version

    def _note_url(self, url: str) -> None:
        """Add the user, the password and the keys in a URL: a server may echo them, too."""
        if "@" in url or "?" in url:
            for secret in _url_secrets(url):
                self._noted(secret)

    def _noted(self, key: str, *, typed: bool = False) -> Secret:
        """Add a key to the secrets, unless it is a placeholder; return it."""
        secret = Secret(key.strip())
        if secret not in self._secrets and is_secret(secret.reveal(), typed=typed):
            self._secrets.add(secret)
        return secret

    def _variable(self, name: str) -> tuple[Secret, str]:
        """Return the value of a variable, which is a secret, and its source."""
        if value := self._noted(os.environ.get(name, "")):
            return value, f"{name} is set in the environment"
        if value := self._noted(self.dotenv.get(name)):
            return value, f"{name} is in {self.dotenv.path}"
        return Secret(), ""

    def _in_keyring(self, provider: Provider) -> Secret:
        """Return the key in the system's keyring, or an empty string.

        The answer is cached, and shared by threads that ask at the same time. A required key that
        was not there is asked for again: the user may have stored it since.
        """
        now = time.monotonic()
        with self._lock(provider):
            key, asked_at = self._kept.get(provider.name, (Secret(), -math.inf))
            if key or asked_at >= now or (asked_at > 0 and not needs_key(provider)):
                return key
            try:
                key = self._noted(_from_keyring(provider, self.redact).reveal())
            except (MissingPackage, StoreError):
                key = Secret()
            self._kept[provider.name] = (key, time.monotonic())
            return key

    def _lock(self, provider: Provider) -> threading.Lock:
        """Return the lock to hold while the keyring is asked for a provider's key."""
        return self._asking.setdefault(provider.name, threading.Lock())


def missing_key(model: Model) -> MissingKey:
    """Return the error of a call for which there is no key."""
    provider = model.provider
    return MissingKey(
        f"{provider.label} needs an API key, and {provider.key_env} is not set.", key_hint(model)
    )


def missing_url(model: Model) -> MissingKey:
    """Return the error of a call to a provider whose URL is the user's own, and is not set."""
    provider = model.provider
    return MissingKey(
        f"{provider.label} needs the URL of your own server, and {provider.url_env} is not set.",
        f"{provider.note} -m local needs none.",
    )


def _lacks_url(provider: Provider) -> bool:
    """Return True if a provider has no URL: it is the user's own, and is not set."""
    return bool(provider.url_env) and not provider.base_url and not is_set(provider.url_env)


def missing_variable(model: Model, name: str, header: str) -> MissingKey:
    """Return the error of a call whose header names a variable that has no value."""
    return MissingKey(
        f"{model.provider.label} needs the header {header}, and {name} is not set.",
        f"Set {name} in the environment or a file .env beside the notebook; -m local needs none.",
    )


def key_hint(model: Model) -> str:
    """Return a hint on how to get a key, and how to do without one."""
    provider = model.provider
    if not provider.key_env:
        return "-m local needs no key."
    where = f" (from {provider.key_url})" if provider.key_url else ""
    login = f"`%mixmagic login {provider.name}`"
    return f"Set {provider.key_env}{where}, or run {login}; -m local needs no key."


def _from_keyring(provider: Provider, redact: Callable[[str], str]) -> Secret:
    """Return the provider's key; empty if there is none.

    Raises:
        MissingPackage: The package keyring is not installed.
        StoreError: The keyring cannot be used.
    """
    return _call_keyring(redact, "get_password", provider)


def _put_in_keyring(provider: Provider, key: Secret, redact: Callable[[str], str]) -> None:
    """Store the provider's key; an empty one removes it.

    Raises:
        MissingPackage: The package keyring is not installed.
        StoreError: The keyring cannot be used.
    """
    if key:
        _call_keyring(redact, "set_password", provider, key)
    elif _from_keyring(provider, redact):
        _call_keyring(redact, "delete_password", provider)


def _call_keyring(
    redact: Callable[[str], str], action: str, provider: Provider, *keys: Secret
) -> Secret:
    """Call a function of the keyring; turn its exceptions into ours."""
    remedy = f"Set {provider.key_env} in the environment, or in a file .env beside the notebook."
    try:
        keyring = lazy.load("keyring")
    except ImportError:
        raise MissingPackage(
            "Storing keys needs the package keyring, which is not installed.",
            f"Run {install('keyring')}. Or: {remedy}",
        ) from None
    failure: StoreError | Stopped
    try:
        with sealed(redact):
            _import_plugins()
            run = getattr(keyring, action)
            return Secret(
                run(_KEYRING_SERVICE, provider.name, *(key.reveal() for key in keys)) or ""
            )
    except KeyboardInterrupt:  # the user refused to unlock it
        failure = Stopped(sent=False)
    except Exception as error:  # noqa: BLE001  # a plug-in's errors have no common base
        # Its first sentence: keyring's own message goes on with advice.
        reason = redact(str(error)).partition(". ")[0].rstrip(".") or "it gives no reason"
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

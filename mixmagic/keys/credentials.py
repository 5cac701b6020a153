"""A provider's URL and key, looked up whenever a call is sent.

The one place that touches keys; all that it has seen is kept out of what is shown.
"""

from __future__ import annotations

import base64
import logging
import math
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mixmagic.core.sealed import sealed
from mixmagic.core.values import Model, Provider
from mixmagic.errors import MissingKey, MissingPackage, StoreError
from mixmagic.keys import keyring
from mixmagic.keys.environment import DotEnv, sounds_like_url, sounds_secret, without_keys
from mixmagic.keys.headers import filled, is_confidential, key_header, variables
from mixmagic.keys.missing import missing_key, missing_variable
from mixmagic.keys.placeholders import is_secret
from mixmagic.keys.redact import Fingerprints, Redactor, Secret
from mixmagic.keys.urls import base_url, host_of, is_here, query_secrets

# A URL's user and password; and with a slash in the password that should have been escaped.
_USER = re.compile(r"(?<=://)[^/?#\s]+(?=@)")
_CARELESS_USER = re.compile(r"(?<=://)[^/?#\s:]*:.+(?=@)")


def _url_secrets(url: str) -> Iterator[str]:
    """Yield what must not be shown of a URL that may hold a user and a password, or a key."""
    yield from query_secrets(url)
    url = url if "://" in url else f"http://{url}"
    if found := _USER.search(url) or _CARELESS_USER.search(url):
        user, colon, password = found[0].partition(":")
        secret = password if colon else user
        sent = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}"
        yield base64.b64encode(sent.encode()).decode()
        # An unescaped password is quoted in part, as an invalid port.
        yield from map(urllib.parse.unquote, (secret, *re.split(r"[/?#]", secret)))


class Credentials:
    """The keys of one process's providers.

    A key stands in the environment, in a file `.env` beside the notebook, or in the system's
    keyring: the first that has it. The first two are looked at for each call. All keys that stand
    there are secrets from the start, whether they are used or not, and stay so.

    Args:
        dotenv: The file `.env`; it need not exist.
        providers: Whose variables hold keys, whatever they are called.

    Attributes:
        dotenv: The file `.env`.
    """

    def __init__(self, dotenv: Path, providers: Iterable[Provider] = ()) -> None:
        self.dotenv = DotEnv(dotenv)
        self._providers = tuple(providers)
        self._key_names = {each.key_env for each in self._providers if each.key_env}
        self._key_names.update(*map(variables, self._providers))
        self._url_names = {each.url_env for each in self._providers if each.url_env}
        # Of each variable, if it holds a key and if it holds a URL; empty if it holds neither.
        self._kinds: dict[str, tuple[()] | tuple[bool, bool]] = {}
        # What the keyring answered, and when: asking it takes a while.
        self._kept: dict[str, tuple[Secret, float]] = {}
        self._asking: dict[str, threading.Lock] = {}
        self._secrets: set[Secret] = set()
        self._compiled = (0, Fingerprints(()))
        for each in self._providers:
            self._note_url(each.base_url)
            for header, text in each.headers.items():
                if is_confidential(header):  # its scheme, as in `Basic`, is not secret
                    self._noted(filled(text, lambda _: "").rpartition(" ")[2])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled without what it has found."""
        return type(self), (self.dotenv.path, self._providers)

    def find(self, provider: Provider) -> tuple[Secret, str]:
        """Return the provider's key and where it stands; two empty texts if there is none."""
        name = provider.key_env
        if not name:
            return Secret(), ""
        with sealed():
            key, where = self._variable(name)
            if not key and (key := self._in_keyring(provider)):
                where = "in the keyring"
            return key, where

    def source(self, provider: Provider, key: str = "") -> str | None:
        """Return where the key of a call stands; empty if it has none, `None` if it is not known.

        Args:
            provider: The provider that is called.
            key: The key, if it is not the one that is found.
        """
        where = "the one that was given" if key else self.find(provider)[1]
        return where or (None if provider.headers else "")

    def lacking(self, provider: Provider) -> list[str]:
        """Return the variables that the provider's headers name and that have no value."""
        with sealed():
            return [name for name in variables(provider) if not self._variable(name)[0]]

    def is_set_up(self, provider: Provider) -> bool:
        """Return True if somebody means to use the provider: a key, a URL, or this machine."""
        with sealed():
            named = bool(provider.url_env and os.environ.get(provider.url_env, "").strip())
        own = is_here(host_of(provider.base_url.partition("://")[2]))
        headed = bool(variables(provider)) and not self.lacking(provider)
        return named or own or headed or any(self.find(provider))

    def require(self, model: Model) -> None:
        """Check that a call to a model has the key, and the variables, that it needs.

        Raises:
            MissingKey: As for `headers`.
        """
        if model.provider.key_env or model.provider.headers:
            self.headers(model)

    def headers(self, model: Model, key: str = "") -> dict[str, str]:
        """Return the headers of a call: the key's, and those of the catalog file, which outrank it.

        Args:
            model: The model that is called.
            key: The key, if it is not the one that is found.

        Raises:
            MissingKey: There is none and one is needed, or it cannot be one; or a variable that a
                header names has no value.
        """
        provider = model.provider
        self._note_url(base_url(provider))
        found = self._noted(key, typed=True) if key else self.find(provider)[0]
        if not found and provider.key_required:
            raise missing_key(model)
        if not (found.isascii() and found.isprintable()) or " " in found:
            raise MissingKey(
                f"{provider.key_env} holds characters that no key has.",
                f"Copy the key again (from {provider.key_url or provider.label}).",
            )
        name, scheme = key_header(provider)
        sent: dict[str, str] = {name.lower(): Secret(scheme + found)} if found else {}
        for header, text in provider.headers.items():
            sent[header.lower()] = self._header(model, header, text)
        return sent

    def _header(self, model: Model, header: str, text: str) -> Secret:
        """Return the value of one header of the catalog file."""

        def value(name: str) -> str:
            found = self._variable(name)[0]
            if not found:
                raise missing_variable(model, name, header)
            if not (found.isascii() and found.isprintable()):
                raise MissingKey(
                    f"{name} holds characters that the header {header} cannot have.",
                    f"Set {name} again: letters, digits and signs of ASCII, on one line.",
                )
            return found.reveal()

        return Secret(filled(text, value))

    def exposure(self, model: Model, host: str, proxy: str = "") -> str:
        """Return a warning about a call without TLS that shows a key to others, or an empty text.

        Args:
            model: The model that is called.
            host: The host that is called.
            proxy: The host of the proxy that the call goes through, if any.
        """
        if not self._sends_secrets(model.provider) or (is_here(host) and not proxy):
            return ""
        way = f"through the proxy {proxy}" if proxy else f"to {host}"
        return f"the key travels unencrypted {way}"

    def _sends_secrets(self, provider: Provider) -> bool:
        """Return True if a call carries a secret: as the key, in another header or in the URL."""
        with sealed():
            keys = [self.find(provider)[0], *(self._variable(n)[0] for n in variables(provider))]
            found = [*map(Secret.reveal, keys), *query_secrets(base_url(provider))]
            return any(map(is_secret, found))

    def store(self, provider: Provider, key: str) -> None:
        """Put a key into the system's keyring; an empty one takes it out.

        Raises:
            MissingPackage: There is no keyring.
            StoreError: It does not take it.
        """
        key = secret = self._noted(key, typed=True)  # `key`, too: for the frames of a traceback
        with self._lock(provider):
            try:
                keyring.put(provider, secret, self.redact)
            finally:
                self._kept.pop(provider.name, None)

    def check_keyring(self, provider: Provider) -> None:
        """Check that the system's keyring can be used, before a key is asked for.

        Raises:
            MissingPackage: There is no keyring.
            StoreError: It cannot be used.
        """
        with self._lock(provider):
            keyring.get(provider, self.redact)

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that needs no keys."""
        return without_keys(self._key_names)

    def redact(self, value: Any) -> Any:
        """Return a text, or a JSON value, without any key: see `Fingerprints.redact`."""
        return self._fingerprints().redact(value)

    def redactors(self) -> tuple[Redactor, Redactor] | None:
        """Return two redactors, for an answer and its reasoning; `None` if there are no keys."""
        known = self._fingerprints()
        return (Redactor(known), Redactor(known)) if known else None

    def clean(self, record: logging.LogRecord) -> bool:
        """Filter the logs of the libraries below: everything is kept, but for the keys."""
        record.msg, record.args = self.redact(record.getMessage()), None
        return True

    def _fingerprints(self) -> Fingerprints:
        """Return those of all secrets that are known, or that stand where keys are found."""
        with sealed():
            self._note_variables()
            # Secrets are only ever added: so many are the same ones. A copy is made in one step,
            # for other threads may be adding to them.
            if len(self._secrets) != self._compiled[0]:
                secrets = self._secrets.copy()
                self._compiled = (len(secrets), Fingerprints(map(Secret.reveal, secrets)))
        return self._compiled[1]

    def _note_variables(self) -> None:
        """Note the keys, and the passwords in URLs, of the environment and the file `.env`."""
        for place in (os.environ, self.dotenv):
            for name in place:
                kind = self._kinds.get(name)
                if kind is None:
                    is_key = name in self._key_names or sounds_secret(name)
                    is_url = name in self._url_names or sounds_like_url(name)
                    kind = self._kinds[name] = (is_key, is_url) if is_key or is_url else ()
                if kind:
                    value = place.get(name) or ""
                    if kind[0]:
                        self._noted(value)
                    if kind[1]:
                        self._note_url(value)

    def _note_url(self, url: str) -> None:
        """Note the user, the password and the keys of a URL: they may be echoed, too."""
        if "@" in url or "?" in url:
            for secret in _url_secrets(url):
                self._noted(secret)

    def _noted(self, key: str, *, typed: bool = False) -> Secret:
        """Return a key, which is never shown from now on, unless it is a mere placeholder."""
        secret = Secret(key.strip())
        if secret not in self._secrets and is_secret(secret.reveal(), typed=typed):
            self._secrets.add(secret)
        return secret

    def _variable(self, name: str) -> tuple[Secret, str]:
        """Return a variable's value, which is a secret, and where it stands."""
        if value := self._noted(os.environ.get(name, "")):
            return value, f"{name} is set in the environment"
        if value := self._noted(self.dotenv.get(name)):
            return value, f"{name} is in {self.dotenv.path}"
        return Secret(), ""

    def _in_keyring(self, provider: Provider) -> Secret:
        """Return the key in the system's keyring, or an empty text.

        It is asked once, however many threads want to know, and again if it had no key that the
        provider needs: somebody may have put it there meanwhile.
        """
        begun = time.monotonic()
        with self._lock(provider):
            key, asked = self._kept.get(provider.name, (Secret(), -math.inf))
            if key or asked >= begun or (asked > 0 and not provider.key_required):
                return key
            try:
                key = self._noted(keyring.get(provider, self.redact).reveal())
            except (MissingPackage, StoreError):
                key = Secret()
            self._kept[provider.name] = (key, time.monotonic())
            return key

    def _lock(self, provider: Provider) -> threading.Lock:
        """Return what one thread at a time holds that asks the keyring for a provider's key."""
        return self._asking.setdefault(provider.name, threading.Lock())

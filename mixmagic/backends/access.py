"""Where a provider is and with what key it is asked: read when a call is sent.

The one place that touches keys, and the one that takes them out of what is shown.
"""

from __future__ import annotations

import base64
import io
import ipaddress
import logging
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mixmagic.backends import faults, keyrings
from mixmagic.errors import MissingKey, MissingPackage, StoreError
from mixmagic.values import Model, Provider

_VERSIONED = re.compile(r"/v\d+[a-z]*(/|$)")
# Shorter ones would take ordinary words out of what is shown; in an answer, even more would.
_SHORTEST, _SHORTEST_MIXED, _SHORTEST_WORD = 4, 8, 12
_HIDDEN = "[key]"
_DEEPEST = 50  # what is nested deeper is nothing to show
# A URL's user and password; and where a slash in the password should have been escaped.
_USER = re.compile(r"(?<=://)[^/?#\s]+(?=@)")
_CARELESS_USER = re.compile(r"(?<=://)[^/?#\s:]*:.+(?=@)")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def base_url(provider: Provider) -> str:
    """Where the provider's API starts: the environment's word, else the catalog's."""
    url = os.environ.get(provider.url_env, "").strip() if provider.url_env else ""
    if url and "://" not in url:
        own = urllib.parse.urlsplit(provider.base_url)
        # As Ollama reads OLLAMA_HOST; a key never travels in the clear for want of a word.
        scheme = "https" if provider.key_required and not _is_here(_host(url)) else "http"
        host, _, path = url.partition("/")
        port = f":{own.port}" if own.port and not re.search(r":\d+$", host) else ""
        url = f"{scheme}://{host}{port}/{path}"
    url = (url or provider.base_url).rstrip("/")
    return url if _VERSIONED.search(url) else f"{url}/v1"


def _host(url: str) -> str:
    """The host of a URL without a scheme, or nothing."""
    try:
        return urllib.parse.urlsplit(f"//{url}").hostname or ""
    except ValueError:
        return ""


def _is_here(host: str) -> bool:
    """Whether a host is this machine: by its address, or as `localhost`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address.is_loopback or address.is_unspecified


def _looks_secret(text: str) -> bool:
    """Whether it is no word that any answer may have: local servers take `test` for a key."""
    mixed = any(map(str.isdigit, text)) and any(map(str.isalpha, text))
    return len(text) >= (_SHORTEST_MIXED if mixed else _SHORTEST_WORD)


def _credentials(url: str) -> Iterator[str]:
    """What must not be shown of a URL that may hold a user and a password."""
    url = url if "://" in url else f"http://{url}"
    if found := _USER.search(url) or _CARELESS_USER.search(url):
        user, colon, password = found[0].partition(":")
        secret = password if colon else user
        sent = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}"
        yield from (secret, urllib.parse.unquote(secret), base64.b64encode(sent.encode()).decode())
        # An unescaped password is quoted in part, as a port that is none.
        yield from re.split(r"[/?#]", secret)


class Key(str):
    """A text that does not show itself: not in a traceback with its variables either."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _HIDDEN

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key is not pickled.")


class Access:
    """The keys of one process's providers.

    A key stands in the environment, or in a file `.env` beside the notebook, or in the system's
    keyring: the first that has it. The first two are read at each call.

    Args:
        dotenv: The file `.env`; it need not exist.
    """

    def __init__(self, dotenv: Path) -> None:
        self._dotenv = dotenv
        self._kept: dict[str, Key] = {}  # what the keyring said: asking it takes a while
        self._secrets: set[Key] = set()
        self._note_urls()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled without what it has found."""
        return type(self), (self._dotenv,)

    def find(self, provider: Provider) -> tuple[Key, str]:
        """The provider's key and where it stands; two empty texts where there is none."""
        if not provider.key_env:
            return Key(), ""
        if key := os.environ.get(provider.key_env, "").strip():
            return self._noted(key), f"{provider.key_env} is set"
        if key := self._in_dotenv(provider.key_env):
            return self._noted(key), f"{provider.key_env} is in {self._dotenv}"
        if key := self._in_keyring(provider):
            return self._noted(key), "in the keyring"
        return Key(), ""

    def is_set_up(self, provider: Provider) -> bool:
        """Whether somebody means to use the provider: a key, a URL, or one's own machine."""
        named = bool(provider.url_env and os.environ.get(provider.url_env, "").strip())
        own = _is_here(_host(provider.base_url.partition("://")[2]))
        return named or own or any(self.find(provider))

    def headers(self, model: Model, key: str = "") -> dict[str, str]:
        """The headers of a call.

        Args:
            model: Whom it is for.
            key: The key, where it is not the one that is found.

        Raises:
            MissingKey: There is none and one is needed, or it cannot be one.
        """
        provider = model.provider
        self._note_urls(base_url(provider))
        found = self._noted(key) if key else self.find(provider)[0]
        if not found:
            if provider.key_required:
                raise faults.missing_key(model)
            return {}
        if not (found.isascii() and found.isprintable()) or " " in found:
            raise MissingKey(
                f"{provider.key_env} holds characters that no key has.",
                f"Copy the key again (from {provider.key_url or provider.label}).",
            )
        return {"authorization": Key(f"Bearer {found}")}

    def exposed(self, host: str, model: Model) -> bool:
        """Whether a call without TLS to `host` shows a key to whoever is on the way."""
        return not _is_here(host) and bool(self.find(model.provider)[0])

    def store(self, provider: Provider, key: str) -> None:
        """Put a key into the system's keyring; an empty one takes it out.

        Raises:
            MissingPackage: There is no keyring.
            StoreError: It does not take it.
        """
        key = self._noted(key)
        try:
            keyrings.put(provider, key, self.redact)
        finally:
            self._kept.pop(provider.name, None)

    def redact(self, value: Any, *, words: bool = True) -> Any:
        """A text, or a JSON value, without any key, should somebody have echoed one.

        Done before anything is cut to length: half a key is a key's beginning.

        Args:
            value: What is to be shown.
            words: Whether keys that look like words are taken out too; not where the value is
                used, as a model's name is.
        """
        secrets = self._known()
        return self._redacted(value, secrets if words else [*filter(_looks_secret, secrets)])

    def _redacted(self, value: Any, secrets: Sequence[Key], depth: int = _DEEPEST) -> Any:
        if isinstance(value, str):
            for secret in secrets:
                value = value.replace(secret, _HIDDEN)
            return _USER.sub(_HIDDEN, value)
        if isinstance(value, (Mapping, list)) and not depth:
            return None
        if isinstance(value, Mapping):
            return {
                self._redacted(name, secrets): self._redacted(each, secrets, depth - 1)
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [self._redacted(each, secrets, depth - 1) for each in value]
        return value

    def clean(self, record: logging.LogRecord) -> bool:
        """A filter for the logs of the libraries below: all is kept, but for the keys."""
        record.msg, record.args = self.redact(record.getMessage()), None
        return True

    def redactors(self) -> tuple[Redactor, Redactor] | None:
        """What takes the keys out of an answer, and out of its reasoning."""
        secrets = tuple(filter(_looks_secret, self._known()))
        return (Redactor(secrets), Redactor(secrets)) if secrets else None

    def _noted(self, key: str) -> Key:
        """A key that is about to be used, and never to be shown from now on."""
        if len(key) >= _SHORTEST:
            self._secrets.add(Key(key))
        return Key(key)

    def _note_urls(self, *urls: str) -> None:
        """Note the passwords in URLs, and in those of the proxies: they may be echoed, too."""
        proxies = (url for name, url in os.environ.items() if name.lower().endswith("_proxy"))
        for url in (*urls, *proxies):
            if "@" in url:
                for secret in _credentials(url):
                    self._noted(secret)

    def _known(self) -> tuple[Key, ...]:
        """All that must not be shown, the longest first: a key may be another's beginning."""
        # A copy, made in one step, for other threads may be adding to it.
        return tuple(sorted(self._secrets.copy(), key=len, reverse=True))

    def _in_dotenv(self, name: str) -> str:
        """The key in the file `.env`, read again each time, or nothing."""
        if not self._dotenv.is_file():
            return ""
        import dotenv

        try:
            raw = self._dotenv.read_bytes()
        except OSError:
            return ""
        # As Windows writes it, too. One wrong character in a comment is no reason to stop.
        text = raw.decode("utf-16" if raw.startswith(_UTF_16) else "utf-8-sig", "replace")
        values = dotenv.dotenv_values(stream=io.StringIO(text), interpolate=False)
        return (values.get(name) or "").strip()

    def _in_keyring(self, provider: Provider) -> str:
        """The key in the system's keyring, or nothing."""
        if provider.name not in self._kept:
            try:
                kept = keyrings.get(provider, self.redact).strip()
            except (MissingPackage, StoreError):
                kept = ""
            if not kept and provider.key_required:
                return ""  # asked again next time: it may have been put there meanwhile
            self._kept[provider.name] = Key(kept)
        return self._kept[provider.name]


class Redactor:
    """Takes keys out of a text that comes in pieces, wherever it was cut.

    A piece's end that may be the beginning of a key is held back until the next piece.

    Args:
        secrets: The keys, the longest first.
    """

    def __init__(self, secrets: tuple[Key, ...]) -> None:
        self._secrets, self._held = secrets, ""
        self._whole = re.compile("|".join(map(re.escape, secrets)))
        self._first = re.compile(f"[{re.escape(''.join({secret[0] for secret in secrets}))}]")

    def feed(self, text: str) -> str:
        """Take the next piece; return what can be shown."""
        if self._held:
            text, self._held = self._held + text, ""
        whole = [match.span() for match in self._whole.finditer(text)]
        end = self._begun(text, whole)
        if end < len(text):
            text, self._held = text[:end], text[end:]
        return self._whole.sub(_HIDDEN, text) if whole else text

    def close(self) -> str:
        """What was held back, when no more comes; half a key and more is as good as the whole."""
        held, self._held = self._held, ""
        if any(s.startswith(held) and len(held) >= len(s) / 2 for s in self._secrets):
            return _HIDDEN
        return self._whole.sub(_HIDDEN, held)

    def _begun(self, text: str, whole: list[tuple[int, int]]) -> int:
        """Where the text's end may be a key's beginning, outside of the keys that are whole."""
        for first in self._first.finditer(text, max(0, len(text) - len(self._secrets[0]) + 1)):
            start = first.start()
            rest = text[start:]
            if any(
                len(secret) > len(rest) and secret.startswith(rest) for secret in self._secrets
            ) and not any(begin < start < end for begin, end in whole):
                return start
        return len(text)

"""Where a provider is and with what key it is asked: read when a call is sent.

The one place that touches keys, and the one that takes them out of what is shown.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixmagic.backends import faults
from mixmagic.errors import MissingKey, MissingPackage, StoreError
from mixmagic.values import Model, Provider

_VERSIONED = re.compile(r"/v\d+[a-z]*(/|$)")
_SERVICE = "mixmagic"  # what the keyring files our keys under
# Shorter ones would take ordinary words out of what is shown.
_SHORTEST = 4
_HIDDEN = "[key]"
_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def base_url(provider: Provider) -> str:
    """Where the provider's API starts: the environment's word, else the catalog's."""
    url = os.environ.get(provider.url_env, "").strip() if provider.url_env else ""
    if url and "://" not in url:
        own = urllib.parse.urlsplit(provider.base_url)
        # As Ollama reads OLLAMA_HOST; a key never travels in the clear for want of a word.
        scheme = "https" if provider.key_required and not _is_here(url) else "http"
        host, _, path = url.partition("/")
        port = f":{own.port}" if own.port and not re.search(r":\d+$", host) else ""
        url = f"{scheme}://{host}{port}/{path}"
    url = (url or provider.base_url).rstrip("/")
    return url if _VERSIONED.search(url) else f"{url}/v1"


def _is_here(url: str) -> bool:
    """Whether a URL without a scheme means this machine."""
    return re.match(r"(localhost|127\.|0\.0\.0\.0|\[::1?\])", url) is not None


class Key(str):
    """A text that does not show itself: not in a traceback with its variables either."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _HIDDEN


class Access:
    """The keys of one process's providers.

    A key stands in the environment, or in a file `.env` beside the notebook, or in the system's
    keyring: the first that has it. The first two are read at each call.

    Args:
        dotenv: The file `.env`; it need not exist.
    """

    def __init__(self, dotenv: Path) -> None:
        self._dotenv = dotenv
        self._kept: dict[str, str] = {}  # what the keyring said: asking it takes a while
        self._secrets: set[Key] = set()

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
        return named or _is_here(provider.base_url.partition("://")[2]) or any(self.find(provider))

    def headers(self, model: Model, key: str = "") -> dict[str, str]:
        """The headers of a call.

        Args:
            model: Whom it is for.
            key: The key, where it is not the one that is found.

        Raises:
            MissingKey: There is none and one is needed, or it cannot be one.
        """
        provider = model.provider
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
        if not importlib.util.find_spec("keyring"):
            raise MissingPackage(
                "Keeping keys needs the package keyring, which is not installed.",
                f'Run `pip install "mixmagic[keyring]"`, or set {provider.key_env} in the'
                " environment or in a file .env beside the notebook.",
            )
        import keyring
        import keyring.errors

        try:
            if key:
                keyring.set_password(_SERVICE, provider.name, key)
            elif keyring.get_password(_SERVICE, provider.name) is not None:
                keyring.delete_password(_SERVICE, provider.name)
        except (keyring.errors.KeyringError, OSError, RuntimeError) as error:
            reason = self.redact(str(error))
            raise StoreError(
                f"The system's keyring cannot be used: {reason}",
                f"Set {provider.key_env} in the environment, or in a file .env beside the"
                " notebook.",
            ) from None
        self._kept[provider.name] = key

    def redact(self, value: Any) -> Any:
        """A text, or a JSON value, without any key, should somebody have echoed one.

        Done before anything is cut to length: half a key is a key's beginning.
        """
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, _HIDDEN)
            return _USER.sub(_HIDDEN, value)
        if isinstance(value, Mapping):
            return {self.redact(name): self.redact(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.redact(each) for each in value]
        return value

    def clean(self, record: logging.LogRecord) -> bool:
        """A filter for the logs of the libraries below: all is kept, but for the keys."""
        record.msg, record.args = self.redact(record.getMessage()), None
        return True

    def redactors(self) -> tuple[Redactor, Redactor] | None:
        """What takes the keys out of an answer, and out of its reasoning."""
        secrets = tuple(self._secrets)
        return (Redactor(secrets), Redactor(secrets)) if secrets else None

    def _noted(self, key: str) -> Key:
        """A key that is about to be used, and never to be shown from now on."""
        if len(key) >= _SHORTEST:
            self._secrets.add(Key(key))
        return Key(key)

    def _in_dotenv(self, name: str) -> str:
        """The key in the file `.env`, read again each time, or nothing."""
        if not self._dotenv.is_file():
            return ""
        import dotenv

        try:
            values = dotenv.dotenv_values(self._dotenv, interpolate=False)
        except (OSError, ValueError):
            return ""
        return (values.get(name) or "").strip()

    def _in_keyring(self, provider: Provider) -> str:
        """The key in the system's keyring, or nothing."""
        if provider.name not in self._kept and importlib.util.find_spec("keyring"):
            import keyring
            import keyring.errors

            try:
                kept = keyring.get_password(_SERVICE, provider.name)
            except (keyring.errors.KeyringError, OSError, RuntimeError):
                kept = None
            if not kept and provider.key_required:
                return ""  # asked again next time: it may have been put there meanwhile
            self._kept[provider.name] = (kept or "").strip()
        return self._kept.get(provider.name, "")


class Redactor:
    """Takes keys out of a text that comes in pieces, wherever it was cut.

    A piece's end that may be the beginning of a key is held back until the next piece.
    """

    def __init__(self, secrets: tuple[Key, ...]) -> None:
        self._secrets, self._held = secrets, ""

    def feed(self, text: str) -> str:
        """Take the next piece; return what can be shown."""
        if self._held:
            text, self._held = self._held + text, ""
        end = len(text)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, _HIDDEN)
                end = len(text)
            start = text.find(secret[0], max(0, len(text) - len(secret) + 1))
            while 0 <= start < end:
                if secret.startswith(text[start:]):
                    end = start
                start = text.find(secret[0], start + 1)
        if end == len(text):
            return text
        self._held = text[end:]
        return text[:end]

    def close(self) -> str:
        """What was held back, when no more comes."""
        held, self._held = self._held, ""
        return held

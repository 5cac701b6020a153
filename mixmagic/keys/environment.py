"""Variables that may hold keys, in the environment and in a `.env` file."""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from mixmagic.core import files, lazy
from mixmagic.core.sealed import sealed

_SECRET = re.compile(
    r"(?:^|_)(?:KEYS?|TOKEN|PAT|PASS)_?\d*$|[^_]_PWD$|API_?KEY|SECRET|PASSWO?R?D|PASSPHRASE",
    re.IGNORECASE,
)
# The values of these are the location or the name of a secret, not the secret.
_PLACE = re.compile(r"_(?:FILE|PATH|DIR|DIRECTORY|FOLDER|NAME|HOST|ENDPOINT)$", re.IGNORECASE)
_URL = re.compile(r"(?:^|_)(?:PROXY|UR[LI]|DSN|HOST|BASE|ENDPOINT)$", re.IGNORECASE)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@functools.lru_cache(1024)
def sounds_secret(name: str) -> bool:
    """Return True if a variable holds a secret, judging by its name.

    Example:
        >>> sounds_secret("DB_PASSWORD"), sounds_secret("DB_PASSWORD_FILE")
        (True, False)
    """
    return _SECRET.search(name) is not None and _PLACE.search(name) is None


@functools.lru_cache(1024)
def sounds_like_url(name: str) -> bool:
    """Return True if a variable holds a URL, judging by its name: there may be a password in it."""
    return _URL.search(name) is not None


def is_set(name: str) -> bool:
    """Return True if an environment variable has a value; False if `name` is empty."""
    with sealed():
        return bool(name and os.environ.get(name, "").strip())


def without_keys(named: Collection[str] = ()) -> dict[str, str]:
    """Return this process's environment for a process that needs no keys.

    Args:
        named: Variables that hold keys, regardless of their names.
    """
    with sealed():
        return {
            name: value
            for name, value in os.environ.items()
            if name not in named and not sounds_secret(name)
        }


class DotEnv:
    """A `.env` file, read again only when it has changed.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[object, Mapping[str, str]] = (None, {})

    def version(self) -> object:
        """Return a value that changes when the file does; `None` if there is no file."""
        return files.version(self.path)

    def get(self, name: str) -> str:
        """Return the value of a variable, or an empty string."""
        return self._values().get(name, "")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def _values(self) -> Mapping[str, str]:
        version = self.version()
        if self._read[0] != version:
            self._read = (version, {} if version is None else _parsed(self.path))
        return self._read[1]


def _parsed(path: Path) -> Mapping[str, str]:
    """Return the variables of a file; none if it is a folder, or cannot be read."""
    if not path.is_file():
        return {}
    dotenv = lazy.load("dotenv")
    try:
        raw = path.read_bytes()
    except OSError:
        return {}
    # UTF-16 if it was written on Windows. An invalid character in a comment does not matter.
    text = raw.decode("utf-16" if raw.startswith(_UTF_16) else "utf-8-sig", "replace")
    values = dotenv.dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: (value or "").strip() for name, value in values.items()}

"""Where files live, the settings file and the environment: read in one place, passed down.

May import `amount`, `notebook`, `files`, `money` and `errors`.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from mixmagic.core import files, notebook
from mixmagic.core.money import Per, parse_dollars
from mixmagic.core.sealed import sealed
from mixmagic.errors import BadArguments

_FILE = "config.toml"
_PLACES = ("config_dir", "data_dir", "cache_dir", "notebook", "folder")
_TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process.

    A later one of these wins: the defaults below, `config.toml` in `config_dir`, the
    environment (`MIXMAGIC_MODEL`, `MIXMAGIC_IDLE_TIMEOUT`, …). `MIXMAGIC_HOME` puts the first
    three folders under one of your own.

    Attributes:
        config_dir: `config.toml` and the user's `catalog/*.toml`.
        data_dir: What must not be lost: the ledger.
        cache_dir: What can be fetched again: the embedded model's weights.
        notebook: The notebook's canonical path; `None` if the front end does not name one.
        folder: The notebook's, or the working folder if there is no such file, if there is one;
            API keys may stand in a file `.env` there.
        model: The default model's name; `None` if the user has chosen none.
        live: Whether answers stream into the notebook: `None` finds out, `False` shows each
            one once, when it is whole.
        connect_timeout: Seconds for the name's look-up, the connection and TLS together.
        first_byte_timeout: Seconds from the sent question to the first data of the answer. A
            server's pings are no data; an answer that is not streamed comes all at once.
        idle_timeout: Seconds between two pieces of data of an answer.
        total_timeout: Seconds for a call in all, with its waits and retries.
        max_retries: How often a call that was not answered is sent again.
        retry_timeout: Seconds that a call may spend on waiting for its retries.
        ca_file: A PEM file of certificates to trust besides the usual ones.
        budget_session: US dollars that each session may cost; `None` is no limit.
        budget_day: US dollars that all sessions together may cost in a day.
        budget_month: US dollars that all sessions together may cost in a month.
        budget_floor: Tokens of the shortest useful answer: a call for which a budget has less
            left is refused.
    """

    config_dir: Path
    data_dir: Path
    cache_dir: Path
    notebook: str | None = None
    folder: Path = Path()
    model: str | None = None
    live: bool | None = None
    connect_timeout: float = 10.0
    first_byte_timeout: float = 180.0
    idle_timeout: float = 60.0
    total_timeout: float = 900.0
    max_retries: int = 4
    retry_timeout: float = 60.0
    ca_file: str = ""
    budget_session: Decimal | None = None
    budget_day: Decimal | None = None
    budget_month: Decimal | None = None
    budget_floor: int = 64

    @property
    def templates(self) -> Path:
        """The folder of the user's templates; it need not exist."""
        return self.config_dir / "templates"

    @property
    def dotenv(self) -> Path:
        """The file that may hold API keys: `.env` beside the notebook."""
        return self.folder / ".env"

    @property
    def budgets(self) -> dict[Per, Decimal]:
        """The budgets that are set, in US dollars per period."""
        limits: dict[Per, Decimal | None] = {
            "session": self.budget_session,
            "day": self.budget_day,
            "month": self.budget_month,
        }
        return {per: limit for per, limit in limits.items() if limit is not None}

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings file and the environment.

        Raises:
            BadArguments: A setting that does not exist, or whose value makes no sense.
        """
        with sealed():  # the environment, which holds keys, is a variable of what is called
            return cls._load(os.environ if environ is None else environ)

    def version(self) -> object:
        """Return a value that changes with the settings file and the environment.

        Looked at before every call: about 5 µs.
        """
        try:
            status = os.stat(f"{self.config_dir}{os.sep}{_FILE}")  # noqa: PTH116  # Path takes longer
            file = status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
        except (OSError, ValueError):
            file = None
        with sealed():
            return file, *map(_RAW_ENVIRONMENT.get, _RAW_VARIABLES)

    @classmethod
    def _load(cls, environ: Mapping[str, str]) -> Settings:
        config, data, cache = _folders(environ.get("MIXMAGIC_HOME", ""))
        values = _read(config / _FILE)
        for name, kind in _KINDS.items():
            if given := environ.get(_variable(name)):
                values[name] = _converted(given, kind)
        for name, value in values.items():
            values[name] = _checked(name, value, config / _FILE)
        named = notebook.path(environ)
        there = named and os.path.exists(named)  # noqa: PTH110  # Path's may fail
        folder = Path(named).parent if named and there else _working_folder()
        return cls(config, data, cache, named, folder, **values)


def _variable(name: str) -> str:
    """Return the environment's variable of a setting."""
    return f"MIXMAGIC_{name.upper()}"


def _working_folder() -> Path:
    """Return the working folder; a relative path if it has been deleted."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


# A setting's name and what it takes.
_KINDS = {each.name: str(each.type) for each in fields(Settings) if each.name not in _PLACES}
_VARIABLES = ("MIXMAGIC_HOME", notebook.VARIABLE, *map(_variable, _KINDS))
# As bytes, if the system has them: nothing must be decoded to see whether it has changed.
_RAW_ENVIRONMENT: Mapping[Any, Any] = getattr(os, "environb", os.environ)
_RAW_VARIABLES = tuple(map(os.fsencode, _VARIABLES) if os.supports_bytes_environ else _VARIABLES)
_TAKES = {
    "str": "a text",
    "str | None": "a text",
    "bool | None": "true or false",
    "float": "a number of seconds over 0",
    "Decimal | None": "US dollars, from 0 to a million, written as in 0.50",
    "int": "a whole number from 0 up",
}


def _folders(home: str) -> tuple[Path, Path, Path]:
    """The folders for configuration, data and cache."""
    if home:
        try:
            root = Path(home).expanduser().absolute()
        except (RuntimeError, OSError) as error:  # no such user, no working folder
            raise BadArguments(
                f"MIXMAGIC_HOME cannot be {home!r:.80}: {files.reason(error)}",
                "Name a folder by its whole path.",
            ) from None
        return root / "config", root / "data", root / "cache"
    import platformdirs  # here, because it is needed at the first call and not before

    dirs = platformdirs.PlatformDirs("mixmagic", appauthor=False)
    return dirs.user_config_path, dirs.user_data_path, dirs.user_cache_path


def _read(path: Path) -> dict[str, Any]:
    """The settings file as a dict, empty where there is none."""
    try:
        return files.toml(files.read(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadArguments(
            f"{path} cannot be read: {files.reason(error)}.",
            "Fix the file and save it as UTF-8, or delete it.",
        ) from None


def _converted(text: str, kind: str) -> Any:
    """A text of the environment as what its setting takes, where it can be that."""
    try:
        if kind == "bool | None":
            return _TRUTH[text.lower()]
        # Python also reads `1_0` as ten, and the digits of all scripts.
        if kind in ("float", "int") and text.isascii() and "_" not in text:
            return float(text) if kind == "float" else int(text)
    except (KeyError, ValueError):
        pass
    return text


def _checked(name: str, value: Any, path: Path) -> Any:
    """Return a setting's value; refuse a setting that does not exist, or that it cannot be."""
    if name not in _KINDS:
        near = difflib.get_close_matches(name, _KINDS, 1) or list(_KINDS)
        raise BadArguments(
            f"There is no setting {name!r} ({path}).", f"Settings are: {', '.join(near)}."
        )
    kind = _KINDS[name]
    if kind == "Decimal | None":
        with contextlib.suppress(BadArguments):
            return parse_dollars(value)
    sensible = {
        "str": type(value) is str,
        "str | None": type(value) is str,
        "bool | None": type(value) is bool,
        "float": type(value) in (int, float) and math.isfinite(value) and value > 0,
        "int": type(value) is int and value >= 0,
    }
    if not sensible.get(kind):
        raise BadArguments(
            f"The setting {name!r} cannot be {value!r:.80} ({path} or {_variable(name)}).",
            f"It takes {_TAKES[kind]}.",
        )
    return value

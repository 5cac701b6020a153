"""Where files live, the settings file and the environment: read once, passed down.

May import `money` and `errors`.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from mixmagic.errors import BadArguments
from mixmagic.money import Per
from mixmagic.sealed import sealed

_FILE = "config.toml"
_DEAREST = 1_000_000  # US dollars: what is more is a mistake
# The model that is asked where nobody has named one.
MODEL = "8x7b"
_FOLDERS = ("config_dir", "data_dir", "cache_dir", "notebook")
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
        notebook: The notebook, or where there is none the working folder; API keys may stand
            in a file `.env` beside it.
        model: The model that is asked where none is named.
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
    """

    config_dir: Path
    data_dir: Path
    cache_dir: Path
    notebook: Path = Path()
    model: str = MODEL
    live: bool | None = None
    connect_timeout: float = 10.0
    first_byte_timeout: float = 180.0
    idle_timeout: float = 60.0
    total_timeout: float = 900.0
    max_retries: int = 4
    retry_timeout: float = 60.0
    ca_file: str = ""
    budget_session: float | None = None
    budget_day: float | None = None
    budget_month: float | None = None

    @property
    def templates(self) -> Path:
        """The folder of the user's templates; it need not exist."""
        return self.config_dir / "templates"

    @property
    def dotenv(self) -> Path:
        """The file that may hold API keys: `.env` beside the notebook."""
        return (self.notebook if self.notebook.is_dir() else self.notebook.parent) / ".env"

    @property
    def budgets(self) -> dict[Per, Decimal]:
        """The budgets that are set, in US dollars per period."""
        limits: dict[Per, float | None] = {
            "session": self.budget_session,
            "day": self.budget_day,
            "month": self.budget_month,
        }
        return {per: Decimal(str(limit)) for per, limit in limits.items() if limit is not None}

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings file and the environment.

        Raises:
            BadArguments: A setting that does not exist, or whose value makes no sense.
        """
        with sealed():  # the environment, which holds keys, is a variable of what is called
            return cls._load(os.environ if environ is None else environ)

    @classmethod
    def _load(cls, environ: Mapping[str, str]) -> Settings:
        config, data, cache = _folders(environ.get("MIXMAGIC_HOME", ""))
        values = _read(config / _FILE)
        for name, kind in _KINDS.items():
            if given := environ.get(f"MIXMAGIC_{name.upper()}"):
                values[name] = _converted(given, kind)
        for name, value in values.items():
            _check(name, value, config / _FILE)
        # Jupyter's server says which notebook a kernel is for.
        named = Path(environ.get("JPY_SESSION_NAME", ""))
        notebook = named if named.is_absolute() and named.exists() else Path.cwd()
        return cls(config, data, cache, notebook, **values)


# A setting's name and what it takes.
_KINDS = {each.name: str(each.type) for each in fields(Settings) if each.name not in _FOLDERS}
_TAKES = {
    "str": "a text",
    "bool | None": "true or false",
    "float": "a number of seconds over 0",
    "float | None": "US dollars, from 0 up",
    "int": "a whole number from 0 up",
}


def _folders(home: str) -> tuple[Path, Path, Path]:
    """The folders for configuration, data and cache."""
    if home:
        root = Path(home).expanduser().absolute()
        return root / "config", root / "data", root / "cache"
    import platformdirs  # here, because it is needed at the first call and not before

    dirs = platformdirs.PlatformDirs("mixmagic", appauthor=False)
    return dirs.user_config_path, dirs.user_data_path, dirs.user_cache_path


def _read(path: Path) -> dict[str, Any]:
    """The settings file as a dict, empty where there is none."""
    try:
        text = path.read_text("utf-8")
        import tomllib  # here, because most people have no such file

        return tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadArguments(
            f"{path} cannot be read: {error}.", "Mend the file, or delete it."
        ) from None


def _converted(text: str, kind: str) -> Any:
    """A text of the environment as what its setting takes, where it can be that."""
    try:
        if kind == "bool | None":
            return _TRUTH[text.lower()]
        return {"float": float, "float | None": float, "int": int}.get(kind, str)(text)
    except (KeyError, ValueError):
        return text


def _check(name: str, value: Any, path: Path) -> None:
    """Refuse a setting that does not exist or makes no sense."""
    if name not in _KINDS:
        near = difflib.get_close_matches(name, _KINDS, 1) or list(_KINDS)
        raise BadArguments(
            f"There is no setting {name!r} ({path}).", f"Settings are: {', '.join(near)}."
        )
    kind = _KINDS[name]
    sensible = {
        "str": type(value) is str,
        "bool | None": type(value) is bool,
        "float": type(value) in (int, float) and math.isfinite(value) and value > 0,
        "float | None": type(value) in (int, float) and 0 <= value <= _DEAREST,
        "int": type(value) is int and value >= 0,
    }
    if not sensible[kind]:
        raise BadArguments(
            f"The setting {name!r} cannot be {value!r} ({path} or MIXMAGIC_{name.upper()}).",
            f"It takes {_TAKES[kind]}.",
        )

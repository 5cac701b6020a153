"""The settings file, the environment and the folders: read in one place, passed down.

May import `environment`, `notebook`, `files`, `lazy`, `money`, `params`, `sealed` and `errors`.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from mixmagic.core import environment, files, lazy, notebook
from mixmagic.core.money import Per, parse_dollars
from mixmagic.core.params import check
from mixmagic.core.sealed import sealed
from mixmagic.errors import BadArguments, did_you_mean

_FILE, _NOTEBOOKS_FILE = "config.toml", "mixmagic.toml"
_PLACES = ("config_dir", "data_dir", "cache_dir", "notebook", "folder", "beside", "sources")
# Settings of one run alone: no file may have them.
_OF_A_RUN = ("cassette", "cassette_mode")
# The parameters that a call can have by default; and all that a call takes of the settings.
PARAMETERS = ("temperature", "max_tokens", "top_p", "seed", "stop")
DEFAULTS = ("model", "system", *PARAMETERS, "format")
_BUDGETS = ("budget_session", "budget_day", "budget_month")
_TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process.

    A later one of these wins: the defaults below, `config.toml` in `config_dir`, `mixmagic.toml`
    in `folder` (which comes with a project: it may set `DEFAULTS` alone, and lower a budget), the
    environment (`MIXMAGIC_MODEL`, `MIXMAGIC_IDLE_TIMEOUT`, …). Above them are a session's own
    values: see `tasks.defaults`. `MIXMAGIC_HOME` puts the first three folders below another one.

    Attributes:
        config_dir: `config.toml` and the user's `catalog/*.toml`.
        data_dir: Files that must not be lost: the ledger.
        cache_dir: Files that can be fetched again: the embedded model's weights, and answers.
        notebook: The notebook's canonical path; `None` if the front end does not name one.
        folder: The notebook's folder, or the working folder if there is no such file; a file `.env`
            there may hold API keys.
        beside: The defaults that `mixmagic.toml` beside the notebook sets, the only ones that count
            while a cassette is in use.
        sources: Where each value comes from that is not the default below: a file's name, or a
            variable's.
        model: The default model's name; `None` if the user has chosen none.
        system: The system prompt of calls that have none.
        temperature: The temperature of calls that give none; the next four are alike.
        max_tokens: Tokens that an answer may have.
        top_p: The probability of the likeliest words that are sampled from.
        seed: The seed of sampling.
        stop: Texts before which an answer ends.
        format: The form of an answer in a cell, as for `--format`.
        aliases: The user's own names of models, in lower case, for `config.toml` alone.
        live: True to stream answers into the notebook, False to show each one once it is complete;
            `None` depends on the front end.
        connect_timeout: Seconds for DNS, the connection and TLS together.
        first_byte_timeout: Seconds from the request to the first data of the answer. A server's
            pings do not count; an answer that is not streamed arrives all at once.
        idle_timeout: Seconds between two pieces of data of an answer.
        total_timeout: Seconds for a whole call, with its waits and retries.
        max_retries: Number of times that a failed call is sent again.
        retry_timeout: Seconds that a call may wait for its retries in total.
        ca_file: A PEM file of certificates to trust besides the usual ones.
        budget_session: US dollars that each session may spend; `None` means no limit.
        budget_day: US dollars that all sessions together may spend in a day.
        budget_month: US dollars that all sessions together may spend in a month.
        budget_floor: Tokens of the shortest useful answer: a call for which a budget has less
            left is refused.
        cache: False to store no answers, and to read none.
        cache_size: Megabytes that the stored answers may take.
        cassette: The file of recorded answers to use, for the environment alone; empty for that of
            the notebook's own line.
        cassette_mode: Its use: `none`, `once`, `new`, `all` or `off`, for the environment alone.
    """

    config_dir: Path
    data_dir: Path
    cache_dir: Path
    notebook: str | None = None
    folder: Path = Path()
    beside: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    format: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
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
    cache: bool = True
    cache_size: int = 256
    cassette: str = ""
    cassette_mode: str = ""

    @property
    def templates(self) -> Path:
        """The folder of the user's templates; it need not exist."""
        return self.config_dir / "templates"

    @property
    def glossaries(self) -> Path:
        """The folder of the user's glossaries for translations; it need not exist."""
        return self.config_dir / "glossaries"

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
            BadArguments: A setting does not exist, or its value is invalid.
        """
        with sealed():  # frames below have the environment, which holds keys, as a variable
            return cls._load(os.environ if environ is None else environ)

    def version(self) -> object:
        """Return a value that changes with the settings file and the environment.

        Looked at before every call: it takes about 10 µs.
        """
        files_ = (
            files.version(f"{self.config_dir}{os.sep}{_FILE}"),
            files.version(f"{self.folder}{os.sep}{_NOTEBOOKS_FILE}"),
        )
        return *files_, environment.version()

    @classmethod
    def _load(cls, environ: Mapping[str, str]) -> Settings:
        config, data, cache = _folders(environ.get("MIXMAGIC_HOME", ""))
        named = notebook.path(environ)
        there = named and os.path.exists(named)  # noqa: PTH110  # Path's may fail
        folder = Path(named).parent if named and there else _working_folder()
        users, projects = config / _FILE, folder / _NOTEBOOKS_FILE
        # A folder that the user may not look into has none.
        beside = _read_table(projects) if os.path.exists(projects) else {}  # noqa: PTH110
        if others := beside.keys() - {*DEFAULTS, *_BUDGETS}:
            near = did_you_mean(min(others), (*DEFAULTS, *_BUDGETS))
            raise BadArguments(
                f"{projects} cannot set {min(others)!r:.40}.",
                near
                or f"It sets {', '.join(DEFAULTS)} and lower budgets; the rest is each user's.",
            )
        beside = {name: _checked(name, value, projects) for name, value in beside.items()}
        own = _read_table(users)
        if wrong := own.keys() & set(_OF_A_RUN):
            raise BadArguments(
                f"{users} cannot set {min(wrong)!r}.",
                f"Set {_variable(min(wrong))} in the environment.",
            )
        values = {name: _checked(name, value, users) for name, value in own.items()}
        sources = dict.fromkeys(values, _FILE)
        for name, value in beside.items():
            if name in DEFAULTS:
                values[name], sources[name] = value, _NOTEBOOKS_FILE
        for name, kind in _OF_VARIABLES.items():
            if text := environ.get(_variable(name)):
                values[name] = _checked(name, _converted(text, kind), _variable(name))
                sources[name] = _variable(name)
        for name in beside.keys() & set(_BUDGETS):
            if name not in values or beside[name] < values[name]:
                values[name], sources[name] = beside[name], _NOTEBOOKS_FILE
        defaults = {name: value for name, value in beside.items() if name in DEFAULTS}
        return cls(config, data, cache, named, folder, defaults, sources, **values)


def checked_default(name: str, value: Any) -> Any:
    """Return the value of one of `DEFAULTS`, checked; `None` stays `None`.

    Raises:
        BadArguments: There is no such default, or its value is invalid.

    Example:
        >>> checked_default("stop", "END")
        ['END']
    """
    if name not in DEFAULTS:
        hint = f"{did_you_mean(name, DEFAULTS)}Defaults are {', '.join(DEFAULTS)}."
        raise BadArguments(f"There is no default {name!r:.40}.", hint)
    if name in PARAMETERS:
        return check({name: value}).get(name)
    if not isinstance(value, str | None):
        raise BadArguments(f"{name} cannot be {value!r:.80}.", "It takes a text.")
    return value


def default_from_text(name: str, text: str) -> Any:
    """Return the value of one of `DEFAULTS` that a text means; it is not checked.

    Example:
        >>> default_from_text("max_tokens", "300")
        300
    """
    return _converted(text, _KINDS[name])


def _variable(name: str) -> str:
    """Return the environment's variable of a setting."""
    return f"MIXMAGIC_{name.upper()}"


def _working_folder() -> Path:
    """Return the working folder; a relative path if it has been deleted."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


# The type of each setting.
_KINDS = {each.name: str(each.type) for each in fields(Settings) if each.name not in _PLACES}
_OF_VARIABLES = {name: kind for name, kind in _KINDS.items() if name != "aliases"}
_TAKES = {
    "str": "a text",
    "str | None": "a text",
    "bool": "true or false",
    "bool | None": "true or false",
    "float": "a number of seconds over 0",
    "Decimal | None": "US dollars, from 0 to a million, written as in 0.50",
    "int": "a whole number from 0 up",
    "Mapping[str, str]": 'a table of names and models: fast = "openrouter:VENDOR/MODEL"',
}


def _folders(home: str) -> tuple[Path, Path, Path]:
    """Return the folders for configuration, data and cache."""
    if home:
        try:
            root = Path(home).expanduser().absolute()
        except (RuntimeError, OSError) as error:  # no such user, no working folder
            raise BadArguments(
                f"MIXMAGIC_HOME cannot be {home!r:.80}: {files.reason(error)}",
                "Name a folder by its whole path.",
            ) from None
        return root / "config", root / "data", root / "cache"
    dirs = lazy.load("platformdirs").PlatformDirs("mixmagic", appauthor=False)
    return dirs.user_config_path, dirs.user_data_path, dirs.user_cache_path


def _read_table(path: Path) -> dict[str, Any]:
    """Return the settings file as a dict; empty if there is none."""
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
    """Convert a text of the environment to the type of its setting, if it can be converted."""
    try:
        if kind.startswith("bool"):
            return _TRUTH[text.lower()]
        # Python also accepts `1_0` as ten, and the digits of all scripts.
        if kind.startswith(("float", "int")) and text.isascii() and "_" not in text:
            return float(text) if kind.startswith("float") else int(text)
    except (KeyError, ValueError):
        pass
    return text


def _checked(name: str, value: Any, place: Path | str) -> Any:
    """Return a setting's value, checked; raise if there is no such setting."""
    if name not in _KINDS:
        near = difflib.get_close_matches(name, _KINDS, 1) or list(_KINDS)
        raise BadArguments(
            f"There is no setting {name!r} ({place}).", f"Settings are: {', '.join(near)}."
        )
    kind, takes = _KINDS[name], ""
    try:
        if name in PARAMETERS:
            return check({name: value}).get(name)
        if kind == "Decimal | None":
            return parse_dollars(value)
    except BadArguments as error:
        takes = error.hint if name in PARAMETERS else ""
    if isinstance(value, dict) and all(type(each) is str for each in value.values()):
        value = {each.strip().lower(): model.strip() for each, model in value.items()}
    valid = {
        "str": type(value) is str,
        "str | None": type(value) is str,
        "bool": type(value) is bool,
        "bool | None": type(value) is bool,
        "float": type(value) in (int, float) and math.isfinite(value) and value > 0,
        "int": type(value) is int and value >= 0,
        "Mapping[str, str]": isinstance(value, dict)
        and all(type(each) is str for each in value.values()),
    }
    if not valid.get(kind):
        raise BadArguments(
            f"The setting {name!r} cannot be {value!r:.80} ({place}).",
            takes or f"It takes {_TAKES[kind]}.",
        )
    return value

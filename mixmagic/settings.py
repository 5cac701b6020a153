"""Where files live, the settings file and the environment: read once, passed down.

May import `errors`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixmagic.errors import BadArguments

_FILE = "config.toml"
_TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process.

    A later one of these wins: the defaults below, `config.toml` in `config_dir`, the
    environment (`MIXMAGIC_MODEL`, `MIXMAGIC_LIVE`). `MIXMAGIC_HOME` puts all three folders
    under one of your own.

    Attributes:
        config_dir: `config.toml` and the user's `catalog/*.toml`.
        data_dir: What must not be lost: the ledger.
        cache_dir: What can be fetched again: the embedded model's weights.
        model: The model that is asked where none is named.
        live: Whether answers stream into the notebook: `None` finds out, `False` shows each
            one once, when it is whole.
    """

    config_dir: Path
    data_dir: Path
    cache_dir: Path
    model: str = "8x7b"
    live: bool | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings file and the environment.

        Raises:
            BadArguments: A setting that does not exist, or whose value makes no sense.
        """
        config, data, cache = _folders(environ.get("MIXMAGIC_HOME", ""))
        values = _read(config / _FILE)
        if model := environ.get("MIXMAGIC_MODEL"):
            values["model"] = model
        if live := environ.get("MIXMAGIC_LIVE"):
            values["live"] = _TRUTH.get(live.lower(), live)
        _check(values, config / _FILE)
        return cls(config, data, cache, **values)


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


def _check(values: Mapping[str, Any], path: Path) -> None:
    """Refuse settings that do not exist or make no sense."""
    known: dict[str, type] = {"model": str, "live": bool}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1) or list(known)
            raise BadArguments(
                f"There is no setting {name!r} ({path}).", f"Settings are: {', '.join(near)}."
            )
        if not isinstance(value, known[name]):
            raise BadArguments(
                f"The setting {name!r} cannot be {value!r} ({path} or MIXMAGIC_{name.upper()}).",
                f"It takes {'true or false' if known[name] is bool else 'a text'}.",
            )

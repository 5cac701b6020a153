"""Change one value of a TOML file; comments and the order of the rest stay.

May import `files`, `lazy` and `errors`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixmagic.core import files, lazy
from mixmagic.errors import BadArguments, StoreError


def save(path: Path, value: Any, *keys: str) -> None:
    """Set a value in a TOML file, or remove it; the file is whole at any time.

    Other processes that save at the same moment wait: no change is lost.

    Args:
        path: The file; it is made if it does not exist.
        value: A text, a number, a boolean or a list of texts; `None` removes the value.
        *keys: The tables that it is in, and its name.

    Raises:
        BadArguments: The file is damaged; it stays as it is.
        StoreError: The file cannot be written; it stays as it was.

    Example:
        >>> save(settings.config_dir / "config.toml", "openrouter:acme/m", "aliases", "fast")
    """
    with contextlib.suppress(OSError):  # reported when the file is written
        path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path.parent):
        _save(path, value, *keys)


def _save(path: Path, value: Any, *keys: str) -> None:
    """Set a value in a TOML file, or remove it."""
    tomlkit = lazy.load("tomlkit")
    try:
        text = files.read(path)
        files.toml(text)  # within our limits
        document = tomlkit.parse(text)
    except FileNotFoundError:
        document = tomlkit.document()
    except (OSError, ValueError, tomlkit.exceptions.TOMLKitError) as error:
        raise BadArguments(
            f"{path} cannot be read: {files.reason(error)}; nothing was saved.",
            "Fix the file and save it as UTF-8, or delete it.",
        ) from None
    *tables, name = keys
    table = document
    for each in tables:
        if value is None and each not in table:
            return
        table = table.setdefault(each, tomlkit.table())
        if not isinstance(table, Mapping):
            raise BadArguments(f"{path}: {each} is not a table.", f"Write it as [{each}].")
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value
    changed = tomlkit.dumps(document)
    try:
        if path.exists() and b"\r\n" in path.read_bytes():
            changed = changed.replace("\n", "\r\n")
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, changed, newline="")
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be written: {files.reason(error)}; it stays as it was.",
            "Check the disk's free space and the folder's permissions.",
        ) from None

"""The command that installs an extra of this package, from where it was installed itself."""

from __future__ import annotations

import importlib.metadata
import json
import urllib.parse
import urllib.request
from pathlib import Path


def install(extra: str) -> str:
    """Return the command that installs an extra, in backquotes.

    A checkout is named by its folder, since no index has it.

    Example:
        >>> install("local")
        '`pip install "mixmagic[local]"`'
    """
    return f'`pip install "{_source()}[{extra}]"`'


def _source() -> str:
    """Return what pip has installed: a checkout's folder, or the package's name."""
    try:
        text = importlib.metadata.distribution("mixmagic").read_text("direct_url.json")
        url = urllib.parse.urlsplit(json.loads(text or "{}")["url"])
        folder = Path(urllib.request.url2pathname(url.path))
        if url.scheme != "file" or not (folder / "pyproject.toml").is_file():
            return "mixmagic"
        return "." if folder == Path.cwd() else str(folder)
    except (importlib.metadata.PackageNotFoundError, KeyError, OSError, ValueError):
        return "mixmagic"

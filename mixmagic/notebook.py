"""Which notebook this process works for, as the front end says. Imports nothing of the project."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping


def path(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the canonical path of the notebook; `None` if the front end does not name one.

    The file need not exist: a console's session has a name, too.

    Example:
        >>> path({"JPY_SESSION_NAME": "/home/ada/../ada/notes.ipynb"})
        '/home/ada/notes.ipynb'
    """
    named = environ.get("JPY_SESSION_NAME")
    return canonical(named) if named else None


def canonical(spelling: str) -> str:
    """Return the one path for all spellings of a file's: absolute, without links, `..` or `~`.

    Also in the case that the folder lists, if the filesystem takes names in any case.
    """
    return _listed(os.path.realpath(os.path.expanduser(spelling)))  # noqa: PTH111  # Path's fails without a home


def _listed(path: str) -> str:
    """Return a path with each of its names as its folder lists it."""
    folder, name = os.path.split(path)
    if not name:
        return path
    folder = _listed(folder)
    spelled = os.path.join(folder, name)  # noqa: PTH118  # half surrogate pairs and all
    other = os.path.join(folder, name.swapcase())  # noqa: PTH118
    try:
        if other == spelled or not os.path.samefile(spelled, other):  # noqa: PTH121
            return spelled
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return spelled
    if name in names:
        return spelled
    alike = (each for each in names if _plain(each) == _plain(name))
    return os.path.join(folder, next(alike, name))  # noqa: PTH118


def _plain(name: str) -> str:
    """Return a name without case, and with each accent composed: macOS takes both ways."""
    return unicodedata.normalize("NFC", name.casefold())

"""The notebook that this process runs for, as its front end names it.

Imports nothing of the project.
"""

from __future__ import annotations

import os
import stat
import threading
import unicodedata
from collections import deque
from collections.abc import Callable, Mapping

VARIABLE = "JPY_SESSION_NAME"
# Folders and files to search at most for a renamed notebook.
_MOST = 5_000
_Identity = tuple[int, int]


class Place:
    """The path of a notebook, which may be renamed or moved while its kernel runs.

    The front end gives only the path at the kernel's start. A renamed file keeps its inode, by
    which it is found near its old path.

    Args:
        path: The notebook's canonical path; the file need not exist.

    Attributes:
        named: The path that was passed.
        path: The last known path.
    """

    def __init__(self, path: str) -> None:
        self.named = self.path = path
        self._identity = _identity(path)
        self._moving = threading.Lock()
        self._missed: object = None  # the state of its folder when it was not found

    @property
    def text(self) -> str:
        """The path as a text that can be stored, with lone surrogates replaced."""
        return _as_text(self.path)

    def follow(self, rename: Callable[[str, str], object]) -> bool:
        """Find the notebook; return True if it was moved.

        Args:
            rename: Called with the old and the new path. If it raises, `path` is unchanged until
                the next call.
        """
        now = self._now()
        if now == self.path or not self._moving.acquire(blocking=False):
            return False  # not moved, or another thread is renaming it
        try:
            rename(self.text, _as_text(now))
            self.path = now
        finally:
            self._moving.release()
        return True

    def _now(self) -> str:
        """Return the notebook's current path; the last known one if it cannot be found."""
        identity = _identity(self.path)
        if self._identity is None or identity == self._identity:
            self._identity = identity
            return self.path
        state = identity, _changed(os.path.dirname(self.path))  # noqa: PTH120
        if state != self._missed:
            moved = _search(self.path, self._identity)
            if moved is not None:
                return moved
            self._missed = state
            self._identity = identity or self._identity  # replaced by a new file with its name
        return self.path


def path(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the canonical path of the notebook; `None` if the front end does not name one.

    The file need not exist: a console's session has a name, too.

    Example:
        >>> path({"JPY_SESSION_NAME": "/home/ada/../ada/notes.ipynb"})
        '/home/ada/notes.ipynb'
    """
    spelling = environ.get(VARIABLE)
    try:
        return canonical(spelling) if spelling else None
    except OSError:  # a relative path, and the working folder has been deleted
        return None


def canonical(spelling: str) -> str:
    """Return one path for all spellings of it: absolute, without links, `..` or `~`.

    On a filesystem that ignores case, names are spelled as their folders list them.
    """
    return _listed(os.path.realpath(os.path.expanduser(spelling)))  # noqa: PTH111  # Path's fails without a home


def _as_text(path: str) -> str:
    return path.encode(errors="replace").decode()


def _identity(path: str) -> _Identity | None:
    """Return the device and inode of a file, which a rename keeps; `None` if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  # lone surrogates, too
    except (OSError, ValueError):
        return None
    is_file = status.st_ino and stat.S_ISREG(status.st_mode)
    return (status.st_dev, status.st_ino) if is_file else None


def _changed(folder: str) -> int | None:
    """Return the time when a file was last added to a folder or removed from it."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116
    except OSError:
        return None


def _search(path: str, identity: _Identity) -> str | None:
    """Search for a file in and below its old folder, then in and below the parent."""
    folder, name = os.path.split(path)
    suffix = os.path.splitext(name)[1]  # noqa: PTH122
    remaining = _MOST
    searched: set[str] = set()
    for start in (folder, os.path.dirname(folder)):  # noqa: PTH120
        folders = deque([start])  # the nearest first
        while folders and remaining > 0:
            current = folders.popleft()
            if current in searched:
                continue
            searched.add(current)
            try:
                entries = list(os.scandir(current))
            except OSError:
                continue
            remaining -= len(entries)
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.endswith(suffix) and _identity(entry.path) == identity:
                    return canonical(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return None


def _listed(path: str) -> str:
    """Return a path with each name as its folder lists it."""
    folder, name = os.path.split(path)
    if not name:
        return path
    folder = _listed(folder)
    spelled = os.path.join(folder, name)  # noqa: PTH118  # lone surrogates, too
    other = os.path.join(folder, name.swapcase())  # noqa: PTH118
    try:
        if other == spelled or not os.path.samefile(spelled, other):  # noqa: PTH121
            return spelled
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return spelled
    if name in names:
        return spelled
    alike = (listed for listed in names if _plain(listed) == _plain(name))
    return os.path.join(folder, next(alike, name))  # noqa: PTH118


def _plain(name: str) -> str:
    """Return a name without case, and with accents composed: macOS accepts both forms."""
    return unicodedata.normalize("NFC", name.casefold())

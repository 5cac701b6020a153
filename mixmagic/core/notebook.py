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
# Folders and files that are searched for a notebook that was renamed.
_MOST = 5_000
_Identity = tuple[int, int]


class Place:
    """The path of a notebook, which may be renamed or moved while its kernel runs.

    The front end gives the path from when the kernel started. A renamed file keeps its inode: it is
    searched for near its old path.

    Args:
        path: Its canonical path; the file need not exist.

    Attributes:
        named: The path as it was given.
        path: The path as it was found last.
    """

    def __init__(self, path: str) -> None:
        self.named = self.path = path
        self._identity = _identity(path)
        self._moving = threading.Lock()
        self._missed: object = None  # the state of its folder when it was not found

    @property
    def text(self) -> str:
        """The path as a text that can be stored: half of a surrogate pair is replaced."""
        return _as_text(self.path)

    def follow(self, rename: Callable[[str, str], object]) -> bool:
        """Find the notebook; return True if it was moved.

        Args:
            rename: A function of the old and the new path. If it raises, the path stays the old
                one until the next call.
        """
        now = self._now()
        if now == self.path or not self._moving.acquire(blocking=False):
            return False  # or another thread is renaming it
        try:
            rename(self.text, _as_text(now))
            self.path = now
        finally:
            self._moving.release()
        return True

    def _now(self) -> str:
        """Return the path of the notebook now; the last one if it cannot be found."""
        found = _identity(self.path)
        if self._identity is None or found == self._identity:
            self._identity = found
            return self.path
        state = found, _changed(os.path.dirname(self.path))  # noqa: PTH120
        if state != self._missed:
            moved = _search(self.path, self._identity)
            if moved is not None:
                return moved
            self._missed = state
            self._identity = found or self._identity  # replaced by a new file of its name
        return self.path


def path(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the canonical path of the notebook; `None` if the front end does not name one.

    The file need not exist: a console's session has a name, too.

    Example:
        >>> path({"JPY_SESSION_NAME": "/home/ada/../ada/notes.ipynb"})
        '/home/ada/notes.ipynb'
    """
    named = environ.get(VARIABLE)
    try:
        return canonical(named) if named else None
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
        found = os.stat(path)  # noqa: PTH116  # half surrogate pairs and all
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if found.st_ino and stat.S_ISREG(found.st_mode) else None


def _changed(folder: str) -> int | None:
    """Return when a file was last added to a folder or removed from it."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116
    except OSError:
        return None


def _search(path: str, identity: _Identity) -> str | None:
    """Search for a file in and below its old folder, then above; return its path."""
    folder, name = os.path.split(path)
    suffix = os.path.splitext(name)[1]  # noqa: PTH122
    left = _MOST
    passed: set[str] = set()
    for start in (folder, os.path.dirname(folder)):  # noqa: PTH120
        folders = deque([start])  # the nearest first
        while folders and left > 0:
            current = folders.popleft()
            if current in passed:
                continue
            passed.add(current)
            try:
                entries = list(os.scandir(current))
            except OSError:
                continue
            left -= len(entries)
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
    alike = (listed for listed in names if _plain(listed) == _plain(name))
    return os.path.join(folder, next(alike, name))  # noqa: PTH118


def _plain(name: str) -> str:
    """Return a name without case, and with accents composed: macOS accepts both forms."""
    return unicodedata.normalize("NFC", name.casefold())

"""The answers of a job that runs: in memory, or in a temporary file if there may be many."""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
from typing import Any, Protocol

from mixmagic.calls import codec
from mixmagic.errors import StoreError

_MEMORY = 4096  # KiB of the file that are in memory


class Answers(Protocol):
    """JSON values by the keys of their questions; a dict is one."""

    def __contains__(self, key: object, /) -> bool: ...

    def __setitem__(self, key: bytes, value: Any, /) -> None: ...

    def get(self, key: bytes, /) -> Any:
        """Return the answer to a question; `None` if there is none."""


class AnswersInFile:
    """Answers in a temporary file, which ends with this object. Any thread may use it.

    Example:
        >>> answers = AnswersInFile()
        >>> answers[key] = {"label": "good"}
        >>> answers.get(key)
        {'label': 'good'}
    """

    def __init__(self) -> None:
        # A file without a name: SQLite creates it when the memory is full.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        for statement in (
            f"PRAGMA cache_size = -{_MEMORY}",
            "PRAGMA temp_store = FILE",
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE answers (key BLOB PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
            "BEGIN",
        ):
            self._file.execute(statement)

    def __contains__(self, key: object, /) -> bool:
        return bool(self._run("SELECT 1 FROM answers WHERE key = ?", key))

    def __setitem__(self, key: bytes, value: Any, /) -> None:
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?)", key, codec.dumps(value))

    def get(self, key: bytes, /) -> Any:
        """Return the answer to a question; `None` if there is none."""
        found = self._run("SELECT value FROM answers WHERE key = ?", key)
        return json.loads(found[0][0]) if found else None

    def _run(self, statement: str, *values: object) -> list[Any]:
        try:
            with self._lock:
                return self._file.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(
                f"The job's temporary file cannot be used: {error}.",
                "Free some space for temporary files (TMPDIR); the same call goes on.",
            ) from None

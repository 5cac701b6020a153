"""The journal of jobs over many rows: `jobs.db` in the data folder.

Each answer is committed before the ledger records its cost, under a hash of its question: whatever
is killed, no answer that was paid for is asked for again. May import `calls` and `sqlite`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from mixmagic.calls import codec
from mixmagic.calls.completion import Completion
from mixmagic.core.cancel import Stop
from mixmagic.core.money import from_nano, to_nano
from mixmagic.errors import BadArguments, Stopped, StoreBusy
from mixmagic.store.key_locks import KeyLocks
from mixmagic.store.ledger.processes import has_exited, own_process_id
from mixmagic.store.sqlite.database import Database

State = Literal["running", "done", "paused", "stopped", "preview"]

_MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY,
        fingerprint BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL,
        model TEXT NOT NULL,
        prompt TEXT NOT NULL,
        options TEXT NOT NULL, -- JSON
        source TEXT NOT NULL, -- the rows, in words
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        rows INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        process TEXT NOT NULL, -- of the last run
        created REAL NOT NULL, -- seconds since 1970
        used REAL NOT NULL -- likewise
    );
    CREATE TABLE answers (
        key BLOB PRIMARY KEY,
        job INTEGER NOT NULL,
        cost_nanodollars INTEGER, -- NULL if unknown
        answer TEXT NOT NULL -- JSON: `calls.codec`
    ) WITHOUT ROWID;
    CREATE INDEX answers_by_job ON answers (job, cost_nanodollars);
    """,
    """
    CREATE TABLE previews (
        job INTEGER PRIMARY KEY,
        prompt TEXT NOT NULL,
        columns TEXT NOT NULL, -- a JSON list
        answers TEXT NOT NULL, -- JSON: the value of each row, by a hash of its columns
        used REAL NOT NULL -- seconds since 1970
    );
    """,
    """
    ALTER TABLE jobs ADD COLUMN errors TEXT NOT NULL DEFAULT ''; -- of the last run, in lines
    """,
)
# Columns of a job that its next run changes.
_OF_A_RUN = ("name", "options", "source", "state", "reason", "rows", "process", "used")
# Previews that are kept, to compare others with.
_PREVIEWS = 100
# Questions that are looked up in one query.
_AT_ONCE = 500
# Seconds that an answer waits at first for a file that another process keeps locked.
_BRIEFLY = 0.0
# Seconds between two looks if another process still asks a question, and of the longest wait.
_PAUSE, _LONGEST_WAIT = 0.02, 300.0


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the journal knows it.

    Attributes:
        id: Its number.
        name: The name that the user gave, or one made of the prompt.
        model: The name of the model that was asked for.
        prompt: The prompt, with its expressions.
        options: All that another process needs to go on with it, as JSON: see `bulk.resume`.
        source: The rows in words, such as `reviews.csv`.
        state: `running`, `done`, `paused`, `stopped` or `preview`.
        reason: Why it paused or stopped; empty if the user stopped it.
        rows: Rows in all.
        failed: Rows without an answer because of an error, in the last run.
        errors: The kinds of errors of the last run, a line each.
        answers: Answers in the journal.
        cost: US dollars that these have cost, as far as that is known.
        created: Seconds since 1970.
        used: Seconds since 1970.
    """

    id: int
    name: str
    model: str
    prompt: str
    options: Mapping[str, Any]
    source: str
    state: State
    reason: str
    rows: int
    failed: int
    errors: str
    answers: int
    cost: Decimal
    created: float
    used: float


class PreviewRecord(NamedTuple):
    """The answers that a preview showed.

    Attributes:
        job: The number of its job.
        prompt: Its prompt.
        columns: The columns that the prompt used.
        answers: The value of each row, by a hash of these columns.
    """

    job: int
    prompt: str
    columns: tuple[str, ...]
    answers: Mapping[str, Any]


class Journal:
    """The answers of all jobs of a user, which all processes share.

    Args:
        folder: The folder of `jobs.db`; it is created if need be.

    Attributes:
        database: The file.

    Example:
        >>> journal = Journal(settings.data_dir)
        >>> job = journal.begin(fingerprint, name="labels", model="8x7b", prompt="…", source="df")
        >>> journal.put(job, key, completion)
        >>> journal.find([key])[key]["text"]
    """

    def __init__(self, folder: Path) -> None:
        self.database = Database(
            folder / "jobs.db",
            _MIGRATIONS,
            loss="the answers of earlier jobs are asked for again",
            private=True,
        )
        self._locks = KeyLocks(folder / "jobs.locks")
        # Answers that are not in the file yet, by key: the next transaction writes all of them.
        self._pending: dict[bytes, tuple[int, int | None, str]] = {}

    @classmethod
    def temporary(cls) -> Self:
        """Return a journal that is deleted with its last reference: for recorded notebooks."""
        folder = tempfile.mkdtemp(prefix="mixmagic-")
        journal = cls(Path(folder))
        weakref.finalize(journal, shutil.rmtree, folder, ignore_errors=True)
        return journal

    def begin(
        self,
        fingerprint: bytes,
        *,
        name: str,
        model: str,
        prompt: str,
        source: str,
        options: Mapping[str, Any],
        rows: int = 0,
        state: State = "running",
    ) -> int:
        """Return the number of a job: a new one, or that of the same job before.

        Its state is `running` now, unless `preview` is given: that of a job that has run stays.

        Raises:
            StoreError: The journal cannot be written.
        """
        now = time.time()
        updated = ["used"] if state == "preview" else _OF_A_RUN
        changes = ", ".join(f"{name} = excluded.{name}" for name in updated)
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs (fingerprint, name, model, prompt, options, source, state,"  # noqa: S608  # ours
                " reason, rows, failed, process, created, used)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, 0, ?, ?, ?)"
                f" ON CONFLICT (fingerprint) DO UPDATE SET {changes}",
                (fingerprint, name, model, prompt, codec.dumps(options), source, state, rows,
                 own_process_id(), now, now),
            )  # fmt: skip
            query = "SELECT id FROM jobs WHERE fingerprint = ?"
            (number,) = connection.execute(query, (fingerprint,)).fetchone()
        return int(number)

    def end(
        self, job: int, state: State, reason: str, *, rows: int, failed: int, errors: str = ""
    ) -> None:
        """Note how a job ended: a preview, if it has not run.

        Raises:
            StoreError: The journal cannot be written.
        """
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?1, reason = ?2, rows = ?3, failed = ?4, errors = ?5,"
                " used = ?6 WHERE id = ?7 AND (?1 != 'preview' OR state = 'preview')",
                (state, reason, rows, failed, errors, time.time(), job),
            )

    def put(self, job: int, key: bytes, completion: Completion) -> None:
        """Commit an answer. Answers of several threads may share a transaction.

        Raises:
            StoreError: The journal cannot be written; another thread may write the answer later.
        """
        cost = None if completion.cost is None else to_nano(completion.cost)
        answer = codec.dumps(codec.completion_to_json(completion), (",", ":"))
        self._pending[key] = job, cost, answer
        with self.database.lock, contextlib.suppress(StoreBusy):
            if key in self._pending:
                self._write(_BRIEFLY)
            return
        self._write(None)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Any]:
        """Return the answers to questions as JSON, by key; those that are there.

        Raises:
            StoreError: The journal cannot be read.
        """
        found: dict[bytes, Any] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            query = f"SELECT key, answer FROM answers WHERE key IN ({marks})"  # noqa: S608  # marks
            found |= {bytes(key): json.loads(text) for key, text in self.database.read(query, some)}
        return found

    @property
    def is_empty(self) -> bool:
        """True if there is no answer of any job."""
        return not self.database.read("SELECT 1 FROM answers LIMIT 1", ())

    def jobs(self) -> list[JobRecord]:
        """Return all jobs, the one used last first.

        Raises:
            StoreError: The journal cannot be read.
        """
        rows = self.database.rows(
            "SELECT id, name, model, prompt, options, source, state, reason, rows, failed,"
            " errors, process, (SELECT COUNT(*) FROM answers WHERE job = id) AS answers,"
            " (SELECT COALESCE(SUM(cost_nanodollars), 0) FROM answers WHERE job = id) AS cost,"
            " created, used FROM jobs ORDER BY used DESC"
        )
        return [_record(dict(row)) for row in rows]

    def job(self, name: str) -> JobRecord:
        """Return a job by its number or its name; of several with one name, the one used last.

        Raises:
            BadArguments: There is no such job.
            StoreError: The journal cannot be read.
        """
        jobs = self.jobs()
        number = int(name) if name.isdecimal() and name.isascii() else None
        for record in jobs:
            if number == record.id or name == record.name:
                return record
        known = ", ".join(f"{record.id} ({record.name})" for record in jobs[:3])
        raise BadArguments(
            f"There is no job {name!r:.60}.",
            f"Jobs are {known}{', …' * (len(jobs) > 3)}." if jobs else "There are no jobs yet.",
        )

    def keep_preview(self, preview: PreviewRecord) -> None:
        """Keep the answers of a job's preview, in place of its last one.

        Raises:
            StoreError: The journal cannot be written.
        """
        columns, answers = codec.dumps(preview.columns), json.dumps(preview.answers)
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO previews VALUES (?, ?, ?, ?, ?)",
                (preview.job, preview.prompt, columns, answers, time.time()),
            )
            connection.execute(
                "DELETE FROM previews WHERE job NOT IN"
                " (SELECT job FROM previews ORDER BY used DESC LIMIT ?)",
                (_PREVIEWS,),
            )

    def previews(self) -> list[PreviewRecord]:
        """Return the last previews, the newest first.

        Raises:
            StoreError: The journal cannot be read.
        """
        query = "SELECT job, prompt, columns, answers FROM previews ORDER BY used DESC"
        return [
            PreviewRecord(job, prompt, tuple(json.loads(columns)), json.loads(answers))
            for job, prompt, columns, answers in self.database.read(query, ())
        ]

    def forget(self, job: int) -> int:
        """Delete a job and its answers; return how many answers that were.

        Raises:
            StoreError: The journal cannot be written.
        """
        with self.database.transaction() as connection:
            deleted = connection.execute("DELETE FROM answers WHERE job = ?", (job,)).rowcount
            connection.execute("DELETE FROM jobs WHERE id = ?", (job,))
            connection.execute("DELETE FROM previews WHERE job = ?", (job,))
        return deleted

    @contextlib.contextmanager
    def asking(self, key: bytes, stop: Stop) -> Iterator[None]:
        """Keep other processes from asking a question; wait for one that asks it already.

        Args:
            key: The question's key.
            stop: Ends the wait.

        Raises:
            Stopped: It was stopped.

        Example:
            >>> with journal.asking(key, request.control.stop):
            ...     known = journal.find([key])
        """
        ends = time.monotonic() + _LONGEST_WAIT
        while not (is_locked := self._locks.acquire(key)) and time.monotonic() < ends:
            if stop.wait(_PAUSE):
                raise Stopped(sent=False)
        try:
            yield
        finally:
            if is_locked:
                self._locks.release(key)

    def close(self) -> None:
        """Close the files. They are opened again if need be."""
        self.database.close()
        self._locks.close()

    def _write(self, timeout: float | None) -> None:
        """Write all pending answers in one transaction."""
        with self.database.transaction(timeout, self._insert):
            pass

    def _insert(self, connection: sqlite3.Connection) -> Callable[[], None]:
        """Insert all pending answers; what those that they replace have cost is added."""
        pending = dict(self._pending)
        connection.executemany(
            "INSERT INTO answers (key, job, cost_nanodollars, answer) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET job = excluded.job, answer = excluded.answer,"
            " cost_nanodollars = coalesce(cost_nanodollars + excluded.cost_nanodollars,"
            " cost_nanodollars, excluded.cost_nanodollars)",
            [(key, *answer) for key, answer in pending.items()],
        )

        def committed() -> None:
            for key, answer in pending.items():
                if self._pending.get(key) is answer:
                    del self._pending[key]

        return committed


def _record(row: dict[str, Any]) -> JobRecord:
    options, cost = json.loads(row.pop("options")), from_nano(row.pop("cost"))
    process = row.pop("process")
    if row["state"] == "running" and has_exited(process):
        row |= {"state": "stopped", "reason": "its process has ended"}
    return JobRecord(**row, options=options, cost=cost)

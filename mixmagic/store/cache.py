"""Answers to earlier questions: `cache.db` in the cache folder.

An answer is stored as JSON under a hash of its question. The question itself is not stored.
"""

from __future__ import annotations

import json
import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

from mixmagic.calls import codec
from mixmagic.calls.completion import Completion
from mixmagic.calls.identity import without_folder
from mixmagic.core.money import Price, Usage, bill, from_nano, to_nano
from mixmagic.core.settings import Settings
from mixmagic.core.values import Model, Request
from mixmagic.errors import StoreDamaged, StoreError, UnreadableRecord
from mixmagic.store.key_locks import KeyLocks
from mixmagic.store.sqlite.database import Database

_MIGRATIONS = (
    """
    CREATE TABLE answers (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        used INTEGER NOT NULL, -- Unix time in milliseconds
        created INTEGER NOT NULL, -- likewise
        model TEXT NOT NULL, -- provider:id
        answer TEXT NOT NULL -- JSON: `calls.codec`
    );
    CREATE INDEX answers_by_use ON answers (used);
    CREATE TABLE totals (hits INTEGER NOT NULL, saved_nanodollars INTEGER NOT NULL);
    INSERT INTO totals VALUES (0, 0)
    """,
)
_MB = 1_000_000
# Seconds that a call waits for the file.
_PATIENCE = 1.0
# Uses of answers are written together: so many, or after so many seconds.
_USES, _INTERVAL = 256, 5.0
# US dollars that one answer may have saved: a provider's own charge can be any number.
_FREE, _MOST = Decimal(0), Decimal(1000)
# Answers that are deleted for one that is stored; more only if that one is larger than these.
_FEW = 3
# Errors of an answer that was not written as we write it.
_UNREADABLE = (UnreadableRecord, ValueError, TypeError, OSError, OverflowError)
_log = logging.getLogger("mixmagic")


class Stored(NamedTuple):
    """An answer in the cache.

    Attributes:
        number: Its row.
        completion: The answer, as it was when it was live.
        recorded: When it was stored, in UTC.
    """

    number: int
    completion: Completion
    recorded: datetime


@dataclass(frozen=True, slots=True)
class Statistics:
    """Sizes and savings of a cache.

    Attributes:
        answers: Answers in it.
        size: Their bytes in the file.
        limit: Bytes that the file may have.
        hits: Calls that it has answered, in all processes, since it was created or cleared.
        saved: US dollars that these calls would have cost.
    """

    answers: int
    size: int
    limit: int
    hits: int
    saved: Decimal


class AnswerCache:
    """The answer cache, which all processes of the user share.

    A file that is damaged, locked or cannot be written costs answers, and raises nothing where a
    call needs it: in `find`, `put` and `note_use`.

    Args:
        folder: The folder of `cache.db`; it is created if need be.
        limit: Bytes that the file may have; the answers used longest ago make room for new ones.
        on: False if the user wants no answers to be read or stored.

    Attributes:
        database: The file.
        locks: Locks of the questions that are being asked.

    Example:
        >>> cache = AnswerCache(settings.cache_dir, 256_000_000)
        >>> cache.put(key, completion)
        >>> cache.find(key, request).completion.text
    """

    def __init__(self, folder: Path, limit: int, *, on: bool = True) -> None:
        self.limit, self.on = limit, on
        self.database = Database(
            folder / "cache.db", _MIGRATIONS, durable=False, on_damage="recreate", private=True
        )
        self.locks = KeyLocks(folder / "cache.locks")
        self._uses = _Uses(self.database)
        weakref.finalize(self, self._uses.write)  # also when the process ends

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the cache of a user with these settings."""
        return cls(settings.cache_dir, settings.cache_size * _MB, on=settings.cache)

    def follow(self, before: Settings, after: Settings) -> None:
        """Follow a change of the settings: a new `cache` there replaces what `on` was set to."""
        self.limit = after.cache_size * _MB
        if before.cache != after.cache:
            self.on = after.cache

    def find(self, key: str, request: Request) -> Stored | None:
        """Return the answer to a question; `None` if there is none that can be read.

        Args:
            key: `calls.identity.cache_key` of the question.
            request: The question.
        """
        try:
            rows = self.database.read(
                "SELECT id, created, answer FROM answers WHERE key = ?",
                (bytes.fromhex(key),),
                _PATIENCE,
            )
            if not rows:
                return None
            number, created, answer = rows[0]
            completion = codec.completion_from_json(json.loads(answer), request)
            recorded = datetime.fromtimestamp(created / 1000, UTC)
        except (*_UNREADABLE, StoreError) as error:
            _log.info("An answer cannot be read from the cache: %s", error)
            return None
        return Stored(number, completion, recorded)

    def put(self, key: str, completion: Completion) -> None:
        """Store the answer to a question, in place of an earlier one.

        Args:
            key: As for `find`.
            completion: The answer.
        """
        answer = codec.dumps(codec.completion_to_json(completion), (",", ":"))
        size, now = len(answer.encode()), _milliseconds()
        if size > self.limit:
            return
        row = bytes.fromhex(key), now, now, _name(completion.model), answer
        try:
            try:
                self._insert(row, size)
            except StoreDamaged:  # and now it is new
                self._insert(row, size)
        except StoreError as error:
            _log.info("An answer is not in the cache: %s", error.message)

    def note_use(self, stored: Stored | None, usage: Usage, price: Price | None) -> None:
        """Note that an answer was used; written later.

        Args:
            stored: The answer; `None` if it was received from a call that another one shared.
            usage: Its tokens.
            price: The price that they would have cost today; `None` if unknown.
        """
        self._uses.add(None if stored is None else stored.number, usage, price)

    def statistics(self) -> Statistics:
        """Return the sizes and savings.

        Raises:
            StoreError: The file cannot be read.
        """
        self._uses.write()
        ((answers,),) = self.database.rows("SELECT COUNT(*) FROM answers")
        ((hits, saved),) = self.database.rows(
            "SELECT COALESCE(SUM(hits), 0), COALESCE(SUM(saved_nanodollars), 0) FROM totals"
        )
        size = _size(self.database.rows)
        return Statistics(answers, size, self.limit, hits, from_nano(saved))

    def clear(self, models: Sequence[Model] | None = None) -> int:
        """Delete all answers, or those of some models; return how many.

        No trace of them is left in the file.

        Raises:
            StoreError: The file cannot be written.
        """
        with self.database.transaction() as connection:
            if models is None:
                self._uses.forget()
                connection.execute("UPDATE totals SET hits = 0, saved_nanodollars = 0")
                count = connection.execute("DELETE FROM answers").rowcount
            else:
                names = [(_name(model),) for model in models]
                delete = "DELETE FROM answers WHERE model = ?"
                count = connection.executemany(delete, names).rowcount
        self.database.compact()
        return count

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield all answers that can be read: `model`, `created`, `key` and `answer`.

        The oldest come first.

        Raises:
            StoreError: The file cannot be read.
        """
        last = 0
        query = "SELECT * FROM answers WHERE id > ? ORDER BY id LIMIT 500"
        while rows := self.database.rows(query, (last,)):
            for row in rows:
                try:
                    created = datetime.fromtimestamp(row["created"] / 1000, UTC)
                    answer = json.loads(row["answer"])
                except _UNREADABLE as error:
                    _log.info("An answer cannot be read from the cache: %s", error)
                    continue
                yield {
                    "model": row["model"],
                    "created": created.isoformat(timespec="seconds"),
                    "key": row["key"].hex(),
                    "answer": answer,
                }
            last = rows[-1]["id"]

    def close(self) -> None:
        """Write what was noted, and close the file. It is opened again if need be."""
        self._uses.write(_PATIENCE)
        self.database.close()
        self.locks.close()

    def _insert(self, row: Sequence[object], size: int) -> None:
        """Store an answer, and delete a few of those used longest ago if the file is too large."""
        with self.database.transaction(_PATIENCE) as connection:
            self._uses.write_in(connection)
            connection.execute(
                "INSERT INTO answers (key, used, created, model, answer) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET used = excluded.used, created = excluded.created,"
                " model = excluded.model, answer = excluded.answer",
                row,
            )
            deleted = freed = 0
            while (deleted < _FEW or freed < size) and _size(connection.execute) > self.limit:
                oldest = connection.execute(
                    "SELECT id, length(CAST(answer AS BLOB)) FROM answers ORDER BY used LIMIT 1"
                ).fetchone()
                if oldest is None:
                    break
                connection.execute("DELETE FROM answers WHERE id = ?", (oldest[0],))
                deleted, freed = deleted + 1, freed + oldest[1]


class _Uses:
    """Uses of answers that are not written yet.

    To lose some loses nothing but a figure. Other threads may add while they are written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: deque[tuple[int | None, int, Usage, Price | None]] = deque()
        self._process, self._written = os.getpid(), time.monotonic()
        self._due = _USES  # how many must have been noted until they are written

    def add(self, number: int | None, usage: Usage, price: Price | None) -> None:
        """Note a use; write all if there are many, or the last time was a while ago."""
        if self._process != os.getpid():  # a forked child: the parent writes those before
            self.forget()
            self._process = os.getpid()
        self._noted.append((number, _milliseconds(), usage, price))
        if len(self._noted) >= self._due or time.monotonic() - self._written > _INTERVAL:
            self.write()

    def forget(self) -> None:
        """Forget what was noted."""
        self._noted.clear()

    def write(self, timeout: float = 0.0) -> None:
        """Write what was noted, unless the file stays locked: then it is tried again later.

        Args:
            timeout: Seconds to wait for the file.
        """
        self._written, self._due = time.monotonic(), _USES
        if not self._noted or self._process != os.getpid():
            return
        try:
            with self._database.transaction(timeout) as connection:
                self.write_in(connection)
        except StoreError as error:
            _log.info("The use of the cache is not noted: %s", error.message)
            if len(self._noted) > 16 * _USES:  # it cannot be written at all
                self.forget()
            self._due = len(self._noted) + _USES // 4

    def write_in(self, connection: Any) -> None:
        """Write what was noted in a transaction."""
        if self._process != os.getpid():
            return
        used: dict[int, int] = {}
        hits = saved = 0
        while self._noted:
            try:
                number, at, usage, price = self._noted.popleft()
            except IndexError:  # another thread was faster
                break
            hits, saved = hits + 1, saved + to_nano(min(bill(usage, price) or _FREE, _MOST))
            if number is not None:
                used[number] = at
        if hits:
            connection.executemany(
                "UPDATE answers SET used = ? WHERE id = ?",
                [(at, number) for number, at in used.items()],
            )
            connection.execute(
                "UPDATE totals SET hits = hits + ?, saved_nanodollars = saved_nanodollars + ?",
                (hits, saved),
            )


def _size(query: Any) -> int:
    """Return the bytes in use in the file. SQLite keeps these figures: no row is read."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (next(iter(query(f"PRAGMA {name}")))[0] for name in names)
    return int((pages - free) * size)


def _name(model: Model) -> str:
    """Return the full name of a model, without the folder of a local one."""
    return without_folder(f"{model.provider.name}:{model.id}", model)


def _milliseconds() -> int:
    """Return the Unix time."""
    return time.time_ns() // 1_000_000

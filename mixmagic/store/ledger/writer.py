"""The rows of this process's calls, and what cannot be written of them yet. For `store.ledger`."""

from __future__ import annotations

import atexit
import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

from mixmagic.errors import StoreDamaged, StoreError
from mixmagic.store.ledger import rows
from mixmagic.store.ledger.reservations import Entry
from mixmagic.store.ledger.rows import Ending
from mixmagic.store.sqlite.database import Database

# Seconds that a call without a budget waits, twice at most, for a file that is locked.
_BRIEFLY = 0.4
# Seconds between two looks for what can be written at last, at first and at most, and how long a
# process that ends keeps looking.
_SOON, _LATER, _AT_EXIT = 0.25, 4.0, 10.0
# Seconds between two words to other processes on which calls go on.
_TOLD = 2.0

T = TypeVar("T")


class Writer:
    """The rows of this process's calls, in the file as soon as it can be written.

    Args:
        database: The ledger's file.
        under_way: The calls under way, by the number of their row: it is kept up to date.
        settled: Called after calls have been settled, whose money is free now.

    Attributes:
        news: Damage that was found when a call ended: the next one is to tell of it.
    """

    def __init__(
        self, database: Database, under_way: dict[int, Entry], settled: Callable[[], None]
    ) -> None:
        self._database, self._under_way, self._settled = database, under_way, settled
        self.news: StoreDamaged | None = None
        # Endings that are not written yet: `None` for a call that was never sent.
        self._owed: dict[Entry, Ending | None] = {}
        self._missing: dict[Entry, None] = {}  # calls under way whose rows are not in the file yet
        self._thread: threading.Thread | None = None
        self._told = 0.0  # when other processes were told which calls go on

    @property
    def patience(self) -> float:
        """Seconds that a call without a budget waits now: only the first one finds a lock out."""
        return 0.0 if self._database.locked else _BRIEFLY

    @property
    def owes(self) -> bool:
        """True if something is not written yet."""
        return bool(_ours(self._owed) or _ours(self._missing))

    def add(self, connection: sqlite3.Connection, entry: Entry) -> None:
        """Add a call's row, within a transaction."""
        entry.number = rows.insert(connection, entry.row)
        self._under_way[entry.number] = entry

    def drop(self, entry: Entry) -> None:
        """Let a call's row go, in the file or not: the call is not made."""
        self._under_way.pop(entry.number or 0, None)
        self._owed[entry] = None

    def add_later(self, entry: Entry) -> None:
        """Add a call's row as soon as it can be done."""
        self._missing[entry] = None
        self._write_later()

    def settle(self, entry: Entry, ending: Ending | None) -> None:
        """Close a call's row, or erase it, now or as soon as it can be done.

        Raises:
            StoreError: It cannot be done yet.
        """
        self._owed[entry] = ending
        try:
            with self.transaction(self.patience):
                pass  # it writes what is owed
        except StoreDamaged as news:
            self.news = news  # for the next call: this one is over
            raise
        except StoreError:
            self._write_later()
            raise

    def abandon(self, entry: Entry) -> None:
        """Let a call that is over count as lost until `settle` says better."""
        self._owed[entry] = Ending("lost", None, entry.row["held_nanodollars"])

    def moved(self, entry: Entry) -> None:
        """Note that a piece of a call's answer has come; tell other processes now and then."""
        entry.move()
        if entry.budgeted and entry.moved - max(entry.began, self._told) > _TOLD:
            before, self._told = self._told, entry.moved
            calls = dict(self._under_way).items()
            numbers = ", ".join(str(number) for number, each in calls if each.moved >= before)
            self.write(0.0, f"UPDATE calls SET moved_at = {time.time()} WHERE id IN ({numbers})")  # noqa: S608  # numbers

    def write(self, patience: float, statement: str | None = None) -> None:
        """Write what is owed, and a statement's change, if it can be done within some seconds."""
        if not (self.owes or statement):
            return
        try:
            with self.transaction(patience) as connection:
                if statement is not None:
                    connection.execute(statement)
        except StoreDamaged as news:
            self.news = news
        except StoreError:
            pass

    @contextlib.contextmanager
    def transaction(self, patience: float | None = None) -> Iterator[sqlite3.Connection]:
        """A transaction that also writes what is owed: see `Database.transaction`."""
        ended: dict[Entry, tuple[Ending | None, int | None]] = {}
        begun: dict[Entry, int] = {}

        def kept() -> None:
            for entry, (ending, number) in ended.items():
                self._written(entry, number)
                if self._owed.get(entry, ending) is ending:  # and nobody has said more meanwhile
                    self._owed.pop(entry, None)
            for entry, number in begun.items():
                self._written(entry, number)
                self._under_way[number] = entry

        with self._database.transaction(patience, kept) as connection:
            # Not before it is our turn: what another thread has said since must stand.
            for entry, ending in _ours(self._owed).items():
                ended[entry] = ending, rows.settle(connection, entry, ending)
            for entry in _ours(self._missing):
                if entry not in ended:
                    begun[entry] = rows.insert(connection, entry.row)
            yield connection
        if ended:
            self._settled()

    def _written(self, entry: Entry, number: int | None) -> None:
        """Note which row a call has now, if any."""
        self._missing.pop(entry, None)
        self._under_way.pop(entry.number or 0, None)
        entry.number = number

    def _write_later(self) -> None:
        """Write what is owed as soon as it can be done, in a thread; also if the process ends."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._keep_writing, name="mixmagic-ledger", daemon=True
            )
            self._thread.start()
            atexit.register(_at_exit, weakref.ref(self), os.getpid())

    def _keep_writing(self) -> None:
        pause = _SOON
        while self.owes:
            time.sleep(pause)
            self.write(0.0)
            pause = min(2 * pause, _LATER)


def _ours(entries: dict[Entry, T]) -> dict[Entry, T]:
    """Return those of this process: a forked child has copies of its parent's."""
    mine = os.getpid()
    return {entry: value for entry, value in entries.copy().items() if entry.process == mine}


def _at_exit(reference: weakref.ref[Writer], process: int) -> None:
    """Write what a process that ends has not written yet."""
    writer = reference()
    if writer is not None and process == os.getpid():
        writer.write(_AT_EXIT)

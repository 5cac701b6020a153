"""The ledger's file, and what cannot be written to it yet. For `store.ledger`."""

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
from mixmagic.store import rows
from mixmagic.store.db import Database
from mixmagic.store.reservations import Entry
from mixmagic.store.rows import Ending

# Seconds that a call without a budget waits, twice at most, for a file that is locked.
_BRIEFLY = 0.4
# Seconds between two looks for what can be written at last, at first and at most, and how long a
# process that ends keeps looking.
_SOON, _LATER, _AT_EXIT = 0.25, 4.0, 10.0


T = TypeVar("T")


class Writer:
    """The rows of this process's calls, in the file as soon as it can be written.

    Args:
        database: The ledger's file.
        paid: Called after calls have been settled, whose money is free now.

    Attributes:
        open: The calls under way, by the number of their row.
        news: Damage that was found when a call ended: the next one is to tell of it.
    """

    def __init__(self, database: Database, paid: Callable[[], None]) -> None:
        self._database, self._paid = database, paid
        self.open: dict[int, Entry] = {}
        self.news: StoreDamaged | None = None
        # Endings that are not written yet: `None` for a call that was never sent.
        self._owed: dict[Entry, Ending | None] = {}
        self._missing: dict[Entry, None] = {}  # calls under way whose rows are not in the file yet
        self._thread: threading.Thread | None = None

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
        self.open[entry.number] = entry

    def drop(self, entry: Entry) -> None:
        """Let a call's row go, in the file or not: the call is not made."""
        self.open.pop(entry.number or 0, None)
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

    def write(self, patience: float) -> None:
        """Write what is owed, if it can be done within some seconds."""
        if self.owes:
            try:
                with self.transaction(patience):
                    pass
            except StoreDamaged as news:
                self.news = news
            except StoreError:
                pass

    @contextlib.contextmanager
    def transaction(self, patience: float | None = None) -> Iterator[sqlite3.Connection]:
        """A transaction that also writes what is owed: see `Database.transaction`."""
        added: dict[Entry, int] = {}
        before: dict[Entry, int | None] = {}
        paid: dict[Entry, Ending | None] = {}
        try:
            with self._database.transaction(patience) as connection:
                # Not before it is our turn: what another thread has said since must stand.
                for entry, ending in _ours(self._owed):
                    added[entry] = rows.settle(connection, entry, ending) or 0
                    paid[entry] = ending
                for entry, _ in _ours(self._missing):
                    if entry not in paid:
                        added[entry] = rows.insert(connection, entry.row)
                yield connection
                before = {entry: entry.number for entry in added}
                # Still alone with the file: nobody adds them once more.
                for entry, number in added.items():
                    self._written(entry, number, over=entry in paid)
        except BaseException:
            for entry, earlier in before.items():
                self._written(entry, earlier, over=entry in paid)
                if entry not in paid:
                    self._missing[entry] = None
            raise
        for entry, ending in paid.items():
            if self._owed.get(entry, ending) is ending:  # and nobody has said more meanwhile
                self._owed.pop(entry, None)
        if paid:
            self._paid()

    def _written(self, entry: Entry, number: int | None, *, over: bool) -> None:
        """Note which row a call has now, if any."""
        self._missing.pop(entry, None)
        if entry.number is not None:
            self.open.pop(entry.number, None)
        entry.number = number or None
        if number and not over:
            self.open[number] = entry

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


def _ours(
    entries: dict[Entry, Ending | None] | dict[Entry, None],
) -> list[tuple[Entry, Ending | None]]:
    """Return those of this process: a forked child has copies of its parent's."""
    mine = os.getpid()
    return [(entry, ending) for entry, ending in entries.copy().items() if entry.process == mine]


def _at_exit(reference: weakref.ref[Writer], process: int) -> None:
    """Write what a process that ends has not written yet."""
    writer = reference()
    if writer is not None and process == os.getpid():
        writer.write(_AT_EXIT)

"""Calls that wait for money: for whose, and whose turn it is. For `store.ledger` and `layers`.

First come, first served, for each limit: among the calls of one process by `Turns`, among those of
several through the ledger's table `waiting`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from mixmagic.core.cancel import Bell
from mixmagic.core.money import dollars
from mixmagic.store.ledger import processes
from mixmagic.store.ledger.budgets import Balance
from mixmagic.store.ledger.reservations import Entry
from mixmagic.store.ledger.rows import Query

# Seconds after which other processes are told of a call that waits, and after which they forget it.
_TOLD, _FORGOTTEN = 0.25, 3.0
# Seconds without a word after which nobody waits for a call of another process.
ELSEWHERE = 7.0
# Calls under way, with what says whether they may be waited for.
_RESERVED = """SELECT id, moved_at, held_nanodollars, session, notebook, day,
    substr(day, 1, 7) AS month, cell FROM calls WHERE status = 'open' AND held_nanodollars > 0"""


@dataclass(slots=True, eq=False)
class Turn:
    """A call that waits for money.

    Attributes:
        limits: The ids of the limits that have too little left for it.
        since: When it began to wait: seconds since 1970.
        bell: Rings when there may be money, or the call is stopped.
        looking: True while it really waits. One whose reader is busy with what it was told holds
            nobody up.
        told: True if other processes know of it.
    """

    limits: Set[str] = frozenset()
    since: float = field(default_factory=time.time)
    bell: Bell = field(default_factory=Bell)
    looking: bool = False
    told: bool = False


class Turns:
    """The calls of this process that wait for money, in the order in which they came.

    Args:
        under_way: The calls of this process that have a row, by its number.
    """

    def __init__(self, under_way: Mapping[int, Entry]) -> None:
        self._under_way = under_way
        self._begin()

    def _begin(self) -> None:
        self._lock, self._process = threading.Lock(), os.getpid()
        self._queue: list[Turn] = []

    def enter(self, turn: Turn) -> None:
        """Put a call behind all others."""
        if self._process != os.getpid():  # a forked child has none of its parent's threads
            self._begin()
        with self._lock:
            self._queue.append(turn)

    def leave(self, turn: Turn) -> None:
        """Take a call out; whoever waited behind it looks again."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._queue.remove(turn)
        self.ring()

    def ring(self) -> None:
        """Let everybody look again whose turn it is."""
        if self._process != os.getpid():
            return
        with self._lock:
            taken: set[str] = set()
            for turn in self._queue:
                if taken.isdisjoint(turn.limits):
                    turn.bell.ring()
                if turn.looking:
                    taken |= turn.limits

    def first(self, limits: Set[str], turn: Turn | None = None) -> bool:
        """Return True if no call of this process waits for one of some limits, and came earlier.

        Args:
            limits: Those of the call.
            turn: Its place, if it waits itself.
        """
        if self._process != os.getpid():
            return True
        with self._lock:
            for other in self._queue:
                if other is turn:
                    return True
                if other.looking and not other.limits.isdisjoint(limits):
                    return False
        return True

    def behind(self, connection: sqlite3.Connection, limits: Set[str], turn: Turn | None) -> bool:
        """Return True if a call has waited longer for one of some limits, in any process.

        Args:
            connection: The ledger's.
            limits: Those of the call.
            turn: Its place, if it waits itself.
        """
        others = connection.execute("SELECT owner, limits, since, looked_at FROM waiting")
        behind = _behind(others.fetchall(), limits, turn) or not self.first(limits, turn)
        # They may wait for the very call that this thread holds open.
        return behind and not any(each.mine() for each in self._calls().values())

    def returning(self, query: Query, balances: Sequence[Balance]) -> list[Balance]:
        """Add to balances what they have reserved for calls that may be waited for."""
        calls = self._calls()
        waited = [row for row in query(_RESERVED, ()) if _goes_on(row, calls.get(row["id"]))]
        return [
            replace(
                balance,
                returning=dollars(
                    sum(
                        row["held_nanodollars"]
                        for row in waited
                        if row[balance.limit.per] == balance.limit.key
                    )
                ),
            )
            for balance in balances
        ]

    def _calls(self) -> dict[int, Entry]:
        """Return the calls under way: a copy, other threads may make more."""
        return dict(self._under_way)


def _goes_on(row: sqlite3.Row, entry: Entry | None) -> bool:
    """Return True if an open call may be waited for: another thread's that goes on."""
    if entry is not None and entry.process == os.getpid():
        return entry.moves and not entry.mine()
    moved = row["moved_at"]
    return moved is not None and abs(time.time() - moved) <= ELSEWHERE


def _behind(others: Sequence[sqlite3.Row], limits: Set[str], turn: Turn | None) -> bool:
    """Return True if one of the calls of other processes has waited longer for a limit."""
    now = time.time()
    since = now if turn is None else turn.since
    return any(
        row["owner"] != processes.this()
        and row["since"] < since
        and abs(now - row["looked_at"]) <= _FORGOTTEN
        and not limits.isdisjoint(row["limits"].split("\n"))
        for row in others
    )


def tell(connection: sqlite3.Connection, turn: Turn) -> None:
    """Tell other processes of a call that waits, if it has waited for a while."""
    now = time.time()
    if now - turn.since > _TOLD:
        turn.told = True
        connection.execute("DELETE FROM waiting WHERE looked_at < ?", (now - 20 * _FORGOTTEN,))
        connection.execute(
            "INSERT OR REPLACE INTO waiting (owner, since, limits, looked_at) VALUES (?, ?, ?, ?)",
            (processes.this(), turn.since, "\n".join(turn.limits), now),
        )


def forget(connection: sqlite3.Connection, turn: Turn) -> None:
    """Let other processes go on that a call no longer waits."""
    if turn.told:
        key = (processes.this(), turn.since)
        connection.execute("DELETE FROM waiting WHERE owner = ? AND since = ?", key)
        turn.told = False

"""Whose turn it is among the calls that wait for money: first come, first served, per limit.

Of one process by `Turns`, of several through the ledger's table `waiting`. For `store.ledger` and
whoever makes calls.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from mixmagic.stop import Bell
from mixmagic.store import processes

# Seconds after which other processes are told of a call that waits, and after which they forget it.
_TOLD, _FORGOTTEN = 0.25, 3.0


@dataclass(slots=True, eq=False)
class Turn:
    """A call that waits for money.

    Attributes:
        limits: The limits that have too little left for it, each as `day:2026-11-24`.
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
    """The calls of this process that wait for money, in the order in which they came."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lock, self._process = threading.Lock(), os.getpid()
        self._queue: list[Turn] = []

    def __bool__(self) -> bool:
        return bool(self._queue)

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

    def first(self, limits: Set[str], turn: Turn | None = None) -> bool:
        """Return True if nobody who came earlier waits for one of these limits.

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


def others(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """Return the calls of all processes that wait, and have for a while."""
    return connection.execute("SELECT owner, limits, since, looked_at FROM waiting").fetchall()


def behind(waiting: Sequence[sqlite3.Row], limits: Set[str], turn: Turn | None) -> bool:
    """Return True if a call of another process has waited longer for one of some limits.

    Args:
        waiting: What `others` returns.
        limits: Those of the call.
        turn: Its place, if it waits itself.
    """
    now = time.time()
    since = now if turn is None else turn.since
    return any(
        row["owner"] != processes.this()
        and row["since"] < since
        and abs(now - row["looked_at"]) <= _FORGOTTEN
        and not limits.isdisjoint(row["limits"].split("\n"))
        for row in waiting
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

"""Calls under way and calls that wait: what each has reserved, and whose turn it is for money.

Waiting calls are served first come, first served, for each limit: those of one process by
`Waiters`, those of several processes through the ledger's table `waiting`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from mixmagic.calls.worst_case import WorstCase, with_limit
from mixmagic.core.cancel import Wakeup
from mixmagic.core.money import from_nano
from mixmagic.core.values import Request
from mixmagic.store.ledger import processes
from mixmagic.store.ledger.budgets import Balance, Grant
from mixmagic.store.ledger.spend import day

Query = Callable[[str, Sequence[object]], Iterable[sqlite3.Row]]

# Seconds without a piece of its answer after which no call waits for another one's money: a call
# of this process, and one of another, which tells less often.
_STILL, STILL_ELSEWHERE = 5.0, 7.0
# Seconds after which other processes are told of a waiting call, and after which they forget it.
_ANNOUNCED, _FORGOTTEN = 0.25, 3.0
_RESERVED = """SELECT id, moved_at, held_nanodollars, session, notebook, day,
    substr(day, 1, 7) AS month, cell FROM calls WHERE status = 'open' AND held_nanodollars > 0"""


@dataclass(slots=True, eq=False)
class Entry:
    """The row of a call under way, whether it is in the file yet or not.

    Attributes:
        row: Its columns.
        process: The process that makes the call: a forked child only has a copy.
        number: The row's id; `None` while it is not in the file.
        budgeted: True if budgets apply to the call.
        began: When the call began, on the monotonic clock.
        moved: When the last piece of its answer was received, or when it began, likewise.
        thread: The thread that reads the answer.
    """

    row: dict[str, Any]
    process: int = field(default_factory=os.getpid)
    number: int | None = None
    budgeted: bool = False
    began: float = field(default_factory=time.monotonic)
    moved: float = field(init=False)
    thread: int = field(default_factory=threading.get_ident)

    def __post_init__(self) -> None:
        self.moved = self.began

    def move(self) -> None:
        """Note that a piece of the answer has been received, and which thread reads it."""
        self.moved, self.thread = time.monotonic(), threading.get_ident()

    @property
    def moves(self) -> bool:
        """True if the call goes on: its money will be free some time."""
        return time.monotonic() - self.moved <= _STILL

    def mine(self) -> bool:
        """Return True if this very thread reads the answer: it cannot wait for the call to end."""
        return self.process == os.getpid() and self.thread == threading.get_ident()


@dataclass(slots=True, eq=False)
class Reservation:
    """The reservation of one call in the ledger.

    Attributes:
        request: The call, as it is sent: a budget sets its `max_tokens`, and may lower it.
        notebook: The notebook's path, if known.
        worst_case: The worst case of its cost.
        asked: The call, as it was asked for.
        most: US dollars that it can cost as it is sent; `None` if unknown.
        started_at: Seconds since 1970.
        day: Its local day.
        entry: Its row, as soon as there may be one.
        clamp: The tokens that a budget has left for it, and that budget's name, if they are fewer
            than it asked for.
        on_lost: Called with `entry` if the reservation is dropped without a record of the call,
            as after Ctrl-C at the wrong moment.
    """

    request: Request
    notebook: str | None
    worst_case: WorstCase
    started_at: float = field(default_factory=time.time)
    day: str = field(init=False)
    asked: Request = field(init=False)
    most: Decimal | None = field(init=False)
    entry: Entry | None = None
    clamp: tuple[int, str] | None = None
    on_lost: Callable[[Entry], None] | None = None

    def __post_init__(self) -> None:
        self.day, self.asked, self.most = day(self.started_at), self.request, self.worst_case.cost

    def __del__(self) -> None:
        if self.on_lost is not None and self.entry is not None:
            self.on_lost(self.entry)

    @property
    def number(self) -> int | None:
        """Number of the call's row; `None` if it is not in the file."""
        return None if self.entry is None else self.entry.number

    @property
    def own_entry(self) -> Entry | None:
        """The call's row, in the process that makes the call."""
        entry = self.entry
        return entry if entry is not None and entry.process == os.getpid() else None

    def grant(self, grant: Grant) -> None:
        """Fit the call into what its budgets have left."""
        worst, price = self.worst_case, self.request.model.price
        self.request, self.most, self.clamp = with_limit(self.asked, grant.tokens), worst.most, None
        if grant.tightest is not None and price is not None:
            self.most = price.most(worst.prompt_tokens, grant.tokens * worst.answers)
            self.clamp = grant.tokens, grant.tightest.limit.name


@dataclass(slots=True, eq=False)
class Waiter:
    """A call that waits for money.

    Attributes:
        limits: Ids of the limits that have too little left for it.
        since: When it began to wait: seconds since 1970.
        wakeup: Woken when there may be money, or when the call is stopped.
        active: False while its reader is busy with a progress message: then it delays no other.
        announced: True if other processes know of it.
    """

    limits: Set[str] = frozenset()
    since: float = field(default_factory=time.time)
    wakeup: Wakeup = field(default_factory=Wakeup)
    active: bool = False
    announced: bool = False


class Waiters:
    """The calls of this process that wait for money, in the order in which they came.

    Args:
        under_way: The rows of this process's calls under way, by number.
    """

    def __init__(self, under_way: Mapping[int, Entry]) -> None:
        self._under_way = under_way
        self._reset()

    def _reset(self) -> None:
        self._lock, self._process = threading.Lock(), os.getpid()
        self._queue: list[Waiter] = []

    def add(self, waiter: Waiter) -> None:
        """Put a call behind all others."""
        if self._process != os.getpid():  # a forked child has none of its parent's threads
            self._reset()
        with self._lock:
            self._queue.append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Take a call out, and wake those behind it."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._queue.remove(waiter)
        self.wake()

    def wake(self) -> None:
        """Wake each call that is the first one for all its limits."""
        if self._process != os.getpid() or not self._queue:
            return
        with self._lock:
            taken: set[str] = set()
            for waiter in self._queue:
                if taken.isdisjoint(waiter.limits):
                    waiter.wakeup.wake()
                if waiter.active:
                    taken |= waiter.limits

    def is_first(self, limits: Set[str], waiter: Waiter | None) -> bool:
        """Return True if no earlier call of this process waits for one of some limits."""
        if self._process != os.getpid():
            return True
        with self._lock:
            for other in self._queue:
                if other is waiter:
                    return True
                if other.active and not other.limits.isdisjoint(limits):
                    return False
        return True

    def is_behind(
        self, connection: sqlite3.Connection, limits: Set[str], waiter: Waiter | None
    ) -> bool:
        """Return True if a call of any process has waited longer for one of some limits."""
        others = connection.execute("SELECT owner, limits, since, looked_at FROM waiting")
        behind = _is_behind(others.fetchall(), limits, waiter)
        if not (behind or not self.is_first(limits, waiter)):
            return False
        # The others may wait for a call whose answer this very thread is reading.
        return not any(entry.mine() for entry in self._calls().values())

    def with_returning(self, query: Query, balances: Sequence[Balance]) -> list[Balance]:
        """Return balances with the amounts that calls which can be waited for have reserved."""
        calls = self._calls()
        moving = [row for row in query(_RESERVED, ()) if _moves(row, calls.get(row["id"]))]
        return [
            replace(
                balance,
                returning=from_nano(
                    sum(
                        row["held_nanodollars"]
                        for row in moving
                        if row[balance.limit.per] == balance.limit.key
                    )
                ),
            )
            for balance in balances
        ]

    def _calls(self) -> dict[int, Entry]:
        """Return the calls under way: a copy, other threads may add more."""
        return dict(self._under_way)


def _moves(row: sqlite3.Row, entry: Entry | None) -> bool:
    """Return True if an open call can be waited for: it goes on in another thread or process."""
    if entry is not None and entry.process == os.getpid():
        return entry.moves and not entry.mine()
    moved = row["moved_at"]
    return moved is not None and abs(time.time() - moved) <= STILL_ELSEWHERE


def _is_behind(others: Sequence[sqlite3.Row], limits: Set[str], waiter: Waiter | None) -> bool:
    """Return True if a call of another process has waited longer for one of some limits."""
    now = time.time()
    since = now if waiter is None else waiter.since
    return any(
        row["owner"] != processes.own_process_id()
        and row["since"] < since
        and abs(now - row["looked_at"]) <= _FORGOTTEN
        and not limits.isdisjoint(row["limits"].split("\n"))
        for row in others
    )


def announce(connection: sqlite3.Connection, waiter: Waiter) -> None:
    """Tell other processes of a call that has waited for a while."""
    now = time.time()
    if now - waiter.since > _ANNOUNCED:
        waiter.announced = True
        connection.execute("DELETE FROM waiting WHERE looked_at < ?", (now - 20 * _FORGOTTEN,))
        connection.execute(
            "INSERT OR REPLACE INTO waiting (owner, since, limits, looked_at) VALUES (?, ?, ?, ?)",
            (processes.own_process_id(), waiter.since, "\n".join(waiter.limits), now),
        )


def withdraw(connection: sqlite3.Connection, waiter: Waiter) -> None:
    """Tell other processes that a call does not wait any more."""
    if waiter.announced:
        key = (processes.own_process_id(), waiter.since)
        connection.execute("DELETE FROM waiting WHERE owner = ? AND since = ?", key)
        waiter.announced = False

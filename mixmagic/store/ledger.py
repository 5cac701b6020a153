"""The spend record: one row for every call, whole, stopped, failed or lost.

A row is made before the call is sent, with the most that the call can cost, and closed with what
it did cost. What a killed process leaves open is closed by the next one, as `lost`, at its most.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from mixmagic import forks
from mixmagic.completion import Completion
from mixmagic.errors import BadArguments, StoreDamaged, StoreError
from mixmagic.money import Budget, Per, dollars, nano
from mixmagic.store import accounts, holds
from mixmagic.store.accounts import Ending, Status
from mixmagic.store.budgets import Budgets, Cap, Left, exceeded, unbounded
from mixmagic.store.db import Database
from mixmagic.store.holds import Hold, Key, encodable
from mixmagic.store.owners import gone
from mixmagic.store.schema import MIGRATIONS
from mixmagic.store.spend import By, Period, Spent, day, spent
from mixmagic.values import Model

# Seconds after which a call that another host made is taken for lost: none takes so long.
_LONGEST = 86_400.0


class Ledger:
    """The calls of all sessions of this user, in `ledger.db`, and what they may cost.

    Args:
        data_dir: The folder of `ledger.db` and `budgets.json`.
        session: What this session is called.
        budgets: US dollars per period, from the settings.
    """

    def __init__(
        self, data_dir: Path, session: str, budgets: Mapping[Per, Decimal] | None = None
    ) -> None:
        self.database = Database(data_dir / "ledger.db", MIGRATIONS)
        self.budgets = Budgets(data_dir / "budgets.json", budgets or {})
        self.session = session
        self._swept = 0  # the process that has looked for lost calls
        # Endings that are not written yet, and the rows that they are of.
        self._owed: dict[Key, tuple[dict[str, Any], Ending]] = {}
        self._generation: int | None = None  # the file's, when it was last written
        self._news: StoreDamaged | None = None  # what the next call is to be told

    def reserve(self, hold: Hold) -> None:
        """Add a row for a call that is about to be sent, where no budget forbids it.

        Looking and holding are one transaction: whatever runs beside it, in any process, the
        calls under way can never cost more than what is left.

        Raises:
            BudgetExceeded: It could cost more than a budget has left.
            StoreError: The ledger cannot be written, or the limits cannot be read.
        """
        if self._news is not None:
            news, self._news = self._news, None
            raise news
        if self._swept != os.getpid():
            self.sweep()
        row = holds.row(hold, self.session)
        most = row["held_nanodollars"]
        with self._transaction() as connection:
            caps = self.caps(hold)  # in here: whoever changes a limit does it in a transaction, too
            if caps and most is None:
                raise unbounded(hold.bound, caps[0])
            if most:
                sums = accounts.spending(connection.execute, caps)
                rest = [nano(c.limit) - sum(both) for c, both in zip(caps, sums, strict=True)]
                if rest and most > min(rest):
                    first = next(place for place, each in enumerate(rest) if most > each)
                    left = Left(caps[first], *map(dollars, sums[first]))
                    raise exceeded(hold.request, hold.bound, left, dollars(min(rest)))
            hold.row, hold.number = row, accounts.insert(connection, row)
            # Where nothing ever settles it, as after Ctrl-C in the wrong moment.
            hold.guard = weakref.finalize(hold, self._abandon, holds.key(hold), row)
            hold.guard.atexit = False

    def settle(
        self, hold: Hold, status: Status, completion: Completion | None, error: str | None = None
    ) -> None:
        """Close a call's row with what it came to; `completion` is `None` where nothing was sent.

        An ending that cannot be written now is written with the next call's.

        Raises:
            StoreError: The ledger cannot be written; the row stays open.
        """
        if hold.process != os.getpid():
            return
        if error is not None:
            error = encodable(error)
        ending = Ending(status, error, 0, 0, 0, 0, "server")
        if completion is not None:
            usage, cost, first = completion.usage, completion.cost, completion.ttft
            ending = Ending(
                status,
                error,
                None if cost is None else nano(cost),
                usage.prompt_tokens,
                usage.cached_tokens,
                usage.completion_tokens,
                usage.counted,
                completion.elapsed * 1000,
                None if first is None else first * 1000,
            )
        self._owed[holds.key(hold)] = hold.row, ending
        if hold.guard is not None:
            hold.guard.detach()
        try:
            with self._transaction():
                pass  # it pays what is owed
        except StoreDamaged as news:
            self._news = news  # for the next call: this one is over
            raise

    def abandon(self, hold: Hold) -> None:
        """Let a call that is over count as lost until `settle` says better."""
        if hold.number is not None and hold.process == os.getpid():
            self._abandon(holds.key(hold), hold.row)

    def _abandon(self, key: Key, row: dict[str, Any]) -> None:
        self._owed[key] = row, Ending("lost", None, row["held_nanodollars"])

    def caps(self, hold: Hold) -> list[Cap]:
        """The limits that hold for a call.

        Raises:
            StoreError: The limits cannot be read.
        """
        return self.budgets.caps(self.session, hold.notebook, hold.day, hold.request.budget)

    def limit(self, per: Per, limit: Decimal | None, notebook: str | None = None) -> None:
        """Set what may be spent in a period, or take the limit off with `None`.

        Raises:
            BadArguments: The notebook is not known.
            StoreError: The limit cannot be written.
        """
        if per == "session":
            self.budgets.set(per, limit, notebook)
            return
        with self.database.transaction():  # no two processes write the file at once
            self.budgets.set(per, limit, notebook)

    def left(self, notebook: str | None, cell: Budget | None = None) -> list[Left]:
        """What the limits that hold for a call now have left.

        Raises:
            StoreError: The ledger, or the limits, cannot be read.
        """
        try:
            self.sweep()
        except StoreDamaged:
            raise
        except StoreError:
            pass  # what cannot be written can yet be read
        caps = self.budgets.caps(self.session, notebook, day(), cell)
        sums = accounts.spending(self.database.rows, caps)
        return [Left(cap, *map(dollars, both)) for cap, both in zip(caps, sums, strict=True)]

    def answers(self, model: Model) -> tuple[int, int]:
        """How many whole answers of a model there are, and their tokens in all.

        Raises:
            StoreError: The ledger cannot be read.
        """
        (row,) = self.database.rows(
            "SELECT COALESCE(SUM(calls), 0), COALESCE(SUM(completion_tokens), 0) FROM totals"
            " WHERE session = '' AND provider = ? AND model = ? AND status = 'ok'",
            (model.provider.name, model.id),
        )
        return tuple(row)

    def spent(self, period: Period = "session", by: By = "model") -> list[Spent]:
        """What calls have cost, in groups: the dearest first, days in their order.

        Raises:
            StoreError: The ledger cannot be read.
        """
        return spent(self.database, self.session, period, by)

    def sweep(self) -> None:
        """Close the rows that processes have left open which are no more: as lost, at their most.

        Raises:
            StoreError: The ledger cannot be read or written.
        """
        try:
            rows = self.database.rows(
                "SELECT id, owner, started_at FROM calls WHERE status = 'open'"
            )
        except StoreDamaged:
            self._generation = None  # it is told once
            raise
        ended = {name: gone(name) for name in {row["owner"] for row in rows}}
        longest = time.time() - _LONGEST
        lost = [
            row["id"]
            for row in rows
            if ended[row["owner"]] or (ended[row["owner"]] is None and row["started_at"] < longest)
        ]
        if lost or self._owed:
            with self._transaction() as connection:
                for number in lost:
                    query = connection.execute(f"{accounts.ROW} AND status = 'open'", (number,))
                    if row := query.fetchone():
                        ending = Ending("lost", None, row["held_nanodollars"])
                        accounts.close(connection, row, ending)
        self._swept = os.getpid()

    def resolve(self, number: int, cost: Decimal) -> None:
        """Settle a call of doubtful cost with what the provider has billed for it.

        That is a lost one, an open one of another host, or one for which the provider counted
        more than it could have cost.

        Args:
            number: The call's row.
            cost: US dollars.

        Raises:
            BadArguments: There is no such lost call.
            StoreError: The ledger cannot be read or written.
        """
        with forks.lock, self._transaction() as connection:
            row = connection.execute(accounts.ROW, (number,)).fetchone()
            if row is None or not holds.doubtful(row):
                raise BadArguments(
                    f"No call of number {number} was lost.",
                    "`spend --resolve` lists those that were.",
                )
            accounts.close(connection, row, Ending("resolved", None, nano(cost)))

    def close(self) -> None:
        """Write what is owed, and close the file. It is opened again where need be."""
        if self._owed:
            with contextlib.suppress(StoreError), self._transaction():
                pass
        self.database.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that also writes the endings which are owed."""
        mine = os.getpid()  # a forked child has copies of its parent's
        with self.database.lock:
            try:
                with self.database.transaction() as connection:
                    # Not before it is our turn: what another thread has said since must stand.
                    owed = {k: each for k, each in self._owed.copy().items() if k.process == mine}
                    if self._generation not in (None, self.database.generation):
                        raise StoreDamaged(
                            f"{self.database.path} was deleted or replaced: what was spent before"
                            " is not counted any more.",
                            "Run this again; to go back, put a backup in its place.",
                        )
                    self._generation = self.database.generation
                    for key, (row, ending) in owed.items():
                        accounts.settle(connection, key, row, ending)
                    yield connection
            except StoreDamaged:
                self._generation = None  # it is told once
                raise
            for key, paid in owed.items():
                last = self._owed.pop(key, paid)
                if last is not paid:  # another thread, or the garbage collector, has said more
                    self._owed.setdefault(key, last)

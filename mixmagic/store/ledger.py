"""The spend record: one row for every call, whole, stopped, failed or lost.

A row is made before the call is sent, with the most that the call can cost, and closed with what
it did cost. What a killed process leaves open is closed by the next one, as `lost`, at its most.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from mixmagic.bounds import Bound
from mixmagic.completion import Completion
from mixmagic.errors import BadArguments, StoreError
from mixmagic.money import Budget, Per
from mixmagic.store import accounts
from mixmagic.store.accounts import Ending, Status, nano
from mixmagic.store.budgets import Budgets, Cap, Left, exceeded, unbounded
from mixmagic.store.db import Database
from mixmagic.store.owners import gone, owner
from mixmagic.store.schema import MIGRATIONS
from mixmagic.store.spend import By, Period, Spent, day, spent
from mixmagic.values import Model, Request

# Seconds after which a call that another host made is taken for lost: none takes so long.
_LONGEST = 86_400.0


@dataclass(slots=True, eq=False)
class Hold:
    """One call's place in the ledger.

    Attributes:
        request: The call.
        notebook: The notebook's path, where known.
        bound: The most that the call can cost.
        started_at: Seconds since 1970.
        number: The row's, as soon as there may be one.
    """

    request: Request
    notebook: str | None
    bound: Bound
    started_at: float = field(default_factory=time.time)
    number: int | None = None

    @property
    def day(self) -> str:
        """The day of the call, where we are."""
        return day(self.started_at)


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
        self._owed: dict[Hold, Ending] = {}  # endings that are not written yet

    def reserve(self, hold: Hold) -> None:
        """Add a row for a call that is about to be sent, where no budget forbids it.

        Looking and holding are one transaction: whatever runs beside it, in any process, the
        calls under way can never cost more than what is left.

        Raises:
            BudgetExceeded: It could cost more than a budget has left.
            StoreError: The ledger cannot be written, or the limits cannot be read.
        """
        request, price = hold.request, hold.request.model.price
        caps = self.caps(hold)
        if hold.bound.cost is None and caps:
            raise unbounded(hold.bound, caps[0])
        if self._swept != os.getpid():
            self.sweep()
        row = {
            "started_at": hold.started_at,
            "day": hold.day,
            "session": self.session,
            "notebook": hold.notebook,
            "cell": request.budget.id if request.budget else None,
            "provider": request.model.provider.name,
            "model": request.model.id,
            "status": "open",
            "owner": owner(),
            "held_nanodollars": nano(hold.bound.cost),
        }
        if price is not None:
            row |= {
                "input_price_nanodollars": nano(price.input),
                "cached_price_nanodollars": nano(price.cached),
                "output_price_nanodollars": nano(price.output),
                "price_since": price.since.isoformat() if price.since else None,
                "price_source": price.source or None,
            }
        with self._transaction() as connection:
            for cap in caps:
                left = accounts.left(
                    connection.execute(accounts.SPENDING, (cap.scope,)).fetchall(), cap
                )
                if hold.bound.cost and hold.bound.cost > left.left:
                    raise exceeded(request, hold.bound, left)
            cursor = connection.execute(
                f"INSERT INTO calls ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608  # names of ours
                tuple(row.values()),
            )
            hold.number = cursor.lastrowid
            accounts.spend(connection, row, held=nano(hold.bound.cost) or 0)

    def settle(
        self, hold: Hold, status: Status, completion: Completion | None, error: str | None = None
    ) -> None:
        """Close a call's row with what it came to; `completion` is `None` where nothing was sent.

        An ending that cannot be written now is written with the next call's.

        Raises:
            StoreError: The ledger cannot be written; the row stays open.
        """
        if error is not None:  # a provider's words may hold half a surrogate pair
            error = error.encode("utf-8", "replace").decode()
        ending = Ending(status, error)
        if completion is not None:
            usage, first = completion.usage, completion.ttft
            ending = Ending(
                status,
                error,
                nano(completion.cost),
                usage.prompt_tokens,
                usage.cached_tokens,
                usage.completion_tokens,
                usage.counted,
                completion.elapsed * 1000,
                None if first is None else first * 1000,
            )
        self._owed[hold] = ending
        with self._transaction():
            pass  # it pays what is owed

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
        with contextlib.suppress(StoreError):  # what cannot be written can yet be read
            self.sweep()
        caps = self.budgets.caps(self.session, notebook, day(), cell)
        rows = self.database.rows
        return [accounts.left(rows(accounts.SPENDING, (cap.scope,)), cap) for cap in caps]

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
        rows = self.database.rows("SELECT id, owner, started_at FROM calls WHERE status = 'open'")
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
                    for row in connection.execute(f"{accounts.ROW} AND status = 'open'", (number,)):
                        cost = row["held_nanodollars"]
                        accounts.close(
                            connection, row, Ending("lost", None, cost, None, None, None, None)
                        )
        self._swept = os.getpid()

    def resolve(self, number: int, cost: Decimal) -> None:
        """Settle a lost call with what the provider has billed for it.

        Args:
            number: The call's row.
            cost: US dollars.

        Raises:
            BadArguments: There is no such lost call.
            StoreError: The ledger cannot be read or written.
        """
        with self._transaction() as connection:
            row = connection.execute(
                f"{accounts.ROW} AND status IN ('lost', 'resolved')", (number,)
            ).fetchone()
            if row is None:
                raise BadArguments(
                    f"No call of number {number} was lost.",
                    "`%mixmagic spend --resolve` lists those that were.",
                )
            ending = Ending("resolved", None, nano(cost), None, None, None, None)
            accounts.close(connection, row, ending)

    def close(self) -> None:
        """Write what is owed, and close the file. It is opened again where need be."""
        if self._owed:
            with contextlib.suppress(StoreError), self._transaction():
                pass
        self.database.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that also writes the endings which are owed."""
        owed = list(self._owed.items())
        with self.database.transaction() as connection:
            for hold, ending in owed:
                # No such row, where the file was damaged, and is another one now.
                query = f"{accounts.ROW} AND started_at = ?"
                for row in connection.execute(query, (hold.number, hold.started_at)).fetchall():
                    accounts.close(connection, row, ending)
            yield connection
        for hold, _ in owed:
            self._owed.pop(hold, None)

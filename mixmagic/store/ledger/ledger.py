"""The spend record: one row for every call that was sent: whole, stopped, failed or lost.

A row is made before the call is sent, with the most that the call can cost, and closed with what
it did cost. What a killed process leaves open is closed by the next one, as `lost`, at its most.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import weakref
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from mixmagic.calls.completion import Completion
from mixmagic.core.money import Budget, Per, dollars, nano
from mixmagic.core.values import Model
from mixmagic.errors import BadArguments, StoreBusy, StoreDamaged, StoreError
from mixmagic.store.ledger import processes, reservations, rows, turns
from mixmagic.store.ledger.budgets import (
    Balance,
    Budgets,
    Limit,
    charged,
    exceeded,
    grant,
    unbounded,
)
from mixmagic.store.ledger.processes import gone
from mixmagic.store.ledger.reservations import Entry, Reservation
from mixmagic.store.ledger.rows import Ending, Status
from mixmagic.store.ledger.schema import MIGRATIONS
from mixmagic.store.ledger.spend import By, Period, Spent, day, spent
from mixmagic.store.ledger.turns import Turn, Turns
from mixmagic.store.ledger.writer import Writer
from mixmagic.store.sqlite.database import Database

# Seconds after which a call that another host made is taken for lost: none takes so long.
_LONGEST = 86_400.0
# Seconds that a call with a budget waits for a locked file before it looks whether it is stopped.
_PROBE = 0.05
# Seconds between two looks for processes that have ended, while a call waits.
_SWEEP = 1.0


class Ledger:
    """The calls of all sessions of this user, in `ledger.db`, and what they may cost.

    Args:
        data_dir: The folder of `ledger.db` and `budgets.json`.
        session: The session's id.
        budgets: US dollars per period, from the settings.
        floor: Tokens of the shortest useful answer, for which a budget must have enough left.

    Attributes:
        turns: The calls of this process that wait for money.
    """

    def __init__(
        self,
        data_dir: Path,
        session: str,
        budgets: Mapping[Per, Decimal] | None = None,
        floor: int = 64,
    ) -> None:
        self.database = Database(data_dir / "ledger.db", MIGRATIONS)
        # Models that are free by their catalog, and for which their providers have charged.
        self._charged: set[tuple[str, str]] = set()
        self.budgets = Budgets(data_dir / "budgets.json", budgets or {}, session)
        self.session, self.floor = session, floor
        under_way: dict[int, Entry] = {}
        self.turns = Turns(under_way)
        self._writer = Writer(self.database, under_way, self.turns.ring)
        self._swept: tuple[int, float] = (0, 0.0)  # the process that looked for lost calls, when
        self._budgeted = False  # the last call

    def reserve(
        self, reservation: Reservation, turn: Turn | None = None, *, patience: float | None = None
    ) -> Balance | None:
        """Add a row for a call that is about to be sent, if its budgets have enough left.

        Looking and reserving are one transaction: whatever runs beside it, in any process, the
        calls under way can never cost more than what is left. Under a budget the call's
        `max_tokens` is set, and lowered to what all its budgets have left if nothing can be waited
        for.

        Args:
            reservation: The call.
            turn: Its place among those that wait, if it does.
            patience: Seconds to wait if another process keeps the ledger locked; briefly if `None`.

        Returns:
            `None` if it is done. Otherwise the balance of a limit that has too little left now, of
            which other calls have reserved some that they may give back.

        Raises:
            BudgetExceeded: Too little is left, and none of it can be waited for.
            StoreBusy: Another process keeps the ledger locked.
            StoreError: The ledger cannot be written, or the limits cannot be read.
        """
        if self._writer.news is not None:
            news, self._writer.news = self._writer.news, None
            raise news
        self._sweep_if_due(turn)
        try:
            with self._writer.transaction(self.patience if patience is None else patience) as file:
                # In here: whoever changes a limit does it in a transaction, too.
                limits = [] if self._is_free(reservation) else self.limits(reservation)
                self._budgeted = bool(limits)
                if limits and (short := self._short(file, reservation, limits, turn)):
                    return short
                self._writer.add(file, self._entered(reservation, budgeted=bool(limits)))
                if turn is not None:
                    turns.forget(file, turn)
        except BaseException:
            if reservation.entry is not None:  # whether its row is in the file or not
                self._writer.drop(reservation.entry)
                reservation.entry = None
            raise
        return None

    @property
    def patience(self) -> float:
        """Seconds that a call may wait now for a ledger that another process keeps locked.

        One that has a budget, as the last one had, looks meanwhile whether it is stopped.
        """
        return _PROBE if self._budgeted else self._writer.patience

    def reserve_later(self, reservation: Reservation) -> None:
        """Let a call go on whose row cannot be written now: it is written as soon as it can be."""
        self._writer.add_later(self._entered(reservation, budgeted=False))

    def extend(self, reservation: Reservation, amount: Decimal | None) -> bool:
        """Reserve more for a call, one of whose tries may have been billed.

        Args:
            reservation: The call.
            amount: US dollars; `None` if nobody knows how many.

        Returns:
            True if no budget forbids it; otherwise nothing is changed.

        Raises:
            StoreError: The ledger cannot be written.
        """
        entry = reservation.mine
        if entry is None:
            return True
        with self._writer.transaction(self._writer.patience) as connection:
            if limits := self.limits(reservation):
                least = min(each.remaining for each in _balances(connection.execute, limits))
                if amount is None or amount > least:
                    return False
            if amount is not None and entry.row["held_nanodollars"] is not None:
                entry.row["held_nanodollars"] += nano(amount)
            connection.execute(
                "UPDATE calls SET held_nanodollars = ?, billed_tries = billed_tries + 1"
                " WHERE id = ? AND started_at = ? AND status = 'open'",
                (entry.row["held_nanodollars"], entry.number, reservation.started_at),
            )
        return True

    def settle(
        self,
        reservation: Reservation,
        status: Status,
        completion: Completion | None,
        error: str | None = None,
    ) -> None:
        """Close a call's row with what it came to, or erase it.

        What cannot be written now is written as soon as it can be.

        Args:
            reservation: The call.
            status: How it ended.
            completion: Its answer and cost; `None` if it never left this machine: it was no call.
            error: Why it failed.

        Raises:
            StoreError: The ledger cannot be written yet; the row stays open.
        """
        entry = reservation.mine
        if entry is None:
            return
        if completion is not None and completion.usage.charge and reservation.bound.cost == 0:
            self._charged.add((completion.model.provider.name, completion.model.id))
        ending = None if completion is None else rows.ending(status, completion, error)
        if reservation.guard is not None:
            reservation.guard.detach()
        self._writer.settle(entry, ending)

    def abandon(self, reservation: Reservation) -> None:
        """Let a call that is over count as lost until `settle` says better."""
        if (entry := reservation.mine) is not None:
            self._writer.abandon(entry)

    def moved(self, reservation: Reservation) -> None:
        """Note that a piece of a call's answer has come: others may wait for its end."""
        if (entry := reservation.mine) is not None:
            self._writer.moved(entry)

    def budgeted(self, reservation: Reservation) -> bool:
        """Return True if budgets apply to a call that costs something.

        Raises:
            StoreError: The limits cannot be read.
        """
        return not self._is_free(reservation) and bool(self.limits(reservation))

    def limits(self, reservation: Reservation) -> list[Limit]:
        """Return the limits that apply to a call.

        Raises:
            StoreError: The limits cannot be read.
        """
        cell = reservation.request.control.budget
        return self.budgets.limits(self.session, reservation.notebook, reservation.day, cell)

    def limit(self, per: Per, limit: Decimal | None, notebook: str | None = None) -> None:
        """Set what may be spent in a period, or take the limit off with `None`.

        Raises:
            BadArguments: The notebook is not known.
            StoreError: The limit cannot be written.
        """
        processes.parent()  # imports what it needs before the file is locked
        with self._writer.transaction():  # no two processes write the file at once
            self.budgets.set(per, limit, notebook)
        self.turns.ring()

    def move(self, before: str, after: str) -> None:
        """Give the limit of a notebook that was renamed, and its calls, its new path.

        Raises:
            StoreError: The ledger or the limits cannot be written.
        """
        with self._writer.transaction() as file:
            rows.move(file, before, after)
            self.budgets.move(before, after)
        self.turns.ring()

    def balances(self, notebook: str | None, cell: Budget | None = None) -> list[Balance]:
        """Return the balances of the limits that apply to a call now.

        Raises:
            StoreError: The ledger, or the limits, cannot be read.
        """
        try:
            self.sweep()
        except StoreDamaged:
            raise
        except StoreError:
            pass  # what cannot be written can yet be read
        limits = self.budgets.limits(self.session, notebook, day(), cell)
        query = self.database.rows
        return self.turns.returning(query, _balances(query, limits))

    def answers(self, model: Model) -> tuple[int, int]:
        """Return how many whole answers of a model there are, and their tokens in all.

        Raises:
            StoreError: The ledger cannot be read.
        """
        (row,) = self.database.rows(
            "SELECT COALESCE(SUM(calls), 0), COALESCE(SUM(completion_tokens), 0) FROM totals"
            " WHERE session = '' AND provider = ? AND model = ? AND status = 'ok'",
            (model.provider.name, model.id),
        )
        return tuple(row)

    def spent(
        self, period: Period = "session", by: By = "model", *, patience: float | None = None
    ) -> list[Spent]:
        """Return what calls have cost, in groups: the dearest first, days in their order.

        Args:
            period: Period of the calls.
            by: Column that makes the groups.
            patience: Seconds to wait if another process keeps the ledger locked.

        Raises:
            StoreError: The ledger cannot be read.
        """
        return spent(self.database, self.session, period, by, patience)

    def sweep(self) -> None:
        """Close the rows that processes have left open which are no more: as lost, at their most.

        It waits briefly if another process keeps the ledger locked.

        Raises:
            StoreError: The ledger cannot be read or written.
        """
        patience = self._writer.patience
        found = self.database.rows(
            "SELECT id, owner, started_at FROM calls WHERE status = 'open'", patience=patience
        )
        ended = {name: gone(name) for name in {row["owner"] for row in found}}
        longest = time.time() - _LONGEST
        lost = [
            row["id"]
            for row in found
            if ended[row["owner"]] or (ended[row["owner"]] is None and row["started_at"] < longest)
        ]
        if lost or self._writer.owes:
            with self._writer.transaction(patience) as connection:
                for number in lost:
                    query = connection.execute(f"{rows.ROW} AND status = 'open'", (number,))
                    if row := query.fetchone():
                        rows.close(connection, row, Ending("lost", None, row["held_nanodollars"]))
        self._swept = os.getpid(), time.monotonic()

    def resolve(self, number: int, cost: Decimal) -> None:
        """Settle a call of doubtful cost with what the provider has billed for it.

        That is a lost one, an open one of another host, one for which the provider counted more
        than it could have cost, or one with tries that may not have been billed.

        Args:
            number: The call's row.
            cost: US dollars.

        Raises:
            BadArguments: There is no such call.
            StoreError: The ledger cannot be read or written.
        """
        processes.this()  # imports what it needs before the file is locked
        with self._writer.transaction() as connection:
            row = connection.execute(rows.ROW, (number,)).fetchone()
            if row is None or not reservations.doubtful(row):
                raise BadArguments(
                    f"No call of number {number} was lost.",
                    "`spend --resolve` lists those that were.",
                )
            rows.close(connection, row, Ending("resolved", None, nano(cost)))
        self.turns.ring()

    def close(self) -> None:
        """Write what is owed, and close the file. It is opened again if need be."""
        self._writer.write(self._writer.patience)
        self.database.close()

    def forget(self, turn: Turn) -> None:
        """Let other processes go on that a call no longer waits."""
        if turn.told:
            with contextlib.suppress(StoreError), self._writer.transaction(0.0) as connection:
                turns.forget(connection, turn)

    def _entered(self, reservation: Reservation, *, budgeted: bool) -> Entry:
        """Make a call's row: from now on the call counts as lost unless it is settled."""
        if reservation.guard is not None:
            reservation.guard.detach()
        entry = Entry(reservations.row(reservation, self.session), budgeted=budgeted)
        # If nothing ever settles it, as after Ctrl-C in the wrong moment.
        guard = weakref.finalize(reservation, self._writer.abandon, entry)
        guard.atexit = False
        reservation.entry, reservation.guard = entry, guard
        return entry

    def _short(
        self,
        connection: sqlite3.Connection,
        reservation: Reservation,
        limits: Sequence[Limit],
        turn: Turn | None,
    ) -> Balance | None:
        """Fit a call into what its budgets have left; return the one for which it must wait."""
        bound, query = reservation.bound, connection.execute
        if bound.cost == 0:
            raise charged(reservation.request.model, limits[0])
        if bound.limit is None:
            raise unbounded(bound, limits[0])
        balances = _balances(query, limits)
        behind = self.turns.behind(connection, {each.id for each in limits}, turn)
        small = {
            each.limit.id for each in balances if bound.most is None or each.remaining < bound.most
        }
        if small or behind:
            balances = self.turns.returning(query, balances)
        got = grant(reservation.asked, bound, balances, self.floor)
        if got.waits or (behind and got.tokens):
            if turn is not None:
                turn.limits = small or {each.id for each in limits}
                if self.turns.first(turn.limits, turn):
                    turns.tell(connection, turn)
            return got.tightest or balances[0]
        if not got.tokens:
            least = min(each.remaining for each in balances)
            raise exceeded(reservation.asked, bound, got.tightest or balances[0], least)
        reservation.grant(got)
        return None

    def _is_free(self, reservation: Reservation) -> bool:
        """Return True if a call costs nothing: its model is free, and was never charged for."""
        model = reservation.request.model
        charged = (model.provider.name, model.id) in self._charged
        return reservation.bound.cost == 0 and not charged

    def _sweep_if_due(self, turn: Turn | None) -> None:
        """Look for the calls of processes that are no more: once, and again while a call waits."""
        process, at = self._swept
        if process != os.getpid() or (turn is not None and time.monotonic() - at > _SWEEP):
            with contextlib.suppress(StoreBusy):  # then at the next call
                self.sweep()


def _balances(query: rows.Query, limits: Sequence[Limit]) -> list[Balance]:
    """Return the balances of limits."""
    sums = rows.spending(query, limits)
    return [
        Balance(limit, dollars(spent), dollars(reserved))
        for limit, (spent, reserved) in zip(limits, sums, strict=True)
    ]

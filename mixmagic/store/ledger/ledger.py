"""The spend record: one row for each call that was sent, whatever became of it.

A row is added before the call is sent, with the most that the call can cost, and closed with what
it did cost. The rows that a killed process leaves open are closed by the next one, as `lost`, at
their worst case.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from mixmagic.calls.completion import Completion
from mixmagic.core.money import Budget, Per, from_nano, to_nano
from mixmagic.core.values import Model
from mixmagic.errors import BadArguments, StoreBusy, StoreDamaged, StoreError
from mixmagic.store.ledger import processes, reservations, rows
from mixmagic.store.ledger.budgets import (
    Balance,
    Budgets,
    Limit,
    charged_error,
    exceeded_error,
    grant,
    unbounded_error,
)
from mixmagic.store.ledger.processes import has_exited
from mixmagic.store.ledger.reservations import Entry, Reservation, Waiter, Waiters
from mixmagic.store.ledger.rows import Outcome, RowWriter, Status
from mixmagic.store.ledger.schema import MIGRATIONS
from mixmagic.store.ledger.spend import By, Period, Spent, day, spent
from mixmagic.store.sqlite.database import Database

# Seconds after which an open call of another host is presumed lost: none takes that long.
_LONGEST = 86_400.0
# Seconds that a call with a budget waits for a locked file before it checks if it is stopped.
_PROBE = 0.05
# Seconds between two searches for processes that have ended, while a call waits.
_SWEEP = 1.0


class Ledger:
    """The calls of all sessions of this user, in `ledger.db`, and the limits on their cost.

    Args:
        data_dir: The folder of `ledger.db` and `budgets.json`.
        session: The session's id.
        budgets: US dollars per period, from the settings.
        floor: Tokens of the shortest useful answer: a budget that has less left refuses a call.

    Attributes:
        waiters: The calls of this process that wait for money.

    Example:
        >>> reservation = Reservation(request, None, worst_case(request))
        >>> ledger.reserve(reservation)
        >>> completion = …  # send reservation.request
        >>> ledger.record(reservation, "ok", completion)
    """

    def __init__(
        self,
        data_dir: Path,
        session: str,
        budgets: Mapping[Per, Decimal] | None = None,
        floor: int = 64,
    ) -> None:
        self.database = Database(
            data_dir / "ledger.db", MIGRATIONS, loss="the record of earlier spending begins anew"
        )
        # Models that are free by their catalog, and for which their providers have charged.
        self._charged: set[tuple[str, str]] = set()
        self.budgets = Budgets(data_dir / "budgets.json", budgets or {}, session)
        self.session, self.floor = session, floor
        under_way: dict[int, Entry] = {}
        self.waiters = Waiters(under_way)
        self._writer = RowWriter(self.database, under_way, self.waiters.wake)
        self._swept: tuple[int, float] = (0, 0.0)  # the process that looked for lost calls, when
        self._budgeted = False  # the last call

    def reserve(
        self,
        reservation: Reservation,
        waiter: Waiter | None = None,
        *,
        timeout: float | None = None,
    ) -> Balance | None:
        """Add a row for a call that is about to be sent, if its budgets have enough left.

        The check and the row are one transaction: whatever other calls do, in any process, the
        calls under way can never cost more than what is left. Under a budget the call's
        `max_tokens` is set, and lowered to what all its budgets have left if there is nothing to
        wait for.

        Args:
            reservation: The call.
            waiter: The call as one that waits, if it does.
            timeout: Seconds to wait if another process keeps the ledger locked; `lock_timeout` if
                `None`.

        Returns:
            `None` if the money is reserved. Otherwise the balance of a limit that has too little
            left now, of which other calls have reserved some that they may give back.

        Raises:
            BudgetExceeded: Too little is left, and there is nothing to wait for.
            StoreBusy: Another process keeps the ledger locked.
            StoreError: The ledger cannot be written, or the limits cannot be read.
        """
        if self._writer.damage is not None:
            damage, self._writer.damage = self._writer.damage, None
            raise damage
        self._sweep_if_due(waiter)
        try:
            with self._writer.transaction(self.lock_timeout if timeout is None else timeout) as db:
                # In here, because limits are only changed in a transaction, too.
                limits = [] if self._is_free(reservation) else self.limits(reservation)
                self._budgeted = bool(limits)
                if limits and (short := self._short(db, reservation, limits, waiter)):
                    return short
                self._writer.add(db, self._new_entry(reservation, budgeted=bool(limits)))
                if waiter is not None:
                    reservations.withdraw(db, waiter)
        except BaseException:
            if reservation.entry is not None:  # whether its row is in the file or not
                self._writer.drop(reservation.entry)
                reservation.entry = None
            raise
        return None

    @property
    def lock_timeout(self) -> float:
        """Seconds that a call waits now if another process keeps the ledger locked.

        A call with a budget, as the last one had, checks often if it is stopped.
        """
        return _PROBE if self._budgeted else self._writer.timeout

    def reserve_later(self, reservation: Reservation) -> None:
        """Let a call go on whose row cannot be written now: it is written as soon as possible."""
        self._writer.add_later(self._new_entry(reservation, budgeted=False))

    def extend(self, reservation: Reservation, amount: Decimal | None) -> bool:
        """Reserve more for a call, one of whose tries may have been billed.

        Args:
            reservation: The call.
            amount: US dollars; `None` if unknown.

        Returns:
            True if no budget forbids it; otherwise nothing is changed.

        Raises:
            StoreError: The ledger cannot be written.
        """
        entry = reservation.own_entry
        if entry is None:
            return True
        with self._writer.transaction(self._writer.timeout) as connection:
            if limits := self.limits(reservation):
                balances = _balances(connection.execute, limits)
                least = min(balance.remaining for balance in balances)
                if amount is None or amount > least:
                    return False
            if amount is not None and entry.row["held_nanodollars"] is not None:
                entry.row["held_nanodollars"] += to_nano(amount)
            connection.execute(
                "UPDATE calls SET held_nanodollars = ?, billed_tries = billed_tries + 1"
                " WHERE id = ? AND started_at = ? AND status = 'open'",
                (entry.row["held_nanodollars"], entry.number, reservation.started_at),
            )
        return True

    def record(
        self,
        reservation: Reservation,
        status: Status,
        completion: Completion | None,
        error: str | None = None,
    ) -> None:
        """Close a call's row with its outcome, or delete it.

        If it cannot be written now, it is written as soon as possible.

        Args:
            reservation: The call.
            status: How it ended.
            completion: Its answer and cost; `None` if it never left this machine: no call was made.
            error: Why it failed.

        Raises:
            StoreError: The ledger cannot be written yet; the row stays open.
        """
        entry = reservation.own_entry
        if entry is None:
            return
        if completion is not None and completion.usage.charge and reservation.worst_case.cost == 0:
            self._charged.add((completion.model.provider.name, completion.model.id))
        outcome = None if completion is None else rows.outcome(status, completion, error)
        reservation.on_lost = None
        self._writer.record(entry, outcome)

    def presume_lost(self, reservation: Reservation) -> None:
        """Let a call that is over count as lost, unless `record` is called within a moment."""
        if (entry := reservation.own_entry) is not None:
            self._writer.presume_lost(entry)

    def note_progress(self, reservation: Reservation) -> None:
        """Note that a call has received a piece of its answer: others may wait for its end."""
        if (entry := reservation.own_entry) is not None:
            self._writer.note_progress(entry)

    def has_budget(self, reservation: Reservation) -> bool:
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
        return self.budgets.limits(reservation.notebook, reservation.day, cell)

    def set_limit(self, per: Per, limit: Decimal | None, notebook: str | None = None) -> None:
        """Set what may be spent in a period, or remove the limit with `None`.

        Raises:
            BadArguments: There is no such period, or the notebook is not known.
            StoreError: The limit cannot be written.
        """
        processes.parent_process_id()  # imports what it needs before the file is locked
        self.database.sync()  # no power cut may forget spending that the new limit counts on
        with self._writer.transaction():  # so that no two processes write the file at once
            self.budgets.set(per, limit, notebook)
        self.waiters.wake()

    def rename_notebook(self, before: str, after: str) -> None:
        """Give a renamed notebook's calls and its limit its new path.

        Raises:
            StoreError: The ledger or the limits cannot be written.
        """
        with self._writer.transaction() as connection:
            rows.rename_notebook(connection, before, after)
            self.budgets.rename_notebook(before, after)
        self.waiters.wake()

    def balances(self, notebook: str | None, cell: Budget | None = None) -> list[Balance]:
        """Return the balances of the limits that apply to a call now.

        Raises:
            StoreError: The ledger, or the limits, cannot be read.
        """
        self.sweep_if_writable()
        limits = self.budgets.limits(notebook, day(), cell)
        query = self.database.rows
        return self.waiters.with_returning(query, _balances(query, limits))

    def answers(self, model: Model) -> tuple[int, int]:
        """Return the number of a model's complete answers, and their tokens in all.

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
        self,
        period: Period = "session",
        by: By = "model",
        *,
        timeout: float | None = None,
        notebook: str = "",
    ) -> list[Spent]:
        """Return the cost of calls, in groups: the most expensive first, days in their order.

        Args:
            period: Period of the calls.
            by: Column that makes the groups.
            timeout: Seconds to wait if another process keeps the ledger locked.
            notebook: The notebook's path, if that is the period.

        Raises:
            StoreError: The ledger cannot be read.
        """
        return spent(self.database, self.session, period, by, timeout, notebook=notebook)

    def sweep(self) -> None:
        """Close the rows that ended processes have left open: as lost, at their worst case.

        It waits briefly if another process keeps the ledger locked.

        Raises:
            StoreError: The ledger cannot be read or written.
        """
        timeout = self._writer.timeout
        open_rows = self.database.rows(
            "SELECT id, owner, started_at FROM calls WHERE status = 'open'", timeout=timeout
        )
        exited = {owner: has_exited(owner) for owner in {row["owner"] for row in open_rows}}
        longest = time.time() - _LONGEST
        lost = [
            row["id"]
            for row in open_rows
            if exited[row["owner"]]
            or (exited[row["owner"]] is None and row["started_at"] < longest)
        ]
        if lost or self._writer.owes:
            with self._writer.transaction(timeout) as connection:
                for number in lost:
                    query = connection.execute(f"{rows.BY_ID} AND status = 'open'", (number,))
                    if row := query.fetchone():
                        rows.close(connection, row, Outcome("lost", None, row["held_nanodollars"]))
        self._swept = os.getpid(), time.monotonic()

    def sweep_if_writable(self) -> None:
        """Sweep before reading; a file that cannot be written may still be readable.

        Raises:
            StoreDamaged: The file was damaged: the message, shown once, names the quarantined one.
        """
        try:
            self.sweep()
        except StoreDamaged:
            raise
        except StoreError:
            pass

    def resolve(self, number: int, cost: Decimal) -> None:
        """Correct the cost of a call to what the provider has billed for it.

        It must be one of doubtful cost: a lost one, an open one of another host, one for which the
        provider counted more than it could have cost, or one with tries that may have been billed.

        Args:
            number: The call's row.
            cost: US dollars.

        Raises:
            BadArguments: There is no such call.
            StoreError: The ledger cannot be read or written.
        """
        processes.own_process_id()  # imports what it needs before the file is locked
        with self._writer.transaction() as connection:
            row = connection.execute(rows.BY_ID, (number,)).fetchone()
            if row is None or not _is_doubtful(row):
                raise BadArguments(
                    f"No call with the number {number} was lost.",
                    "`spend --resolve` lists those that were.",
                )
            rows.close(connection, row, Outcome("resolved", None, to_nano(cost)))
        self.waiters.wake()

    def close(self) -> None:
        """Write what is owed, and close the file. It is opened again if need be."""
        self._writer.write(self._writer.timeout)
        self.database.close()

    def withdraw(self, waiter: Waiter) -> None:
        """Tell other processes that a call does not wait any more."""
        if waiter.announced:
            with contextlib.suppress(StoreError), self._writer.transaction(0.0) as connection:
                reservations.withdraw(connection, waiter)

    def _new_entry(self, reservation: Reservation, *, budgeted: bool) -> Entry:
        """Return a call's new row: from now on the call counts as lost unless it is recorded."""
        entry = Entry(rows.new_row(reservation, self.session), budgeted=budgeted)
        reservation.entry, reservation.on_lost = entry, self._writer.lose
        return entry

    def _short(
        self,
        connection: sqlite3.Connection,
        reservation: Reservation,
        limits: Sequence[Limit],
        waiter: Waiter | None,
    ) -> Balance | None:
        """Fit a call into what its budgets have left; return the one for which it must wait."""
        worst, query = reservation.worst_case, connection.execute
        if worst.cost == 0:
            raise charged_error(reservation.request.model, limits[0])
        if worst.limit is None:
            raise unbounded_error(worst, limits[0])
        balances = _balances(query, limits)
        ids = {limit.id for limit in limits}
        behind = self.waiters.is_behind(connection, ids, waiter)
        small = {
            balance.limit.id
            for balance in balances
            if worst.most is None or balance.remaining < worst.most
        }
        if small or behind:
            balances = self.waiters.with_returning(query, balances)
        floor = worst.limit if reservation.request.control.whole else self.floor
        granted = grant(reservation.asked, worst, balances, floor)
        if granted.waits or (behind and granted.tokens):
            if waiter is not None:
                waiter.limits = small or ids
                if self.waiters.is_first(waiter.limits, waiter):
                    reservations.announce(connection, waiter)
            return granted.tightest or balances[0]
        if not granted.tokens:
            least = min(balance.remaining for balance in balances)
            raise exceeded_error(reservation.asked, worst, granted.tightest or balances[0], least)
        reservation.grant(granted)
        return None

    def _is_free(self, reservation: Reservation) -> bool:
        """Return True if a call costs nothing: its model is free, and was never charged for."""
        model = reservation.request.model
        charged = (model.provider.name, model.id) in self._charged
        return reservation.worst_case.cost == 0 and not charged

    def _sweep_if_due(self, waiter: Waiter | None) -> None:
        """Look for the calls of ended processes: once, and again while a call waits."""
        process, at = self._swept
        if process != os.getpid() or (waiter is not None and time.monotonic() - at > _SWEEP):
            with contextlib.suppress(StoreBusy):  # then at the next call
                self.sweep()


def _is_doubtful(row: Mapping[str, Any] | sqlite3.Row) -> bool:
    """Return True if the user may say what a call has cost: see `Ledger.resolve`."""
    status, cost, most = row["status"], row["cost_nanodollars"], row["held_nanodollars"]
    if status == "open":
        return has_exited(row["owner"]) is None
    if status in ("lost", "resolved") or row["billed_tries"]:
        return True
    return None not in (cost, most) and bool(cost > most)


def _balances(query: reservations.Query, limits: Sequence[Limit]) -> list[Balance]:
    """Return the balances of limits."""
    sums = rows.spent_and_reserved(query, limits)
    return [
        Balance(limit, from_nano(spent), from_nano(reserved))
        for limit, (spent, reserved) in zip(limits, sums, strict=True)
    ]

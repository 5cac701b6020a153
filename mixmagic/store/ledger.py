"""The spend record: one row for every call that was sent, whole, stopped, failed or lost.

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
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from mixmagic.bounds import Bound, limited
from mixmagic.completion import Completion
from mixmagic.errors import BadArguments, StoreBusy, StoreDamaged, StoreError
from mixmagic.money import Budget, Per, dollars, nano
from mixmagic.store import processes, reservations, rows, turns
from mixmagic.store.budgets import Budgets, Cap, Left, exceeded, unbounded
from mixmagic.store.db import Database
from mixmagic.store.grants import grant
from mixmagic.store.processes import gone
from mixmagic.store.reservations import Entry, Reservation, encodable
from mixmagic.store.rows import Ending, Status
from mixmagic.store.schema import MIGRATIONS
from mixmagic.store.spend import By, Period, Spent, day, spent
from mixmagic.store.turns import Turn, Turns
from mixmagic.store.writing import Writer
from mixmagic.values import Model

# Seconds after which a call that another host made is taken for lost: none takes so long.
_LONGEST = 86_400.0
# Seconds that a call with a budget waits for a locked file before it looks whether it is stopped.
_PROBE = 0.05
# Seconds between two words to other processes on which calls go on.
_TOLD = 2.0
# Seconds between two looks for processes that have ended, while a call waits.
_SWEEP = 1.0


class Ledger:
    """The calls of all sessions of this user, in `ledger.db`, and what they may cost.

    Args:
        data_dir: The folder of `ledger.db` and `budgets.json`.
        session: What this session is called.
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
        self.budgets = Budgets(data_dir / "budgets.json", budgets or {}, session)
        self.session, self.floor = session, floor
        self.turns = Turns()
        self._writer = Writer(self.database, self.turns.ring)
        self._swept: tuple[int, float] = (0, 0.0)  # the process that looked for lost calls, when
        self._budgeted = False  # the last call
        self._told = 0.0  # when other processes were told which calls go on

    def reserve(
        self, hold: Reservation, turn: Turn | None = None, *, patience: float | None = None
    ) -> Left | None:
        """Add a row for a call that is about to be sent, if its budgets have enough left.

        Looking and reserving are one transaction: whatever runs beside it, in any process, the
        calls under way can never cost more than what is left. Under a budget the call's
        `max_tokens` is set, and lowered to what all its budgets have left if nothing can be waited
        for.

        Args:
            hold: The call.
            turn: Its place among those that wait, if it does.
            patience: Seconds to wait if another process keeps the ledger locked.

        Returns:
            `None` if it is done. Otherwise the limit that has too little left now, of which other
            calls hold some that they may give back.

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
            with self._writer.transaction(patience) as connection:
                # In here: whoever changes a limit does it in a transaction, too.
                caps = self.caps(hold) if hold.bound.cost != 0 else []
                self._budgeted = bool(caps)
                if caps and (short := self._short(connection, hold, caps, turn)):
                    return short
                self._writer.add(connection, self._entered(hold, budgeted=bool(caps)))
                if turn is not None:
                    turns.forget(connection, turn)
        except BaseException:
            if hold.entry is not None:  # whether its row is in the file or not
                self._writer.drop(hold.entry)
                hold.entry = None
            raise
        return None

    @property
    def patience(self) -> float:
        """Seconds that a call may wait now for a ledger that another process keeps locked.

        One that has a budget, as the last one had, looks meanwhile whether it is stopped.
        """
        return _PROBE if self._budgeted else self._writer.patience

    def reserve_later(self, hold: Reservation) -> None:
        """Let a call go on whose row cannot be written now: it is written as soon as it can be."""
        self._writer.add_later(self._entered(hold, budgeted=False))

    def extend(self, hold: Reservation, amount: Decimal | None) -> bool:
        """Reserve more for a call, one of whose tries may have been billed.

        Args:
            hold: The call.
            amount: US dollars; `None` if nobody knows how many.

        Returns:
            True if no budget forbids it; otherwise nothing is changed.

        Raises:
            StoreError: The ledger cannot be written.
        """
        entry = hold.mine
        if entry is None:
            return True
        with self._writer.transaction(self._writer.patience) as connection:
            if caps := self.caps(hold):
                lefts = _lefts(caps, rows.spending(connection.execute, caps))
                if amount is None or any(amount > each.left for each in lefts):
                    return False
            if amount is not None and entry.row["held_nanodollars"] is not None:
                entry.row["held_nanodollars"] += nano(amount)
            connection.execute(
                "UPDATE calls SET held_nanodollars = ?, billed_tries = billed_tries + 1"
                " WHERE id = ? AND started_at = ? AND status = 'open'",
                (entry.row["held_nanodollars"], entry.number, hold.started_at),
            )
        return True

    def settle(
        self,
        hold: Reservation,
        status: Status,
        completion: Completion | None,
        error: str | None = None,
    ) -> None:
        """Close a call's row with what it came to, or erase it.

        What cannot be written now is written as soon as it can be.

        Args:
            hold: The call.
            status: How it ended.
            completion: What it came to; `None` if it never left this machine: it was no call.
            error: Why it failed.

        Raises:
            StoreError: The ledger cannot be written yet; the row stays open.
        """
        entry = hold.mine
        if entry is None:
            return
        ending = None
        if completion is not None:
            usage, cost, first = completion.usage, completion.cost, completion.ttft
            ending = Ending(
                status,
                None if error is None else encodable(error),
                None if cost is None else nano(cost),
                usage.prompt_tokens,
                usage.cached_tokens,
                usage.cache_write_tokens,
                usage.completion_tokens,
                usage.counted,
                None if usage.charge is None else nano(usage.charge),
                completion.billed_tries,
                completion.elapsed * 1000,
                None if first is None else first * 1000,
            )
        if hold.guard is not None:
            hold.guard.detach()
        self._writer.settle(entry, ending)

    def abandon(self, hold: Reservation) -> None:
        """Let a call that is over count as lost until `settle` says better."""
        if (entry := hold.mine) is not None:
            self._writer.abandon(entry)

    def moved(self, hold: Reservation) -> None:
        """Note that a piece of a call's answer has come: others may wait for its end."""
        entry = hold.mine
        if entry is None:
            return
        entry.move()
        if entry.budgeted and entry.moved - max(entry.began, self._told) > _TOLD:
            self._tell(entry.moved)

    def _tell(self, now: float) -> None:
        """Tell other processes which calls have gone on since they were told last."""
        before, self._told = self._told, now
        numbers = [n for n, each in self._writer.open.copy().items() if each.moved >= before]
        moved = f"UPDATE calls SET moved_at = ? WHERE id IN ({', '.join(map(str, numbers))})"  # noqa: S608  # numbers
        try:
            with self._writer.transaction(0.0) as connection:
                connection.execute(moved, (time.time(),))
        except StoreDamaged as news:
            self._writer.news = news
        except StoreError:
            pass  # it is told the next time

    def budgeted(self, hold: Reservation) -> bool:
        """Return True if budgets hold for a call that costs something.

        Raises:
            StoreError: The limits cannot be read.
        """
        return hold.bound.cost != 0 and bool(self.caps(hold))

    def caps(self, hold: Reservation) -> list[Cap]:
        """Return the limits that hold for a call.

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
        processes.parent()  # imports what it needs before the file is locked
        with self._writer.transaction():  # no two processes write the file at once
            self.budgets.set(per, limit, notebook)
        self.turns.ring()

    def left(self, notebook: str | None, cell: Budget | None = None) -> list[Left]:
        """Return what the limits that hold for a call now have left.

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
        lefts = _lefts(caps, rows.spending(self.database.rows, caps))
        return self._moving(self.database.rows, lefts)

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
            period: Which calls.
            by: What the groups are.
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

    def _entered(self, hold: Reservation, *, budgeted: bool) -> Entry:
        """Make a call's row: from now on the call counts as lost unless it is settled."""
        if hold.guard is not None:
            hold.guard.detach()
        hold.entry = entry = Entry(reservations.row(hold, self.session), budgeted=budgeted)
        # If nothing ever settles it, as after Ctrl-C in the wrong moment.
        hold.guard = weakref.finalize(hold, self._writer.abandon, entry)
        hold.guard.atexit = False
        return entry

    def _short(
        self,
        connection: sqlite3.Connection,
        hold: Reservation,
        caps: Sequence[Cap],
        turn: Turn | None,
    ) -> Left | None:
        """Fit a call into what its budgets have left; return the limit for which it must wait."""
        bound, least = hold.bound, None
        if bound.limit is None:
            raise unbounded(bound, caps[0])
        tokens, sums = bound.limit, rows.spending(connection.execute, caps)
        rest = min(nano(cap.limit) - sum(both) for cap, both in zip(caps, sums, strict=True))
        behind = self._behind(connection, caps, turn)
        if bound.most is None or nano(bound.most) > rest or behind:
            lefts = self._moving(connection.execute, _lefts(caps, sums))
            tokens, least, waits = grant(hold.asked, bound, lefts, self.floor)
            if waits or (behind and tokens):
                if turn is not None:
                    turn.limits = _too_small(bound, lefts) or {cap.id for cap in caps}
                    if self.turns.first(turn.limits, turn):
                        turns.tell(connection, turn)
                return least or lefts[0]
            if least is not None and not tokens:
                raise exceeded(hold.asked, bound, least, min(each.left for each in lefts))
        hold.request, hold.clamp, hold.most = limited(hold.asked, tokens), None, bound.most
        if least is not None and hold.request.model.price is not None:
            hold.clamp = tokens, least.cap.name
            hold.most = hold.request.model.price.most(bound.prompt_tokens, tokens * bound.answers)
        return None

    def _behind(
        self, connection: sqlite3.Connection, caps: Sequence[Cap], turn: Turn | None
    ) -> bool:
        """Return True if a call that came earlier, in any process, waits for the same money."""
        others = turns.others(connection)
        if not (others or self.turns):
            return False
        limits = {cap.id for cap in caps}
        behind = turns.behind(others, limits, turn) or not self.turns.first(limits, turn)
        # Others may wait for the very call that this thread holds open.
        return behind and not any(each.mine() for each in self._writer.open.copy().values())

    def forget(self, turn: Turn) -> None:
        """Let other processes go on that a call no longer waits."""
        if turn.told:
            with contextlib.suppress(StoreError), self._writer.transaction(0.0) as connection:
                turns.forget(connection, turn)

    def _moving(self, query: rows.Query, lefts: Sequence[Left]) -> list[Left]:
        """Add what of each limit is held by calls that may be waited for."""
        moving = [row for row in query(rows.HOLDING, ()) if self._moves(row)]
        found = []
        for left in lefts:
            keys = (left.cap.key, *left.cap.also)
            held = sum(row["held_nanodollars"] for row in moving if row[left.cap.per] in keys)
            found.append(replace(left, moving=dollars(held)))
        return found

    def _moves(self, row: sqlite3.Row) -> bool:
        """Return True if the open call of a row may be waited for."""
        entry = self._writer.open.get(row["id"])
        if entry is not None and entry.process == os.getpid():
            return entry.moves and not entry.mine()
        moved = row["moved_at"]
        return moved is not None and abs(time.time() - moved) <= reservations.ELSEWHERE

    def _sweep_if_due(self, turn: Turn | None) -> None:
        """Look for the calls of processes that are no more: once, and again while a call waits."""
        process, at = self._swept
        if process != os.getpid() or (turn is not None and time.monotonic() - at > _SWEEP):
            with contextlib.suppress(StoreBusy):  # then at the next call
                self.sweep()


def _lefts(caps: Sequence[Cap], sums: Sequence[tuple[int, int]]) -> list[Left]:
    """Return what limits have left."""
    return [Left(cap, *map(dollars, both)) for cap, both in zip(caps, sums, strict=True)]


def _too_small(bound: Bound, lefts: Sequence[Left]) -> set[str]:
    """Return the limits that have less left than a call asks for."""
    return {each.cap.id for each in lefts if bound.most is None or each.left < bound.most}

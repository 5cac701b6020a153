"""Calls under way, as the ledger knows them. For `store.ledger` and whoever makes calls."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mixmagic.calls.worst_case import Bound, limited
from mixmagic.core.money import nano
from mixmagic.core.values import Request
from mixmagic.store.ledger.budgets import Grant
from mixmagic.store.ledger.processes import gone, this
from mixmagic.store.ledger.spend import day

# Seconds without a piece of its answer after which nobody waits for a call's money.
_STILL = 5.0


@dataclass(slots=True, eq=False)
class Entry:
    """A call's row, in the file or not yet, and where the call has got to.

    Attributes:
        row: Its columns.
        process: Which process makes the call: a forked child only has a copy.
        number: The row's; `None` while it is not in the file.
        budgeted: True if budgets apply to the call.
        began: When it began, on the monotonic clock.
        moved: When the last piece of its answer came, or it began, likewise.
        thread: Which thread has asked for it, and holds the call open.
    """

    row: dict[str, Any]
    process: int = field(default_factory=os.getpid)
    number: int | None = None
    budgeted: bool = False
    began: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)
    thread: int = field(default_factory=threading.get_ident)

    def move(self) -> None:
        """Note that a piece of the answer has come, and who asked for it."""
        self.moved, self.thread = time.monotonic(), threading.get_ident()

    @property
    def moves(self) -> bool:
        """True if the call goes on: its money will be free some time."""
        return time.monotonic() - self.moved <= _STILL

    def mine(self) -> bool:
        """Return True if this very thread holds the call open."""
        return self.process == os.getpid() and self.thread == threading.get_ident()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Reservation:
    """One call's place in the ledger.

    Attributes:
        request: The call, as it is sent: a budget sets its `max_tokens`, and may lower it.
        notebook: The notebook's path, if known.
        bound: The most that the call can cost.
        asked: The call, as it was asked for.
        most: US dollars that it can cost as it is sent; `None` if unknown.
        started_at: Seconds since 1970.
        day: The day of the call, where we are.
        entry: Its row, as soon as there may be one.
        clamp: The tokens that a budget has left it, and that budget's name, if they are fewer than
            it would have had.
        guard: Finalizer that gives the call up for lost if nobody settles it.
    """

    request: Request
    notebook: str | None
    bound: Bound
    started_at: float = field(default_factory=time.time)
    day: str = field(init=False)
    asked: Request = field(init=False)
    most: Decimal | None = field(init=False)
    entry: Entry | None = None
    clamp: tuple[int, str] | None = None
    guard: weakref.finalize[..., Any] | None = None

    def __post_init__(self) -> None:
        self.day, self.asked, self.most = day(self.started_at), self.request, self.bound.cost

    @property
    def number(self) -> int | None:
        """Number of the call's row; `None` if it is not in the file."""
        return None if self.entry is None else self.entry.number

    @property
    def mine(self) -> Entry | None:
        """The call's row, in the process that makes the call."""
        entry = self.entry
        return entry if entry is not None and entry.process == os.getpid() else None

    def grant(self, got: Grant) -> None:
        """Fit the call into what its budgets have left."""
        bound, price = self.bound, self.request.model.price
        self.request, self.most, self.clamp = limited(self.asked, got.tokens), bound.most, None
        if got.tightest is not None and price is not None:
            self.most = price.most(bound.prompt_tokens, got.tokens * bound.answers)
            self.clamp = got.tokens, got.tightest.limit.name


def row(reservation: Reservation, session: str) -> dict[str, Any]:
    """Return the columns of a call that is about to be sent."""
    request, price, most = reservation.request, reservation.request.model.price, reservation.most
    row = {
        "started_at": reservation.started_at,
        "day": reservation.day,
        "session": session,
        "notebook": reservation.notebook,
        "cell": request.control.budget.id if request.control.budget else None,
        "origin": "live",
        "provider": request.model.provider.name,
        "model": encodable(request.model.id),
        "status": "open",
        "owner": this(),
        "held_nanodollars": None if most is None else nano(most),
        "moved_at": time.time(),
    }
    if price is not None:
        row |= {
            "input_price_nanodollars": nano(price.input),
            "cached_price_nanodollars": None if price.cached is None else nano(price.cached),
            "cache_write_price_nanodollars": None
            if price.cache_write is None
            else nano(price.cache_write),
            "output_price_nanodollars": nano(price.output),
            "price_since": price.since.isoformat() if price.since else None,
            "price_source": price.source or None,
        }
    return row


def doubtful(row: Mapping[str, Any] | sqlite3.Row) -> bool:
    """Return True if a person may say what a call has cost: see `Ledger.resolve`."""
    status, cost, most = row["status"], row["cost_nanodollars"], row["held_nanodollars"]
    if status == "open":
        return gone(row["owner"]) is None
    if status in ("lost", "resolved") or row["billed_tries"]:
        return True
    return None not in (cost, most) and bool(cost > most)


def encodable(text: str) -> str:
    """Return a text without half surrogate pairs, which SQLite does not take."""
    return text.encode("utf-8", "replace").decode()

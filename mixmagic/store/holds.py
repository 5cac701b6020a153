"""Calls under way, as the ledger knows them. For `store.ledger` and whoever makes calls."""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mixmagic.bounds import Bound
from mixmagic.money import nano
from mixmagic.store.owners import gone, owner
from mixmagic.store.spend import day
from mixmagic.values import Request


@dataclass(slots=True, eq=False, weakref_slot=True)
class Hold:
    """One call's place in the ledger.

    Attributes:
        request: The call.
        notebook: The notebook's path, where known.
        bound: The most that the call can cost.
        started_at: Seconds since 1970.
        process: Which process makes the call: a forked child only has a copy.
        day: The day of the call, where we are.
        row: Its row, as soon as there may be one.
        number: The row's.
        guard: What gives the call up for lost where nobody settles it.
    """

    request: Request
    notebook: str | None
    bound: Bound
    started_at: float = field(default_factory=time.time)
    process: int = field(default_factory=os.getpid)
    day: str = field(init=False)
    row: dict[str, Any] = field(default_factory=dict)
    number: int | None = None
    guard: weakref.finalize[..., Any] | None = None

    def __post_init__(self) -> None:
        self.day = day(self.started_at)


class Key(NamedTuple):
    """What tells a call apart, in whatever file."""

    number: int
    started_at: float
    process: int


def key(hold: Hold) -> Key:
    """What tells the call apart."""
    return Key(hold.number or 0, hold.started_at, hold.process)


def row(hold: Hold, session: str) -> dict[str, Any]:
    """The columns of a call that is about to be sent."""
    request, price, most = hold.request, hold.request.model.price, hold.bound.cost
    row = {
        "started_at": hold.started_at,
        "day": hold.day,
        "session": session,
        "notebook": hold.notebook,
        "cell": request.budget.id if request.budget else None,
        "provider": request.model.provider.name,
        "model": encodable(request.model.id),
        "status": "open",
        "owner": owner(),
        "held_nanodollars": None if most is None else nano(most),
    }
    if price is not None:
        row |= {
            "input_price_nanodollars": nano(price.input),
            "cached_price_nanodollars": None if price.cached is None else nano(price.cached),
            "output_price_nanodollars": nano(price.output),
            "price_since": price.since.isoformat() if price.since else None,
            "price_source": price.source or None,
        }
    return row


def doubtful(row: Mapping[str, Any] | sqlite3.Row) -> bool:
    """Whether a person may say what a call has cost: see `Ledger.resolve`."""
    status, cost, most = row["status"], row["cost_nanodollars"], row["held_nanodollars"]
    if status == "open":
        return gone(row["owner"]) is None
    return status in ("lost", "resolved") or (None not in (cost, most) and cost > most)


def encodable(text: str) -> str:
    """A text without half surrogate pairs, which SQLite does not take."""
    return text.encode("utf-8", "replace").decode()

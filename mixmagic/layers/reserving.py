"""Reserve the money for a call, or wait for it: the first half of `layers.meter`."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from mixmagic.core.values import Delta
from mixmagic.errors import BudgetExceeded, Stopped, StoreBusy, StoreDamaged, StoreError
from mixmagic.store.ledger.budgets import exact_dollars, exceeded_error
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation, Waiter

# Seconds after which a waiting user is told so, and between two messages.
_PATIENCE, _AGAIN = 0.1, 1.0
# Seconds between two checks if another process has written or unlocked the file; and between two
# tries to reserve in any case: a call that has stopped moving is not waited for.
_POLL, _RETRY = 0.02, 1.0
# Seconds that a call under a budget waits for a ledger that another process keeps locked.
_LOCKED = 60.0


def reserve(ledger: Ledger, reservation: Reservation) -> Generator[Delta, None, None]:
    """Reserve what a call may cost.

    Under a budget it waits, until the call's deadline, for money that other calls have reserved,
    and for a locked ledger. A call without one goes on if the ledger cannot be written: a note
    says so.

    Raises:
        BudgetExceeded: The budgets have too little left.
        Stopped: The call was stopped while it waited.
        StoreError: The ledger cannot be written, and a budget applies to it.
    """
    try:
        if ledger.reserve(reservation) is None:
            return
    except StoreDamaged as damage:
        yield Delta(note=damage.message)
        yield from reserve(ledger, reservation)
        return
    except StoreError as error:
        if not ledger.has_budget(reservation):
            later = " yet" if isinstance(error, StoreBusy) else ""
            yield Delta(note=f"not in the ledger{later}: {error.message}")
            ledger.reserve_later(reservation)
            return
        if not isinstance(error, StoreBusy):
            raise
    try:
        with _queued(ledger, reservation) as waiter:
            yield from _waiting(ledger, reservation, waiter)
    except KeyboardInterrupt:
        raise Stopped(sent=False) from None


def _waiting(
    ledger: Ledger, reservation: Reservation, waiter: Waiter
) -> Generator[Delta, None, None]:
    """Wait until a call's money is reserved, and tell the user why."""
    started = time.monotonic()
    next_message = started + _PATIENCE
    refusal: BudgetExceeded | StoreBusy
    while True:
        if reservation.request.control.stop.is_set():
            raise Stopped(sent=False)
        version, retry = ledger.database.version(), _RETRY
        deadline = reservation.request.control.deadline
        try:
            short = ledger.reserve(reservation, waiter, timeout=_POLL)
        except StoreBusy as busy:
            refusal, why = busy, "another process keeps the ledger locked"
            retry, deadline = _POLL, min(deadline, started + _LOCKED)
        else:
            if short is None:
                return
            why = (
                f"{exact_dollars(short.reserved)} of {short.limit.name} is reserved by other calls"
            )
            asked, worst = reservation.asked, reservation.worst_case
            refusal = exceeded_error(asked, worst, short, short.remaining, "and it waited for more")
        now = time.monotonic()
        if now >= deadline:
            raise refusal
        if now >= next_message:
            waiter.active, next_message = False, now + _AGAIN
            yield Delta(progress=f"waiting: {why} …")
            waiter.active = True
        _sleep(ledger, waiter, version, min(now + retry, deadline, next_message))


def _sleep(ledger: Ledger, waiter: Waiter, version: int, until: float) -> None:
    """Sleep until there may be money: the call is woken, or another process has written."""
    while (left := until - time.monotonic()) > 0:
        first = ledger.waiters.is_first(waiter.limits, waiter)
        if waiter.wakeup.wait(min(left, _POLL) if first else left):
            return
        if first and ledger.database.version() != version:
            return


@contextmanager
def _queued(ledger: Ledger, reservation: Reservation) -> Iterator[Waiter]:
    """Put a call behind those that wait already, for as long as the block runs."""
    waiter = Waiter(active=True)
    ledger.waiters.add(waiter)
    try:
        with reservation.request.control.stop.calling(waiter.wakeup.wake):
            yield waiter
    finally:
        ledger.waiters.remove(waiter)
        ledger.withdraw(waiter)

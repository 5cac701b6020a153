"""Reserve what a call may cost, and record what it did cost.

Every call that leaves this machine becomes a row in the ledger, priced, however it ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from enum import IntEnum

from mixmagic.calls.collector import Collector, finalize
from mixmagic.calls.completion import Completion
from mixmagic.calls.events import Event
from mixmagic.calls.interrupts import Calls
from mixmagic.calls.worst_case import worst_case
from mixmagic.core.money import Usage, bill, format_dollars, format_most
from mixmagic.core.values import Delta, Layer, Request, Stream, Tried
from mixmagic.errors import (
    BudgetExceeded,
    MixmagicError,
    Stopped,
    StoreBusy,
    StoreDamaged,
    StoreError,
    counted,
    one_line,
)
from mixmagic.store.ledger.budgets import exceeded_error
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation, Waiter
from mixmagic.store.ledger.rows import Status

# Why an answer ended, if its stream did not say.
_FINISH = {"stopped": "stopped", "failed": "broken off"}
# Seconds after which a waiting user is told so, and between two messages.
_PATIENCE, _AGAIN = 0.1, 1.0
# Seconds between two checks if another process has written or unlocked the file; and between two
# tries to reserve in any case: a call that has stopped moving is not waited for.
_POLL, _RETRY = 0.02, 1.0
# Seconds that a call under a budget waits for a ledger that another process keeps locked.
_LOCKED = 60.0
_log = logging.getLogger("mixmagic")


def meter(ledger: Ledger, notebook: str | None, calls: Calls) -> Layer:
    """Reserve what a call may cost, and record what it did cost.

    A ledger that cannot be written does not stop a call without a budget: a note tells the user,
    and the call is recorded later. A call with a budget is refused.

    A try that failed and may be billed counts at its worst case: as much again is reserved before
    the next try, and if a budget forbids that, there is none. A call that never left this machine
    leaves no row.

    Args:
        ledger: The spend record.
        notebook: The notebook's path, if known.
        calls: The registry of calls under way, which tells its subscribers of them.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            call = _MeteredCall(ledger, Reservation(request, notebook, worst_case(request)))
            reservation, collector = call.reservation, call.collector
            running = calls.begin(collector)
            try:
                yield from reserve(ledger, reservation)
                calls.events.emit(Event("money"))
                call.begin()
                with closing(inner(reservation.request)) as deltas:
                    for delta in deltas:
                        if delta.failed is not None:
                            yield from call.another_try(delta.failed)
                            calls.events.emit(Event("money"))
                            continue
                        collector.add(delta)
                        ledger.note_progress(reservation)
                        if delta.progress:
                            yield from call.before_sending(delta)
                        else:
                            yield delta
                        if delta.finish == "length" and reservation.clamp is not None:
                            yield _clamped(*reservation.clamp)
                if note := _surprise(reservation, collector.usage):
                    yield Delta(note=note, passing=True)
            except BaseException as error:
                call.fail(error)
                raise
            finally:
                ledger.presume_lost(reservation)  # first: what follows may be interrupted
                calls.end(running)
                completion = None
                try:
                    completion = call.record()
                finally:
                    calls.events.emit(Event("end", running, completion=completion))
                    calls.events.emit(Event("money"))

        return stream

    return layer


def reserve(ledger: Ledger, reservation: Reservation) -> Generator[Delta, None, None]:
    """Reserve what a call may cost.

    Under a budget, wait until the call's deadline for money that other calls have reserved, or for
    a locked ledger. Without one, the call goes on if the ledger cannot be written, with a note that
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
        yield Delta(note=damage.message, passing=True)
        yield from reserve(ledger, reservation)
        return
    except StoreError as error:
        if not ledger.has_budget(reservation):
            later = " yet" if isinstance(error, StoreBusy) else ""
            yield Delta(note=f"not in the ledger{later}: {error.message}", passing=True)
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
            reserved = format_dollars(short.reserved)
            why = f"{reserved} of {short.limit.name} is reserved by other calls"
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
    """Put a call at the end of the queue of waiting calls, while the block runs."""
    waiter = Waiter(active=True)
    ledger.waiters.add(waiter)
    try:
        with reservation.request.control.stop.calling(waiter.wakeup.wake):
            yield waiter
    finally:
        ledger.waiters.remove(waiter)
        ledger.withdraw(waiter)


class _Reach(IntEnum):
    """The farthest point that a request has reached."""

    LOCAL = 0  # it never left this machine: no call was made
    TRANSMITTED = 1  # it left this machine, but the provider does not work on it
    READ = 2  # the provider may have read it, and may bill it


class _MeteredCall:
    """The state of one call, and its end.

    Attributes:
        reservation: Its reservation in the ledger.
        collector: Its answer so far.
    """

    def __init__(self, ledger: Ledger, reservation: Reservation) -> None:
        self.reservation, self.collector = reservation, Collector(reservation.request)
        self._ledger = ledger
        self._status: Status = "ok"
        self._reason: str | None = None
        self._error: MixmagicError | None = None
        # How far the earlier tries have come, and the last one: READ while it runs.
        self._earlier = self._reach = _Reach.LOCAL

    def begin(self) -> None:
        """Note that the money is reserved: the first try begins."""
        self.collector.request = self.reservation.request
        self._reach = _Reach.READ

    def before_sending(self, progress: Delta) -> Generator[Delta, None, None]:
        """Yield a progress message: the try that reports it has not sent the question yet."""
        self._reach = self._earlier
        yield progress
        self._reach = _Reach.READ

    def another_try(self, error: MixmagicError) -> Generator[Delta, None, None]:
        """Reserve money for another try besides one that failed, if that may be billed.

        Raises:
            MixmagicError: The failed one's: a budget has too little left for another.
        """
        self._earlier = self._reach = _Reach.TRANSMITTED  # what it may cost is in `tried`
        if (tried := _tried(self.reservation, error)) is not None:
            self._reserve_again(error, tried)
            yield Delta(tried=tried)
        self._reach = _Reach.READ

    def _reserve_again(self, error: MixmagicError, tried: Tried) -> None:
        """Reserve the cost of a failed try besides that of the next one.

        Raises:
            MixmagicError: The failed try's: a budget has too little left for another.
        """
        try:
            enough = self._ledger.extend(self.reservation, tried.cost)
        except StoreError:
            enough = not self._ledger.has_budget(self.reservation)
        if not enough:
            error.hint = one_line(
                f"{error.hint} It was not tried again: this try may be billed, and a budget has too"
                " little left for another."
            )
            error.__notes__ = [f"Hint: {error.hint}"]
            raise error
        self.collector.add(Delta(tried=tried))

    def fail(self, error: BaseException) -> None:
        """Note why the call ended before its answer did."""
        if isinstance(error, MixmagicError):
            self._status, self._reason = "failed", f"{type(error).__name__}: {error.message}"
            self._error = error
            reach = _Reach.TRANSMITTED if error.transmitted else _Reach.LOCAL
            self._reach = _Reach.READ if error.sent else max(reach, self._earlier)
        elif isinstance(error, (KeyboardInterrupt, GeneratorExit)):  # or its reader went away
            self._status = "stopped"
            if (sent := getattr(error, "sent", None)) is not None:
                self._reach = _Reach.READ if sent else self._earlier
        else:
            self._status, self._reason = "failed", type(error).__name__

    def record(self) -> Completion | None:
        """Close the call's row with its outcome, or delete it if the call left nothing behind."""
        collector, error = self.collector, self._error
        if error is not None:
            if isinstance(error.usage, Usage):
                collector.add(Delta(usage=error.usage))
            if collector.begun:
                error.partial = finalize(collector, "broken off")
        completion = None
        if self._reach > _Reach.LOCAL or collector.begun or collector.usage:
            finish, unseen = _FINISH.get(self._status, ""), bool(error and not collector.begun)
            sent = self._reach is _Reach.READ
            completion = finalize(collector, finish, sent=sent, unseen=unseen)
            if not (completion.cost or _priced(completion)):
                completion = replace(completion, cost=None)
        on_end = self.reservation.request.control.on_end
        try:
            if on_end is not None and completion is not None:
                on_end(completion)
        finally:
            self._write(completion)
        return completion

    def _write(self, completion: Completion | None) -> None:
        try:
            self._ledger.record(self.reservation, self._status, completion, self._reason)
        except StoreBusy as busy:  # it is written as soon as possible
            _log.info("A call is not in the ledger yet: %s", busy.message)
        except StoreError as error:
            _log.warning("The row of a call stays open: %s", error.message)


def _tried(reservation: Reservation, error: MixmagicError) -> Tried | None:
    """Return the cost of a try that failed; `None` if it is certainly not billed."""
    price = reservation.request.model.price
    if isinstance(usage := error.usage, Usage):
        return Tried(bill(usage, price), reported=True)
    return Tried(reservation.most) if error.sent and reservation.most != 0 else None


def _clamped(limit: int, name: str) -> Delta:
    """Return a note on an answer that a budget has cut short."""
    return Delta(note=f"{name} had room for {counted(limit, 'token')}")


def _priced(completion: Completion) -> bool:
    """Return True if the cost of a call is known: from its price, or from the provider."""
    return completion.model.price is not None or completion.usage.charge is not None


def _surprise(reservation: Reservation, usage: Usage | None) -> str:
    """Return a note if a provider has counted more than the call could have cost."""
    price, most, number = reservation.request.model.price, reservation.most, reservation.number
    cost = None if usage is None else bill(usage, price)
    if cost is None or most is None or cost <= most:
        return ""
    note = f"it cost more than its worst case of {format_most(most)}: the provider counted more"
    return note + (f"; `spend --resolve {number} DOLLARS` corrects that" if number else "")

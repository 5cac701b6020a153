"""Every call that is sent becomes a row in the ledger, priced, however it ends."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from mixmagic.calls.collector import Collector
from mixmagic.calls.completion import Completion
from mixmagic.calls.final_cost import settled
from mixmagic.calls.interrupts import Calls
from mixmagic.calls.worst_case import bound
from mixmagic.core.money import Usage, bill
from mixmagic.core.values import Delta, Layer, Request, Stream, Tried
from mixmagic.errors import MixmagicError, StoreBusy, StoreError, one_line
from mixmagic.layers.reserving import reserve
from mixmagic.store.ledger.budgets import exactly
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation
from mixmagic.store.ledger.rows import Status

# Why an answer ended that the stream did not end.
_FINISH = {"stopped": "stopped", "failed": "broken off"}
_log = logging.getLogger("mixmagic")


def meter(ledger: Ledger, notebook: str | None, calls: Calls) -> Layer:
    """Reserve what a call may cost, record what it did.

    A ledger that cannot be written does not stop a call that has no budget: a note tells the
    user, and the call is recorded later. A call that has one is refused.

    A try that failed, and may be billed, counts at its worst case: so much more is reserved before
    the next one, and if a budget forbids that, there is none. A call that never left this machine
    leaves no row.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            call = _Call(ledger, Reservation(request, notebook, bound(request)))
            reservation, collector = call.reservation, call.collector
            running = calls.begin(collector)
            try:
                yield from reserve(ledger, reservation)
                collector.request = reservation.request
                with closing(inner(reservation.request)) as deltas:
                    for delta in deltas:
                        if delta.failed is not None:
                            yield from call.another_try(delta.failed)
                            continue
                        collector.add(delta)
                        ledger.note_progress(reservation)
                        call.sent = not delta.progress  # who tells of a wait has not sent it yet
                        yield delta
                        call.sent = True
                        if delta.finish == "length" and reservation.clamp is not None:
                            yield _clamped(*reservation.clamp)
                if note := _surprise(reservation, collector.usage):
                    yield Delta(note=note)
            except BaseException as error:
                call.fail(error)
                raise
            finally:
                ledger.presume_lost(reservation)  # first of all: what follows may be interrupted
                calls.end(running)
                call.record()

        return stream

    return layer


class _Call:
    """Fate of one call.

    Attributes:
        reservation: Its place in the ledger.
        collector: Its answer so far.
        sent: True if the provider may have read the question of the last try.
    """

    def __init__(self, ledger: Ledger, reservation: Reservation) -> None:
        self.reservation, self.collector = reservation, Collector(reservation.request)
        self.sent = True
        self._ledger = ledger
        self._status: Status = "ok"
        self._reason: str | None = None
        self._error: MixmagicError | None = None
        self._transmitted = False  # in some try

    def another_try(self, error: MixmagicError) -> Generator[Delta, None, None]:
        """Reserve money for another try besides one that failed, if that may be billed.

        Raises:
            MixmagicError: The failed one's: a budget has too little left for another.
        """
        self._transmitted, self.sent = True, False
        if (tried := _tried(self.reservation, error)) is None:
            return
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
        yield Delta(tried=tried)

    def fail(self, error: BaseException) -> None:
        """Note why the call ended before its answer did."""
        if isinstance(error, MixmagicError):
            self._status, self._reason = "failed", f"{type(error).__name__}: {error.message}"
            self._error, self.sent = error, error.sent
            self._transmitted = self._transmitted or error.transmitted
        elif isinstance(error, (KeyboardInterrupt, GeneratorExit)):  # or its reader went away
            self._status, self.sent = "stopped", getattr(error, "sent", self.sent)
        else:
            self._status, self._reason = "failed", type(error).__name__

    def record(self) -> None:
        """Close the call's row with what it came to; erase it if it never left this machine."""
        collector, error = self.collector, self._error
        if error is not None:
            if isinstance(error.usage, Usage):
                collector.add(Delta(usage=error.usage))
            if collector.begun:
                error.partial = settled(collector, "broken off")
        completion = None
        if self._transmitted or self.sent or collector.begun or collector.usage:
            finish, seen = _FINISH.get(self._status, ""), error is None or collector.begun
            completion = settled(collector, finish, sent=self.sent, seen=seen)
            if not (completion.cost or _priced(completion)):
                completion = replace(completion, cost=None)
        try:
            self._ledger.record(self.reservation, self._status, completion, self._reason)
        except StoreBusy as busy:  # it is written as soon as it can be
            _log.info("A call is not in the ledger yet: %s", busy.message)
        except StoreError as trouble:
            _log.warning("The row of a call stays open: %s", trouble.message)


def _tried(reservation: Reservation, error: MixmagicError) -> Tried | None:
    """Return what a try that failed may cost; `None` if it is surely not billed."""
    price = reservation.request.model.price
    if isinstance(usage := error.usage, Usage):
        return Tried(bill(usage, price), told=True)
    return Tried(reservation.most) if error.sent and reservation.most != 0 else None


def _clamped(limit: int, name: str) -> Delta:
    """Return what to say of an answer that is too short for want of money."""
    return Delta(note=f"{name} had room for {limit:,} tokens")


def _priced(completion: Completion) -> bool:
    """Return True if somebody knows what a call costs."""
    return completion.model.price is not None or completion.usage.charge is not None


def _surprise(reservation: Reservation, usage: Usage | None) -> str:
    """Return a note if a provider has counted more than the call could have cost."""
    price, most, number = reservation.request.model.price, reservation.most, reservation.number
    cost = None if usage is None else bill(usage, price)
    if cost is None or most is None or cost <= most:
        return ""
    how = f"; `spend --resolve {number} DOLLARS` corrects that" if number else ""
    return (
        f"it cost more than the {exactly(most)} that it could have: the provider counted more{how}"
    )

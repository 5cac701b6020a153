"""Every call becomes a row in the ledger, priced, however it ends."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing

from mixmagic.bounds import bound
from mixmagic.completion import Collector, Completion
from mixmagic.errors import MixmagicError, Stopped, StoreDamaged, StoreError
from mixmagic.layers.settling import settled
from mixmagic.money import Usage
from mixmagic.store.accounts import Status
from mixmagic.store.budgets import exactly
from mixmagic.store.holds import Hold
from mixmagic.store.ledger import Ledger
from mixmagic.values import Delta, Layer, Request, Stream

# Why an answer ended that the stream did not end.
_FINISH = {"stopped": "stopped", "failed": "broken off"}
_log = logging.getLogger("mixmagic")


def meter(ledger: Ledger, notebook: str | None) -> Layer:
    """Hold what a call may cost, record what it did.

    A ledger that cannot be written does not stop a call that has no budget: a note tells the
    user. A call that has one is refused.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            collector = Collector(request)
            hold = Hold(request, notebook, bound(request))
            outcome: tuple[Status, str | None] = ("ok", None)
            failure: MixmagicError | None = None
            sent = True  # whether the provider may have read the question
            try:
                yield from _reserve(ledger, hold)
                with closing(inner(request)) as deltas:
                    for delta in deltas:
                        collector.add(delta)
                        sent = not delta.progress  # who tells of a wait has not sent it yet
                        yield delta
                        sent = True
                if note := _surprise(hold, collector.usage):
                    yield Delta(note=note)
            except MixmagicError as error:
                outcome, sent = ("failed", f"{type(error).__name__}: {error.message}"), error.sent
                failure = error
                raise
            except Stopped as stopped:
                outcome, sent = ("stopped", None), stopped.sent
                raise
            except (KeyboardInterrupt, GeneratorExit):  # stopped, or its reader went away
                outcome = "stopped", None
                raise
            except BaseException as error:
                outcome = "failed", type(error).__name__
                raise
            finally:
                ledger.abandon(hold)  # first of all: what follows may be interrupted
                if failure is not None and collector.begun:
                    failure.partial = settled(collector, "broken off")
                if hold.number is not None:
                    came = settled(collector, _FINISH.get(outcome[0], ""), sent=sent)
                    _settle(ledger, hold, came, *outcome)

        return stream

    return layer


def _reserve(ledger: Ledger, hold: Hold) -> Generator[Delta, None, None]:
    """Hold what the call may cost; where that cannot be, say so, or refuse it under a budget."""
    try:
        ledger.reserve(hold)
    except StoreError as error:
        if hold.bound.cost != 0 and ledger.caps(hold):
            raise
        if not isinstance(error, StoreDamaged):
            yield Delta(note=f"not in the ledger: {error.message}")
            return
        yield Delta(note=error.message)
        yield from _reserve(ledger, hold)


def _settle(
    ledger: Ledger, hold: Hold, completion: Completion, status: Status, reason: str | None
) -> None:
    """Close the call's row."""
    try:
        ledger.settle(hold, status, completion, reason)
    except StoreError as error:
        _log.warning("The row of a call stays open: %s", error.message)


def _surprise(hold: Hold, usage: Usage | None) -> str:
    """What to say where a provider has counted more than the call could have cost."""
    price, most = hold.request.model.price, hold.bound.cost
    if usage is None or price is None or most is None or price.cost(usage) <= most:
        return ""
    how = f"; `spend --resolve {hold.number} DOLLARS` corrects that" if hold.number else ""
    return (
        f"it cost more than the {exactly(most)} that it could have: the provider counted more{how}"
    )

"""Every call becomes a row in the ledger, priced, however it ends."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing

from mixmagic.completion import Collector
from mixmagic.errors import MixmagicError, Stopped, StoreError
from mixmagic.store.ledger import Ledger, Status
from mixmagic.values import Delta, Layer, Request, Stream

_log = logging.getLogger("mixmagic")


def meter(ledger: Ledger, notebook: str | None) -> Layer:
    """Record calls in `ledger`.

    A ledger that cannot be written does not stop the call: a note tells the user.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            collector = Collector(request)
            row: int | None = None
            try:
                row = ledger.open(request, notebook)
            except StoreError as error:
                yield Delta(note=f"not in the ledger: {error.message}")
            outcome: tuple[Status, str | None] = ("ok", None)
            sent = True
            try:
                with closing(inner(request)) as deltas:
                    for delta in deltas:
                        collector.add(delta)
                        yield delta
            except MixmagicError as error:
                outcome = "failed", f"{type(error).__name__}: {error.message}"
                sent = error.sent
                if collector.begun:
                    error.partial = collector.completion("broken off")
                raise
            except Stopped as stopped:
                outcome, sent = ("stopped", None), stopped.sent
                raise
            except (KeyboardInterrupt, GeneratorExit):  # stopped, or its reader went away
                outcome = "stopped", None
                raise
            except BaseException as error:
                outcome, sent = ("failed", type(error).__name__), False
                raise
            finally:
                status, failure = outcome
                # A call that was refused costs nothing; one whose prompt may have been read is
                # priced for that.
                read = sent or collector.begun or collector.usage is not None
                finish = "" if status == "ok" else status
                try:
                    if row is not None:
                        completion = collector.completion(finish) if read else None
                        ledger.settle(row, status, completion, failure)
                except StoreError as error:
                    _log.warning("The row of a call stays open: %s", error.message)

        return stream

    return layer

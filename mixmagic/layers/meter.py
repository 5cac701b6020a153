"""Every call becomes a row in the ledger, priced, however it ends."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing

from mixmagic.completion import Collector
from mixmagic.errors import MixmagicError, StoreError
from mixmagic.store.ledger import Ledger, Status
from mixmagic.values import Delta, Layer, Request, Stream

_log = logging.getLogger("mixmagic")


def meter(ledger: Ledger, notebook: str | None) -> Layer:
    """Record calls in `ledger`.

    A ledger that cannot be written does not stop the call: a note tells the user.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            try:
                row = ledger.open(request, notebook)
            except StoreError as error:
                yield Delta(note=f"not in the ledger: {error.message}")
                yield from inner(request)
                return
            collector = Collector(request)
            outcome: tuple[Status, str | None] = ("ok", None)
            try:
                with closing(inner(request)) as deltas:
                    for delta in deltas:
                        collector.add(delta)
                        yield delta
            except MixmagicError as error:
                outcome = "failed", f"{type(error).__name__}: {error.message}"
                raise
            except (KeyboardInterrupt, GeneratorExit):  # stopped, or its reader went away
                outcome = "stopped", None
                raise
            except BaseException as error:
                outcome = "failed", type(error).__name__
                raise
            finally:
                status, failure = outcome
                # A call that failed before its answer began costs nothing; one that was
                # stopped then may have been read, and is priced for its prompt.
                sent = status != "failed" or collector.begun
                finish = "" if status == "ok" else status
                try:
                    ledger.settle(
                        row, status, collector.completion(finish) if sent else None, failure
                    )
                except StoreError as error:
                    _log.warning("The row of a call stays open: %s", error.message)

        return stream

    return layer

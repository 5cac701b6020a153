"""Retries of calls that were not answered: a few, at growing intervals, within a time limit."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Generator
from contextlib import closing
from typing import TypeGuard

from mixmagic.core.settings import Settings
from mixmagic.core.values import Delta, Layer, Request, Stream
from mixmagic.errors import MixmagicError, ProviderError, RateLimited, Stopped

# Seconds: the first backoff is at most `_FIRST`, each further one twice as long, up to `_LONGEST`.
_FIRST, _LONGEST = 0.5, 8.0


def retry(settings: Settings) -> Layer:
    """Retry a call if its error is temporary and nothing of an answer has arrived.

    There are at most `settings.max_retries` retries, and their waits take at most
    `settings.retry_timeout` seconds. A retry after a 429 does not count if the provider accepts
    other calls: then it is only a matter of time. Each wait runs inside of `control.pause()`.

    An answer that has begun is never begun again. Before a retry, a delta carries the error of the
    failed try if that left this machine; `sent` of the error tells if it may be billed.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            waited, tries, counted = 0.0, 0, 0
            while True:
                begun = False
                try:
                    with closing(inner(request)) as deltas:
                        for delta in deltas:
                            yield delta
                            if delta.text or delta.reasoning or delta.finish or delta.usage:
                                begun = True
                                if tries:
                                    note = f"after {tries} {_retries(tries)}"
                                    yield Delta(note=note, passing=True)
                                yield from deltas
                    return  # noqa: TRY300  # what follows is for errors
                except MixmagicError as error:
                    error.sent = error.sent or _may_be_billed(error)
                    if begun or not _is_temporary(error):
                        raise
                    wait = _wait(error, tries)
                    counted += not _succeeds_in_time(error, wait)
                    if counted > settings.max_retries or settings.max_retries == 0:
                        raise
                    if waited + wait > settings.retry_timeout:
                        raise
                    if time.monotonic() + wait > request.control.deadline:
                        raise
                    failure = error
                if failure.transmitted:
                    yield Delta(failed=failure)
                tries += 1
                waited += wait
                with request.control.pause():
                    yield from _waiting(request, failure, wait)

        return stream

    return layer


def _is_temporary(error: MixmagicError) -> TypeGuard[ProviderError]:
    """Return True if the same call may succeed later."""
    return isinstance(error, ProviderError) and error.retryable


def _succeeds_in_time(error: ProviderError, wait: float) -> bool:
    """Return True if a call is refused only because there are too many at the moment."""
    return isinstance(error, RateLimited) and error.others_accepted and wait > 0


def _may_be_billed(error: MixmagicError) -> bool:
    """Return True if the provider may bill a try that it refused.

    With 429, 503 and 529 it has not begun to work, and an error in the question is found before the
    work begins. Other errors of a server or a gateway may happen in the middle of it.
    """
    status = getattr(error, "status", None) or 0
    return status == 408 or (status >= 500 and status not in (503, 529))


def _retries(count: int) -> str:
    """Return the noun that follows a number of retries."""
    return "retry" if count == 1 else "retries"


def _wait(error: ProviderError, tries: int) -> float:
    """Return the seconds until the next try: as asked for, else a backoff with full jitter."""
    if error.retry_after is not None:
        return error.retry_after
    # Not for security: it keeps many callers from retrying at once.
    return random.uniform(0, min(_FIRST * 2**tries, _LONGEST))  # noqa: S311


def _waiting(request: Request, error: ProviderError, wait: float) -> Generator[Delta, None, None]:
    """Wait, counting down for the user; a stop ends the wait at once."""
    label = request.model.provider.label
    if isinstance(error, RateLimited):
        trouble = f"rate limited by {label}"
    elif error.status is not None:
        trouble = f"{label} answered {error.status}"
    else:
        trouble = f"{label} cannot be reached"
    until = time.monotonic() + wait
    try:
        while (remaining := until - time.monotonic()) > 0:
            yield Delta(progress=f"{trouble}: next try in {math.ceil(remaining)} s")
            # To the next whole second, so that the user sees it count down.
            if request.control.stop.wait(min(remaining, remaining % 1 or 1)):
                raise Stopped(sent=False)
    except KeyboardInterrupt:
        raise Stopped(sent=False) from None

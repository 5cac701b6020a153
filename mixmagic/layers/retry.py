"""A call that was not answered is made again: a few times, later and later, in bounded time."""

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

# Seconds: the first wait is at most `_FIRST`, each further one twice as long, up to `_LONGEST`.
_FIRST, _LONGEST = 0.5, 8.0


def retry(settings: Settings) -> Layer:
    """Make a call again if its error may pass and nothing of an answer has arrived.

    There are at most `settings.max_retries` retries. One after a 429 does not count if the provider
    accepts other calls meanwhile: it is a matter of time, which `settings.retry_timeout` limits.
    During a wait `request.control.pause` is entered.

    An answer that has begun is never begun again. Before a call is made again, a delta carries the
    error of the failed try if that left this machine; its `sent` tells if it may be billed.
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
                                    yield Delta(note=f"after {tries} {_retries(tries)}")
                                yield from deltas
                    return  # noqa: TRY300  # what follows is for errors
                except MixmagicError as error:
                    error.sent = error.sent or _may_be_billed(error)
                    if begun or not _may_pass(error):
                        raise
                    wait = _wait(error, tries)
                    counted += not _passes_in_time(error, wait)
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


def _may_pass(error: MixmagicError) -> TypeGuard[ProviderError]:
    """Return True if the same call may be made again."""
    return isinstance(error, ProviderError) and error.retryable


def _passes_in_time(error: ProviderError, wait: float) -> bool:
    """Return True if a call is refused only because there are too many at this moment."""
    return isinstance(error, RateLimited) and error.others_pass and wait > 0


def _may_be_billed(error: MixmagicError) -> bool:
    """Return True if the provider may bill a try that it refused.

    With 429, 503 and 529 it has not begun to work, and errors that blame the question are found
    before the work; other errors of a server or a gateway may come in the middle of it.
    """
    status = getattr(error, "status", None) or 0
    return status == 408 or (status >= 500 and status not in (503, 529))


def _retries(count: int) -> str:
    """Return the noun that follows a number of retries."""
    return "retry" if count == 1 else "retries"


def _wait(error: ProviderError, tries: int) -> float:
    """Return the seconds until the next try: as told, or else a backoff with full jitter."""
    if error.retry_after is not None:
        return error.retry_after
    # Not for secrets: it keeps many callers from coming back at once.
    return random.uniform(0, min(_FIRST * 2**tries, _LONGEST))  # noqa: S311


def _waiting(request: Request, error: ProviderError, wait: float) -> Generator[Delta, None, None]:
    """Wait and tell the user how long it still takes; a stop ends it at once."""
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

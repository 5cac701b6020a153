"""Draws a call's answer while it comes, at a bounded rate, on the main thread."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mixmagic.calls.interrupts import Calls
from mixmagic.calls.running import Call
from mixmagic.completion import Completion, dollars, stopped_with
from mixmagic.display.renderers import Renderer
from mixmagic.display.thoughts import thinking
from mixmagic.errors import AnswerUnusable, StoreError
from mixmagic.sessions import Session
from mixmagic.values import Request

# Seconds between two looks at what has come while nothing comes, and when nobody is shown it.
_TICK, _FRAME = 0.05, 0.05
# Seconds that a stopped call has to let go of its connection before it is left to itself.
_GRACE = 0.08
# Seconds without a word after which the user is told that we are waiting.
_PATIENCE = 1.0


def show(
    session: Session, request: Request, renderer: Renderer, notes: Sequence[str] = ()
) -> Completion:
    """Ask, draw the answer as it comes, and return it; `notes` go into its footer.

    Ctrl-C stops the call, keeps what has come, and fails the cell in one line.

    Raises:
        Stopped: The user stopped it; the text so far has been shown, and priced.
        AnswerUnusable: The answer is there, in `partial`, but could not be shown.
        MixmagicError: What went wrong; the text so far has been shown.
    """
    call = Call(session.stream, request)
    call.collector.notes += notes
    failure: Exception | None = None
    with _interrupts(session.calls, call) as interrupted:
        try:
            call.start()
            failure = _tried(lambda: _draw(call, renderer, interrupted))
            if failure is not None:  # it is paid for: it is read to its end
                _draw(call, None, interrupted)
        except KeyboardInterrupt:  # if no handler could be installed
            call.stop()
        completion = call.outcome()
        stopped = call.stopped or not call.ended
        if failure is None and (stopped or call.collector.begun or call.error is None):
            failure = _tried(lambda: renderer.finish(completion, session_total(session)))
        elif failure is None:
            failure = _tried(lambda: renderer.discard(f"no answer from {request.model.name}"))
    if stopped:
        session.calls.keep(completion)
        raise stopped_with(completion)
    if call.error is not None:
        raise call.error
    if interrupted:  # while the whole answer was drawn
        raise stopped_with(completion)
    if failure is not None:
        error = AnswerUnusable(
            f"The answer could not be shown: {type(failure).__name__}: {failure}.",
            "It is kept, in `_` and as the `partial` of this error.",
        )
        error.partial = completion
        raise error from None
    return completion


def _tried(draw: Callable[[], None]) -> Exception | None:
    """Return what a renderer failed with, if it did: on whatever display, in whatever way."""
    try:
        draw()
    except Exception as error:  # noqa: BLE001
        return error
    return None


def session_total(session: Session) -> str:
    """What the session has cost, and may; calls of unknown price make it a lower bound."""
    from mixmagic.store.budgets import exactly
    from mixmagic.store.spend import total

    try:
        ledger = session.ledger
        spent = total(ledger.spent(patience=ledger.patience))
        limit = ledger.budgets.session
    except StoreError:
        return "unknown"
    of = "" if limit is None else f" of {exactly(limit)}"
    return f"{'≥ ' if spent.unpriced else ''}{dollars(spent.cost)}{of}"


def _draw(call: Call, renderer: Renderer | None, interrupted: Sequence[bool]) -> None:
    """Draw what comes until the call ends, or has been stopped and will not let go."""
    deadline, said, thoughts, since = 0.0, "", "", 0.0
    patience = time.monotonic() + _PATIENCE
    while not call.ended:
        text, progress = "", ""
        for delta in call.take(_TICK):
            text += "" if delta.choice else delta.text
            progress = delta.progress or progress
            if delta.reasoning:
                since = since or time.monotonic()
                thoughts += delta.reasoning
        if progress:
            # Whoever counts down speaks again within a second.
            patience = time.monotonic() + 2 * _PATIENCE
        elif thoughts:
            progress = thinking(thoughts, time.monotonic() - since)
        elif not call.collector.begun and time.monotonic() > patience:
            progress = f"waiting for {call.request.model.name} …"
        if renderer is not None:
            if thoughts and (text or call.ended):
                renderer.thought(call.outcome())
                thoughts = ""
            renderer.draw(text, "" if progress == said else progress)
        said = progress or said
        if interrupted:
            call.stop()
        if call.request.stop.is_set():
            deadline = deadline or time.monotonic() + _GRACE
            if time.monotonic() > deadline:
                return
        elif not call.ended:
            call.pause(_FRAME if renderer is None else renderer.interval)


@contextlib.contextmanager
def _interrupts(calls: Calls, call: Call) -> Iterator[list[bool]]:
    """Let the first Ctrl-C stop the call, and others of the cell; a second one acts as usual.

    Yields:
        A list that is empty until then.
    """
    interrupted: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    # One that was not set from Python is unknown, and cannot be set again.
    before: Any = signal.getsignal(signal.SIGINT) or signal.default_int_handler

    def handler(signum: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        interrupted.append(True)
        calls.interrupt()
        call.wake()

    signal.signal(signal.SIGINT, handler)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)

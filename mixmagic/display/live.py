"""Draw an answer while it streams, at a bounded rate, on the main thread."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

from mixmagic.calls.collector import stopped_with
from mixmagic.calls.completion import Completion
from mixmagic.calls.interrupts import Calls
from mixmagic.calls.running import Call
from mixmagic.core.money import format_dollars, format_limit
from mixmagic.core.values import Delta, Request
from mixmagic.display.renderers import Renderer
from mixmagic.errors import AnswerUnusable, StoreError, received
from mixmagic.sessions import Session
from mixmagic.structured.attempts import read_instance
from mixmagic.structured.schema import Schema

# Seconds between two looks at a call that sends nothing, or has no renderer.
_TICK = 0.05
# Seconds that a stopped call may take to close its connection before we return.
_GRACE = 0.08
_RESTARTED = "The call that shared its answer has ended early. Asking again …"
# Seconds without any text until the user is told that we are waiting.
_PATIENCE = 1.0
# Characters of the last thought that are shown while a model thinks.
_LAST_WORDS = 60


def show(
    session: Session,
    request: Request,
    renderer: Renderer,
    notes: Sequence[str] = (),
    note: Callable[[Completion], str] = lambda completion: "",
) -> Completion:
    """Send a request, draw the answer while it streams, and return it.

    `notes` join its footer, and `note` returns one more for an answer that is complete. Ctrl-C
    stops the call, keeps the text received, and fails the cell with one line.

    Raises:
        Stopped: The user stopped the call; the text received is shown and priced.
        AnswerUnusable: The answer is complete, in `partial`, but could not be shown.
        MixmagicError: The call failed; the text received is shown.
    """
    call = Call(session.stream, request)
    call.collector.notes += notes
    failure: Exception | None = None
    with _interrupts(session.calls, call) as interrupted:
        try:
            call.start()
            failure = _tried(lambda: _draw(call, renderer, interrupted))
            if failure is not None:  # the answer is paid for: read it to its end
                _draw(call, None, interrupted)
        except KeyboardInterrupt:  # the second one
            call.stop()
        completion = call.outcome()
        stopped = call.stopped or not call.ended
        if not stopped and call.error is None:
            completion = with_note(completion, note(completion))
        try:
            if failure is None and (stopped or call.collector.begun or call.error is None):
                failure = _tried(lambda: renderer.finish(completion, session_total(session)))
            elif failure is None:
                failure = _tried(lambda: renderer.discard(f"no answer from {request.model.name}"))
        except KeyboardInterrupt:  # the second one, or the first one after the whole answer
            interrupted.append(True)
    if stopped:
        session.calls.keep(completion)
        shown = failure is None and request.control.background is None
        raise stopped_with(completion, shown=shown)
    if call.error is not None:
        raise call.error
    if interrupted:  # while the whole answer was drawn
        raise stopped_with(completion)
    if failure is not None:
        raise not_shown(completion, failure) from None
    return completion


def with_note(completion: Completion, note: str) -> Completion:
    """Return an answer with one more note, if there is one."""
    return replace(completion, notes=(*completion.notes, note)) if note else completion


class AttemptsRenderer:
    """Draws all attempts at an answer in one renderer, and finishes only the last one.

    As a context, it finishes it at the end, if `release` has not done so.

    Args:
        renderer: Draws the answer.
        schema: The schema of the answer, to tell why the first one does not match.

    Example:
        >>> with AttemptsRenderer(renderer(shell, form=FORMATS["json"]), schema) as attempts:
        ...     ask_structured(lambda asked: show(session, asked, attempts), request, schema)
    """

    def __init__(self, renderer: Renderer, schema: Schema) -> None:
        self._renderer = renderer
        self._schema = schema
        self._last: tuple[Completion, str] | None = None  # not finished yet
        self._is_second = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.release(None if error is None else received(error))

    @property
    def interval(self) -> float:
        return self._renderer.interval

    def draw(self, text: str, progress: str) -> None:
        if self._last is not None and not self._is_second:
            self._is_second = True
            self.restart(f"{self._problem(self._last[0])} Asking again:")
        self._renderer.draw(text, progress)

    def thought(self, completion: Completion) -> None:
        self._renderer.thought(completion)

    def restart(self, why: str) -> None:
        self._renderer.restart(why)

    def finish(self, completion: Completion, session: str) -> None:
        self._last = completion, session

    def discard(self, what: str) -> None:
        if self._last is None:
            self._renderer.discard(what)

    def release(self, completion: Completion | None = None) -> None:
        """Finish the last answer, or `completion` in its place; do nothing if there was none.

        Raises:
            AnswerUnusable: The renderer failed; `partial` is the answer.
            Stopped: Ctrl-C; `completion` is the answer.
        """
        if self._last is not None:
            last, session = self._last
            self._last = None
            answer = last if completion is None else completion
            try:
                self._renderer.finish(answer, session)
            except KeyboardInterrupt:
                raise stopped_with(answer) from None
            except Exception as failure:  # noqa: BLE001  # a front end may raise anything
                raise not_shown(answer, failure) from None

    def _problem(self, completion: Completion) -> str:
        """Return why an answer does not match the schema."""
        try:
            read_instance(completion, self._schema)
        except AnswerUnusable as error:
            return error.message
        return "The answer does not match."


def not_shown(completion: Completion, failure: Exception) -> AnswerUnusable:
    """Return the error for an answer that could not be shown because of `failure`."""
    error = AnswerUnusable(
        f"The answer could not be shown: {type(failure).__name__}: {failure}.",
        "It is kept, in `_` and as the `partial` of this error.",
    )
    error.partial = completion
    return error


def _tried(draw: Callable[[], None]) -> Exception | None:
    """Return the exception that a renderer raised, if any: a front end may raise anything."""
    try:
        draw()
    except Exception as error:  # noqa: BLE001
        return error
    return None


def session_total(session: Session) -> str:
    """Return the session's cost and its limit; nothing if nothing has cost anything."""
    from mixmagic.store.ledger.spend import total

    try:
        ledger = session.ledger
        spent = total(ledger.spent(timeout=ledger.lock_timeout))
        limit = ledger.budgets.session
    except StoreError:
        return "unknown"
    if not spent.cost:
        return ""
    of = "" if limit is None else f" of {format_limit(limit)}"
    return f"{'at least ' if spent.unpriced else ''}{format_dollars(spent.cost)}{of}"


def _draw(call: Call, renderer: Renderer | None, interrupted: Sequence[bool]) -> None:
    """Draw the answer until the call ends, or until a stopped call has had its time to close."""
    waiting, deadline, begun = _Waiting(call), 0.0, False
    while not call.ended:
        deltas = list(call.take(_TICK))
        again = [at for at, delta in enumerate(deltas) if delta.restarted]
        if again:
            deltas, begun, waiting.thoughts = deltas[again[-1] :], False, ""
            if renderer is not None:
                renderer.restart(_RESTARTED)
        text = "".join(delta.text for delta in deltas if not delta.choice)
        progress = waiting.progress(deltas)
        if renderer is not None:
            if text and not begun and waiting.thoughts:
                renderer.thought(call.outcome())
                waiting.thoughts = ""
            renderer.draw(text, progress)
        begun = begun or bool(text)
        if interrupted:
            call.stop()
        if call.request.control.stop.is_set():
            deadline = deadline or time.monotonic() + _GRACE
            if time.monotonic() > deadline:
                break
        elif not call.ended:
            call.pause(_TICK if renderer is None else renderer.interval)
    if renderer is not None and waiting.thoughts:
        renderer.thought(call.outcome())


class _Waiting:
    """Progress messages until an answer begins.

    Attributes:
        thoughts: The model's thoughts that are not shown yet.
    """

    def __init__(self, call: Call) -> None:
        self.thoughts = ""
        self._call = call
        self._since = 0.0  # start of the thoughts
        self._shown = ""
        self._patience = time.monotonic() + _PATIENCE

    def progress(self, deltas: Sequence[Delta]) -> str:
        """Return the message to show now; empty if it is already shown."""
        progress = ""
        for delta in deltas:
            progress = delta.progress or progress
            if delta.reasoning:
                self._since = self._since or time.monotonic()
                self.thoughts += delta.reasoning
        if progress:
            # A countdown updates its message within a second.
            self._patience = time.monotonic() + 2 * _PATIENCE
        elif self.thoughts:
            progress = thinking_progress(self.thoughts, time.monotonic() - self._since)
        elif not self._call.collector.begun and time.monotonic() > self._patience:
            progress = f"waiting for {self._call.request.model.name} …"
        if not progress or progress == self._shown:
            return ""
        self._shown = progress
        return progress


def thinking_progress(reasoning: str, seconds: float) -> str:
    """Return the message while a model thinks: seconds, and the last words of its thoughts.

    Example:
        >>> thinking_progress("First, the regions.", 12.3)
        'thinking … 12 s · First, the regions.'
    """
    words = " ".join(reasoning[-4 * _LAST_WORDS :].split())
    if len(words) > _LAST_WORDS:
        words = "…" + words[-_LAST_WORDS:].partition(" ")[2]
    return f"thinking … {seconds:.0f} s · {words}"


@contextlib.contextmanager
def _interrupts(calls: Calls, call: Call) -> Iterator[list[bool]]:
    """Let the first Ctrl-C stop all calls of the cell; a second one acts as usual.

    Yields:
        A list that is empty until the first Ctrl-C.
    """
    interrupted: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    # A handler that was not set from Python is unknown, and cannot be restored.
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

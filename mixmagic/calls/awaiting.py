"""Wait for calls in coroutines of asyncio: threads make them, the event loop stays free."""

from __future__ import annotations

import asyncio
import contextlib
import time
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from mixmagic.calls.collector import stopped_with
from mixmagic.calls.completion import Completion
from mixmagic.calls.interrupts import Calls
from mixmagic.calls.running import Call
from mixmagic.core.values import Delta, Request, Stream
from mixmagic.errors import BadArguments

# Calls of one event loop at the same time, each in a thread; the others wait for their turn.
_MOST = 100
# Seconds between two wakeups of the event loop. A signal does not wake that of ipykernel.
_TICK = 0.05
# Seconds that a stopped call may take to close its connection, and to be recorded.
_GRACE = 1.0
_POLL = 0.002


async def ask(stream: Stream, request: Request, calls: Calls) -> Completion:
    """Make a call, and return its completion.

    Args:
        stream: The function that makes the call.
        request: The question.
        calls: Keeps the completion if the call is stopped.

    Raises:
        CancelledError: The task was cancelled, or the call was stopped.
        MixmagicError: The call failed.
    """
    over = asyncio.Event()
    wake = _waker(over)
    call = Call(stream, request, lambda delta: wake() if delta is None else None)
    async with _made(call, calls):
        await over.wait()
    return call.outcome()


async def deltas(stream: Stream, request: Request, calls: Calls) -> AsyncGenerator[Delta, None]:
    """Make a call, and yield the pieces of its answer as they are received.

    The arguments and exceptions are those of `ask`. Closing the generator stops the call.
    """
    moved, waiting = asyncio.Event(), False
    wake = _waker(moved)
    call = Call(stream, request, lambda delta: wake() if waiting or delta is None else None)
    async with _made(call, calls):
        while not call.ended:
            moved.clear()
            waiting = True  # first: a piece that is received now wakes this task
            if pieces := list(call.take(0)):
                waiting = False
                for piece in pieces:
                    yield piece
            elif not call.ended:
                await moved.wait()


def _waker(event: asyncio.Event) -> Callable[[], None]:
    """Return a function that sets an event of the running loop, from any thread."""
    loop = _running_loop()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(event.set)

    return wake


def _running_loop() -> AbstractEventLoop:
    """Return the running event loop; raise `BadArguments` if it is not one of asyncio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise BadArguments(
            "aask and astream need the event loop of asyncio, and it does not run here.",
            "With trio: `await trio.to_thread.run_sync(mixmagic.ask, prompt)`.",
        ) from None


@contextlib.asynccontextmanager
async def _made(call: Call, calls: Calls) -> AsyncIterator[None]:
    """Make a call while the block runs; stop it if the block ends before it.

    Raises:
        CancelledError: The call was stopped. A `Stopped` would end the event loop.
        MixmagicError: The call failed.
    """
    async with _turn(_running_loop()):
        call.start()
        try:
            yield
        except asyncio.CancelledError as cancelled:
            await _stopped(call)
            # IPython shows this line instead of a traceback. A subclass would not end `timeout`.
            line = _message(call)
            vars(cancelled)["_render_traceback_"] = lambda: [line]
            raise
        finally:
            try:
                await _stopped(call)
            finally:
                if call.stopped:
                    calls.keep(call.outcome())
    if call.stopped:
        raise asyncio.CancelledError(_message(call))
    if call.error is not None:
        raise call.error


async def _stopped(call: Call) -> None:
    """Stop a call that is not over; wait until it has closed its connection, and is recorded."""
    if not call.over:
        call.stop()
    deadline = time.monotonic() + _GRACE
    while not call.over and time.monotonic() < deadline:
        await asyncio.sleep(_POLL)
    call.wait(_POLL)  # its thread has nothing more to do


def _message(call: Call) -> str:
    return stopped_with(call.outcome(), where="mixmagic.stopped()").message


class _Turns:
    """The calls of one event loop."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop, self.users = loop, 0
        self.free = asyncio.Semaphore(_MOST)

    def tick(self) -> None:
        """Wake the event loop, again and again until there are no calls."""
        if self.users:
            self.loop.call_later(_TICK, self.tick)


_turns: dict[AbstractEventLoop, _Turns] = {}


@contextlib.asynccontextmanager
async def _turn(loop: AbstractEventLoop) -> AsyncIterator[None]:
    """Wait until there are fewer than `_MOST` calls; keep the event loop awake meanwhile."""
    turns = _turns.setdefault(loop, _Turns(loop))
    turns.users += 1
    if turns.users == 1:
        turns.tick()
    try:
        async with turns.free:
            yield
    finally:
        turns.users -= 1
        if not turns.users:
            _turns.pop(loop, None)

"""The pieces of an answer that was recorded: the stream of a call that is not made.

May import `completion`, `values` and the packages below them.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from datetime import datetime

from mixmagic.calls.completion import Completion
from mixmagic.core.cancel import Stop
from mixmagic.core.values import Delta, Origin, Timing
from mixmagic.errors import Stopped

# Pieces of each text, at most, and characters of each piece, at least.
_PIECES, _CHARACTERS = 20, 4

# Seconds since the start of the call, and the characters that had been received by then.
Pace = Sequence[tuple[float, int]]


def deltas(
    completion: Completion,
    origin: Origin,
    recorded: datetime | None,
    pace: Pace | None = None,
    *,
    pieces: int = _PIECES,
) -> Generator[Delta, None, None]:
    """Yield the pieces of a recorded answer, of which a `Collector` makes an equal one.

    That answer costs nothing, and has `origin`, `recorded` and the recorded times. The thoughts
    come first, then each text, in a few pieces. The last piece bears the usage and the reason
    why the answer ended.

    Args:
        completion: The answer; its `request.control.stop` ends the stream.
        origin: `cache` or `cassette`.
        recorded: When it was recorded, in UTC; `None` if unknown.
        pace: When its characters were received, to wait as long; without it, nothing waits.
        pieces: Pieces of each text, at most.

    Raises:
        Stopped: `request.control.stop` was set.

    Example:
        >>> for delta in deltas(completion, "cache", completion.recorded):
        ...     collector.add(delta)
    """
    timing = Timing(completion.elapsed, completion.ttft, completion.thinking, recorded)
    yield Delta(origin=origin, timing=timing, model=completion.model)
    stop, started, received = completion.request.control.stop, time.monotonic(), 0
    for piece in _pieces(completion, pieces):
        received += len(piece.text) + len(piece.reasoning)
        _pause(stop, started + _moment(received, pace or ()) - time.monotonic())
        yield piece._replace(origin=origin)
    _pause(stop, 0.0 if pace is None else started + completion.elapsed - time.monotonic())
    for note in completion.notes:
        yield Delta(origin=origin, note=note)
    yield Delta(
        finish=completion.finish,
        usage=completion.usage,
        origin=origin,
        logprobs=completion.logprobs,
    )


def _pieces(completion: Completion, most: int) -> Iterator[Delta]:
    """Yield the thoughts and the texts, in pieces; of an answer that was not streamed, whole."""
    count = most if completion.request.stream else 1
    for part in _slices(completion.reasoning, count):
        yield Delta(reasoning=part)
    for choice, text in enumerate((completion.text, *completion.others)):
        for part in _slices(text, count):
            yield Delta(part, choice=choice)
        if choice and not text:
            yield Delta(choice=choice, instead=("", ""))  # an answer, though it is empty


def _slices(text: str, count: int) -> Iterator[str]:
    """Cut a text into at most `count` parts of one size."""
    size = max(-(-len(text) // count), _CHARACTERS)
    yield from (text[start : start + size] for start in range(0, len(text), size))


def _moment(received: int, pace: Pace) -> float:
    """Return the seconds after which so many characters had been received; 0 without a pace."""
    before, had = 0.0, 0
    for seconds, characters in pace:
        if characters >= received:
            share = (received - had) / max(characters - had, 1)
            return before + (seconds - before) * share if had else seconds
        before, had = seconds, characters
    return before


def _pause(stop: Stop, seconds: float) -> None:
    """Wait for some seconds, or not at all if there are none.

    Raises:
        Stopped: The call was stopped.
    """
    if stop.wait(seconds) if seconds > 0 else stop.is_set():
        raise Stopped(sent=False)

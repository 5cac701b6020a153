"""The progress of a job over many rows, in words."""

from __future__ import annotations

from collections.abc import Iterator

from mixmagic.core.money import format_dollars
from mixmagic.errors import counted
from mixmagic.store.jobs import State
from mixmagic.tasks.bulk.progress import Progress

GOES_ON = "The same call goes on."


def status_line(progress: Progress, state: State, reason: str = "") -> str:
    """Return rows, rate, cost, failures and time left in one line, and the reason for a pause.

    Example:
        >>> status_line(job.progress, job.state)
        '1,240 of 5,000 rows · 31 rows/s · $0.012 of about $0.050 · 3 failed · 2:01 left'
    """
    parts = [_rows(progress, state)]
    if state == "running":
        parts += [speed(progress.rate, progress.unit)] if progress.rate else []
    parts += _cost(progress, state)
    parts += [f"{progress.failed:,} failed"] * bool(progress.failed)
    parts += [f"{progress.missing:,} without a value"] * bool(progress.missing)
    parts += [f"{progress.reused:,} answered before"] * bool(progress.reused)
    if state == "running" and progress.remaining is not None:
        parts.append(f"{duration(progress.remaining)} left")
    line = " · ".join(parts)
    if state in ("paused", "stopped"):
        line += f". {reason.rstrip('.')}. {GOES_ON}" if reason else f". {GOES_ON}"
    return line


def sentence(progress: Progress, state: State, reason: str = "") -> str:
    """Return the line with a capital at its start.

    Example:
        >>> sentence(job.progress, "paused", "The budget is used up.")
        'Paused after 1,240 of 5,000 rows. The budget is used up. The same call goes on.'
    """
    line = status_line(progress, state, reason)
    return line[0].upper() + line[1:]


def duration(seconds: float) -> str:
    """Return seconds, or minutes and seconds.

    Example:
        >>> duration(2.34), duration(61), duration(3725)
        ('2.3 s', '1:01', '1:02:05')
    """
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speed(rate: float, unit: str = "row") -> str:
    """Return rows a second, or seconds a row if that is more.

    Example:
        >>> speed(31.2), speed(0.4)
        ('31 rows/s', '2.5 s/row')
    """
    if rate < 1:
        return f"{1 / rate:.1f} s/{unit}"
    return f"{rate:,.0f} {unit}s/s" if rate >= 10 else f"{rate:.1f} {unit}s/s"


def _rows(progress: Progress, state: State) -> str:
    """Return the rows that are over, of all; and the time that they took at the end."""
    rows = counted(progress.rows, progress.unit)
    if progress.left or state == "running":
        rows = f"{progress.done:,} of {rows}"
    words = {"paused": "paused after ", "stopped": "stopped after "}
    took = f" in {duration(progress.seconds)}" if state in ("done", "preview") else ""
    kept = ", which are kept" if state == "stopped" else ""
    return f"{words.get(state, '')}{rows}{kept}{took}"


def _cost(progress: Progress, state: State) -> Iterator[str]:
    """Yield the cost of this run so far, and at its end; nothing if it is free."""
    if progress.unpriced:
        yield f"at least {format_dollars(progress.cost)}" if progress.cost else "price unknown"
    elif progress.cost:
        spent = format_dollars(progress.cost)
        projected = progress.projected
        if state == "running" and projected is not None:
            spent += f" of about {format_dollars(projected)}"
        yield spent

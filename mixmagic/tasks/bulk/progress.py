"""The progress of a job over many rows, and the rows that have failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from mixmagic.calls.completion import Completion
from mixmagic.errors import MixmagicError, counted, received

# Seconds of the rate that is shown.
_WINDOW = 10.0


@dataclass(frozen=True, slots=True)
class RowError:
    """The error of a row without an answer, or with one that is not whole.

    Attributes:
        row: The position of the row, from 0.
        kind: The class of the error; `Cut` or `Refused` for an answer that is not whole.
        message: Its message.
        hint: Its hint.
        text: The text that was received and paid for, if any.
    """

    row: int
    kind: str
    message: str
    hint: str = ""
    text: str = ""

    @classmethod
    def of(cls, error: MixmagicError, row: int = 0) -> RowError:
        """Return the error of a row that failed."""
        partial = received(error)
        text = partial.text if isinstance(partial, Completion) else ""
        return cls(row, type(error).__name__, error.message, error.hint, text)

    @classmethod
    def in_answer(cls, completion: Completion, row: int = 0) -> RowError | None:
        """Return the reason why an answer is not whole; `None` if it is."""
        if completion.finish == "length":
            tokens = counted(completion.usage.completion_tokens, "token")
            message, hint = f"The answer was cut off at {tokens}.", "Raise max_tokens."
            return cls(row, "Cut", message, hint, completion.text)
        if completion.finish in ("content_filter", "refusal"):
            message = f"The answer ended with {completion.finish}."
            return cls(row, "Refused", message, "Ask in other words.", completion.text)
        return None


class Group(NamedTuple):
    """Rows that have failed in the same way.

    Attributes:
        kind: The class of the error.
        message: Its message.
        hint: Its hint.
        rows: The positions of the rows, in order.
    """

    kind: str
    message: str
    hint: str
    rows: tuple[int, ...]


class Errors(Sequence[RowError]):
    """The errors of a job, in the order of the rows.

    Args:
        errors: The errors, in any order.

    Example:
        >>> [(group.message, len(group.rows)) for group in job.errors.groups]
        [('The answer was cut off at 20 tokens.', 3)]
    """

    def __init__(self, errors: Sequence[RowError]) -> None:
        self._errors = sorted(errors, key=lambda error: error.row)

    def __getitem__(self, index: int) -> RowError:  # type: ignore[override]  # no slices
        return self._errors[index]

    def __len__(self) -> int:
        return len(self._errors)

    def __iter__(self) -> Iterator[RowError]:
        return iter(self._errors)

    @property
    def groups(self) -> list[Group]:
        """The errors by kind and message, the most frequent first."""
        rows: dict[tuple[str, str, str], list[int]] = {}
        for error in self._errors:
            rows.setdefault((error.kind, error.message, error.hint), []).append(error.row)
        groups = [Group(*what, tuple(where)) for what, where in rows.items()]
        return sorted(groups, key=lambda group: -len(group.rows))

    def __repr__(self) -> str:
        """Return the groups, one line each."""
        lines = [
            f"{counted(len(g.rows), 'row')}: {g.message} {g.hint}".rstrip() for g in self.groups
        ]
        return "\n".join(lines) or "no errors"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job.

    Attributes:
        rows: Rows in all.
        done: Rows that are over: answered, missing or failed.
        reused: Of these, rows whose answers were in the journal already.
        missing: Of these, rows without a value.
        failed: Of these, rows with an error.
        asked: Calls of this run that were answered.
        cost: US dollars of this run, as far as that is known.
        rate: Rows a second.
        seconds: Seconds since the run began.
        limit: The `max_tokens` inferred from the first answers; `None` if there is none.
        unpriced: Calls whose price is not known.
        unit: The word for a row.
    """

    rows: int
    done: int
    reused: int
    missing: int
    failed: int
    asked: int
    cost: Decimal
    rate: float
    seconds: float
    limit: int | None
    unpriced: int = 0
    unit: str = "row"

    @property
    def left(self) -> int:
        """Rows that are not over."""
        return self.rows - self.done

    @property
    def projected(self) -> Decimal | None:
        """US dollars that this run will have cost at its end; `None` if unknown."""
        fresh = self.done - self.reused - self.missing
        if self.left and not fresh:
            return None
        return self.cost if not self.left else self.cost + self.cost / fresh * self.left

    @property
    def remaining(self) -> float | None:
        """Seconds until its end; `None` if unknown."""
        if self.left and not self.rate:
            return None
        return self.left / self.rate if self.left else 0.0


class Rate:
    """Rows a second, over the last seconds.

    Example:
        >>> rate = Rate()
        >>> rate.at(0.0, 0), rate.at(2.0, 10)
        (0.0, 5.0)
    """

    def __init__(self) -> None:
        self._ticks: deque[tuple[float, int]] = deque()

    def at(self, now: float, done: int) -> float:
        """Return the rate, given how many rows are over now."""
        self._ticks.append((now, done))
        while now - self._ticks[0][0] > _WINDOW:
            self._ticks.popleft()
        since, before = self._ticks[0]
        return (done - before) / (now - since) if now > since else 0.0

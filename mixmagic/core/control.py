"""Settings of one call that are no part of its question: its stop, deadline, budget, notes.

May import `cancel` and `money`; every module above them may import it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from mixmagic.core.cancel import Stop
from mixmagic.core.money import Budget

CachePolicy = Literal["auto", "use", "off", "refresh"]


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """A cell that runs in the background: an interrupt does not stop its calls, `stop` does.

    Attributes:
        number: Its number among the calls of the session.
        name: The variable of `-o`; empty if there is none.
        cell: The name of the cell, such as `In[3]`.
        stop: Set it to end the cell's calls, also those that it has not begun yet.
    """

    number: int
    name: str = ""
    cell: str = ""
    stop: Stop = field(default_factory=Stop, repr=False)


@dataclass(slots=True, eq=False)
class Control:
    """Settings of one call that cannot change its answer: never compared, part of no key.

    Attributes:
        stop: Set it, from any thread, to end the call.
        deadline: When the call must be over, on the monotonic clock. The outermost layer sets it,
            on a copy, from `timeout`.
        timeout: Seconds that the call may take in all; the settings' `total_timeout` if `None`.
        budget: Limit of what the call may cost, shared by all calls that carry it.
        notes: Notes on the call that are known before it is made, for the user to read.
        tag: The ledger's `tag` column: the cell or task that made the call.
        job: The ledger's `job` column: the id of the job that the call belongs to.
        cache: Use of the answer cache: `auto` for repeatable questions alone, `use` for all,
            `off`, or `refresh` to ask again and store the new answer.
        keep: Called with a whole `Completion`; returns False if the cache must not store it.
        on_end: Called with the `Completion` before the ledger records the end of the call.
        pause: Context manager around the wait before a retry: bulk work lends its slot meanwhile.
        whole: True if the answer needs all of its `max_tokens`: a budget that has less refuses the
            call, and does not shorten it.
        urgent: True if a person waits for the answer: the call goes before those that wait.
        background: The background cell that makes the call; `None` if none does.
        scope: The scope of the cell that makes the call, for the cassette; that of the running cell
            if empty.
        chosen_by: `default` or `task NAME` if the call names no model, and neither does its
            notebook: a cassette files it under that, since the default may change.
    """

    stop: Stop = field(default_factory=Stop, repr=False)
    deadline: float = math.inf
    timeout: float | None = None
    budget: Budget | None = None
    notes: tuple[str, ...] = ()
    tag: str = ""
    job: str = ""
    cache: CachePolicy = "auto"
    keep: Callable[[Any], bool] | None = field(default=None, repr=False)
    on_end: Callable[[Any], None] | None = field(default=None, repr=False)
    pause: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, repr=False)
    whole: bool = False
    urgent: bool = False
    background: Background | None = None
    scope: str = ""
    chosen_by: str = ""

    def again(self) -> Control:
        """Return the control of a further call: a new stop; no deadline, callbacks or cell."""
        return Control(**self._portable)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as `again`: locks, callbacks, cells and this machine's clock stay here."""
        return _control, (self._portable,)

    @property
    def _portable(self) -> dict[str, Any]:
        """The values that mean the same in another call and in another process."""
        names = "timeout budget notes tag job cache whole urgent scope chosen_by"
        return {name: getattr(self, name) for name in names.split()}


def _control(values: dict[str, Any]) -> Control:
    """Return a control that was pickled."""
    return Control(**values)

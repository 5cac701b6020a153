"""The options of a job over many rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol, Unpack, get_args

from mixmagic.core.keywords import Parameters
from mixmagic.core.params import Prompt
from mixmagic.core.values import Request, Stream
from mixmagic.errors import BadArguments
from mixmagic.store.jobs import Journal
from mixmagic.store.ledger.budgets import Limit
from mixmagic.tasks.bulk.forms import Form, TextForm

if TYPE_CHECKING:
    from mixmagic.calls.completion import Completion
    from mixmagic.tasks.bulk.job import Job
    from mixmagic.tasks.bulk.resume import Jobs

Repeats = Literal["once", "ask"]
OnError = Literal["keep", "raise"]


class Asker(Protocol):
    """The part of a session that a job needs."""

    @property
    def stream(self) -> Stream:
        """The function that makes a call."""

    @property
    def journal(self) -> Journal:
        """The answers of all jobs."""

    @property
    def jobs(self) -> Jobs:
        """The last jobs that were begun here."""

    def request(
        self, prompt: Prompt, *, stream: bool = True, **params: Unpack[Parameters]
    ) -> Request:
        """Return a checked request."""

    def limits(self) -> list[Limit]:
        """Return the limits of what may be spent."""


class Previewing(Protocol):
    """A preview, for the job over its rows."""

    @property
    def whole(self) -> Job:
        """The job over all rows."""

    def answered(self, rows: Sequence[int], completion: Completion) -> None:
        """Note the completion of some of its rows, also of one that is not usable."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a job.

    Attributes:
        params: Parameters of each call, as for `Session.request`.
        form: The form of the answers.
        in_flight: Calls at the same time.
        repeats: `once` to ask equal rows once, `ask` to ask each of them: for samples.
        on_error: `keep` to go on after a row that fails, `raise` to stop.
        budget: US dollars that the job may cost in all its runs; `None` for the usual budgets.
        background: True if an interrupt must not stop it.
        out: The file or folder that the rows are written to, with their results.
        name: The name for `%mixmagic jobs`; made of the prompt if empty.
        recipe: The arguments with which another process goes on with it, as JSON.
        preview: The preview, if the rows are those of one.

    Raises:
        BadArguments: An option is not valid.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    form: Form = field(default_factory=TextForm)
    in_flight: int = 64
    repeats: Repeats = "once"
    on_error: OnError = "keep"
    budget: Decimal | None = None
    background: bool = False
    out: str | os.PathLike[str] | None = None
    name: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    preview: Previewing | None = None

    def __post_init__(self) -> None:
        choices = {"repeats": get_args(Repeats), "on_error": get_args(OnError)}
        for option, known in choices.items():
            if (value := getattr(self, option)) not in known:
                raise BadArguments(
                    f"{option} cannot be {value!r:.40}.", f"It is {' or '.join(known)}."
                )
        if self.out is not None and not (isinstance(self.out, str | os.PathLike) and str(self.out)):
            raise BadArguments(
                f"out cannot be {self.out!r:.40}.", "It is the path of a file or of a folder."
            )
        if type(self.in_flight) is not int or not 0 < self.in_flight <= 1024:
            raise BadArguments(
                f"in_flight cannot be {self.in_flight!r:.40}.",
                "It is a number of calls, from 1 to 1,024.",
            )

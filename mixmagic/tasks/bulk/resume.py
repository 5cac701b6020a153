"""Jobs that go on: those of this session, and those of other processes whose rows are in a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixmagic.core.values import Request
from mixmagic.errors import BadArguments
from mixmagic.structured.schema import Schema

if TYPE_CHECKING:
    from mixmagic.store.jobs import Journal
    from mixmagic.tasks.bulk.job import Job
    from mixmagic.tasks.bulk.options import Asker

# Jobs of a session that are kept, with their rows and results.
_MOST = 8
# Options of a job that say nothing about its next run.
_OF_THE_RUN = ("background", "variables", "name")
_OPTIONS = ("in_flight", "repeats", "on_error", "out")
# Parameters that are not in a request's own.
_OF_THE_CALL = ("timeout", "cache")
_FILES = ("rows", "out")


class Jobs:
    """The last jobs of a session, by their numbers in the journal.

    Args:
        session: Makes the calls of jobs that go on.
        is_recorded: Returns True while a cassette is in use: it alone has the answers then.
        redact: Removes the keys from a prompt.

    Attributes:
        redact: Likewise.

    Example:
        >>> session.jobs[3].result()
    """

    def __init__(
        self,
        session: Asker,
        is_recorded: Callable[[], bool],
        redact: Callable[[Any], Any],
    ) -> None:
        self._session, self._is_recorded, self.redact = session, is_recorded, redact
        self._live: dict[int, Job] = {}

    def __getitem__(self, number: int) -> Job:
        """Return a job of this session.

        Raises:
            BadArguments: It was not begun here.
        """
        job = self.get(number)
        if job is None:
            raise BadArguments(
                f"Job {number} was not begun in this session.",
                "`%mixmagic jobs` lists all jobs; run the cell of one again, and it goes on.",
            )
        return job

    def get(self, number: int) -> Job | None:
        """Return a job of this session; `None` if it was not begun here."""
        return self._live.get(number)

    def prepare(self, rows: Any, prompt: str, **options: Any) -> Job:
        """Return a job, which `start` begins: see `tasks.bulk.prepare` and `Session.map`."""
        from mixmagic.tasks.bulk.prepare import prepare

        recorded = self._is_recorded()  # first: it sees that settings have changed
        journal = self._session.journal
        if recorded:
            journal = type(journal).temporary()
        return prepare(self._session, journal, rows, prompt, redact=self.redact, **options)

    def add(self, job: Job, journal: Journal) -> None:
        """Keep a job that has begun; the one that was begun first is dropped if there are many."""
        if journal is not self._session.journal:
            return
        kept = {number: each for number, each in self._live.items() if number != job.number}
        over = [number for number, each in kept.items() if each.state != "running"]
        for number in over[: max(len(kept) + 1 - _MOST, 0)]:
            del kept[number]
        self._live = {**kept, job.number: job}

    def again(self, name: str, budget: Decimal | None = None) -> Job:
        """Return the next run of a job, which has not begun: it asks what has no answer yet.

        Args:
            name: Its number or its name.
            budget: US dollars that it may cost in all its runs; as before if `None`.

        Raises:
            BadArguments: There is no such job, it is under way, or its rows are not here.
        """
        record = self._session.journal.job(name)
        job = self.get(record.id)
        if record.state == "running" or (job is not None and job.state == "running"):
            raise BadArguments(
                f"Job {record.id} is under way.", f"`%mixmagic jobs show {record.id}` shows it."
            )
        if job is not None:
            return job.again(budget)
        again = dict(record.options)
        if (file := again.pop("rows", None)) is None:
            raise BadArguments(
                f"The rows of job {record.id} are not here: they were in another kernel.",
                "Run its cell again, and it goes on; from a file, it can be resumed anywhere.",
            )
        if (schema := again.pop("schema", None)) is not None:
            again["schema"] = Schema.of(schema["json"], schema["name"])
        if budget is not None:
            again["budget"] = budget
        options = {name: again.pop(name) for name in _OPTIONS if name in again}
        return self.prepare(file, record.prompt, params=again, name=record.name, **options)

    def forget(self, name: str) -> tuple[int, int]:
        """Delete a job and its answers; return its number, and how many answers that were.

        Raises:
            BadArguments: There is no such job, or it is under way.
        """
        record = self._session.journal.job(name)
        if record.state == "running":
            raise BadArguments(
                f"Job {record.id} is under way.",
                f"Stop it first: `%mixmagic jobs stop {record.id}`.",
            )
        self._live = {number: job for number, job in self._live.items() if number != record.id}
        return record.id, self._session.journal.forget(record.id)


def recipe(
    request: Request,
    rows: Any,
    params: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    schema: Schema | None,
    budget: Decimal | None,
) -> dict[str, Any]:
    """Return the arguments of `Session.map` for the next run of a job, as JSON.

    Whatever the session's defaults are then, it asks the same questions.

    Args:
        request: A question of the job, with the defaults of the session.
        rows: The rows; if they are in a file, its path.
        params: The parameters of the calls.
        options: The other arguments of `Session.map`.
        schema: The schema of the answers.
        budget: US dollars that the job may cost in all its runs.
    """
    system = [message.text for message in request.messages if message.role == "system"]
    again: dict[str, Any] = {
        **{name: value for name, value in options.items() if name not in _OF_THE_RUN},
        **{name: params[name] for name in _OF_THE_CALL if name in params},
        **request.params,
        "model": request.asked,
        "system": "".join(system),
        "rows": rows if isinstance(rows, str | os.PathLike) else None,
        "budget": None if budget is None else str(budget),
        "schema": None if schema is None else {"name": schema.name, "json": schema.json},
    }
    for name in _FILES:
        if again.get(name) is not None:
            again[name] = str(Path(str(again[name])).expanduser().absolute())
    return {name: value for name, value in again.items() if value is not None}

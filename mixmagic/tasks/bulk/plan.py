"""Rows, calls, tokens and cost of a job over many rows before it is run; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from mixmagic.calls.tokens import Count
from mixmagic.core.money import exact_sum
from mixmagic.core.values import Message, Model, Request
from mixmagic.errors import MixmagicError
from mixmagic.tasks.bulk.progress import Errors, RowError
from mixmagic.tasks.plan import plan

if TYPE_CHECKING:
    from mixmagic.tasks.bulk.job import Job


@dataclass(frozen=True, slots=True)
class JobPlan:
    """Rows, calls, tokens and cost of a job.

    Attributes:
        model: The name of the model that would answer.
        rows: Rows in all.
        missing: Of these, rows without a value.
        questions: Distinct questions.
        answered: Of these, questions whose answers are in the journal.
        calls: Calls that would be made.
        prompts: Tokens of their prompts.
        answers: Likely tokens of their answers.
        usual: Tokens of an answer without a limit: the mean of the model's earlier ones.
        known: The number of these; 0 if `usual` is an assumption.
        limit: The limit of each answer; `None` if there is none.
        likely: Likely cost in US dollars; `None` if the price is unknown.
        most: The most that they can cost; `None` if unknown.
        budget: US dollars that the job may cost in all its runs; `None` if not limited.
        errors: The rows that would fail.
    """

    model: str
    rows: int
    missing: int
    questions: int
    answered: int
    calls: int
    prompts: int
    answers: int
    usual: int
    known: int
    limit: int | None
    likely: Decimal | None
    most: Decimal | None
    budget: Decimal | None
    errors: Errors


def plan_job(
    job: Job,
    model: Callable[[Request], Model],
    count: Callable[[Sequence[Message], Model], Count],
    answers: Callable[[Model], tuple[int, int]],
    expected: Callable[[Request], int] | None = None,
) -> JobPlan:
    """Return the rows, calls, tokens and cost of a job that is not run.

    Args:
        job: The job.
        model: Returns the model that would answer a request.
        count: Counts the tokens of a prompt.
        answers: Returns the number of a model's earlier answers, and their tokens in all.
        expected: Returns the likely tokens of the answer to a request; the mean of the earlier ones
            if `None`.

    Raises:
        BadArguments: The rows cannot be read.

    Example:
        >>> plan_job(job, model, tokens.count, session.ledger.answers).likely
        Decimal('0.0234')
    """
    found: Model | None = None
    known = usual = questions = calls = prompts = tokens = 0
    likely: Decimal | None = Decimal(0)
    most: Decimal | None = Decimal(0)
    errors: list[RowError] = []
    for request, is_answered in job.questions():
        questions += 1
        if is_answered:
            continue
        if found is None:
            found = model(request)
            known, in_all = answers(found)
        asked = replace(request, model=found)
        try:
            likely_one = (known, in_all) if expected is None else (1, expected(request))
            one = plan(asked, count(asked.messages, found), [], *likely_one)
        except MixmagicError as error:
            errors.append(RowError.of(error))
            continue
        calls, usual = calls + 1, one.usual
        prompts, tokens = prompts + one.prompt.tokens, tokens + one.answer
        likely, most = _sum(likely, one.likely), _sum(most, one.worst_case.cost)
    return JobPlan(
        model=job.model if found is None else found.name,
        rows=job.length,
        missing=job.missing,
        questions=questions,
        answered=questions - calls - len(errors),
        calls=calls,
        prompts=prompts,
        answers=tokens,
        usual=usual,
        known=known,
        limit=job.options.params.get("max_tokens"),
        likely=likely,
        most=most,
        budget=job.options.budget,
        errors=Errors([*job.errors, *errors]),
    )


def _sum(sum_: Decimal | None, cost: Decimal | None) -> Decimal | None:
    return None if sum_ is None or cost is None else exact_sum([sum_, cost])

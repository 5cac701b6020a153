"""The table of a dry run of a job over many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixmagic.core.money import format_dollars, format_limit, format_most
from mixmagic.errors import counted
from mixmagic.tasks.bulk.plan import JobPlan, plan_job
from mixmagic.tasks.bulk.shown import error_lines
from mixmagic.text.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixmagic.core.values import Request
    from mixmagic.sessions import Session
    from mixmagic.tasks.bulk.job import Job


def read_plan(
    session: Session, job: Job, expected: Callable[[Request], int] | None = None
) -> JobPlan:
    """Return the rows, calls, tokens and cost of a job that is not run.

    Args:
        session: Knows the models and their earlier answers.
        job: The job.
        expected: Returns the likely tokens of the answer to a request; the mean of the earlier ones
            if `None`.

    Raises:
        BadArguments: The rows cannot be read.
        StoreError: The ledger, or the journal, cannot be read.
    """
    from mixmagic.calls import tokens

    recorded = session.player.in_use(session.settings)  # then the same on every machine
    return plan_job(
        job,
        lambda request: session.resolved(request).model,
        tokens.estimated if recorded else tokens.count,
        session.ledger.answers,
        expected,
    )


def job_plan_table(plan: JobPlan) -> Table:
    """Return the table of a dry run."""
    missing = f", {plan.missing:,} of them without a value" if plan.missing else ""
    before = f", {plan.answered:,} of them answered before" if plan.answered else ""
    each = f"{plan.usual:,} each" + (f", at most {plan.limit:,}" if plan.limit else "")
    origin = f"the mean of {counted(plan.known, 'earlier answer')}" if plan.known else "assumed"
    rows = [
        ["model", plan.model],
        ["rows", f"{plan.rows:,}{missing}"],
        ["distinct", f"{counted(plan.questions, 'prompt')}{before}"],
        *cost_rows(plan, f" ({each}: {origin})"),
    ]
    notes = [*error_lines(plan.errors), "Nothing was sent."]
    return Table(["dry run", "estimate"], rows, "\n".join(notes))


def cost_rows(plan: JobPlan, of_answers: str = "") -> list[list[str]]:
    """Return the calls, tokens and cost of a job that is not run, as rows of a table.

    Args:
        plan: The plan of the job.
        of_answers: A note on the tokens of the answers.
    """
    rows = [["calls", f"{plan.calls:,}"]]
    if plan.calls:
        rows.append(["prompts", f"about {counted(plan.prompts, 'token')} in all"])
        rows.append(["answers", f"about {counted(plan.answers, 'token')} in all{of_answers}"])
    if plan.most == 0:
        rows.append(["cost", "free" if plan.calls else "$0"])
    else:
        most = "unknown" if plan.most is None else format_most(plan.most)
        if plan.budget is not None:
            most += f", and {format_limit(plan.budget)} in all its runs by --budget"
        likely = "unknown" if plan.likely is None else f"about {format_dollars(plan.likely)}"
        rows += [["cost at most", most], ["cost likely", likely]]
    return rows

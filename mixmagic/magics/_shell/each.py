"""`--each`: a cell about each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mixmagic.core.terminal import write
from mixmagic.display.renderers import renderer, updates_are_seen
from mixmagic.errors import BadArguments
from mixmagic.magics._shell import calling
from mixmagic.magics._shell.failures import LastError
from mixmagic.magics._shell.options import Question, check

if TYPE_CHECKING:
    from mixmagic.magics._shell.model_magics import ModelMagics
    from mixmagic.sessions import Session
    from mixmagic.tasks.bulk import Job
    from mixmagic.tasks.job_plan import JobPlan

# Options for rows alone.
_OWN = {"in_flight": "--in-flight", "name": "--name"}
_IN_FLIGHT = 64
_ALONE = "Leave it out, or leave out --each."
# Options that do not go with rows, why, and a hint.
_REFUSED = {
    "chat": ("-c", "rows are asked at the same time, so they are no conversation", _ALONE),
    "n": ("-n", "each row has one answer", "In Python: mixmagic.map(…, repeats='ask')."),
    "insert": ("-i", "there is no single answer whose code could be inserted", _ALONE),
    "raw": ("--raw", "the prompt would be the same for all rows", _ALONE),
    "logprobs": ("--logprobs", "only texts and values are kept", _ALONE),
    "examples": ("--examples", "only the prompt is sent", "Write the examples into the prompt."),
}
_TEXTS = (None, "markdown", "text")


def is_asked(question: Question) -> bool:
    """Return True if a cell is about each row of a table.

    Raises:
        BadArguments: It is not, but has an option for rows.
    """
    own = vars(question.own)
    if own.get("each") is not None:
        return True
    for name, option in _OWN.items():
        if own.get(name) is not None:
            raise BadArguments(
                f"{option} is for the rows of a table.", "Name the table: --each VARIABLE."
            )
    return False


def run(magic: ModelMagics, question: Question) -> Any:
    """Ask about each row, and show the progress; return the job.

    Raises:
        BadArguments: An option is not valid, or the prompt names no column.
        Stopped: Ctrl-C; what was received is kept, and the same cell goes on.
        MixmagicError: No row can be asked, or an error ended the job.
    """
    from IPython.display import display

    from mixmagic.display import jobs

    shell, options = magic.shell, question.options
    names = {**(shell.user_ns if shell else {}), **calling.scope()}
    form, _ = _check(question, names)
    view = renderer(shell, live=magic.session.settings.live, form=form)
    away = options.bg and updates_are_seen(shell, view)
    job = _prepared(magic, question, names, background=away)
    if options.program is not None:
        return _export(magic.session, job, question)
    if options.dry_run:
        return _plan(magic.session, job, shell, options.out)
    try:
        if away:
            return jobs.start(job)
        jobs.follow(job)
        display(job)
    finally:
        _keep(shell, options.out, job, whole=not away)
    return job


def _check(question: Question, names: Mapping[str, Any]) -> Any:
    """Check the options; return the form and the schema of the answers."""
    options, each = question.options, question.own.each
    for name, (option, reason, hint) in _REFUSED.items():
        if getattr(options, name):
            raise BadArguments(f"{option} does not go with --each: {reason}.", hint)
    if options.program not in (None, "python"):
        raise BadArguments(
            f"--as {options.program} does not go with --each: there are many requests.",
            "`--as python` is a program that asks about all rows.",
        )
    if options.format not in _TEXTS:
        raise BadArguments(
            f"-f {options.format} does not go with --each: each answer is a text.",
            "--schema makes a column of each of its fields.",
        )
    if options.cache != "auto":
        raise BadArguments(
            "Rows that have an answer are not asked again, whatever the cache does.",
            "`%mixmagic jobs forget JOB` forgets the answers of a job.",
        )
    if each not in names:
        from mixmagic.prompting.interpolate import similar_variables

        near = similar_variables(each, names) if each.isidentifier() else ""
        raise BadArguments(
            f"There is no variable {each!r:.60}.",
            f"{near}--each takes the name of a DataFrame, a Series or a list.",
        )
    return check(options, names)


def _prepared(
    magic: ModelMagics, question: Question, names: dict[str, Any], *, background: bool
) -> Job:
    """Return the job of a cell, which has not begun."""
    from mixmagic.magics._shell.answer import RequestBuilder

    session, options, own = magic.session, question.options, question.own
    names.setdefault("error", LastError(magic.failures, session.backends.access.redact))
    prompt, params = RequestBuilder(session, names, question, check(options, names)).for_rows()
    if options.schema is not None:
        params["schema"] = names[options.schema]
    return session.jobs.prepare(
        names[own.each],
        prompt,
        params=params,
        variables=names,
        background=background,
        name=own.name or "",
        in_flight=_IN_FLIGHT if own.in_flight is None else own.in_flight,
    )


def _plan(session: Session, job: Job, shell: Any, out: str | None) -> JobPlan:
    """Show what a job would cost; return that."""
    from IPython.display import display

    from mixmagic.display.job_plan import job_plan_table, read_plan

    plan = read_plan(session, job)
    display(job_plan_table(plan))
    if out is not None and shell is not None:
        shell.user_ns[out] = plan
    return plan


def _export(session: Session, job: Job, question: Question) -> str:
    """Print a job as a program; return it."""
    from mixmagic.tasks.export_job import program

    own, options = question.own, question.options
    code = session.backends.access.redact(program(job, own.each, options.schema))
    write(f"{code}\n")
    return str(code)


def _keep(shell: Any, out: str | None, job: Job, *, whole: bool) -> None:
    """Bind a job to `_` and `Out[n]`, and its result, or itself, to the variable of `-o`."""
    if shell is None or not job.number:
        return
    if shell.displayhook is not None:
        shell.displayhook.update_user_ns(job)
    if out is not None:
        if not whole:
            shell.user_ns[out] = job
        elif job.error is None:
            shell.user_ns[out] = job.result()


def rank(value: object) -> int:
    """Return 1 for a DataFrame or a Series, 2 for a list, 3 for other rows, 0 for no rows."""
    kind = type(value)
    if any(hasattr(kind, name) for name in ("iloc", "__dataframe__", "collect_schema")):
        return 1
    if issubclass(kind, list | tuple):
        return 2
    return 3 * (hasattr(kind, "__iter__") and not issubclass(kind, str | bytes | Mapping | type))

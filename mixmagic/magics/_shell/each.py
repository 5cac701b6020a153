"""`--each`: a cell about each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixmagic.core.terminal import write
from mixmagic.display.renderers import renderer, updates_are_seen
from mixmagic.errors import BadArguments, MixmagicError
from mixmagic.magics._shell import calling
from mixmagic.magics._shell.failures import LastError
from mixmagic.magics._shell.options import Question, check

if TYPE_CHECKING:
    from mixmagic.display.formats import Format
    from mixmagic.magics._shell.model_magics import ModelMagics
    from mixmagic.sessions import Session
    from mixmagic.structured.schema import Schema
    from mixmagic.tasks.bulk.job import Job
    from mixmagic.tasks.bulk.plan import JobPlan

# Options for rows alone.
_OWN = {"preview": "--preview", "in_flight": "--in-flight", "name": "--name"}
_IN_FLIGHT = 64
_FRAME, _LIST, _OTHER = 1, 2, 3  # kinds of rows
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
    from mixmagic.magics._shell.answer import keep

    shell, options = magic.shell, question.options
    names = {**(shell.user_ns if shell else {}), **calling.scope()}
    wanted = _check(question, names)
    view = renderer(shell, live=magic.session.settings.live, form=wanted[0])
    away = options.bg and updates_are_seen(shell, view)
    job = _prepared(magic, question, names, wanted, background=away)
    if options.program is not None:
        return _export(magic.session, job, question)
    if options.dry_run:
        return _plan(magic.session, job, shell, options.out)
    out = None if _is_file(options.out) else options.out
    if (rows := question.own.preview) is not None:
        preview: Any = jobs.run(job, preview=rows)
        display(preview)
        keep(shell, out, preview, preview.result())
        return preview
    try:
        jobs.run(job, wait=not away)
        if not away:
            display(job)
    finally:
        if job.number and (away or job.error is None):
            keep(shell, out, job, job if away else job.result())
    return job


def _check(question: Question, names: Mapping[str, Any]) -> tuple[Format, Schema | None]:
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
    if options.bg and question.own.preview is not None:
        raise BadArguments("--bg does not go with --preview, which is short.", "Leave out --bg.")
    if each not in names and not Path(each).suffix:
        from mixmagic.prompting.interpolate import similar_variables

        near = similar_variables(each, names) if each.isidentifier() else ""
        raise BadArguments(
            f"There is no variable {each!r:.60}.",
            f"{near}--each takes the name of a DataFrame, a Series or a list, or of a file.",
        )
    return check(replace(options, out=None) if _is_file(options.out) else options, names)


def _prepared(
    magic: ModelMagics,
    question: Question,
    names: dict[str, Any],
    wanted: tuple[Format, Schema | None],
    *,
    background: bool,
) -> Job:
    """Return the job of a cell, which has not begun."""
    from mixmagic.magics._shell.answer import RequestBuilder

    session, options, own = magic.session, question.options, question.own
    names.setdefault("error", LastError(magic.failures, session.backends.access.redact))
    prompt, params = RequestBuilder(session, names, question, wanted).for_rows()
    if options.schema is not None:
        params["schema"] = names[options.schema]
    return session.jobs.prepare(
        names.get(own.each, own.each),
        prompt,
        params=params,
        variables=names,
        background=background,
        out=options.out if _is_file(options.out) and not options.sends_nothing else None,
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
    from mixmagic.tasks.bulk.export import program

    own, options = question.own, question.options
    out = options.out if _is_file(options.out) else None
    code = session.backends.access.redact(program(job, own.each, options.schema, out))
    write(f"{code}\n")
    return str(code)


def _is_file(out: str | None) -> bool:
    """Return True if the value of `-o` is a file or a folder, not a variable."""
    return out is not None and any(sign in out for sign in "./\\")


def rank(value: object) -> int:
    """Return 1 for a DataFrame or a Series, 2 for a list, 3 for other rows, 0 for what has none."""
    kind = type(value)
    if any(hasattr(kind, name) for name in ("iloc", "__dataframe__", "collect_schema")):
        return _FRAME
    if issubclass(kind, list | tuple):
        return _LIST
    return _OTHER * (
        hasattr(kind, "__iter__") and not issubclass(kind, str | bytes | Mapping | type)
    )


def columns(value: object) -> list[str]:
    """Return the columns of rows that are names in a prompt; none if they would have to be read."""
    if rank(value) not in (_FRAME, _LIST):
        return []
    from mixmagic.tasks.tables import table

    try:
        return [name for name in table(value).columns if name.isidentifier()]
    except MixmagicError:
        return []

"""List the jobs over many rows; show, resume, stop or forget one.

A job goes on where it ended: answers that it has are neither asked for nor paid for again.
"""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from mixmagic.commands import Out, _waiting
from mixmagic.commands._parser import Parser
from mixmagic.errors import BadArguments, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mixmagic.sessions import Session
    from mixmagic.store.jobs import JobRecord
    from mixmagic.text.table import Table

_MOST = 20  # jobs in the list
_LONGEST = 40  # characters of a name in the list


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    command = args.add_commands(required=False)
    shown = command("list", f"List the last {_MOST} jobs (the default)")
    shown.add("--all", action="store_true", help="list all")
    _add_job(command("show", "Show a job, and the errors of its rows"))
    resume = command("resume", "Ask what has no answer yet; rows in a file can be resumed anywhere")
    _add_job(resume)
    resume.add("--budget", metavar="DOLLARS", help="what the job may cost in all its runs")
    _add_job(command("stop", "Stop a job of this session; its answers are kept"))
    forget = command("forget", "Delete jobs and their answers: they would be paid for again")
    _add_job(forget, nargs="?")
    forget.add("--all", action="store_true", help="forget all jobs that have ended")
    return args


def run(session: Session, options: Namespace, out: Out) -> int | None:
    """Run one of the subcommands."""
    match options.command:
        case "show":
            record = session.journal.job(options.job)
            out.write("\n".join(_lines(record)))
        case "resume":
            from mixmagic.core.money import parse_dollars

            budget = None if options.budget is None else parse_dollars(options.budget)
            return _waiting.follow(session.jobs.again(options.job, budget), out)
        case "stop":
            job = session.jobs[session.journal.job(options.job).id]
            job.stop()
            out.print(f"Job {job.number} is stopped; `%mixmagic jobs resume {job.number}` goes on.")
        case "forget":
            out.print(_forget(session, options.job, all_=options.all))
        case _:
            jobs = session.journal.jobs()
            whole = options.command == "list" and options.all
            out.show(_table(jobs if whole else jobs[:_MOST], len(jobs)))
    return None


def _add_job(parser: Parser, **settings: Any) -> None:
    parser.add("job", metavar="JOB", values=_jobs, help="its number or its name", **settings)


def _forget(session: Session, job: str | None, *, all_: bool) -> str:
    """Forget a job, or all; return a message."""
    if (job is None) != all_:
        raise BadArguments(
            "The job to forget is missing, or not clear.",
            "`%mixmagic jobs forget JOB` forgets one, `%mixmagic jobs forget --all` all.",
        )
    ended = [str(each.id) for each in session.journal.jobs() if each.state != "running"]
    forgotten = [session.jobs.forget(name) for name in (ended if job is None else [job])]
    answers = counted(sum(count for _, count in forgotten), "answer")
    if job is None:
        return f"Forgotten: {counted(len(forgotten), 'job')}, with {answers}."
    return f"Job {forgotten[0][0]} is forgotten, with {answers}."


def _table(records: list[JobRecord], count: int) -> Table:
    from mixmagic.core.money import format_dollars
    from mixmagic.text.table import Table

    rows = [
        [
            str(record.id),
            record.name if len(record.name) <= _LONGEST else f"{record.name[: _LONGEST - 1]}…",
            record.model,
            f"{record.rows:,}" if record.rows else "",
            f"{record.answers:,}",
            f"{record.failed:,}",
            format_dollars(record.cost),
            record.state,
            _when(record.used),
        ]
        for record in records
    ]
    lines = [f"{counted(count, 'job')}; `%mixmagic jobs list --all` lists all."] * (
        count > len(rows)
    )
    lines.append(
        "`%mixmagic jobs show JOB` shows one; `%mixmagic jobs resume JOB` goes on with it."
        if rows
        else "No jobs yet: `%%mixtral --each VARIABLE`, `mixmagic.map(…)` and, in a shell,"
        " `mixmagic map FILE PROMPT` begin one."
    )
    columns = ["job>", "name", "model?", "rows>", "answers>", "failed>", "cost>", "state", "used?"]
    return Table(columns, rows, "\n".join(lines))


def _lines(record: JobRecord) -> Iterator[str]:
    """Yield the description of a job, and the kinds of errors of its rows."""
    from mixmagic.core.money import format_dollars

    state = f"{record.state}, {record.reason}" if record.reason else record.state
    options = record.options
    facts = {
        "state": state,
        "rows": f"{record.rows:,}, from {options.get('rows', record.source)}",
        "answers": f"{record.answers:,}, which cost {format_dollars(record.cost)}",
        "failed": f"{record.failed:,}" if record.failed else "",
        "model": record.model,
        "budget": f"${options['budget']} in all its runs" if "budget" in options else "",
        "schema": options.get("schema", {}).get("name", ""),
        "out": options.get("out", ""),
        "begun": _when(record.created),
        "used": _when(record.used),
        "prompt": record.prompt,
    }
    yield f"Job {record.id}: {record.name}"
    yield from (f"  {name:8} {fact}" for name, fact in facts.items() if fact)
    if record.errors:
        yield from ["", record.errors]


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _jobs(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    return [str(record.id) for record in session.journal.jobs()]

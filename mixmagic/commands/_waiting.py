"""Waiting for a job over many rows, in a notebook or a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixmagic.commands import Out
    from mixmagic.tasks.bulk.job import Job


def follow(job: Job, out: Out) -> int:
    """Run a job and say how it ended; return 0 if each row has an answer or is missing, else 1.

    Raises:
        Stopped: Ctrl-C; the job is stopped, and its answers are kept.
        MixmagicError: No row can be asked, or the job ended with this error.
    """
    from mixmagic.display import jobs
    from mixmagic.tasks.bulk.shown import error_lines

    jobs.follow(job, errors=False)
    line = f"Job {job.number} is {job.state}."
    if job.state == "paused":
        line = f"Job {job.number} is paused: {job.reason} `%mixmagic jobs resume {job.number}`"
        line += " goes on."
    elif job.options.out is not None:
        line += f" Its rows are in {job.options.out}." * (job.state == "done")
    elif out.shell is not None:
        line += f" Its results: `mixmagic.session().jobs[{job.number}].result()`."
    out.print("\n".join([line, *error_lines(job.errors)]))
    return int(job.state != "done" or bool(job.errors))

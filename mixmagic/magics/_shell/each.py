"""`--each`: a cell about each row of a table, in place of one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixmagic.core.terminal import write
from mixmagic.errors import BadArguments
from mixmagic.magics._shell.options import Question, check

if TYPE_CHECKING:
    from mixmagic.magics._shell.answer import RequestBuilder
    from mixmagic.magics._shell.model_magics import ModelMagics
    from mixmagic.tasks.bulk import Job

# Options that do nothing without --each.
_OWN = ("in_flight", "name")
_ALONE = "Leave it out, or leave out --each."
# Options that --each refuses, and why.
_REFUSED = {
    "chat": ("-c", "rows are asked at the same time, so they are no conversation", _ALONE),
    "n": ("-n", "each row has one answer", "In Python: `mixmagic.map(…, repeats='ask')`."),
    "insert": ("-i", "there is no one answer with code", _ALONE),
    "raw": ("--raw", "the prompt would be the same for all rows", _ALONE),
    "examples": ("--examples", "it takes the prompt alone", "Write the examples into the prompt."),
    "logprobs": ("--logprobs", "only texts and values are kept", _ALONE),
}


def is_asked(question: Question) -> bool:
    """Return True if a cell is about each row of a table.

    Raises:
        BadArguments: It is not, but has an option that only such a cell takes.
    """
    own = question.own
    if getattr(own, "each", None) is not None:
        return True
    for name in _OWN:
        if getattr(own, name, None) is not None:
            option = f"--{name.replace('_', '-')}"
            raise BadArguments(
                f"{option} is for the rows of a table.", "Name the table: --each VARIABLE."
            )
    return False


def run(
    magic: ModelMagics, question: Question, names: Mapping[str, Any], builder: RequestBuilder
) -> Any:
    """Ask about each row; return the job.

    Args:
        magic: The magic.
        question: The cell.
        names: The notebook's variables.
        builder: Reads the template and expands the system prompt.

    Raises:
        BadArguments: An option is not valid, or the prompt names no column.
        Stopped: Ctrl-C; what was received is kept, and the same cell goes on.
        MixmagicError: No row can be asked, or an error ended the job.
    """
    from mixmagic.display import jobs

    options, own = question.options, question.own
    job = prepare(magic, question, names, builder)
    try:
        if options.bg:
            return jobs.start(job)
        return jobs.follow(job)
    finally:
        _keep(magic, question, job)

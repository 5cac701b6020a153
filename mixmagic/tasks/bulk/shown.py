"""A job over many rows as a table: its first rows, its progress, and the kinds of its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mixmagic.errors import counted, one_line
from mixmagic.prompting.rows import is_missing
from mixmagic.tasks.bulk.progress import Errors
from mixmagic.tasks.bulk.status import status_line
from mixmagic.tasks.tables.columns import ANSWER
from mixmagic.text.table import Table

if TYPE_CHECKING:
    from mixmagic.tasks.bulk.job import Job

_CELL = 60  # characters of a value that are shown
_GROUPS = 5  # kinds of errors that are shown
_ROWS = 5  # positions of rows that are shown for each


def job_table(job: Job) -> Table:
    """Return the first rows of a job with their answers; the progress and the errors below.

    Example:
        >>> print(job_table(job))
    """
    line = status_line(job.progress, job.state, job.reason)
    heads, cells = columns(job.first(), job.fields)
    caption = [f"{job.name} · {job.model} · {line}", *error_lines(job.errors)]
    return Table(heads, cells, "\n".join(caption))


def columns(
    rows: Sequence[tuple[Mapping[str, Any], Any]], fields: Sequence[str] | None
) -> tuple[list[str], list[list[str]]]:
    """Return the heads and cells of rows with their values: a column for each field."""
    given = list(rows[0][0]) if rows else []
    results = [ANSWER] if fields is None else [*fields]
    cells = [
        [*(cell(row[name]) for name in given), *(cell(part) for part in parts(value, fields))]
        for row, value in rows
    ]
    return [*map(cell, given), *results], cells


def parts(value: Any, fields: Sequence[str] | None) -> list[Any]:
    """Return the value of each field; the value alone if there are none."""
    if fields is None:
        return [value]
    return [value.get(name) if isinstance(value, Mapping) else value for name in fields]


def cell(value: Any) -> str:
    """Return a value on one line, shortened; nothing for a missing one.

    Example:
        >>> cell({"a": 1}), cell(None)
        ("{'a': 1}", '')
    """
    return "" if is_missing(value) else one_line(value, _CELL)


def error_lines(errors: Errors) -> list[str]:
    """Return a line for each of the most frequent kinds of errors.

    Example:
        >>> error_lines(job.errors)
        ['3 rows (4, 17, 90): The answer was cut off at 20 tokens. Raise max_tokens.']
    """
    groups = errors.groups
    lines = []
    for group in groups[:_GROUPS]:
        where = ", ".join(f"{row:,}" for row in group.rows[:_ROWS])
        where += ", …" * (len(group.rows) > _ROWS)
        many = counted(len(group.rows), "row")
        lines.append(f"{many} ({where}): {group.message.rstrip('.')}. {group.hint}".rstrip())
    if len(groups) > _GROUPS:
        lines.append(f"{len(groups) - _GROUPS:,} more kinds: see `.errors.groups`.")
    return lines

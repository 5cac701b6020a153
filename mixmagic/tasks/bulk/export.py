"""Write a job over many rows as a Python program. Nothing is sent."""

from __future__ import annotations

import pprint
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixmagic.tasks.bulk.job import Job

_WIDTH = 88
# Arguments that have these values are left out.
_USUAL = {"in_flight": 64, "repeats": "once", "on_error": "keep", "system": ""}


def program(job: Job, rows: str, schema: str | None = None, out: str | None = None) -> str:
    """Return a program that runs a job. It goes on where the job is: they have the same answers.

    Args:
        job: The job.
        rows: The name of the variable with the rows.
        schema: The name of the variable with the schema, if any.
        out: The file that the rows are written to, if any.

    Example:
        >>> print(program(job, "reviews"))
    """
    recipe = job.options.recipe
    given = {"out": out, "name": job.options.name or None, **recipe}
    arguments = {
        name: _written(value)
        for name, value in given.items()
        if value is not None and name not in ("rows", "schema") and value != _USUAL.get(name)
    }
    source = repr(recipe["rows"]) if "rows" in recipe else rows
    if schema is not None:
        arguments["schema"] = schema
    named = [f"`{name}`" for name in (source, schema) if name is not None and name.isidentifier()]
    lines = [f"# The notebook has {' and '.join(named)}."] if named else []
    lines += [
        "import mixmagic",
        "",
        f"prompt = {pprint.pformat(job.prompt, width=_WIDTH)}",
        "job = mixmagic.map(",
        f"    {source},",
        "    prompt,",
        *(f"    {name}={value}," for name, value in arguments.items()),
        ")",
        "result = job.result()",
    ]
    return "\n".join(lines)


def _written(value: Any) -> str:
    return pprint.pformat(value, width=_WIDTH, sort_dicts=False).replace("\n", "\n    ")

"""Ask a prompt about each row of a file, and write the rows with the answers.

In the prompt, {{ COLUMN }} is the row's value in a column. Equal rows are asked once. Whatever ends
the command, the same command goes on: answers that were paid for are stored.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixmagic.commands import Out, _waiting
from mixmagic.commands._parser import Parser, add_parameters, checked
from mixmagic.core import files
from mixmagic.errors import BadArguments

if TYPE_CHECKING:
    from mixmagic.sessions import Session

ONLY_IN = "shell"
_PARAMETERS = ("model", "system", "temperature", "max_tokens", "top_p", "seed", "stop", "budget")
_OPTIONS = ("out", "name", "in_flight", "repeats", "on_error")


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("file", metavar="FILE", help="rows: .csv, .tsv, .jsonl or .parquet")
    args.add("prompt", metavar="PROMPT", help='such as "Positive or negative? {{ text }}"')
    args.add("-o", "--out", metavar="FILE", help="what the rows and answers are written to: .csv,"
        " .tsv, .jsonl or .parquet, or a folder of parts")  # fmt: skip
    args.add("--schema", metavar="FILE", help="a JSON Schema; each of its fields is a column")
    args.add("-s", "--system", metavar="TEXT", help="the system prompt")
    add_parameters(args)
    args.add("--budget", metavar="DOLLARS", help="what the job may cost in all its runs")
    args.add("--name", metavar="NAME", help="its name for `%%mixmagic jobs`")
    args.add("--in-flight", type=checked(int, "a whole number"), metavar="N", help="rows that are"
        " asked at the same time (default: 64)")  # fmt: skip
    args.add("--repeats", choices=("once", "ask"), help="ask equal rows once (default), or each of"
        " them, for samples")  # fmt: skip
    args.add("--on-error", choices=("keep", "raise"), help="go on after a row that fails (default),"
        " or stop")  # fmt: skip
    args.add("--preview", nargs="?", const=20, type=checked(int, "a number of rows"), metavar="N",
        help="ask about N rows (default: 20), and show what all would cost and what a changed"
        " prompt changes")  # fmt: skip
    args.add("--dry-run", action="store_true", help="show what it would cost; nothing is sent")
    return args


def run(session: Session, options: Namespace, out: Out) -> int:
    """Ask; return 0 if each row, or each of a preview, has an answer or no value, else 1."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    params = {name: given[name] for name in _PARAMETERS if name in given}
    if options.schema is not None:
        params["schema"] = _schema(Path(options.schema))
    chosen = {name: given[name] for name in _OPTIONS if name in given}
    goes_on = options.preview is None and not options.dry_run
    if not goes_on:
        chosen.pop("out", None)
    elif options.out is None:
        raise BadArguments(
            "The file for the answers is missing.", "Add --out FILE, such as --out answers.csv."
        )
    job = session.jobs.prepare(options.file, options.prompt, params=params, **chosen)
    if goes_on:
        return _waiting.follow(job, out)
    if options.dry_run:
        from mixmagic.display.job_plan import job_plan_table, read_plan

        out.show(job_plan_table(read_plan(session, job)))
        return 0
    from mixmagic.display import jobs

    preview: Any = jobs.run(job, preview=options.preview)
    out.show(preview)
    return int(preview.job.state != "preview" or bool(preview.job.errors))


def _schema(path: Path) -> dict[str, Any]:
    """Return the JSON Schema in a file.

    Raises:
        BadArguments: The file cannot be read, or is not a JSON object.
    """
    try:
        schema = json.loads(files.read(path))
    except (OSError, ValueError) as error:  # also of decoding
        reason = files.reason(error) if isinstance(error, OSError) else "it is not JSON"
        raise BadArguments(
            f"The schema {files.typed(path)} cannot be read: {reason}.",
            "--schema takes a file with a JSON Schema.",
        ) from None
    if not isinstance(schema, dict):
        raise BadArguments(
            f"{files.typed(path)} is not a JSON Schema: it has no object.",
            'A schema looks like {"type": "object", "properties": {"label": {"type": "string"}}}.',
        )
    return schema

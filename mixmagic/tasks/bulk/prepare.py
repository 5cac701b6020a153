"""A job over many rows from what a user gives: rows, a prompt, parameters and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mixmagic.core.money import parse_dollars
from mixmagic.prompting.rows import RowPrompt
from mixmagic.store.jobs import Journal
from mixmagic.structured.schema import Schema
from mixmagic.tasks.bulk.forms import Form, SchemaForm, TextForm
from mixmagic.tasks.bulk.job import Job
from mixmagic.tasks.bulk.options import Asker, Options
from mixmagic.tasks.bulk.resume import recipe
from mixmagic.tasks.tables import table


def prepare(
    session: Asker,
    journal: Journal,
    rows: Any,
    prompt: str,
    *,
    params: Mapping[str, Any],
    redact: Callable[[Any], Any],
    variables: Mapping[str, Any] | None = None,
    form: Form | None = None,
    **options: Any,
) -> Job:
    """Return a job, which `start` begins: see `Session.map`.

    Args:
        session: Makes the calls.
        journal: Keeps the answers.
        rows: The rows.
        prompt: The prompt.
        params: The parameters of the calls, the budget and the schema.
        redact: Removes the keys from a prompt.
        variables: Other names that the prompt's expressions may use.
        form: The form of the answers, if they are neither texts nor values of the schema.
        **options: See `Options`.

    Raises:
        BadArguments: The rows cannot be read, or the prompt names no column.
        UnknownModel: No catalog row has this name.
    """
    given = {name: value for name, value in params.items() if value is not None}
    budget, schema = given.pop("budget", None), given.pop("schema", None)
    if schema is not None and not isinstance(schema, Schema):
        schema = Schema.of(schema, getattr(schema, "__name__", "schema"))
    budget = None if budget is None else parse_dollars(budget)
    request = session.request("x", **given)  # says what all rows have in common
    again = recipe(request, rows, given, options, schema=schema, budget=budget)
    if form is None:
        form = TextForm() if schema is None else SchemaForm(schema)
    chosen = Options(given, form, budget=budget, recipe=again, **options)
    table_ = table(rows)
    filled = RowPrompt(
        prompt,
        table_.columns,
        variables,
        context=request.model.context,
        answer=given.get("max_tokens"),
        redact=redact,
    )
    return Job(session, journal, table_, filled, chosen)

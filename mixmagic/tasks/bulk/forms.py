"""The forms of a job's answers: texts, and values that match a schema."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

from mixmagic.calls.completion import Completion
from mixmagic.core.values import Request
from mixmagic.structured.attempts import ask_again_if_needed, with_schema
from mixmagic.structured.schema import Schema
from mixmagic.tasks.tables.columns import Columns

Ask = Callable[[Request], Completion]


class Form(Protocol):
    """The form of the answers: how the question of a row is asked, and how its answer is read.

    Attributes:
        columns: The columns of the values.
        scope: Tells apart jobs whose questions are equal; mostly empty.
        unit: The word for what is asked about: `row`.
        judges_ends: True if `value` judges itself an answer that is cut or filtered; False if that
            is an error of the row.
    """

    @property
    def columns(self) -> Columns: ...

    @property
    def scope(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def judges_ends(self) -> bool: ...

    def asked(self, request: Request) -> Request:
        """Return the request to send for the question of a row."""

    def value(self, ask: Ask, request: Request) -> tuple[Completion, Any]:
        """Return the answer to a request of `asked`, and its value as JSON.

        Args:
            ask: Makes a call, or returns its answer from the journal.
            request: The request.

        Raises:
            AnswerUnusable: The answer has no such value.
            MixmagicError: A call failed.
        """


class TextForm:
    """Answers that are texts.

    Example:
        >>> TextForm().value(ask, request)[1]
        'positive'
    """

    scope, unit, judges_ends = "", "row", False

    def __init__(self) -> None:
        self.columns = Columns()

    def asked(self, request: Request) -> Request:
        return request

    def value(self, ask: Ask, request: Request) -> tuple[Completion, Any]:
        completion = ask(request)
        return completion, completion.text.strip()


class SchemaForm:
    """Answers that match a schema; one that does not is asked for once more.

    Args:
        schema: The schema.

    Example:
        >>> SchemaForm(Schema.of(Review, "Review")).value(ask, request)[1]
        {'label': 'good', 'day': '2026-11-30'}
    """

    scope, unit, judges_ends = "", "row", True

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.columns = Columns.of(schema.json)

    def asked(self, request: Request) -> Request:
        return with_schema(request, self._schema)

    def value(self, ask: Ask, request: Request) -> tuple[Completion, Any]:
        found = ask_again_if_needed(ask, request, self._schema)
        return found.completion, plain(found.instance)


def plain(instance: Any) -> Any:
    """Return the instance of a schema as JSON values: a model or a dataclass as a dict.

    Example:
        >>> plain(Review(label="good", day=datetime.date(2026, 11, 30)))
        {'label': 'good', 'day': '2026-11-30'}
    """
    if instance is None or isinstance(instance, bool | int | float | str):
        return instance
    pydantic = sys.modules.get("pydantic_core")  # without it, only JSON is an instance
    return instance if pydantic is None else pydantic.to_jsonable_python(instance, by_alias=True)

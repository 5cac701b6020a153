"""The questions of a job over many rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mixmagic.core.values import Request
from mixmagic.errors import MixmagicError
from mixmagic.prompting.rows import RowPrompt
from mixmagic.tasks.bulk.progress import RowError
from mixmagic.tasks.tables import Table

_KEY = 16  # bytes of a question's hash


class Question(NamedTuple):
    """The question of a row.

    Attributes:
        row: Its columns.
        content: The content of the message; `None` if there is nothing to ask.
        error: The reason why the prompt cannot be filled in.
        repeated: True if a row before has the same question, which is asked once.
    """

    row: Mapping[str, Any]
    content: Any
    error: RowError | None
    repeated: bool


class Task(NamedTuple):
    """One question, for all rows that share it."""

    key: bytes
    request: Request
    known: Any  # the JSON of its answer in the journal; `None` if there is none


def filled(
    table: Table, prompt: RowPrompt, more: Sequence[str], *, once: bool
) -> Iterator[Question]:
    """Yield each row of a table with its question.

    Args:
        table: The rows.
        prompt: The prompt.
        more: Columns that the rows should have besides those that the prompt uses.
        once: True if equal questions are asked once.
    """
    seen: set[bytes] = set()
    for row in table.rows(list(dict.fromkeys([*prompt.used, *more]))):
        content, error, repeated = None, None, False
        if not prompt.is_missing(row):
            try:
                content = prompt.fill({name: row[name] for name in prompt.used}).content
            except MixmagicError as failure:
                error = RowError.of(failure)
        if content is not None and once:
            key = hashlib.blake2b(repr(content).encode(), digest_size=_KEY).digest()
            repeated = key in seen
            seen.add(key)
        yield Question(row, content, error, repeated=repeated)

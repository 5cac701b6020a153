"""A prompt that is filled in for each row of a table: its expressions are the table's columns."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mixmagic.calls.tokens import high_estimate
from mixmagic.core.values import Part
from mixmagic.errors import BadArguments
from mixmagic.prompting.expressions import Expression, Literal, parse_prompt
from mixmagic.prompting.interpolate import expand, similar_variables, values_limit
from mixmagic.prompting.marks import Marks

# The name of the whole row in expressions: `{{ row["full name"] }}`.
ROW = "row"
_WHOLE_NUMBERS = (int, bool)


class Filled(NamedTuple):
    """The prompt of one row.

    Attributes:
        content: The content of a message: a text, or parts if there are images.
        notes: Values that were cut, for the user.
    """

    content: str | tuple[Part, ...]
    notes: tuple[str, ...]


class RowPrompt:
    """A prompt with expressions over the columns of a table.

    Args:
        text: The prompt; `{{ text }}` stands for the column `text`, and any expression for its
            value. `row` is the whole row, for columns whose names are not Python's.
        columns: The names of the columns.
        variables: Other names that expressions may use; a column of the same name goes first.
        context: Tokens of the model's context; `None` if unknown.
        answer: Tokens of the answer; `None` if not limited.
        redact: Removes the keys from a filled prompt.

    Attributes:
        text: The prompt as it was written.
        used: The columns in the prompt.

    Raises:
        BadArguments: An expression is not valid Python, or there is no column in the prompt.

    Example:
        >>> prompt = RowPrompt("Classify: {{ text }}", ["text", "stars"])
        >>> prompt.fill({"text": "Great!", "stars": 5}).content
        'Classify: Great!'
    """

    def __init__(
        self,
        text: str,
        columns: Sequence[str],
        variables: Mapping[str, Any] | None = None,
        *,
        context: int | None = None,
        answer: int | None = None,
        redact: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        self._redact = redact
        self.text, self._variables = text, {} if variables is None else variables
        self._parts = list(parse_prompt(text))
        self._known = [*columns, ROW, *self._variables]
        self._limit = values_limit([text], context=context, answer=answer, count=high_estimate)
        self.used = self._used(columns)
        sources = {part.source for part in self._parts if isinstance(part, Expression)}
        # Evaluated with `eval`, as the cell itself is: they are the user's own code.
        self._code = {source: compile(source.strip(), "<prompt>", "eval") for source in sources}

    def fill(self, row: Mapping[str, Any]) -> Filled:
        """Return the prompt of a row.

        Raises:
            BadArguments: An expression fails, or its value is neither text nor an image.
        """
        if (text := self._simple(row)) is not None:
            return Filled(self._redact(text), ())
        marks = Marks()
        (expanded,) = expand(
            [self.text],
            self._evaluate(row),
            names=self._known,
            limit=self._limit,
            count=high_estimate,
            marks=marks,
        )
        text, *notes = self._redact([expanded.text, *expanded.notes])
        return Filled(marks.content(text), tuple(notes))

    def is_missing(self, row: Mapping[str, Any]) -> bool:
        """Return True if all columns in the prompt are missing in a row: there is nothing to ask.

        Example:
            >>> RowPrompt("{{ text }}", ["text"]).is_missing({"text": None})
            True
        """
        return all(is_missing(row[name]) for name in self.used)

    def _simple(self, row: Mapping[str, Any]) -> str | None:
        """Return the prompt if all its values are texts and numbers of columns, and short."""
        pieces: list[str] = []
        size = 0
        for part in self._parts:
            if isinstance(part, Literal):
                pieces.append(part.text)
                continue
            value = row.get(part.text.strip(), self)
            if type(value) in _WHOLE_NUMBERS:
                value = str(value)
            elif type(value) is not str:
                return None
            size += len(value)
            pieces.append(value)
        # A token has a byte at least, and a character four at most.
        return "".join(pieces) if 4 * size <= self._limit else None

    def _evaluate(self, row: Mapping[str, Any]) -> Callable[[str], object]:
        whole = {name: "" if is_missing(value) else value for name, value in row.items()}
        # As globals: a comprehension sees them, too.
        names = {**self._variables, ROW: row, **whole}

        def evaluate(source: str) -> object:
            return eval(self._code[source], names)  # noqa: S307  # the user's own code

        return evaluate

    def _used(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return the columns in the prompt, in their order in the table."""
        expressions = [part for part in self._parts if isinstance(part, Expression)]
        names: set[str] = set()
        for each in expressions:
            for node in ast.walk(ast.parse(each.source.strip(), mode="eval")):
                if isinstance(node, ast.Name):
                    names.add(node.id)
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    names.add(node.value)  # of `row["full name"]`
        used = tuple(name for name in columns if name in names)
        if not used:
            one = next((name for name in columns if name.isidentifier()), "text")
            stray = next((each.text.strip() for each in expressions), "")
            near = similar_variables(stray, columns) if stray.isidentifier() else ""
            shown = ", ".join(columns[:5]) + ", …" * (len(columns) > 5)  # enough
            raise BadArguments(
                "The prompt names no column of the rows, so it is the same for all of them.",
                f"{near}Write {{{{ {one} }}}} where the value of a row belongs. Columns: {shown}.",
            )
        return used


def is_missing(value: object) -> bool:
    """Return True if a cell has no value: `None`, NaN, NaT or NA.

    Example:
        >>> is_missing(float("nan")), is_missing("")
        (True, False)
    """
    if value is None:
        return True
    if type(value) is float:
        return math.isnan(value)
    if type(value) is str or not hasattr(type(value), "__ne__"):
        return False
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)  # noqa: PLR0124  # numpy's NaN and NaT
    except (TypeError, ValueError):  # an array, or a value that cannot be compared
        return False

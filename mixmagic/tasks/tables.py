"""The table of an answer: its cells as text, or a DataFrame. Nothing is shown."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mixmagic.blocks import code_blocks
from mixmagic.errors import AnswerUnusable, MissingPackage
from mixmagic.tasks.parsing import AGAIN

if TYPE_CHECKING:
    import pandas as pd

_RULE = re.compile(r"\s*(?:\|\s*)?:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_PIPE = re.compile(r"(?<!\\)\|")
# 007 is a name.
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d{0,99})(?:\.\d+)?(?:[eE][+-]?\d{1,2})?$")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?$")
# Nothing but thousands can be meant: two commas, or a comma and a point.
_CERTAIN = re.compile(r"[+-]?\d{1,3},\d{3}(?=[,.])")
_MISSING = frozenset({"", "-", "\N{EN DASH}", "—", "n/a", "na", "nan", "null", "none"})


@dataclass(frozen=True, slots=True)
class Cells:
    """A table as text.

    Attributes:
        columns: The heads, each once.
        rows: The cells, as many in each row as there are columns.
        others: How many more tables the answer has.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    others: int = 0


def cells(answer: str) -> Cells:
    r"""The first table of an answer: in Markdown, or else as CSV.

    Rows shorter than others are filled up with empty cells.

    Args:
        answer: What the model wrote.

    Raises:
        AnswerUnusable: It has no table.

    Example:
        >>> cells("| a | b |\n|---|---|\n| 1 | x \\| y |").rows
        (('1', 'x | y'),)
    """
    lines = answer.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tables: list[list[list[str]]] = []
    place = 1
    while place < len(lines):
        if not ("|" in lines[place - 1] and "|" in lines[place] and _RULE.match(lines[place])):
            place += 1
            continue
        table = [_split(lines[place - 1])]
        place += 1
        while place < len(lines) and "|" in lines[place]:
            table.append(_split(lines[place]))
            place += 1
        tables.append(table)
        place += 1
    first = tables[0] if tables else _csv(answer)
    if not first:
        raise AnswerUnusable("The answer has no table in it, neither Markdown nor CSV.", AGAIN)
    width = max(map(len, first))
    head, *rows = ((*row, *[""] * (width - len(row))) for row in first)
    return Cells(_heads(head), tuple(rows), max(len(tables) - 1, 0))


def _split(line: str) -> list[str]:
    """The cells of a line of a Markdown table."""
    line = line.strip().removeprefix("|")
    parts = _PIPE.split(line)
    if len(parts) > 1 and not parts[-1].strip():
        parts.pop()
    return [part.strip().replace("\\|", "|") for part in parts]


def _heads(head: Sequence[str]) -> tuple[str, ...]:
    """A name for each column, none of them twice."""
    names: list[str] = []
    taken: set[str] = set()
    times: dict[str, int] = {}
    for number, said in enumerate(head, 1):
        name = base = said or f"column {number}"
        while name in taken:
            times[base] = times.get(base, 0) + 1
            name = f"{base}.{times[base]}"
        taken.add(name)
        names.append(name)
    return tuple(names)


def _csv(answer: str) -> list[list[str]]:
    """The rows of the first CSV in an answer: in a fence, or between blank lines; else none."""
    named = [b.code for b in code_blocks(answer) if b.language.lower() in ("csv", "tsv")]
    if named and "\n" in named[0].strip():
        return _rows(named[0], least=1)
    parts = [each.code for each in code_blocks(answer)] or re.split(r"\n\s*\n", answer.strip())
    return next(filter(None, (_rows(part, least=2) for part in parts)), [])


def _rows(text: str, least: int) -> list[list[str]]:
    """The rows of a CSV text of at least `least` columns; none where it is no table."""
    for separator in ",;\t|":
        try:
            found = csv.reader(text.strip("\n").splitlines(), delimiter=separator)
            rows = [[cell.strip() for cell in row] for row in found if row]
        except csv.Error:
            continue
        widths = {len(row) for row in rows}
        if len(rows) > 1 and len(widths) == 1 and min(widths) > 1:
            return rows
    rows = [[line.strip()] for line in text.splitlines() if line.strip()]
    return rows if least == 1 else []


def table(answer: str) -> pd.DataFrame:
    r"""The first table of an answer as a DataFrame.

    Columns in which all cells are numbers are numbers; a cell that is empty or a dash is missing
    in them. `1,234` may be a thousand or a decimal: such a column stays text unless one of its
    cells (`1,234,567`, `1,234.50`) says which.

    Args:
        answer: What the model wrote.

    Returns:
        A row for each row of the table, and a column for each of its columns.

    Raises:
        AnswerUnusable: It has no table.
        MissingPackage: pandas is not installed.

    Example:
        >>> table("| city | people |\n|---|---|\n| Bonn | 340 |").people.sum()
        340
    """
    found = cells(answer)
    try:
        import pandas as pd
    except ImportError:
        raise MissingPackage(
            "A DataFrame needs pandas, which is not installed; the answer's text is kept.",
            'Run `pip install "mixmagic[data]"`.',
        ) from None
    columns = zip(*found.rows, strict=True) if found.rows else [()] * len(found.columns)
    return pd.DataFrame(
        {name: _column(column) for name, column in zip(found.columns, columns, strict=True)}
    )


def _column(texts: Sequence[str]) -> Any:
    """A column as pandas takes it: numbers where all of it is."""
    import pandas as pd

    signed = [text.replace("\N{MINUS SIGN}", "-") for text in texts]
    given = [text for text in signed if text.lower() not in _MISSING]
    if any(map(_CERTAIN.match, given)):
        given = [text.replace(",", "") if _GROUPED.match(text) else text for text in given]
    if not given or not all(map(_NUMBER.match, given)):
        return list(texts)
    rest = iter(given)
    numbers = [None if text.lower() in _MISSING else _number(next(rest)) for text in signed]
    whole = [number for number in numbers if isinstance(number, int)]
    if len(whole) < len(given):
        return pd.Series(numbers, dtype="float64")
    if all(-(2**63) <= number < 2**63 for number in whole):
        return pd.Series(numbers, dtype="int64" if len(whole) == len(texts) else "Int64")
    return pd.Series(numbers, dtype="object")


def _number(text: str) -> int | float:
    """The number that a cell holds."""
    return int(text) if text.lstrip("+-").isdigit() else float(text)

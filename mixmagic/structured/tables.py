"""The table in the text of an answer: its cells as text, or a DataFrame."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mixmagic.core.extras import install
from mixmagic.errors import AnswerUnusable, MissingPackage, counted, one_line
from mixmagic.structured.extract import ASK_AGAIN
from mixmagic.text.code_blocks import code_blocks

if TYPE_CHECKING:
    import pandas as pd

Rows = list[list[str]]

# A cell of the rule below a table's head.
_RULE = re.compile(r":?[-=\u2013\u2014]+:?")
_GRID = re.compile(r"\+[-=+:]+\+$")
# Limits, since padding short rows can multiply the size of an answer.
_MOST_CELLS, _MOST_COLUMNS = 200_000, 10_000
_PIPE = re.compile(r"(?<!\\)\|")
_QUOTE = re.compile(r"(?: {0,3}> ?)+")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?$")
# Certainly thousands separators: two commas, or a comma and a point.
_CERTAIN = re.compile(r"[+-]?\d{1,3},\d{3}(?=[,.])")
# Not 007, which is a name.
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d{0,99})(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?$")
_MISSING = frozenset({"", "-", "\N{EN DASH}", "—", "n/a", "na", "nan", "null", "none"})
# Languages of code blocks with CSV, and those that tell nothing.
_CSV = frozenset(("csv", "tsv"))
_PLAIN = frozenset(("", "text", "txt", "plain", "plaintext"))


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table whose cells are text.

    Attributes:
        columns: Unique names of the columns.
        rows: The cells; all rows have as many as there are columns.
        others: Number of further tables in the answer.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    others: int = 0


def text_table(answer: str) -> TextTable:
    r"""Return the first table of an answer: in Markdown, or else as CSV in a code block.

    Short rows are padded with empty cells.

    Raises:
        AnswerUnusable: It has no table, or one that cannot be read.

    Example:
        >>> text_table("| a | b |\n|---|---|\n| 1 | x \\| y |").rows
        (('1', 'x | y'),)
    """
    text = answer.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    tables = _ruled(lines) or _unruled(lines)
    first, others = (tables[0], len(tables) - 1) if tables else _csv(text)
    if not first:
        raise AnswerUnusable("The answer has no table in it, neither Markdown nor CSV.", ASK_AGAIN)
    width = max(map(len, first))
    if width > _MOST_COLUMNS or width * len(first) > _MOST_CELLS:
        raise AnswerUnusable(
            f"The answer's table is too large: {counted(len(first), 'row')}, one of"
            f" {counted(width, 'cell')}.",
            ASK_AGAIN,
        )
    head, *rows = ((*row, *[""] * (width - len(row))) for row in first)
    return TextTable(_unique_names(head), tuple(rows), others)


def _ruled(lines: Sequence[str]) -> list[Rows]:
    """Return the tables in Markdown: a head, a rule below it, and the lines that follow.

    Unlike GitHub's, they keep cells beyond those of the head, and may stand in a code block.
    """
    tables: list[Rows] = []
    number = 1
    while number < len(lines):
        # The rule decides, since the first cell of a row may begin with `>`.
        quoted = lines[number].lstrip(" ").startswith(">")
        rule = _unquoted(lines[number]) if quoted else lines[number]
        if not ("|" in lines[number - 1] and "|" in rule and _is_rule(rule)):
            number += 1
            continue
        table = [_split_row(lines[number - 1], quoted)]
        number += 1
        while number < len(lines) and "|" in lines[number]:
            table.append(_split_row(lines[number], quoted))
            number += 1
        tables.append(table)
        number += 1
    return tables


def _unruled(lines: Sequence[str]) -> list[Rows]:
    """Return the tables in Markdown without a rule: lines between pipes, of equal length."""
    tables: list[Rows] = [[]]
    for line in map(str.strip, map(_unquoted, lines)):
        if len(line) > 1 and line.startswith("|") and line.endswith("|"):
            tables[-1].append(_split_row(line))
        elif tables[-1] and not _GRID.match(line):
            tables.append([])
    return [
        table
        for table in tables
        if len(table) > 1
        and len(table[0]) > 1
        and len(set(map(len, table))) == 1
        and not all(map(_is_rule, table[0]))
    ]


def _is_rule(line: str) -> bool:
    """Return True if a line is the rule below a table's head."""
    cells = line.strip().removeprefix("|").removesuffix("|").split("|")
    return all(_RULE.fullmatch(cell.strip()) for cell in cells)


def _unquoted(line: str) -> str:
    """Return a line of a block quote without the `>`."""
    marks = _QUOTE.match(line)
    return line[marks.end() :] if marks else line


def _split_row(line: str, quoted: bool = False) -> list[str]:
    """Return the cells of a line of a Markdown table."""
    line = (_unquoted(line) if quoted else line).strip().removeprefix("|")
    parts = _PIPE.split(line)
    if len(parts) > 1 and not parts[-1].strip():
        parts.pop()
    return [part.strip().replace("\\|", "|") for part in parts]


def _csv(text: str) -> tuple[Rows, int]:
    """Return the rows of the first CSV in a code block, and the number of others.

    A block without a language is CSV if all of its rows have equal numbers of cells.
    """
    blocks = code_blocks(text)
    marked = [
        (block.code, "\t" if block.language.lower() == "tsv" else ",;\t|")
        for block in blocks
        if block.language.lower() in _CSV and "\n" in block.code.strip()
    ]
    if marked:
        return _marked_csv(*marked[0]), len(marked) - 1
    plain = [block.code for block in blocks if block.language.lower() in _PLAIN]
    found = [rows for code in plain if (rows := _even_csv(code, ",;\t"))]
    return (found[0], len(found) - 1) if found else ([], 0)


def _marked_csv(code: str, separators: str) -> Rows:
    """Return the rows of a block marked as CSV; none may be longer than its head."""
    head = code.strip("\n").partition("\n")[0]
    likely = sorted(separators, key=head.count, reverse=True)
    if rows := _even_csv(code, "".join(filter(head.count, likely))):
        return rows
    try:
        rows = list(_read_csv(code, likely[0]))
    except csv.Error as error:
        raise AnswerUnusable(f"The answer's CSV cannot be read: {error}.", ASK_AGAIN) from None
    for number, row in enumerate(rows):
        while len(row) > len(rows[0]) and not row[-1]:
            row.pop()
        if len(row) > len(rows[0]):
            quoted = one_line(likely[0].join(row), 60)
            raise AnswerUnusable(
                f"The answer's CSV has {counted(len(row), 'cell')} in row {number} ({quoted}),"
                f" and {len(rows[0])} in its head.",
                ASK_AGAIN,
            )
    return rows


def _even_csv(code: str, separators: str) -> Rows:
    """Return the rows of a text if a separator gives all of them equally many cells."""
    for separator in separators:
        with contextlib.suppress(csv.Error):
            rows: Rows = []
            for row in _read_csv(code, separator):
                if len(row) < 2 or (rows and len(row) != len(rows[0])):
                    break
                rows.append(row)
            else:
                if len(rows) > 1:
                    return rows
    return []


def _read_csv(code: str, separator: str) -> Iterator[list[str]]:
    """Yield the rows that are not blank; raise `csv.Error` if quotes do not match."""
    lines = io.StringIO(code.strip("\n"), newline="")
    for row in csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True):
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield cells


def _unique_names(head: Sequence[str]) -> tuple[str, ...]:
    """Return a unique name for each column."""
    names: list[str] = []
    taken: set[str] = set()
    times: dict[str, int] = {}
    for number, cell in enumerate(head, 1):
        name = base = cell or f"column {number}"
        while name in taken:
            times[base] = times.get(base, 0) + 1
            name = f"{base}.{times[base]}"
        taken.add(name)
        names.append(name)
    return tuple(names)


def data_frame(answer: str) -> pd.DataFrame:
    r"""Return the first table of an answer as a DataFrame.

    A column of numbers becomes numeric; its empty cells and dashes are missing values. The comma in
    `1,234` could separate thousands or decimals: such a column stays text unless one of its cells
    (`1,234,567`, `1,234.50`) decides.

    Raises:
        AnswerUnusable: It has no table.
        MissingPackage: pandas is not installed.

    Example:
        >>> data_frame("| city | people |\n|---|---|\n| Bonn | 340 |").people.sum()
        340
    """
    table = text_table(answer)
    try:
        import pandas as pd
    except ImportError:
        raise MissingPackage(
            "A DataFrame needs pandas, which is not installed; the answer's text is kept.",
            f"Run {install('data')}.",
        ) from None
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return pd.DataFrame(
        {name: _column(column) for name, column in zip(table.columns, columns, strict=True)}
    )


def _column(texts: Sequence[str]) -> Any:
    """Return a column's values for pandas: numbers if all of them are."""
    import pandas as pd

    signed = [text.replace("\N{MINUS SIGN}", "-") for text in texts]
    present = [text for text in signed if text.lower() not in _MISSING]
    if any(map(_CERTAIN.match, present)):
        present = [text.replace(",", "") if _GROUPED.match(text) else text for text in present]
    if not present or not all(map(_NUMBER.match, present)):
        return list(texts)
    rest = iter(present)
    numbers = [None if text.lower() in _MISSING else _to_number(next(rest)) for text in signed]
    whole = [number for number in numbers if isinstance(number, int)]
    if len(whole) < len(present):
        return pd.Series(numbers, dtype="float64")
    if all(-(2**63) <= number < 2**63 for number in whole):
        return pd.Series(numbers, dtype="int64" if len(whole) == len(texts) else "Int64")
    return pd.Series(numbers, dtype="object")


def _to_number(text: str) -> int | float:
    return int(text) if text.lstrip("+-").isdigit() else float(text)

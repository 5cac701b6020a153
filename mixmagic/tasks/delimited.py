"""The CSV of an answer: marked as such, or a text that can be nothing else. Nothing is shown."""

from __future__ import annotations

import contextlib
import csv
import io
import re

from mixmagic.errors import AnswerUnusable, one_line
from mixmagic.tasks.parsing import AGAIN
from mixmagic.text.code_blocks import code_blocks

Rows = list[list[str]]

# 007 is a name.
NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d{0,99})(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?$")
_SEPARATORS = ",;\t|"
# Fences that say nothing of what is in them.
_PLAIN = frozenset(("", "text", "txt", "plain", "plaintext"))
# Lines of a list, and indented ones: no rows of a CSV.
_LISTED = re.compile(r" |(?:[-*+•]|\d{1,9}[.)])\s")
# A comma that is no separator of thousands.
_COMMA = re.compile(r"(?<!\d),|,(?!\d{3}(?!\d))")
_LONGEST_VALUE = 40


def csv_rows(text: str) -> tuple[Rows, int]:
    r"""The rows of the first CSV in an answer, none where it has none; how many more it has.

    Args:
        text: The answer, its lines ended by `\n`.

    Raises:
        AnswerUnusable: Its quotes do not match, or a row has more cells than the head.

    Example:
        >>> csv_rows("```csv\ncity,people\nBonn,340\n```")
        ([['city', 'people'], ['Bonn', '340']], 0)
    """
    blocks = code_blocks(text)
    named = [
        (block.code, "\t" if block.language.lower() == "tsv" else _SEPARATORS)
        for block in blocks
        if block.language.lower() in ("csv", "tsv") and "\n" in block.code.strip()
    ]
    if named:
        return _rows(*named[0]), len(named) - 1
    plain = [block.code for block in blocks if block.language.lower() in _PLAIN]
    parts, fenced = plain if blocks else [text], bool(blocks)
    found = [rows for part in parts if (rows := _unmarked(part, fenced=fenced))]
    return (found[0], len(found) - 1) if found else ([], 0)


def _rows(code: str, separators: str) -> Rows:
    """The rows of a text that is marked as CSV."""
    head = code.strip("\n").partition("\n")[0]
    likely = sorted(separators, key=head.count, reverse=True)
    for separator in filter(head.count, likely):
        with contextlib.suppress(csv.Error):
            rows = _stripped(_read(code, separator))
            if _is_even(rows):
                return rows
    try:
        rows = _stripped(_read(code, likely[0]))
    except csv.Error as error:
        raise AnswerUnusable(f"The answer's CSV cannot be read: {error}.", AGAIN) from None
    for number, row in enumerate(rows):
        while len(row) > len(rows[0]) and not row[-1]:
            row.pop()
        if len(row) > len(rows[0]):
            said = one_line(likely[0].join(row), 60)
            raise AnswerUnusable(
                f"The answer's CSV has {len(row)} cells in row {number} ({said}),"
                f" and {len(rows[0])} in its head.",
                AGAIN,
            )
    return rows


def _unmarked(text: str, *, fenced: bool) -> Rows:
    """The rows of a text that can be nothing but CSV; none where it may be prose or a program.

    It has three lines or more (in a fence two), the first of them a head; no blanks stand behind
    its separators, or behind all of them where a column holds numbers or names are single words.
    """
    text = text.strip(" \n")  # Mixtral's answers often begin with a blank
    lines = text.split("\n")
    if len(lines) < (2 if fenced else 3):
        return []
    if any(not line.strip() or _LISTED.match(line) for line in lines):
        return []
    for separator in ",;\t":
        try:
            raw = _read(text, separator, skipinitialspace=False)
        except csv.Error:
            continue
        rows = _stripped(raw)
        if not _is_even(rows) or not _is_head(rows[0]):
            continue
        spaced = {cell.startswith(" ") for row in raw for cell in row[1:]}
        if spaced == {False} and (separator != "," or _COMMA.search(lines[0])):
            return rows
        words = fenced and len(rows) > 2 and not any(" " in name for name in rows[0])
        if spaced == {True} and (words or _has_numbers(rows)):
            return rows
    return []


def _read(text: str, separator: str, *, skipinitialspace: bool = True) -> Rows:
    """The rows of a CSV text; `csv.Error` where its quotes do not match."""
    lines = io.StringIO(text.strip("\n"), newline="")
    found = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=skipinitialspace)
    return [row for row in found if any(map(str.strip, row))]


def _stripped(rows: Rows) -> Rows:
    """The rows without the blanks around their cells."""
    return [[cell.strip() for cell in row] for row in rows]


def _is_even(rows: Rows) -> bool:
    """Whether it is a head and rows of as many cells, two at the least."""
    return len(rows) > 1 and len(rows[0]) > 1 and len(set(map(len, rows))) == 1


def _is_head(row: list[str]) -> bool:
    """Whether a row names columns: it is full, not of numbers alone, and no part of a program."""
    return (
        all(row[1:])  # an index has no name
        and not all(map(NUMBER.match, row))
        and not any("=" in name or name.count("(") != name.count(")") for name in row)
    )


def _has_numbers(rows: Rows) -> bool:
    """Whether all cells are short, and those of one column are numbers below a word."""
    return max(len(cell) for row in rows for cell in row) <= _LONGEST_VALUE and any(
        not NUMBER.match(head) and all(map(NUMBER.match, below))
        for head, *below in zip(*rows, strict=True)
    )

"""A preview of a job as a table, with the words marked that have changed since the last one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mixmagic.core.money import format_column
from mixmagic.errors import counted, one_line
from mixmagic.tasks.bulk.shown import cell, error_lines, parts
from mixmagic.tasks.bulk.status import status_line
from mixmagic.tasks.tables.columns import ANSWER
from mixmagic.text.escape import as_text, plain
from mixmagic.text.table import Table

if TYPE_CHECKING:
    from mixmagic.tasks.bulk.estimate import Interval
    from mixmagic.tasks.bulk.preview import Preview, PreviewRow

_LONGEST, _GIVEN = 400, 200  # characters of an answer, and of a row's column, that are shown
_AHEAD = 120  # characters before the first change that are shown
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
_ORDER = ("changed", "new", "unchanged")
_TAGS = {
    "del": '<del style="background: rgba(248, 81, 73, 0.2)">{}</del>',
    "ins": '<ins style="background: rgba(46, 160, 67, 0.25); text-decoration: none">{}</ins>',
}


def preview_text(preview: Preview) -> str:
    """Return a preview as text: the rows, the cost of all, and the kinds of failure."""
    heads, rows = _table(preview)
    cells = [
        [f"{row.position:,}", *map(cell, row.row.values()), *map(one_line, _results(preview, row))]
        for row in rows
    ]
    return str(Table(heads, cells, "\n".join(_notes(preview))))


def preview_html(preview: Preview) -> str:
    """Return a preview as HTML: with the words marked that have changed."""
    heads, rows = _table(preview)
    heads[0] = heads[0].rstrip(">")
    head = "".join(f"<th {_style()}>{as_text(one_line(name))}</th>" for name in heads)
    body = "".join(f"<tr>{_html_cells(preview, row)}</tr>" for row in rows)
    notes = "<br>".join(as_text(plain(note), starts_line=False) for note in _notes(preview))
    return (
        '<div style="overflow-x: auto"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div><div>{notes}</div>"
    )


def marked(before: str, now: str) -> tuple[str, str]:
    """Return two texts as HTML, with the words marked that only one of them has.

    Example:
        >>> marked("very good", "good")[1]
        'good'
    """
    old, new = (_WORDS.findall(text) for text in _cut(before, now))
    pieces: tuple[list[str], list[str]] = [], []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        for words, tag, into in ((old[i:j], "del", pieces[0]), (new[k:m], "ins", pieces[1])):
            text = "".join(words)
            is_marked = kind != "equal" and not text.isspace() and text
            into.append(_TAGS[tag].format(_lines(text)) if is_marked else _lines(text))
    return "".join(pieces[0]), "".join(pieces[1])


def _cut(*texts: str, longest: int = _LONGEST) -> list[str]:
    """Return long texts without their ends, and without a long beginning that they share."""
    letters = enumerate(zip(*texts, strict=False))
    shared = next((at for at, letter in letters if len(set(letter)) > 1), 0)
    start = max(shared - _AHEAD, 0)
    return [
        "…" * bool(start) + text[start : start + longest] + "…" * (len(text) > start + longest)
        for text in texts
    ]


def _table(preview: Preview) -> tuple[list[str], list[PreviewRow]]:
    """Return the heads and the rows, those first that have changed."""
    given = list(preview.rows[0].row) if preview.rows else []
    results = ["before", "now"] if preview.last else preview.job.fields or [ANSWER]
    rows = sorted(preview.rows, key=lambda row: _ORDER.index(row.change))
    return ["row>", *given, *results], rows if preview.last else preview.rows


def _results(preview: Preview, row: PreviewRow) -> list[str]:
    """Return the results of a row as texts: also those before, if there are any."""
    if preview.last:
        return [_text(row.before), _text(row.value)]
    return [_text(part) for part in parts(row.value, preview.job.fields)]


def _text(value: Any) -> str:
    """Return a value as text: of an object, the fields on a line each."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {part}" for name, part in value.items())
    return "" if value is None else plain(str(value))


def _html_cells(preview: Preview, row: PreviewRow) -> str:
    results = _results(preview, row)
    given = [_text(value) for value in row.row.values()]
    shown = [_lines(text) for each in given for text in _cut(each, longest=_GIVEN)]
    if row.change == "changed":
        shown += marked(*results)
    else:
        shown += [_lines(text) for each in results for text in _cut(each)]
    quiet = "; opacity: 0.65" * (bool(preview.last) and row.change == "unchanged")
    cells = [f"{row.position:,}", *shown]
    return "".join(f"<td {_style(quiet)}>{html}</td>" for html in cells)


def _lines(text: str) -> str:
    return "<br>".join(as_text(line, starts_line=False) for line in text.split("\n"))


def _style(more: str = "") -> str:
    style = "text-align: left; vertical-align: top; min-width: 3em; max-width: 28em; "
    return f'style="{style}white-space: normal; overflow-wrap: anywhere{more}"'


def _notes(preview: Preview) -> list[str]:
    """Return the cost of all rows, the changes, and the kinds of failure, a line each."""
    notes = [_cost(preview)]
    if preview.last:
        changed, new = (sum(r.change == kind for r in preview.rows) for kind in ("changed", "new"))
        also = f", {new:,} new" if new else ""
        answers = counted(len(preview.rows), "answer")
        notes.append(f"{changed:,} of {answers} changed{also}, before: {one_line(preview.last)}")
    return notes + error_lines(preview.errors)


def _dollars(cost: Interval) -> list[str]:
    """Return the ends of an interval with so many decimals that they differ."""
    amounts = [Decimal(repr(round(value, 9))) for value in cost]
    width = amounts[2] - amounts[1]
    digits = min(max(2, 1 - width.adjusted() if width else 2), 9)
    return [f"${amount:,.{digits}f}" for amount in amounts] if width else format_column(amounts)


def _cost(preview: Preview) -> str:
    """Return the cost of all rows and of the preview, in words."""
    progress = preview.job.progress
    rows = counted(preview.length, "row")
    if preview.questions != preview.length:
        rows += f" ({counted(preview.questions, 'question')})"
    end = f"{counted(len(preview), 'row')} kept: the same call without preview= asks the others."
    if (cost := preview.cost) is None or not cost.likely:
        tokens = preview.tokens
        if tokens is None:
            return f"No row has an answer. {status_line(progress, preview.job.state)}"
        price = "is free" if cost is not None else "has no known price"
        return f"All {rows}: about {tokens.likely:,.0f} tokens; {preview.job.model} {price}. {end}"
    likely, low, high = _dollars(cost)
    if preview.is_whole:
        words = f"All {rows} cost {likely}"
    else:
        words = f"All {rows} cost about {likely}, from {low} to {high}"
        if (enough := preview.enough) is not None:
            words += f" (preview={enough} would say it within 10 %)"
    return f"{words}. {end}"

"""A table for notebooks and terminals, and the formatting of a column of prices."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from mixmagic.core import terminal
from mixmagic.text.escape import as_text, plain

# Cells of up to so many characters are not wrapped, nor are words.
_SHORT = 24
# In em: the narrowest column of sentences, a letter of another column, and the space beside it, as
# in JupyterLab.
_SENTENCE, _LETTER, _SPACE = 14, 0.5, 1
_GAP = "  "
_IN_NAMES = r"\s+|(?<=[-/:_])(?=\w)"  # where a name may be broken
# Where styles are removed, all columns stay, and the table scrolls.
_RULE = "@container (max-width: {0}em) {{ .mixmagic-from-{0} {{ display: none; }} }}"


class Table:
    """A table: HTML in a notebook, aligned text elsewhere, where it fits into the terminal.

    Without rows, only the caption is shown.

    Args:
        columns: The heads. A trailing `?` marks a column that may be left out if there is no room
            for it, a trailing `>` aligns one to the right.
        rows: The cells, as many in each row as there are columns.
        caption: Lines below the table.
        foot: The cells of a separate last row, such as a total.

    Example:
        >>> Table(["model", "cost>"], [["8x7b", "$0.60"]], "this session", ["total", "$0.60"])
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        caption: str = "",
        foot: Sequence[str] = (),
    ) -> None:
        self.columns = [column.rstrip(">?") for column in columns]
        self.rows = [list(map(plain, row)) for row in rows]
        self.foot = list(map(plain, foot))
        self.caption = plain(caption)
        self._right = [column.endswith(">") for column in columns]
        self._optional = [column.rstrip(">").endswith("?") for column in columns]

    def __str__(self) -> str:
        return terminal.encodable(self.text(terminal.width()))

    def text(self, columns: int | None = None) -> str:
        """Return aligned text of at most so many columns, if words allow it.

        Optional columns are left out first, the last one before others; then cells are wrapped
        between words, and at last within long names, after a `/`, `:`, `-` or `_`.
        """
        lines = self._lines if self.rows else []
        kept = list(range(len(self.columns)))
        while columns and lines and _sum(self._widths(kept)) > columns:
            optional = [i for i in kept if self._optional[i]]
            if not optional:
                break
            kept.remove(optional[-1])
        widths = _squeezed(self._widths(kept), self._least(kept), columns) if lines else []
        if columns and lines and _sum(widths) > columns:  # last, within long names
            widths = _squeezed(widths, self._least(kept, _IN_NAMES), columns)
        drawn = [part for line in lines for part in self._wrapped(line, kept, widths)]
        return "\n".join([*drawn, *filter(None, [terminal.fold(self.caption, columns)])])

    @property
    def _lines(self) -> list[list[str]]:
        return [self.columns, *self.rows, *filter(None, [self.foot])]

    def _widths(self, kept: Sequence[int]) -> list[int]:
        """Return the widths of columns."""
        return [max(len(line[i]) for line in self._lines) for i in kept]

    def _least(self, kept: Sequence[int], between: str = r"\s+") -> list[int]:
        """Return the smallest widths of columns: their longest words; amounts are not wrapped.

        Args:
            kept: The columns.
            between: A pattern of the places at which lines may be broken.
        """
        head, *rest = self._lines
        return [
            max(
                len(word)
                for line in (head, *rest)
                for word in (
                    [line[i]]
                    if self._right[i] and line is not head and re.search(r"\d", line[i])
                    else re.split(between, line[i].strip())
                )
            )
            for i in kept
        ]

    def _wrapped(self, line: list[str], kept: Sequence[int], widths: Sequence[int]) -> list[str]:
        """Return the lines of text of a row."""
        parts = [
            terminal.fold(_breakable(line[i], width), width).split("\n")
            for i, width in zip(kept, widths, strict=True)
        ]
        return [
            _GAP.join(
                cell.rjust(width) if self._right[i] else cell.ljust(width)
                for cell, width, i in zip(cells, widths, kept, strict=True)
            ).rstrip()
            for cells in itertools.zip_longest(*parts, fillvalue="")
        ]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self._html() + self._html_caption(), "text/plain": str(self)}

    def _html_caption(self) -> str:
        caption = as_text(self.caption, starts_line=False).replace("\n", "<br>")
        return f'<div style="opacity: 0.65; font-size: 85%">{caption}</div>' if caption else ""

    def _html(self) -> str:
        """Return the table in a box that scrolls."""
        if not self.rows:
            return ""
        rooms = self._rooms()
        body = "".join(f"<tr>{self._cells(row, 'td', rooms)}</tr>" for row in self.rows)
        head = f"<thead><tr>{self._cells(self.columns, 'th', rooms)}</tr></thead>"
        rule = "; border-top: 1px solid gray"
        foot = self.foot and f"<tfoot><tr>{self._cells(self.foot, 'td', rooms, rule)}</tr></tfoot>"
        rules = " ".join(map(_RULE.format, rooms.values()))
        style = f"<style>{rules}</style>" if rules else ""
        box = "overflow-x: auto" + "; container-type: inline-size" * bool(rules)
        return (
            f'{style}<div style="{box}">'
            f'<table style="font-variant-numeric: tabular-nums">{head}<tbody>{body}</tbody>'
            f"{foot or ''}</table></div>"
        )

    def _rooms(self) -> dict[int, int]:
        """Return for each optional column the room in em that is too narrow for it."""
        widths = [
            max(_SENTENCE if _is_sentence(cell) else _LETTER * len(cell) for cell in column)
            for column in zip(*self._lines, strict=True)
        ]
        rooms, total = {}, sum(widths) + _SPACE * len(widths)
        for i in reversed([i for i, optional in enumerate(self._optional) if optional]):
            rooms[i] = math.ceil(total)
            total -= widths[i] + _SPACE
        return rooms

    def _cells(
        self, line: Sequence[str], tag: str, rooms: Mapping[int, int], more: str = ""
    ) -> str:
        """Return the cells of a row; `more` is the style of the last row."""
        parts = []
        for i, cell in enumerate(line):
            style = f"text-align: {'right' if self._right[i] else 'left'}"
            if tag == "td" and _is_sentence(cell):
                style += f"; min-width: {_SENTENCE}em"
            else:
                style += "; white-space: nowrap"
            # Bold digits would be wider than those above them.
            style += "; font-weight: bold" if more and not self._right[i] else ""
            name = f' class="mixmagic-from-{rooms[i]}"' if i in rooms else ""
            text = as_text(cell, starts_line=False)
            parts.append(f'<{tag}{name} style="{style}{more}">{text}</{tag}>')
        return "".join(parts)


def _is_sentence(cell: str) -> bool:
    """Return True if a cell is wrapped between its words."""
    return len(cell) > _SHORT and " " in cell


def _breakable(cell: str, width: int) -> str:
    """Return a cell with blanks in words that are longer than a width, where names may be broken.

    Example:
        >>> _breakable("a a-long-name", 7)
        'a a-long- name'
    """

    def broken(word: re.Match[str]) -> str:
        lines = [""]
        for part in re.split(_IN_NAMES, word[0]):
            if lines[-1] and len(lines[-1]) + len(part) > width:
                lines.append("")
            lines[-1] += part
        return " ".join(lines)

    return re.sub(rf"\S{{{width + 1},}}", broken, cell)


def _sum(widths: Sequence[int]) -> int:
    """Return the width of a line."""
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _squeezed(widths: list[int], least: Sequence[int], columns: int | None) -> list[int]:
    """Return widths that fit, if they can: the widest columns give way first."""
    widths = widths.copy()
    while columns and _sum(widths) > columns:
        wide = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
        if widths[wide] <= least[wide]:
            break
        widths[wide] -= 1
    return widths


def rates(*columns: Sequence[Decimal | str]) -> list[list[str]]:
    """Format columns of exact dollars per million tokens alike; strings stay as they are."""
    prices = [price for column in columns for price in column if isinstance(price, Decimal)]
    digits = max([2, *(len(_decimals(price)) for price in prices)])
    return [
        [price if isinstance(price, str) else f"{price:,.{digits}f}" for price in column]
        for column in columns
    ]


def _decimals(price: Decimal) -> str:
    """Return the digits after the point without trailing zeros; arithmetic could round."""
    return f"{price:f}".partition(".")[2].rstrip("0")

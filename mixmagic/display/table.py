"""A table for notebooks and terminals, and the formatting of a column of prices."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from mixmagic.core.terminal import encodable
from mixmagic.text.escape import as_text, plain

# Cells of up to so many characters are not wrapped.
_SHORT = 24


class Table:
    """A table: HTML in a notebook, aligned text elsewhere.

    Args:
        columns: The heads; a trailing `>` aligns a column to the right.
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
        self.columns = [column.removesuffix(">") for column in columns]
        self.rows = [list(map(plain, row)) for row in rows]
        self.foot = list(map(plain, foot))
        self.caption = plain(caption)
        self._right = [column.endswith(">") for column in columns]

    def __str__(self) -> str:
        lines = [self.columns, *self.rows, *filter(None, [self.foot])]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        text = "\n".join(
            [
                "  ".join(
                    cell.rjust(width) if right else cell.ljust(width)
                    for cell, width, right in zip(line, widths, self._right, strict=True)
                ).rstrip()
                for line in lines
            ]
            + ([self.caption] if self.caption else [])
        )
        return encodable(text)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        def cells(line: Sequence[str], tag: str, more: str = "") -> str:
            parts = []
            for cell, right in zip(line, self._right, strict=True):
                side = "right" if right else "left"
                nowrap = "; white-space: nowrap" if tag == "td" and len(cell) <= _SHORT else ""
                # Bold digits would be wider than those above them.
                bold = "; font-weight: bold" if more and not right else ""
                style = f"text-align: {side}{nowrap}{bold}{more}"
                parts.append(f'<{tag} style="{style}">{as_text(cell, starts_line=False)}</{tag}>')
            return "".join(parts)

        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in self.rows)
        caption = as_text(self.caption, starts_line=False).replace("\n", "<br>")
        below = f'<div style="opacity: 0.65; font-size: 85%">{caption}</div>' if caption else ""
        head = f"<thead><tr>{cells(self.columns, 'th')}</tr></thead>"
        rule = "; border-top: 1px solid gray"
        foot = f"<tfoot><tr>{cells(self.foot, 'td', rule)}</tr></tfoot>" if self.foot else ""
        table = f'<table style="font-variant-numeric: tabular-nums">{head}<tbody>{body}</tbody>'
        return {
            "text/html": f"{table}{foot}</table>{below}",
            "text/plain": str(self),
        }


def rates(prices: Sequence[Decimal | str]) -> list[str]:
    """Format a column of exact dollars per million tokens; strings stay as they are."""
    digits = max(
        (len(_decimals(price)) for price in prices if isinstance(price, Decimal)), default=0
    )
    return [price if isinstance(price, str) else f"{price:,.{max(2, digits)}f}" for price in prices]


def _decimals(price: Decimal) -> str:
    """Return the digits after the point without trailing zeros; arithmetic could round."""
    return f"{price:f}".partition(".")[2].rstrip("0")

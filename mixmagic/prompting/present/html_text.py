"""The text of an HTML page: tables as rows, lists as items, without scripts and hidden elements."""

from __future__ import annotations

import re
from html.parser import HTMLParser

# Elements without a text of their own, and those that stand on lines of their own.
_LEFT_OUT = frozenset("script style head template noscript svg iframe object canvas math".split())  # noqa: SIM905
_LINES = frozenset(
    """
    address article aside blockquote br caption dd details div dl dt figcaption figure footer form
    h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section summary table tr ul
    """.split()  # noqa: SIM905
)
_APART = frozenset("h1 h2 h3 h4 h5 h6 ol p pre table ul".split())  # noqa: SIM905
# Elements that hide nothing behind them: they have no end; and those whose end is often left out.
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())  # noqa: SIM905
_OPEN_END = frozenset("dd dt li option p td th tr".split())  # noqa: SIM905
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_HEADING = re.compile(r"h[1-6]")
# Characters of a page that are read.
_LONGEST = 1_000_000


def html_text(page: str) -> str:
    r"""Return the text that a reader of an HTML page sees, with Markdown's headings and tables.

    Example:
        >>> html_text("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>")
        '| a | b |\n|---|---|\n| 1 | 2 |'
    """
    reader = _Reader()
    reader.feed(page[:_LONGEST])
    reader.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(reader.pieces)).strip()


class _Reader(HTMLParser):
    """Collects the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._left_out = self._preformatted = 0
        self._hidden = ""  # the element that is hidden, and how many of its kind are open
        self._depth = 0
        self._row: list[str] | None = None  # the cells so far
        self._rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden == tag and tag in _OPEN_END:
            self._hidden = ""
        if self._hidden:
            self._depth += tag == self._hidden
        elif tag not in _VOID and _is_hidden(dict(attrs)):
            self._hidden, self._depth = tag, 1
        elif tag in _LEFT_OUT:
            self._left_out += 1
        elif tag == "table":
            self._rows = 0
            self._break(tag)
        elif tag == "tr":
            self._end_row()
            self._row = []
        elif tag in ("td", "th") and self._row is not None:
            self._row.append("")
        elif tag == "pre":
            self._break(tag)
            self._preformatted += 1
        elif tag == "img":
            self._write(dict(attrs).get("alt") or "")
        elif tag in _LINES:
            self._break(tag)
            if tag == "li":
                self._write("- ")
            elif _HEADING.fullmatch(tag):
                self._write("#" * int(tag[1]) + " ")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._depth -= tag == self._hidden
            self._hidden = self._hidden if self._depth else ""
        elif tag in _LEFT_OUT:
            self._left_out = max(self._left_out - 1, 0)
        elif tag in ("tr", "table"):
            self._end_row()
            if tag == "table":
                self._break(tag)
        elif tag in _LINES:
            self._break(tag)
            if tag == "pre":
                self._preformatted = max(self._preformatted - 1, 0)

    def handle_data(self, data: str) -> None:
        if not self._preformatted or self._row is not None:
            data = re.sub(r"\s+", " ", data)
            if self._row is None and (not self.pieces or self.pieces[-1].endswith(("\n", " "))):
                data = data.lstrip()
        self._write(data)

    def close(self) -> None:
        super().close()
        self._end_row()

    def _write(self, text: str) -> None:
        if self._left_out or self._hidden or not text:
            return
        if self._row is None:
            self.pieces.append(text)
        elif self._row:
            self._row[-1] += text

    def _break(self, tag: str) -> None:
        """End a line; within a cell, only a word."""
        if self._row:
            self._row[-1] += " "
        elif not self._left_out:
            self.pieces.append("\n\n" if tag in _APART else "\n")

    def _end_row(self) -> None:
        row, self._row = self._row, None
        if row:
            cells = [" ".join(cell.split()).replace("|", "\\|") for cell in row]
            self.pieces.append(f"| {' | '.join(cells)} |\n")
            self._rows += 1
            if self._rows == 1:
                self.pieces.append("|---" * len(cells) + "|\n")


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    """Return True if an element's own attributes hide it."""
    return "hidden" in attributes or bool(_HIDDEN.search(attributes.get("style") or ""))

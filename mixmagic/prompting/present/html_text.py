"""The text of an HTML page: tables as rows, lists as items, without scripts and hidden elements."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from mixmagic.core import lazy

# Elements without a text of their own, and those that stand on lines of their own.
_LEFT_OUT = set("script style title noscript template svg iframe object canvas math".split())  # noqa: SIM905
_LINES = frozenset(
    """
    address article aside blockquote br caption dd details div dl dt figcaption figure footer form
    h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section summary table tr ul
    """.split()  # noqa: SIM905
)
_APART = frozenset("h1 h2 h3 h4 h5 h6 ol p pre table ul".split())  # noqa: SIM905
_VOID = frozenset(("br", "hr", "img"))
# The other elements that may be hidden.
_OTHERS = """
    a abbr b bdi bdo button center cite code data del dfn em fieldset font i img ins kbd label
    legend mark meter option output progress q rp rt ruby s samp select small span strong sub sup
    tbody td textarea tfoot th thead time u var
    """.split()  # noqa: SIM905
_ATTRIBUTES = {"*": {"hidden", "style"}, "img": {"alt"}}
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
    # Well-formed: every element has its end. The parser of Python alone would take hours to read
    # some pages, and refuse others.
    clean = lazy.load("nh3").clean(
        page[:_LONGEST].encode(errors="replace").decode(),  # halves of surrogate pairs
        tags={*_LINES, *_OTHERS},
        attributes=_ATTRIBUTES,
        clean_content_tags=_LEFT_OUT,
        link_rel=None,
    )
    reader = _Reader()
    reader.feed(clean)
    reader.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(reader.pieces)).strip()


class _Reader(HTMLParser):
    """Collects the text of a page whose elements all have their ends."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._preformatted = 0
        self._hidden = 0  # open elements from the hidden one on
        self._row: list[str] | None = None  # the cells so far
        self._rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden or _is_hidden(dict(attrs)):
            self._hidden += tag not in _VOID
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
            self._hidden -= 1
        elif tag in ("tr", "table"):
            self._end_row()
            if tag == "table":
                self._break(tag)
        elif tag in _LINES:
            self._break(tag)
            self._preformatted -= tag == "pre"

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
        if self._hidden or not text:
            return
        if self._row is None:
            self.pieces.append(text)
        elif self._row:
            self._row[-1] += text

    def _break(self, tag: str) -> None:
        """End a line; within a cell, only a word."""
        if self._row:
            self._row[-1] += " "
        else:
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

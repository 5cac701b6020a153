"""Turn the Markdown of an answer into safe Markdown, at once or piece by piece.

`text.markdown` parses it, `text.writer` writes it anew from the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from mixmagic.text.escape import plain
from mixmagic.text.markdown import MOST_BLOCKS, parse
from mixmagic.text.writer import Progress, join_blocks, write_blocks

if TYPE_CHECKING:
    from markdown_it.token import Token

_NO_TEXT = re.compile("[\ud800-\udfff\ufffe\uffff]")
# The start of a line end of two characters or of a control sequence, which may continue.
_UNFINISHED = re.compile(r"(?:\r|\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200}\x1b?)?)\Z")
# Characters of the info string that are repeated if a code block is cut.
_LONGEST_INFO = 40
_CONTAINERS = ("blockquote_open", "bullet_list_open", "ordered_list_open")
_ENDED = ("heading_open", "fence", "hr")


def sanitize(text: str) -> str:
    """Return safe Markdown that shows a model's Markdown.

    Example:
        >>> sanitize("<b>bold</b> ![x](https://example.org/?secret)")
        '&lt;b>bold&lt;/b> [image: x](https://example.org/?secret)'
    """
    sanitizer = Sanitizer()
    return (sanitizer.feed(text) + sanitizer.close()).markdown


class Closed(NamedTuple):
    """A part of an answer that no further text can change.

    Attributes:
        markdown: The safe Markdown.
        source: The text of the model, without control characters.
    """

    markdown: str = ""
    source: str = ""

    def __add__(self, other: object) -> Closed:
        if not isinstance(other, Closed):
            return NotImplemented
        return Closed(joined(self.markdown, other.markdown), self.source + other.source)


class Sanitizer:
    r"""Sanitizes a text piece by piece, in linear time.

    The returned parts together are the result of `sanitize` for the whole text, except for links
    whose addresses are defined later, and for texts that were `cut`.

    Attributes:
        tail: The part that is still open.

    Example:
        >>> answer = Sanitizer()
        >>> answer.feed("# Title\n\nA *wor")
        Closed(markdown='# Title', source='# Title\n\n')
        >>> answer.tail
        Closed(markdown='A &#42;wor', source='A *wor')
    """

    def __init__(self) -> None:
        self.tail = Closed()
        self._pending = ""  # not parsed yet
        self._opening = ""  # the fence of a code block that was cut: it begins the tail's source
        self._references: dict[str, Any] = {}
        self._progress = Progress()
        self._left = MOST_BLOCKS

    def feed(self, piece: str) -> Closed:
        """Take the next piece; return the blocks that cannot change any more."""
        text = self._pending + piece
        unfinished = _UNFINISHED.search(text)
        self._pending = unfinished[0] if unfinished else ""
        return self._advance(self.tail.source + _normalized(text.removesuffix(self._pending)))

    def close(self) -> Closed:
        """Return the rest at the end of the text."""
        closed = self._advance(self.tail.source + _normalized(self._pending))
        rest, self.tail, self._pending = self.tail, Closed(), ""
        return closed + rest

    def cut(self) -> Closed:
        """Close the open part at its last line end, or at its end.

        A code block continues after the cut; other text is parsed anew.
        """
        source = self.tail.source
        end = source.rfind("\n") + 1
        end = end if end > len(source) // 2 else len(source)
        head = self._opening + source[:end]
        tokens = parse(head, {"references": self._references})
        closed = Closed(self._write(tokens), source[:end])
        self._opening = _reopened(tokens, head.removesuffix("\n"))
        return closed + self._advance(source[end:])

    def _advance(self, source: str) -> Closed:
        """Close the blocks that cannot change any more; the others become the tail."""
        text = self._opening + source
        env: dict[str, Any] = {"references": self._references}
        tokens = _bounded(parse(text, env), text, self._left)
        children = (child for token in tokens for child in token.children or ())
        self._progress.labels |= {
            child.meta["label"] for child in children if "label" in child.meta
        }
        position, line = _closed(tokens, text, env.get("unended"))
        markdown = self._write(tokens[:position])
        rest = "\n".join(text.split("\n")[line:])
        if position:
            closed = Closed(markdown, source[: len(source) - len(rest)])
            self._opening = ""
        else:
            closed, rest = Closed(), source
        progress = replace(self._progress, formulas=replace(self._progress.formulas))
        tail = join_blocks(write_blocks(tokens[position:], progress))
        self.tail = Closed(tail, rest) if rest else Closed()
        return closed

    def _write(self, tokens: Sequence[Token]) -> str:
        self._left -= sum(map(_is_block, tokens))
        return join_blocks(write_blocks(tokens, self._progress))


def joined(*parts: str) -> str:
    """Join parts of Markdown."""
    return "\n\n".join(filter(None, parts))


def _normalized(text: str) -> str:
    r"""Return a text without control characters, with `\n` as its line ends."""
    return _NO_TEXT.sub("\ufffd", plain(text.replace("\r\n", "\n").replace("\r", "\n")))


def _is_block(token: Token) -> bool:
    return token.nesting >= 0 and token.type != "inline"


def _begins_block(token: Token) -> bool:
    return token.level == 0 and token.nesting >= 0


def _bounded(tokens: Sequence[Token], source: str, most: int) -> Sequence[Token]:
    """Return at most so many blocks; the rest of the text becomes one code block."""
    count = start = 0
    for position, token in enumerate(tokens):
        if _begins_block(token) and count < most:
            start = position
        count += _is_block(token)
        if count > most:
            rest = tokens[start]
            first = rest.map[0] if rest.map else 0
            rest.type, rest.info, rest.nesting = "fence", "", 0
            rest.content = "\n".join(source.split("\n")[first:])
            return tokens[: start + 1]
    return tokens


def _closed(tokens: Sequence[Token], source: str, unended: int | None) -> tuple[int, int]:
    """Return the numbers of tokens, and of their lines, that further text cannot change."""
    begins = [(at, token) for at, token in enumerate(tokens) if _begins_block(token) and token.map]
    if len(begins) < 2:
        return 0, 0
    lines = source.split("\n")
    last = len(begins) - 1
    first = _first_line(begins[last][1])
    before = begins[last - 1][1].type
    apart = not lines[first - 1].strip() and before not in _CONTAINERS
    decisive = first + (begins[last][1].type == "table_open")  # the line that decides its type
    if decisive == len(lines) - 1 and not apart and before not in _ENDED:
        last -= 1  # an incomplete line may turn out to belong to the previous block
    if unended is not None:
        certain = unended + (not lines[unended - 1].strip())
        while last and _first_line(begins[last][1]) >= certain:
            last -= 1
    return begins[last][0], _first_line(begins[last][1])


def _first_line(token: Token) -> int:
    return token.map[0] if token.map else 0


def _reopened(tokens: Sequence[Token], source: str) -> str:
    """Return the opening fence of a code block that a text leaves open; empty if there is none."""
    if not tokens or tokens[-1].type != "fence" or tokens[-1].level or not tokens[-1].markup:
        return ""
    fence, lines = tokens[-1], source.split("\n")
    ending = lines[-1].strip()
    closes = len(ending) >= len(fence.markup) and not ending.strip(fence.markup[0])
    if closes and _first_line(fence) < len(lines) - 1:
        return ""
    return f"{fence.markup}{fence.info[:_LONGEST_INFO]}\n"

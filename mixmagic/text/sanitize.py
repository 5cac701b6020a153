"""An answer's Markdown written anew: it shows what the model wrote, and nothing of it can act.

Parsed by `mixmagic.text.markdown`, written by `mixmagic.text.writer`; at once, or piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from mixmagic.text.escape import plain
from mixmagic.text.markdown import parse
from mixmagic.text.writer import Progress, join, write

if TYPE_CHECKING:
    from markdown_it.token import Token

# Blocks of an answer: front ends take time that is quadratic in them.
_MOST_BLOCKS = 6000
_NO_TEXT = re.compile("[\ud800-\udfff\ufffe\uffff]")
# What the next piece may finish: a line end of two characters, a terminal's command.
_UNFINISHED = re.compile(r"(?:\r|\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200}\x1b?)?)\Z")
# Characters behind a fence that are said again where a block of code is cut.
_LONGEST_INFO = 40
_CONTAINERS = ("blockquote_open", "bullet_list_open", "ordered_list_open")
_ENDED = ("heading_open", "fence", "hr")


def sanitize(text: str) -> str:
    """Return a model's Markdown such that it can be shown.

    Example:
        >>> sanitize("<b>bold</b> ![x](https://example.org/?secret)")
        '&lt;b>bold&lt;/b> [image: x](https://example.org/?secret)'
    """
    sanitizer = Sanitizer()
    return (sanitizer.feed(text) + sanitizer.close()).markdown


class Closed(NamedTuple):
    """A part of an answer that no further text can change.

    Attributes:
        markdown: How it is shown.
        source: What the model wrote, without controls.
    """

    markdown: str = ""
    source: str = ""

    def __add__(self, other: object) -> Closed:
        if not isinstance(other, Closed):
            return NotImplemented
        return Closed(joined(self.markdown, other.markdown), self.source + other.source)


class Sanitizer:
    r"""Sanitizes a text that comes in pieces; its time is linear in the text's length.

    Put together, what it returns is what `sanitize` makes of the whole, but for links whose
    addresses come later, and if `cut` was needed.

    Attributes:
        tail: What is still open.

    Example:
        >>> answer = Sanitizer()
        >>> answer.feed("# Title\n\nA *wor"), answer.tail
        (Closed(markdown='# Title', source='# Title\n\n'), Closed(markdown='A &#42;wor', ...))
    """

    def __init__(self) -> None:
        self.tail = Closed()
        self._held = ""  # not looked at yet
        self._opening = (
            ""  # what begins the tail, and was not written: the fence of code that was cut
        )
        self._references: dict[str, Any] = {}
        self._progress = Progress()
        self._left = _MOST_BLOCKS

    def feed(self, piece: str) -> Closed:
        """Take the next piece; return the blocks that it closes."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text)
        self._held = unfinished[0] if unfinished else ""
        return self._advance(self.tail.source + _clean(text.removesuffix(self._held)))

    def close(self) -> Closed:
        """Return what is left: the text has ended."""
        closed = self._advance(self.tail.source + _clean(self._held))
        left, self.tail, self._held = self.tail, Closed(), ""
        return closed + left

    def cut(self) -> Closed:
        """Close what is open, at its last line end or where it is.

        A block of code goes on behind the cut, the rest is read anew.
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
        """Close the blocks that nothing can change any more; the others are the tail."""
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
        tail = join(write(tokens[position:], replace(self._progress)))
        self.tail = Closed(tail, rest) if rest else Closed()
        return closed

    def _write(self, tokens: Sequence[Token]) -> str:
        self._left -= sum(map(_is_block, tokens))
        return join(write(tokens, self._progress))


def joined(*parts: str) -> str:
    """Return parts of Markdown as one."""
    return "\n\n".join(filter(None, parts))


def _clean(text: str) -> str:
    r"""Return a text without controls, with `\n` as its line ends."""
    return _NO_TEXT.sub("\ufffd", plain(text.replace("\r\n", "\n").replace("\r", "\n")))


def _is_block(token: Token) -> bool:
    return token.nesting >= 0 and token.type != "inline"


def _begins_block(token: Token) -> bool:
    return token.level == 0 and token.nesting >= 0


def _bounded(tokens: Sequence[Token], source: str, most: int) -> Sequence[Token]:
    """Return an answer's tokens, those that are too much for a front end as one block of code."""
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
    """Return how many tokens no further text can change, and how many lines they are of."""
    begins = [(at, token) for at, token in enumerate(tokens) if _begins_block(token) and token.map]
    if len(begins) < 2:
        return 0, 0
    lines = source.split("\n")
    last = len(begins) - 1
    first = _first_line(begins[last][1])
    before = begins[last - 1][1].type
    apart = not lines[first - 1].strip() and before not in _CONTAINERS
    told = first + (begins[last][1].type == "table_open")  # the line that tells what it is
    if told == len(lines) - 1 and not apart and before not in _ENDED:
        last -= 1  # half a line may turn out to belong to the block before it
    if unended is not None:
        certain = unended + (not lines[unended - 1].strip())
        while last and _first_line(begins[last][1]) >= certain:
            last -= 1
    return begins[last][0], _first_line(begins[last][1])


def _first_line(token: Token) -> int:
    return token.map[0] if token.map else 0


def _reopened(tokens: Sequence[Token], source: str) -> str:
    """Return what begins the code block that a text leaves open, anew; else nothing."""
    if not tokens or tokens[-1].type != "fence" or tokens[-1].level or not tokens[-1].markup:
        return ""
    fence, lines = tokens[-1], source.split("\n")
    ending = lines[-1].strip()
    closes = len(ending) >= len(fence.markup) and not ending.strip(fence.markup[0])
    if closes and _first_line(fence) < len(lines) - 1:
        return ""
    return f"{fence.markup}{fence.info[:_LONGEST_INFO]}\n"

r"""Write safe Markdown from a parser's tokens: the blocks.

Only these constructs are written: paragraphs, headings, emphasis, lists, block quotes, tables,
rules, code, formulas, and links to the web. All other text is escaped for every parser
(`text.escape`).

JupyterLab takes formulas out of the text before it parses it, even out of most code. So code in
which it would find one becomes a `<code>` element with entities, or gets blank lines around it,
which no formula crosses. Front ends take quadratic time for the syntax characters of a paragraph:
beyond a limit, its source is shown as code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mixmagic.text.code_blocks import fenced
from mixmagic.text.escape import NBCONVERT, address, as_code
from mixmagic.text.inline import FORMULA, FormulaCount, InlineWriter, readable
from mixmagic.text.markdown import MOST_SIGNS, SIGN

if TYPE_CHECKING:
    from markdown_it.token import Token

# In one answer: JupyterLab's table of contents is slow, too.
_MOST_HEADINGS = 500
# Backticks of a line times its length: the time of JupyterLab's pattern for code spans.
_MOST_TICKS = 10**6
# Lines of a paragraph of code, and characters of each.
_CODE_LINES, _CODE_LINE = 100, 500
_LINE = re.compile("[\u2028\u2029]")  # a line end for some parsers
_SLOT = re.compile(r"@@\d+@@")
_BLANK_LINE = re.compile(r"\n\s*\n")
_LANGUAGE = re.compile(r"\s*([A-Za-z0-9][\w+#.-]{0,30})(?:\s|$)", re.ASCII)
_DRAWN = "mermaid"  # rendered by a program that loads pictures and styles
_INDENT = re.compile("^ +")
_ALIGNED = {"text-align:left": ":---", "text-align:right": "---:", "text-align:center": ":---:"}
_CONTAINERS = ("quote", "ol", "ul", "table")


@dataclass(frozen=True, slots=True)
class Block:
    """A written block.

    Attributes:
        kind: `paragraph`, `tight` (in a tight list), `heading`, `code`, `rule`, `quote`, `ol`,
            `ul` or `table`.
        text: Its lines.
        apart: True if it, and its container, need blank lines around them.
        other: True for a list with the other of two markers, since it follows another list.
    """

    kind: str
    text: str
    apart: bool = False
    other: bool = False


def join_blocks(blocks: Sequence[Block], between: str = "\n\n") -> str:
    """Return blocks as Markdown."""
    return between.join(block.text for block in blocks)


@dataclass(slots=True)
class Progress:
    """Counts and state of the part of an answer that is already written.

    Attributes:
        labels: Labels that links refer to: their definitions are not shown.
        last: The last block.
        headings: Number of headings.
        formulas: The formulas.
    """

    labels: set[str] = field(default_factory=set)
    last: Block | None = None
    headings: int = 0
    formulas: FormulaCount = field(default_factory=FormulaCount)


def write_blocks(tokens: Sequence[Token], progress: Progress) -> list[Block]:
    """Return the blocks for a parser's tokens, and update `progress`.

    Args:
        tokens: The tokens of whole blocks.
        progress: The state after the blocks before them.
    """
    blocks = _Blocks(tokens, progress).until("")
    progress.last = blocks[-1] if blocks else progress.last
    return blocks


class _Blocks:
    """Writes the blocks for a sequence of tokens."""

    def __init__(self, tokens: Sequence[Token], progress: Progress) -> None:
        self._tokens, self._progress = tokens, progress
        self._position = self._quotes = 0

    def until(self, closing: str) -> list[Block]:
        """Return the blocks up to the token that closes their container; consume that one, too."""
        blocks: list[Block] = []
        while self._position < len(self._tokens):
            token = self._next()
            if token.type == closing:
                break
            blocks += self._block(token, closing, blocks)
        return blocks

    def _next(self) -> Token:
        self._position += 1
        return self._tokens[self._position - 1]

    def _block(self, token: Token, closing: str, before: Sequence[Block]) -> list[Block]:
        """Return the block that begins with a token; an empty list if nothing is visible."""
        kind = token.type
        if kind in ("paragraph_open", "heading_open"):
            first = closing == "list_item_close" and not before
            return self._paragraph(token, first=first)
        if kind in ("fence", "code_block"):
            return self._code(token.content, token.info, nested=token.level > 0)
        if kind == "hr":
            return [Block("rule", "***")]
        if kind == "definition":
            return self._definition(token)
        if kind == "table_open":
            return [self._table()]
        if kind == "blockquote_open":
            self._quotes += 1
            inside = join_blocks(self.until("blockquote_close")).split("\n")
            self._quotes -= 1
            text = "\n".join(f"> {line}".rstrip(" ") for line in inside)
            return [Block("quote", text)] if any(inside) else []
        previous = before[-1] if before else self._progress.last if token.level == 0 else None
        return [self._list(token, previous)]

    def _paragraph(self, opening: Token, *, first: bool) -> list[Block]:
        """Return a paragraph or a heading; its source as code if it is too complex."""
        token = self._next()
        self._next()
        heading = opening.type == "heading_open" and self._progress.headings < _MOST_HEADINGS
        place = "heading" if heading else "item" if first else "paragraph"
        text = self._inline(token, place)
        if text is None:
            return self._code(token.info or token.content, "", nested=opening.level > 0)
        if not text:
            return []
        if heading:
            self._progress.headings += 1
            return [Block("heading", f"{'#' * int(opening.tag[1])} {text}")]
        return [Block("tight" if opening.hidden else "paragraph", text)]

    def _inline(self, token: Token, place: str) -> str | None:
        """Return the content of an `inline` token; `None` if it is too complex."""
        if token.info:  # not parsed: see `markdown.is_storm`
            return None
        return InlineWriter(token.children or (), place, self._progress.formulas).write()

    def _definition(self, token: Token) -> list[Block]:
        """Return an unused link definition that is not a link, such as `[Answer]: 42`, as text."""
        meta = token.meta
        if meta["id"] in self._progress.labels or address(meta["url"]):
            return []
        title = f' "{meta["title"]}"' if meta["title"] else ""
        words = readable(f"[{meta['label']}]: {unquote(meta['url'])}{title}")
        text = InlineWriter((), "paragraph", self._progress.formulas, words).write()
        if text is None:
            return self._code(words, "", nested=token.level > 0)
        return [Block("paragraph", text)] if text else []

    def _list(self, opening: Token, previous: Block | None) -> Block:
        kind = opening.tag
        items: list[list[Block]] = []
        while self._next().type == "list_item_open":
            items.append(self.until("list_item_close"))
        blocks = [block for item in items for block in item]
        apart = any(block.apart for block in blocks)
        loose = (
            apart
            or any(
                block.kind == "paragraph" or (block.kind in _CONTAINERS and block is not item[-1])
                for item in items
                for block in item
            )
            or any(block.kind == "table" for block in blocks)
        )
        other = previous is not None and previous.kind == kind and not previous.other
        start = int(opening.attrs.get("start", 1))
        lines: list[str] = []
        for number, item in enumerate(items, start):
            if kind == "ol":
                mark = f"{min(number, 999_999_999)}{')' if other else '.'} "
            else:  # alternating, since nested empty items would make a rule
                mark = "-+"[(opening.level // 2 + other) % 2] + " "
            body = join_blocks(item, "\n\n" if loose else "\n").split("\n")
            lines.append((mark + body[0]).rstrip(" "))
            lines += [f"{' ' * len(mark)}{line}".rstrip(" ") for line in body[1:]]
            lines += [""] * loose
        # These cannot directly follow a line of text.
        apart = apart or not items[0] or (kind == "ol" and start != 1)
        return Block(kind, "\n".join(lines).rstrip("\n"), apart, other)

    def _table(self) -> Block:
        rows: list[list[str]] = []
        aligned: list[str] = []
        while (token := self._next()).type != "table_close":
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                text = self._inline(token, "cell")
                if text is None:
                    text = f"<code>{as_code(token.info or token.content)}</code>"
                rows[-1].append(text)
            elif token.type == "th_open":
                aligned.append(_ALIGNED.get(str(token.attrs.get("style")), "---"))
        rows.insert(1, aligned)
        return Block("table", "\n".join(f"| {' | '.join(row)} |" for row in rows))

    def _code(self, content: str, info: str, *, nested: bool) -> list[Block]:
        """Return a code block; as paragraphs if a parser could find other syntax in it."""
        content = content.removesuffix("\n")
        lines = content.split("\n")
        signs = bool(FORMULA.search(content))
        taken = _taken_out(content, nested=nested) if signs else None
        if (
            (self._quotes and (signs or _LINE.search(content)))
            or taken == "changed"
            or NBCONVERT.search(content)
        ):
            return list(_code_paragraphs(lines))
        if any(line.count("`") * len(line) > _MOST_TICKS for line in lines):
            lines = [*_cut(lines)]
            content = "\n".join(lines)
        language = _LANGUAGE.match(info)
        # A highlighter would treat the placeholder of a formula as code.
        colored = language and not taken and not language[1].lower().startswith(_DRAWN)
        name = language[1] if language and colored else ""
        return [Block("code", fenced(content, name), apart=signs)]


def _taken_out(content: str, *, nested: bool) -> str | None:
    """Return how JupyterLab treats the formulas in a code block between blank lines.

    `restored` if it puts them back unchanged, `changed` if not, `None` if there are none.
    """
    found = None
    for part in _BLANK_LINE.split(content):
        for opening, closing in ((r"\\(", r"\\)"), (r"\\[", r"\\]")):
            if closing in part.partition(opening)[2]:
                return "changed"
        if (r"\begin{" in part and r"\end{" in part) or (nested and part.count("$") > 1):
            found = "restored"
    if found and "@@" in content:
        return "changed"
    return "restored" if _SLOT.search(content) else found


def _cut(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines of code, cut to a limited length."""
    for line in lines:
        yield from (line[i : i + _CODE_LINE] for i in range(0, max(len(line), 1), _CODE_LINE))


def _code_paragraphs(lines: Sequence[str]) -> Iterator[Block]:
    """Yield lines of code as paragraphs of `<code>` elements, each of limited size."""
    expanded = (
        _INDENT.sub(lambda match: "\xa0" * len(match[0]), line.expandtabs(4)) or "\xa0"
        for line in lines
    )
    written: list[str] = []
    signs = 0
    for piece in _cut(expanded):
        code = f"<code>{as_code(piece)}</code>"
        count = len(SIGN.findall(code)) + 1
        if written and (len(written) == _CODE_LINES or signs + count > MOST_SIGNS // 2):
            yield Block("paragraph", "\\\n".join(written))
            written, signs = [], 0
        written.append(code)
        signs += count
    yield Block("paragraph", "\\\n".join(written))

r"""Writes Markdown of a parser's tokens such that nothing of it can act.

Only constructs that are known here are written: paragraphs, headings, emphasis, lists, quotations,
tables, rules, code, formulas, and links to the web. All other characters are written such that no
reader finds a sign of its own in them (`mixmagic.text.escape`).

JupyterLab takes formulas out of the text before it parses it, out of most code too. So code in
which it would find one is a `<code>` element with entities, or has blank lines around it, which no
formula crosses. Front ends take time that is quadratic in the signs of a paragraph: beyond bounds,
its source is shown as code.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mixmagic.text.code_blocks import fenced
from mixmagic.text.escape import NBCONVERT, ODD_BLANK, address, addresses, as_code, as_text, plain
from mixmagic.text.markdown import MOST_SIGNS, SIGN, is_storm
from mixmagic.text.mathematics import formula

if TYPE_CHECKING:
    from markdown_it.token import Token

# Of a paragraph.
_MOST_CONSTRUCTS, _MOST_SPANS = 1500, 500
# Of an answer: its table of contents takes JupyterLab long, too.
_MOST_HEADINGS = 500
_MOST_FORMULAS, _MOST_FORMULA_CHARACTERS = 1500, 15_000
# The backticks of a line times its length: JupyterLab's pattern for code spans takes as long.
_MOST_TICKS = 10**6
# Lines of a paragraph of code, and characters of a line.
_CODE_LINES, _CODE_LINE = 100, 500
# Characters of an address that is shown because it is no link.
_LONGEST_PATH = 200

# What JupyterLab would take out of code, as a formula or as the place of one.
_FORMULA = re.compile(r"\$|\\\\?[()\[\]]|\\begin|\\end|\\(?:eq)?ref|@@")
_ODD_BLANK = re.compile(ODD_BLANK)
_BLANK = re.compile(r"[\t-\r]")
_LINE = re.compile("[\u2028\u2029]")  # a line's end for some reader
_SLOT = re.compile(r"@@\d+@@")
_BLANK_LINE = re.compile(r"\n\s*\n")
_TASK = re.compile(r"\[[ xX]\] ")
_LANGUAGE = re.compile(r"\s*([A-Za-z0-9][\w+#.-]{0,30})(?:\s|$)", re.ASCII)
_DRAWN = "mermaid"  # by a program, which fetches pictures and styles
_INDENT = re.compile("^ +")
_LAST_BREAKS = re.compile(r"(?:\\?\n)+$")

_MARKS = {"em": ("*", "_"), "strong": ("**", "__"), "s": ("~~", "~~")}
_ALIGNED = {"text-align:left": ":---", "text-align:right": "---:", "text-align:center": ":---:"}
_CONTAINERS = ("quote", "ol", "ul", "table")


@dataclass(frozen=True, slots=True)
class Block:
    """A block as it is written.

    Attributes:
        kind: `paragraph`, `tight` (in a tight list), `heading`, `code`, `rule`, `quote`, `ol`,
            `ul` or `table`.
        text: Its lines.
        apart: True if blank lines must stand around it, and around what holds it.
        other: True if it is a list with the other of two markers, for it follows another one.
    """

    kind: str
    text: str
    apart: bool = False
    other: bool = False


def join(blocks: Sequence[Block], between: str = "\n\n") -> str:
    """Return blocks as Markdown."""
    return between.join(block.text for block in blocks)


@dataclass(slots=True)
class Progress:
    """What has been written of an answer.

    Attributes:
        labels: Those that links refer to: their definitions are not shown.
        last: The last block.
        headings: How many there are.
        formulas: How many there are.
        length: Characters of all formulas.
    """

    labels: set[str] = field(default_factory=set)
    last: Block | None = None
    headings: int = 0
    formulas: int = 0
    length: int = 0


def write(tokens: Sequence[Token], progress: Progress) -> list[Block]:
    """Return the blocks that the parser's tokens make, and note them in `progress`.

    Args:
        tokens: Of whole blocks.
        progress: What stands before them.
    """
    blocks = _Blocks(tokens, progress).until("")
    progress.last = blocks[-1] if blocks else progress.last
    return blocks


class _Blocks:
    """Writes blocks: a reader's tokens, one after the other."""

    def __init__(self, tokens: Sequence[Token], progress: Progress) -> None:
        self._tokens, self._progress = tokens, progress
        self._position = self._quotes = 0

    def until(self, closing: str) -> list[Block]:
        """Return the blocks before the token that closes their container, and take that, too."""
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
        """Return the block that begins with a token; nothing for one that shows nothing."""
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
            inside = join(self.until("blockquote_close")).split("\n")
            self._quotes -= 1
            text = "\n".join(f"> {line}".rstrip(" ") for line in inside)
            return [Block("quote", text)] if any(inside) else []
        previous = before[-1] if before else self._progress.last if token.level == 0 else None
        return [self._list(token, previous)]

    def _paragraph(self, opening: Token, *, first: bool) -> list[Block]:
        """Return a paragraph or a heading; its source as code if it is too much."""
        token = self._next()
        self._next()
        heading = opening.type == "heading_open" and self._progress.headings < _MOST_HEADINGS
        place = "heading" if heading else "item" if first else "paragraph"
        text = None if token.info else _Inline(token.children or (), place, self._progress).write()
        if text is None:
            return self._code(token.info or token.content, "", nested=opening.level > 0)
        if not text:
            return []
        if heading:
            self._progress.headings += 1
            return [Block("heading", f"{'#' * int(opening.tag[1])} {text}")]
        return [Block("tight" if opening.hidden else "paragraph", text)]

    def _definition(self, token: Token) -> list[Block]:
        """Return an address that stands apart, if it only looks like one: `[Answer]: 42`."""
        meta = token.meta
        if meta["id"] in self._progress.labels or address(meta["url"]):
            return []
        title = f' "{meta["title"]}"' if meta["title"] else ""
        words = _readable(f"[{meta['label']}]: {unquote(meta['url'])}{title}")
        text = _Inline((), "paragraph", self._progress, words).write()
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
            else:  # empty items inside each other would else make a rule
                mark = "-+"[(opening.level // 2 + other) % 2] + " "
            body = join(item, "\n\n" if loose else "\n").split("\n")
            lines.append((mark + body[0]).rstrip(" "))
            lines += [f"{' ' * len(mark)}{line}".rstrip(" ") for line in body[1:]]
            lines += [""] * loose
        # Neither can follow a line of text directly.
        apart = apart or not items[0] or (kind == "ol" and start != 1)
        return Block(kind, "\n".join(lines).rstrip("\n"), apart, other)

    def _table(self) -> Block:
        rows: list[list[str]] = []
        aligned: list[str] = []
        while (token := self._next()).type != "table_close":
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                text = (
                    None
                    if token.info
                    else _Inline(token.children or (), "cell", self._progress).write()
                )
                if text is None:
                    text = f"<code>{as_code(token.info or token.content)}</code>"
                rows[-1].append(text)
            elif token.type == "th_open":
                aligned.append(_ALIGNED.get(str(token.attrs.get("style")), "---"))
        rows.insert(1, aligned)
        return Block("table", "\n".join(f"| {' | '.join(row)} |" for row in rows))

    def _code(self, content: str, info: str, *, nested: bool) -> list[Block]:
        """Return a block of code; as paragraphs if a reader might see something else in it."""
        content = content.removesuffix("\n")
        lines = content.split("\n")
        signs = bool(_FORMULA.search(content))
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
        # A highlighter would take the place of a formula for code.
        colored = language and not taken and not language[1].lower().startswith(_DRAWN)
        name = language[1] if language and colored else ""
        return [Block("code", fenced(content, name), apart=signs)]


def _taken_out(content: str, *, nested: bool) -> str | None:
    """Return how JupyterLab treats formulas that it finds in a block of code, between blank lines.

    `restored` if it puts them back as they were, `changed` if not, `None` if there are none.
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
    """Return lines of code cut to bounded length."""
    for line in lines:
        yield from (line[i : i + _CODE_LINE] for i in range(0, max(len(line), 1), _CODE_LINE))


def _code_paragraphs(lines: Sequence[str]) -> Iterator[Block]:
    """Return lines of code as paragraphs of `<code>` elements, each of bounded size."""
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


class _Inline:
    """Writes the inside of a paragraph, of a heading, or of a table's cell.

    Args:
        tokens: The children of the parser's `inline` token.
        place: `paragraph`, `item` (the first of a list's item), `heading` or `cell`.
        progress: What has been written of the answer.
        text: What stands before the tokens.
    """

    def __init__(
        self, tokens: Sequence[Token], place: str, progress: Progress, text: str = ""
    ) -> None:
        self._tokens, self._place, self._progress, self._begin = tokens, place, progress, text
        self._ahead: list[Token | None] = []  # of each token the next one that shows something
        visible = None
        for token in reversed(tokens):
            self._ahead.append(visible)
            visible = token if token.content.strip() else visible
        self._ahead.reverse()

    def write(self) -> str | None:
        """Return what is written; `None` if it is too much for a front end."""
        dropped: set[int] = set()
        while failed := self._attempt(dropped):
            dropped |= failed
        written = "".join(self._out)
        if (
            self._constructs > _MOST_CONSTRUCTS
            or written.count("<span>") > _MOST_SPANS
            or is_storm(written)
        ):
            return None
        self._progress.formulas += self._formulas
        self._progress.length += self._length
        written = _LAST_BREAKS.sub("", written).strip(" ")
        return written if _TASK.fullmatch(f"{written} ") is None else as_text(written)

    def _attempt(self, dropped: set[int]) -> set[int]:
        """Write all but the dropped marks; return those that no reader would take for marks."""
        self._out: list[str] = []
        self._text = self._begin  # what is not written yet: its neighbors decide how
        self._constructs = self._formulas = self._length = 0
        self._displayed = -1  # how many pieces there were behind the last displayed formula
        self._linking = False
        self._links: list[tuple[Token, str | None]] = []  # open, and their addresses
        self._open: list[tuple[str, int, int] | None] = []  # marks: which, whose, and where
        pairs: list[tuple[int, int, int]] = []  # whose, and where both are
        for position, token in enumerate(self._tokens):
            kind, _, end = token.type.rpartition("_")
            if kind in _MARKS and end == "open":
                mark = None if position in dropped else self._mark(kind)
                self._open.append((mark, position, len(self._out)) if mark else None)
                if mark:
                    self._put(mark)
            elif kind in _MARKS:
                if opened := self._open.pop():
                    self._close(opened, pairs)
            else:
                self._add(token, position)
        self._text = self._text.rstrip(" ")
        self._flush()
        return {whose for whose, *where in pairs if not self._reads(*where)}

    def _add(self, token: Token, position: int) -> None:
        """Add anything but marks."""
        following = self._tokens[position + 1 : position + 2]
        if token.type in ("softbreak", "hardbreak"):
            mark = "\\\n" if token.type == "hardbreak" else "\n"
            self._break(mark, self._ahead[position])
        elif token.type == "code_inline":
            self._code(token.content, as_html=token.info == "html")
        elif token.type == "math":
            self._math(token, following[0].content[:1] if following else "")
        elif token.type == "image":
            self._picture(token)
        elif token.type == "link_open":
            self._begin_link(token, is_empty=following[0].type == "link_close")
        elif token.type == "link_close":
            self._end_link()
        else:
            self._text += _readable(token.content)

    def _put(self, piece: str) -> None:
        self._flush()
        self._out.append(piece)
        self._constructs += 1

    def _last(self) -> str:
        """Return the last character that is written, or a line's end."""
        self._flush()
        return self._out[-1][-1] if self._out else "\n"

    def _flush(self) -> None:
        """Write the text that has come since the last construct."""
        text, self._text = self._text, ""
        starts_line = not self._out or self._out[-1][-1] == "\n"
        if starts_line:
            text = text.lstrip(" ")
        if self._place == "item" and not self._out and _TASK.match(text):
            self._out.append(text[:4])
            text, starts_line = text[4:], False
        heading, done = self._place == "heading", 0
        for start, end, to in () if self._linking else addresses(text):
            if before := text[done:start]:
                self._out.append(as_text(before, starts_line=starts_line, heading=heading))
            label = as_text(text[start:end], starts_line=False, heading=heading)
            self._out.append(f"[{label}]({to})")
            self._constructs += 1
            done, starts_line = end, False
        if rest := text[done:]:
            self._out.append(as_text(rest, starts_line=starts_line, heading=heading))

    def _break(self, written: str, ahead: Token | None) -> None:
        """Add a line's end, unless the formula that is ahead needs it to be a space."""
        self._text = self._text.rstrip(" \t")
        behind = not self._text and self._displayed == len(self._out)
        before = ahead is not None and ahead.type == "math" and self._formula(ahead)[1]
        if self._place in ("heading", "cell") or self._linking or behind or before:
            # A displayed formula shares its line, or it would be a paragraph.
            if not self._text and self._out and self._out[-1].endswith("\n"):
                self._out.pop()
            self._text += " "
        elif self._last() != "\n":  # no line is empty
            self._put(written)

    def _code(self, text: str, *, as_html: bool) -> None:
        text = _readable(text)
        if not text:
            return
        if (
            as_html
            or "`" in text
            or text != text.strip()
            or _FORMULA.search(text)
            or NBCONVERT.search(text)
            or _ODD_BLANK.search(text)
            or (self._place == "cell" and ("|" in text or "\\" in text))
            or (self._linking and ("[" in text or "]" in text))
            or (self._place == "heading" and "<" in text)  # JupyterLab looks for tags in its source
            or self._last() in "`$"
        ):
            self._put(f"<code>{as_code(text)}</code>")
        else:
            self._put(f"`{text}`")

    def _formula(self, token: Token) -> tuple[str | None, bool]:
        """Return a formula with its delimiters, if it is allowed; and True if it is displayed."""
        environment = token.markup.startswith(r"\begin")
        inside = self._place in ("heading", "cell")
        body = formula(token.info if environment else token.content, in_table=self._place == "cell")
        if body is None or self._linking or (environment and inside) or self._is_full(body):
            return None, False
        if environment:
            return body, True
        if token.markup in ("$", r"\("):
            return f"${body}$", False
        return (rf"$\displaystyle {body}$", False) if inside else (f"$${body}$$", True)

    def _math(self, token: Token, following: str) -> None:
        """Add a formula; one that is not allowed is shown as code."""
        written, displayed = self._formula(token)
        last = self._last()
        if written is None or last == "$" or last.isalnum() or following.isdigit():
            self._code(token.info, as_html=False)
            return
        self._put(written)
        self._formulas += 1
        self._length += len(written)
        if displayed:
            self._displayed = len(self._out)

    def _is_full(self, body: str) -> bool:
        """Return True if the answer has no room for another formula."""
        length = self._progress.length + self._length + len(body)
        count = self._progress.formulas + self._formulas
        return count >= _MOST_FORMULAS or length > _MOST_FORMULA_CHARACTERS

    def _picture(self, token: Token) -> None:
        """Add a link to a picture; its description and its path if it cannot be linked to."""
        words = " ".join(_readable(_words(token.children or ())).split())
        label = f"image: {words}" if words else "image"
        source = str(token.attrs.get("src", ""))
        to = address(source)
        if self._linking:
            self._text += label
        elif to is None:
            self._text += label + _path(source)
        else:
            heading = self._place == "heading"
            self._put(f"[{as_text(label, starts_line=False, heading=heading)}]({to})")

    def _begin_link(self, token: Token, *, is_empty: bool) -> None:
        to = None if self._linking or is_empty else address(str(token.attrs.get("href", "")))
        self._links.append((token, to))
        if to is not None:
            self._put("[")
            self._linking = True
        elif token.markup == "autolink":
            self._text += "<"

    def _end_link(self) -> None:
        token, to = self._links.pop()
        if to is None:
            href = str(token.attrs.get("href", ""))
            self._text += ">" if token.markup == "autolink" else _path(href)
        else:
            self._put(f"]({to})")
            self._linking = False

    def _mark(self, kind: str) -> str | None:
        """Return the mark of an emphasis that begins; `None` if it would join another one."""
        mark, other = _MARKS[kind]
        if any(opened and opened[0] in (mark, other) for opened in self._open):
            return None
        if self._last() not in mark:
            return mark
        inside = self._open and self._open[-1] and self._open[-1][2] == len(self._out) - 1
        return other if inside and other != mark else None

    def _close(self, opened: tuple[str, int, int], pairs: list[tuple[int, int, int]]) -> None:
        mark, whose, begin = opened
        self._flush()
        if begin == len(self._out) - 1:  # nothing is inside
            self._out.pop()
        else:
            self._put(mark)
            pairs.append((whose, begin, len(self._out) - 1))

    def _reads(self, begin: int, end: int) -> bool:
        """Return True if the two marks at these places open and close, by CommonMark's rules."""
        mark = self._out[begin]
        before, after = self._out[begin - 1][-1] if begin else " ", self._out[begin + 1][0]
        if self._out[begin + 1].endswith("\n"):
            return False
        opens = _flanks(after, before, mark)
        inner = end - 1
        while self._out[inner] and not self._out[inner].strip(mark[0]):
            inner -= 1
        outer = end + 1
        while outer < len(self._out) and not self._out[outer].strip(mark[0]):
            outer += 1
        behind = self._out[outer][0] if outer < len(self._out) else " "
        return opens and _flanks(self._out[inner][-1], behind, mark)


def _flanks(inner: str, outer: str, mark: str) -> bool:
    """Return True if a mark between these characters can open, or close, what is inside."""
    if inner.isspace() or (_is_punctuation(inner) and not _ends_word(outer)):
        return False
    return mark[0] != "_" or _ends_word(outer)


def _ends_word(character: str) -> bool:
    # Of a sign like an emoji, JupyterLab's reader sees a half, which is no punctuation.
    return character.isspace() or (character <= "\uffff" and _is_punctuation(character))


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def _readable(text: str) -> str:
    """Return a text on one line: an entity may stand for a line's end, or for a control."""
    return text if text.isprintable() else plain(_BLANK.sub(" ", text))


def _words(tokens: Sequence[Token]) -> str:
    """Return what is to be read of tokens."""
    return "".join(
        _words(token.children)
        if token.children
        else token.info
        if token.type == "math"
        else " "
        if token.type.endswith("break")
        else token.content
        for token in tokens
    )


def _path(url: str) -> str:
    """Return an address that is no link, as it stands behind the words; none if it could be one."""
    if address(url) is not None:
        return ""
    shown = " ".join(unquote(url).split())
    shown = shown if len(shown) <= _LONGEST_PATH else f"{shown[: _LONGEST_PATH - 1]}…"
    return f" ({shown})" if shown else ""

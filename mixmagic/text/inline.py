"""Write safe Markdown from a parser's tokens: the content of a paragraph, heading or cell."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mixmagic.text.escape import NBCONVERT, ODD_BLANK, address, addresses, as_code, as_text, plain
from mixmagic.text.markdown import is_storm
from mixmagic.text.mathematics import formula

if TYPE_CHECKING:
    from markdown_it.token import Token

# In one paragraph.
_MOST_CONSTRUCTS, _MOST_SPANS = 1500, 500
# In one answer.
_MOST_FORMULAS, _MOST_FORMULA_CHARACTERS = 1500, 15_000
# Characters of an address that is shown instead of a link.
_LONGEST_PATH = 200

# JupyterLab would take these out of code: a formula, or its placeholder for one.
FORMULA = re.compile(r"\$|\\\\?[()\[\]]|\\begin|\\end|\\(?:eq)?ref|@@")
_ODD_BLANK = re.compile(ODD_BLANK)
_BLANK = re.compile(r"[\t-\r]")
_TASK = re.compile(r"\[[ xX]\] ")
_LAST_BREAKS = re.compile(r"(?:\\?\n)+$")

_MARKS = {"em": ("*", "_"), "strong": ("**", "__"), "s": ("~~", "~~")}


@dataclass(slots=True)
class FormulaCount:
    """The formulas of an answer that are already written.

    Attributes:
        number: How many.
        length: Characters of all.
    """

    number: int = 0
    length: int = 0


class InlineWriter:
    """Writes the content of a paragraph, a heading or a table cell.

    Args:
        tokens: The children of the parser's `inline` token.
        place: `paragraph`, `item` (the first paragraph of a list item), `heading` or `cell`.
        formulas: The formulas of the answer so far; updated.
        text: Text before the tokens.
    """

    def __init__(
        self, tokens: Sequence[Token], place: str, formulas: FormulaCount, text: str = ""
    ) -> None:
        self._tokens, self._place, self._total, self._begin = tokens, place, formulas, text
        self._ahead: list[Token | None] = []  # for each token, the next visible one
        visible = None
        for token in reversed(tokens):
            self._ahead.append(visible)
            visible = token if token.content.strip() else visible
        self._ahead.reverse()

    def write(self) -> str | None:
        """Return the Markdown; `None` if it is too complex for front ends."""
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
        self._total.number += self._formulas
        self._total.length += self._length
        written = _LAST_BREAKS.sub("", written).strip(" ")
        return written if _TASK.fullmatch(f"{written} ") is None else as_text(written)

    def _attempt(self, dropped: set[int]) -> set[int]:
        """Write all but the dropped marks; return those that CommonMark would not read as marks."""
        self._out: list[str] = []
        self._text = self._begin  # pending, since its neighbors decide how it is escaped
        self._constructs = self._formulas = self._length = 0
        self._displayed = -1  # number of pieces after the last displayed formula
        self._linking = False
        self._links: list[tuple[Token, str | None]] = []  # open ones, and their addresses
        self._open: list[tuple[str, int, int] | None] = []  # marks: text, token, piece
        pairs: list[tuple[int, int, int]] = []  # token, pieces of both marks
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
        """Add a token that is not a mark."""
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
            self._text += readable(token.content)

    def _put(self, piece: str) -> None:
        self._flush()
        self._out.append(piece)
        self._constructs += 1

    def _last(self) -> str:
        """Return the last written character, or a line end."""
        self._flush()
        return self._out[-1][-1] if self._out else "\n"

    def _flush(self) -> None:
        """Write the pending text."""
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
            self._constructs += 2  # as for a link's two ends
            done, starts_line = end, False
        if rest := text[done:]:
            self._out.append(as_text(rest, starts_line=starts_line, heading=heading))

    def _break(self, written: str, ahead: Token | None) -> None:
        """Add a line end, or a space next to a displayed formula."""
        self._text = self._text.rstrip(" \t")
        behind = not self._text and self._displayed == len(self._out)
        before = ahead is not None and ahead.type == "math" and self._formula(ahead)[1]
        if self._place in ("heading", "cell") or self._linking or behind or before:
            # A displayed formula on a separate line would be a paragraph.
            if not self._text and self._out and self._out[-1].endswith("\n"):
                self._out.pop()
            self._text += " "
        elif self._last() != "\n":  # avoid empty lines
            self._put(written)

    def _code(self, text: str, *, as_html: bool) -> None:
        text = readable(text)
        if not text:
            return
        if (
            as_html
            or "`" in text
            or text != text.strip()
            or FORMULA.search(text)
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
        """Return a formula with its delimiters, or `None` if not allowed; and True if displayed."""
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
        """Add a formula, as code if it is not allowed."""
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
        """Return True if another formula would exceed the limits of an answer."""
        length = self._total.length + self._length + len(body)
        count = self._total.number + self._formulas
        return count >= _MOST_FORMULAS or length > _MOST_FORMULA_CHARACTERS

    def _picture(self, token: Token) -> None:
        """Add a link to a picture, or its description and path if the link is not allowed."""
        words = " ".join(readable(_words(token.children or ())).split())
        label = f"image: {words}" if words else "image"
        source = str(token.attrs.get("src", ""))
        to = address(source)
        if self._linking:
            self._text += label
        elif to is None:
            self._text += label + _path_note(source)
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
            self._text += ">" if token.markup == "autolink" else _path_note(href)
        else:
            self._put(f"]({to})")
            self._linking = False

    def _mark(self, kind: str) -> str | None:
        """Return the opening mark of an emphasis; `None` if it would merge with another one."""
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
        """Return True if two marks open and close an emphasis by CommonMark's rules."""
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
    """Return True if a mark between these characters can open or close an emphasis."""
    if inner.isspace() or (_is_punctuation(inner) and not _ends_word(outer)):
        return False
    return mark[0] != "_" or _ends_word(outer)


def _ends_word(character: str) -> bool:
    # JupyterLab's parser sees half of an emoji, which does not count as punctuation.
    return character.isspace() or (character <= "\uffff" and _is_punctuation(character))


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def readable(text: str) -> str:
    """Return a text on one line: an entity may encode a line end or a control character."""
    return text if text.isprintable() else plain(_BLANK.sub(" ", text))


def _words(tokens: Sequence[Token]) -> str:
    """Return the visible text of tokens."""
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


def _path_note(url: str) -> str:
    """Return a disallowed address, to follow the words of its link; empty if it is allowed."""
    if address(url) is not None:
        return ""
    shown = " ".join(unquote(url).split())
    shown = shown if len(shown) <= _LONGEST_PATH else f"{shown[: _LONGEST_PATH - 1]}…"
    return f" ({shown})" if shown else ""

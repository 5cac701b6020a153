r"""Parse the Markdown of answers: CommonMark with tables, strikethrough and mathematics.

The tokens are markdown-it-py's, plus `math` for a formula, with its opening delimiter in `markup`
and its whole source in `info`. HTML is text, except for the two forms that `sanitize` writes.
"""

from __future__ import annotations

import functools
import html
import re
from typing import TYPE_CHECKING, Any

from mixmagic.core import lazy
from mixmagic.text.mathematics import looks_like_mathematics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.ruler import RuleOptionsType
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

# Levels of nesting, with one for a block quote and two for a list. Deeper blocks are literal.
_DEEPEST = 12
# Nesting of pictures in the descriptions of pictures.
_MOST_PICTURES = 3
# Blocks of an answer: front ends take quadratic time.
MOST_BLOCKS = 4000
# Syntax characters of one paragraph: with more, it is literal and not parsed.
MOST_SIGNS = 4000
# Characters of a formula, and lines of a displayed one.
_LONGEST_FORMULA, _MOST_LINES = 4000, 200

SIGN = re.compile(r"[\[*_~`$!\\<&]")
_CONTAINER = re.compile(r">|(?:[-+*]|\d{1,9}[.)])(?:\s|$)")
# The HTML that `sanitize` writes: a sign alone in an element, and escaped code.
_SPAN = re.compile(r"<span>&#(36|92|96);</span>|<code>((?:[^<>`]|<span>&#96;</span>)+)</code>")
_BEGIN = re.compile(r"\\begin\{([A-Za-z]+\*?)\}")
_DISPLAYED = re.compile(rf"\$\$|\\\[|{_BEGIN.pattern}")


def _formula(opening: str, inside: str, closing: str) -> re.Pattern[str]:
    """Return the pattern of a formula; possessive quantifiers keep its time linear."""
    return re.compile(rf"{opening}((?:{inside}){{1,{_LONGEST_FORMULA}}}+){closing}")


_FORMULAS = {
    "$$": _formula(r"\$\$", r"[^$\\]|\\[\s\S]", r"\$\$"),
    # By pandoc's rules, so that amounts of money are not formulas.
    "$": _formula(r"\$(?!\s)", r"[^$\\]|\\[\s\S]", r"(?<!\s)\$(?!\d)"),
    r"\(": _formula(r"\\\(", r"[^\\]|\\[^)]", r"\\\)"),
    r"\[": _formula(r"\\\[", r"[^\\]|\\[^\]]", r"\\\]"),
}


def parse(text: str, env: dict[str, Any] | None = None) -> Sequence[Token]:
    r"""Return the tokens of a Markdown text.

    Args:
        text: The text, with `\n` as its line ends.
        env: `references` has the link definitions of earlier text; those of this text are added.
            `unended` is set to the line of a displayed formula that may continue after the text.

    Example:
        >>> [token.type for token in parse("a $b$")[1].children]
        ['text', 'math']
    """
    return _markdown_parser().parse(text, {} if env is None else env)


@functools.cache
def _markdown_parser() -> MarkdownIt:
    parser: MarkdownIt = lazy.load("markdown_it").MarkdownIt(
        "commonmark",
        # Beyond this limit the parser drops text; `_deep` prevents reaching it.
        {
            "html": False,
            "maxNesting": 5 * _DEEPEST,
            "inline_definitions": True,
            "store_labels": True,
        },
    )
    parser.enable(["table", "strikethrough"]).disable("text_join")
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # `inline` decides
    interrupts: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    parser.block.ruler.before("table", "deep", _deep)
    parser.block.ruler.before("table", "displayed", _displayed, interrupts)
    parser.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    parser.inline.ruler.before("escape", "mathematics", _mathematics)
    parser.inline.ruler.before("autolink", "span", _span)
    parser.inline.ruler.at("image", _picture)
    parser.core.ruler.before("inline", "storm", _storm)
    return parser


def _deep(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a container that is nested too deeply as code: the parser would drop it."""
    first = state.bMarks[start] + state.tShift[start]
    if state.level < _DEEPEST or not _CONTAINER.match(state.src, first):
        return False
    if silent:
        return True
    line = start + 1
    while line < end and (state.isEmpty(line) or state.sCount[line] >= state.blkIndent):
        line += 1
    token = state.push("fence", "code", 0)
    token.content = state.getLines(start, line, state.blkIndent, False).rstrip("\n") + "\n"
    token.map = [start, line]
    state.line = line
    return True


def _displayed(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    r"""Parse `$$…$$`, `\[…\]` or an environment on separate lines, none of them blank."""
    first = state.bMarks[start] + state.tShift[start]
    opening = _DISPLAYED.match(state.src, first, state.eMarks[start])
    if opening is None or state.is_code_block(start):
        return False
    closing = {"$$": "$$", r"\[": r"\]"}.get(opening[0]) or rf"\end{{{opening[1]}}}"
    last = _closing_line(state, start, end, opening.end(), closing)
    if last is None:
        return False
    if last + 1 >= state.lineMax:
        state.env.setdefault("unended", start)  # more text may follow on the line
    source = state.getLines(start, last + 1, state.blkIndent, False).strip()
    body = source[len(opening[0]) : -len(closing)]
    if not source.endswith(closing) or closing in body or not body.strip():
        return False
    if closing == r"\]" and not _is_formula(opening[0], body, alone=True):
        return False
    if not silent:
        span = [start, last + 1]
        state.push("paragraph_open", "p", 1).map = span
        token = state.push("inline", "", 0)
        token.content, token.map, token.children = source, span, []
        state.push("paragraph_close", "p", -1)
        state.line = last + 1
    return True


def _closing_line(
    state: StateBlock, start: int, end: int, position: int, closing: str
) -> int | None:
    """Return the line with the end of a displayed formula; `None` if a blank line comes first."""
    unclosed: dict[str, int] = state.env.setdefault("unclosed", {})
    if start < unclosed.get(closing, 0):
        return None
    line = start
    while state.src.find(closing, position, state.eMarks[line]) < 0:
        line += 1
        inside = line < min(start + _MOST_LINES, end) and not state.isEmpty(line)
        if not inside or state.sCount[line] < state.blkIndent:
            unclosed[closing] = line  # the closing delimiter does not occur before this line
            if line >= state.lineMax:
                state.env.setdefault("unended", start)
            return None
        position = state.bMarks[line]
    return line


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a table; surplus cells of a row are joined to its last one."""
    module = lazy.load("markdown_it.rules_block.table")
    before = len(state.tokens)
    # Each row and each cell is a block; a table with too many of them is cut here.
    columns = module.getLine(state, start + 1).count("|") - 1 if start + 1 < end else 0
    rows = MOST_BLOCKS // (1 + max(columns, 1)) + 1
    if not module.table(state, start, min(end, start + 2 + rows), silent):
        return False
    cells: list[Token] = []
    for token in state.tokens[before:]:
        if token.type == "tr_open":
            cells = []
        elif token.type == "inline":
            cells.append(token)
        elif token.type == "tr_close" and cells[-1].map is not None:
            row = module.escapedSplit(module.getLine(state, cells[-1].map[0]).strip())
            row = row[not row[0] :]
            row = row[: len(row) - (not row[-1])] if row else row
            if len(row) > len(cells):
                cells[-1].content = "|".join(row[len(cells) - 1 :]).strip()
    return True


def _mathematics(state: StateInline, silent: bool) -> bool:
    r"""Parse `$…$`, `$$…$$`, `\(…\)`, `\[…\]` or `\begin{…}…\end{…}`."""
    source, start = state.src, state.pos
    opening = next((sign for sign in _FORMULAS if source.startswith(sign, start)), "")
    pattern = _FORMULAS.get(opening)
    if pattern is None and (begin := _BEGIN.match(source, start)):
        opening, pattern = begin[0], _environment(begin[1])
    match = pattern and pattern.match(source, start, state.posMax)
    if not match or not match[1].strip():
        return False
    if opening[0] == "$" and start and (source[start - 1].isalnum() or source[start - 1] == "$"):
        return False  # as in `US$5`
    alone = not start and match.end() == state.posMax
    if opening in (r"\(", r"\[") and not _is_formula(opening, match[1], alone=alone):
        return False
    if not silent:
        token = state.push("math", "", 0)
        token.markup, token.content, token.info = opening, match[1], match[0]
    state.pos = match.end()
    return True


def _is_formula(opening: str, body: str, *, alone: bool) -> bool:
    r"""Return True if a bracket begins a formula, not the escaped bracket of `\[1\]`."""
    display = opening == r"\["
    return (display and alone and body[0].isspace()) or looks_like_mathematics(
        body, display=display
    )


@functools.lru_cache(maxsize=64)
def _environment(name: str) -> re.Pattern[str]:
    """Return the pattern of an environment."""
    name = re.escape(name)
    return _formula(
        rf"\\begin\{{{name}\}}", rf"[^\\]|\\\\|\\(?!end\{{{name}\}})", rf"\\end\{{{name}\}}"
    )


def _span(state: StateInline, silent: bool) -> bool:
    """Parse the HTML that `sanitize` writes."""
    match = _SPAN.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent and match[1]:
        state.push("text_special", "", 0).content = chr(int(match[1]))
    elif not silent:
        token = state.push("code_inline", "code", 0)
        inside = match[2].replace("<span>", "").replace("</span>", "")
        token.content, token.info = html.unescape(inside), "html"
    state.pos = match.end()
    return True


def _picture(state: StateInline, silent: bool) -> bool:
    """Parse a picture; nested too deeply, it becomes text and a link."""
    depth = state.env.get("pictures", 0)
    if depth >= _MOST_PICTURES:
        return False
    state.env["pictures"] = depth + 1
    try:
        return bool(lazy.load("markdown_it.rules_inline").image(state, silent))
    finally:
        state.env["pictures"] = depth


def _storm(state: StateCore) -> None:
    """Do not parse a paragraph that is mostly syntax characters: it would take too long."""
    for token in state.tokens:
        if token.type == "inline" and is_storm(token.content):
            token.info, token.content = token.content, ""


def is_storm(text: str) -> bool:
    """Return True if a paragraph has more syntax characters than front ends can handle."""
    return len(text) > MOST_SIGNS and len(SIGN.findall(text)) > MOST_SIGNS

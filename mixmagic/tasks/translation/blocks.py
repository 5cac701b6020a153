r"""Find the blocks of a Markdown document that people read, with the offsets of their lines.

markdown-it-py's block parser, with rules that note where each line of a paragraph, a heading or a
table begins after quote markers and indents, and with rules for what it does not know: front
matter, displayed formulas, directives, admonitions, footnotes.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mixmagic.core import lazy
from mixmagic.tasks.translation.front_matter import front_matter
from mixmagic.tasks.translation.scan import find_spans, normalized
from mixmagic.text.mathematics import looks_like_mathematics

if TYPE_CHECKING:  # imported with the first document
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock

    _Rule = Callable[[StateBlock, int, int, bool], bool]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that people read as one text.

    Attributes:
        kind: `paragraph`, `heading`, `cell`, `first cell` (without a bar before it), `html`, or
            the form of a value in the front matter.
        lines: The offsets of each line's text: without quote markers, indent and line end.
    """

    kind: str
    lines: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a document.

    Attributes:
        blocks: In their order.
        labels: The labels of its link definitions, as `scan.normalized`.
    """

    blocks: tuple[Block, ...]
    labels: frozenset[str]


# Directives and admonitions whose content is Markdown that people read.
_READ = frozenset(
    """
    admonition attention caution danger error hint important note seealso tip warning todo
    versionadded versionchanged deprecated versionremoved abstract info success question failure
    bug example quote details dropdown card grid grid-item grid-item-card tab-set tab-item
    sidebar topic margin epigraph highlights pull-quote aside container div figure table
    exercise solution proof theorem lemma definition corollary remark conjecture axiom property
    proposition observation criterion algorithm assumption prf:proof prf:theorem prf:lemma
    prf:definition prf:corollary prf:remark prf:example prf:algorithm glossary list-table
    """.split()  # noqa: SIM905  # a list literal would take 70 lines
)
# Those whose argument is a title.
_TITLED = _READ - frozenset(
    """
    figure container div exercise solution versionadded versionchanged deprecated versionremoved
    grid tab-set glossary
    """.split()  # noqa: SIM905
)
_DIRECTIVE = re.compile(r"\{([\w:.-]+)\}[ \t]*")
_COLONS = re.compile(r"(:{3,})[ \t]*(?:\{([\w:.-]+)\}[ \t]*)?")
_OPTION = re.compile(r":[\w-]+:(?:\s|$)")
_ADMONITION = re.compile(
    r"(?:!!!|\?\?\?\+?|===\+?)[ \t]+(?:[\w-]++[ \t]*+)*+(\"[^\"\n]*\")?[ \t]*$"
)
_FOOTNOTE = re.compile(r"\[\^[^\]\s]+\]:[ \t]*")
_DISPLAYED = re.compile(r"\$\$|\\\[|\\\\\[|\\begin\{([A-Za-z]+\*?)\}")
_CLOSINGS = {"$$": "$$", "\\[": "\\]", "\\\\[": "\\\\]"}
# Lines without text: targets, comments and breaks of MyST, attributes of kramdown.
_NOT_TEXT = re.compile(
    r"(?:\([\w./:-]+\)=|%(?:\s.*)?|\+\+\+.*|\{:.*\}|\[\[?_?TOC_?\]\]?)\s*$",
    re.IGNORECASE,
)
# What may stand before the text of a line: a task, an alert, a definition.
_PREFIX = re.compile(r"(?P<task>\[[ xX]\][ \t]+)|(?P<alert>\[!\w+\][+-]?[ \t]*)|[:~][ \t]+")
_AFTER_FORMULA = re.compile(r"\s*(?:\([\w:.-]+\)|\{\#[^}]*\})?[.,;:]?\s*")
_DEEPEST, _MOST_LINES = 40, 300
# HTML blocks that are no text; elements that are none; tags that are a part of a sentence.
_NO_TEXT = re.compile(r"<(?:(?:script|pre|style|textarea)\b|!|\?)", re.IGNORECASE)
_TAG = re.compile(
    r"<!--[\s\S]*?(?:-->|\Z)|<(?P<raw>script|style|pre|textarea|svg|math)\b[\s\S]*?(?:</(?P=raw)\s*>|\Z)"
    r"|</?(?P<inside>[A-Za-z][\w:-]*+)(?:[^<>\"']|\"[^\"]*+\"|'[^']*+')*+>|<[!?][^>]*>",
    re.IGNORECASE,
)
_FENCE = re.compile(r"`{3}|~{3}")
_INSIDE_SENTENCES = frozenset(
    """
    a abbr b bdi bdo cite code del dfn em font i img ins kbd mark q s samp small span strike strong
    sub sup tt u var wbr
    """.split()  # noqa: SIM905
)


def find_blocks(text: str) -> Blocks:
    r"""Return the blocks of a document.

    Args:
        text: Markdown, with `\n` as its line ends and without a byte order mark.

    Example:
        >>> find_blocks("> one\n> two\n").blocks
        (Block(kind='paragraph', lines=((2, 5), (8, 11))),)
    """
    blocks: list[Block] = []
    env: dict[str, Any] = {"blocks": blocks}
    parser = _parser()
    parser.block.parse(text, parser, env, [])
    blocks.sort(key=lambda block: block.lines)
    return Blocks(tuple(blocks), frozenset(map(normalized, env.get("references", ()))))


@functools.cache
def _parser() -> MarkdownIt:
    """Return a parser of blocks, which threads share and nobody modifies."""
    rules = lazy.load("markdown_it.rules_block")
    parser = lazy.load("markdown_it").MarkdownIt(
        "commonmark", {"maxNesting": _DEEPEST, "inline_definitions": True}
    )
    parser.validateLink = lambda url: True
    ruler = parser.block.ruler
    interrupts = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    ruler.at("paragraph", functools.partial(_paragraph, rules.paragraph))
    ruler.at("heading", functools.partial(_heading, rules.heading), {
        "alt": ["paragraph", "reference", "blockquote"]
    })  # fmt: skip
    ruler.at("lheading", functools.partial(_underlined, rules.lheading))
    ruler.at("table", functools.partial(_table, rules.table), {"alt": ["paragraph", "reference"]})
    ruler.at("fence", functools.partial(_fence, rules.fence), interrupts)
    ruler.at("html_block", functools.partial(_html, rules.html_block), {
        "alt": ["paragraph", "reference", "blockquote"]
    })  # fmt: skip
    ruler.before("table", "front_matter", _front_matter)
    ruler.before("table", "no_text", _no_text, interrupts)
    ruler.before("table", "displayed", _displayed, interrupts)
    ruler.before("table", "colons", _colons, interrupts)
    ruler.before("table", "admonition", _admonition, interrupts)
    ruler.before("table", "footnote", _footnote, interrupts)
    ruler.enable("table")
    ruler.getRules("")  # compiles them: not safe when two threads do it
    shared: MarkdownIt = parser
    return shared


def _line(state: StateBlock, line: int) -> tuple[int, int]:
    """Return the offsets of the text of a line in its container."""
    return state.bMarks[line] + state.tShift[line], state.eMarks[line]


def _add(state: StateBlock, kind: str, lines: Sequence[tuple[int, int]]) -> None:
    """Note a block."""
    if lines and any(start < end for start, end in lines):
        blocks: list[Block] = state.env["blocks"]
        blocks.append(Block(kind, tuple(lines)))


def _paragraph(rule: _Rule, state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Note a paragraph; a definition in it is a text of its own."""
    rule(state, start, end, silent)
    lines: list[tuple[int, int]] = []
    for number in range(start, state.line):
        first, last = _line(state, number)
        prefix = _PREFIX.match(state.src, first, last)
        ends = prefix is not None and (prefix["task"] is None or number == start)
        if ends:
            _add(state, "paragraph", lines)
            lines = []
        lines.append((prefix.end() if prefix and ends else first, last))
        if prefix and prefix["alert"]:  # its title is a line of its own
            _add(state, "paragraph", lines)
            lines = []
    _add(state, "paragraph", lines)
    return True


def _no_text(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Skip a line without text."""
    if state.is_code_block(start) or not _NOT_TEXT.match(state.src, *_line(state, start)):
        return False
    state.line = state.line if silent else start + 1
    return True


def _heading(rule: _Rule, state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Note a heading."""
    if not rule(state, start, end, silent):
        return False
    if not silent:
        first, last = _line(state, start)
        first = state.skipSpaces(state.skipCharsStr(first, "#"))
        _add(state, "heading", [(first, min(first + len(state.tokens[-2].content), last))])
    return True


def _underlined(rule: _Rule, state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Note a heading with an underline."""
    if not rule(state, start, end, silent):
        return False
    _add(state, "heading", [_line(state, number) for number in range(start, state.line - 1)])
    return True


def _table(rule: _Rule, state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Note the cells of a table."""
    before = len(state.tokens)
    if not rule(state, start, end, silent):
        return False
    if not silent:
        columns = sum(token.type == "th_open" for token in state.tokens[before:])
        for number in (start, *range(start + 2, state.line)):
            for column, *cell in _cells(state, number):
                at_start = cell[0] == _line(state, number)[0]
                if column < columns:
                    _add(state, "first cell" if at_start else "cell", [(cell[0], cell[1])])
    return True


def _cells(state: StateBlock, line: int) -> list[tuple[int, int, int]]:
    """Return the cells of a row: the column and the offsets; code with a bar in it is in one."""
    first, last = _line(state, line)
    text = state.src[first:last].rstrip()
    bars = [match.start() for match in re.finditer(r"(?<!\\)\|", text)]
    code = [span for span in find_spans(text, markdown=True) if span.kind == "code"]
    ends = [bar for bar in bars if not any(span.start < bar < span.end for span in code)]
    found = []
    for left, right in itertools.pairwise([-1, *ends, len(text)]):
        cell = text[left + 1 : right]
        offset = first + left + 1 + len(cell) - len(cell.lstrip())
        column = bisect.bisect_left(bars, left + 1) - text.startswith("|")
        if cell.strip():
            found.append((column, offset, offset + len(cell.strip())))
    return found


def _fence(rule: _Rule, state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read the content of a directive that is text."""
    if not rule(state, start, end, silent):
        return False
    if silent:
        return True
    token = state.tokens[-1]
    info = len(token.info) - len(token.info.lstrip())
    directive = _DIRECTIVE.match(token.info, info)
    if directive is None or directive[1] not in _READ:
        return True
    after, last = state.line, state.eMarks[start]
    if directive[1] in _TITLED:
        _add(state, "heading", [_trimmed(state, last - len(token.info) + directive.end(), last)])
    closing = state.src[slice(*_line(state, after - 1))].strip()
    inside = after - 1 if after - 1 > start and not closing.strip(token.markup[0]) else after
    depth = state.env.get("depth", 0)
    if depth < _DEEPEST:
        state.env["depth"] = depth + 1
        _inside(state, _after_options(state, start + 1, inside), inside, 0)
        state.env["depth"] = depth
    state.line = after
    return True


def _inside(state: StateBlock, start: int, end: int, indent: int) -> None:
    """Read lines as blocks that are indented."""
    kept = state.lineMax, state.parentType, state.blkIndent
    state.lineMax, state.parentType, state.blkIndent = end, "root", state.blkIndent + indent
    state.line = start
    state.md.block.tokenize(state, start, end)
    state.lineMax, state.parentType, state.blkIndent = kept


def _trimmed(state: StateBlock, start: int, end: int) -> tuple[int, int]:
    """Return offsets without the spaces around the text."""
    text = state.src[start:end]
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def _after_options(state: StateBlock, start: int, end: int) -> int:
    """Return the line after the options of a directive."""
    line = start
    while line < end and _OPTION.match(state.src, *_line(state, line)):
        line += 1
    if line == start < end and state.src[slice(*_line(state, line))].strip() == "---":
        for closing in range(line + 1, end):
            if state.src[slice(*_line(state, closing))].strip() == "---":
                return closing + 1
    return line


def _colons(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Skip a line of colons; of a directive without text, all of it."""
    first, last = _line(state, start)
    opening = None if state.is_code_block(start) else _COLONS.match(state.src, first, last)
    if opening is None:
        return False
    if silent:
        return True
    name, state.line = opening[2], start + 1
    if name in _TITLED:
        _add(state, "heading", [_trimmed(state, opening.end(), last)])
    if name in _READ:
        state.line = _after_options(state, start + 1, end)
    elif name:
        closing = re.compile(rf":{{{len(opening[1])},}}\s*$")
        while state.line < end and not closing.match(state.src, *_line(state, state.line)):
            state.line += 1
        state.line = min(state.line + 1, end)
    return True


def _admonition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read an admonition of Python-Markdown: `!!! note "Title"` and indented blocks."""
    first, last = _line(state, start)
    opening = None if state.is_code_block(start) else _ADMONITION.match(state.src, first, last)
    if opening is None:
        return False
    if not silent:
        if opening[1]:
            _add(state, "heading", [(opening.start(1) + 1, opening.end(1) - 1)])
        last = start + 1
        while last < end and (state.isEmpty(last) or state.sCount[last] >= state.blkIndent + 4):
            last += 1
        _indented(state, start + 1, last)
        state.line = last
    return True


def _footnote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read the text of a footnote."""
    first, last = _line(state, start)
    opening = None if state.is_code_block(start) else _FOOTNOTE.match(state.src, first, last)
    if opening is None:
        return False
    if not silent:
        kept = state.tShift[start], state.sCount[start]
        state.tShift[start] = opening.end() - state.bMarks[start]
        state.sCount[start] = state.blkIndent + 4
        _indented(state, start, end)
        state.tShift[start], state.sCount[start] = kept
        state.line = max(state.line, start + 1)
    return True


def _indented(state: StateBlock, start: int, end: int) -> None:
    """Read blocks that are indented by four spaces."""
    state.level += 1
    _inside(state, start, end, 4)
    state.level -= 1


def _displayed(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    r"""Skip `$$…$$`, `\[…\]` or an environment on lines of its own."""
    first, last = _line(state, start)
    opening = None if state.is_code_block(start) else _DISPLAYED.match(state.src, first, last)
    if opening is None:
        return False
    closing = _CLOSINGS.get(opening[0]) or rf"\end{{{opening[1]}}}"
    position, line = opening.end(), start
    while (found := state.src.find(closing, position, state.eMarks[line])) < 0:
        line += 1
        outside = line >= min(end, start + _MOST_LINES)
        if outside or (state.sCount[line] < state.blkIndent and not state.isEmpty(line)):
            return False
        position = state.bMarks[line]
    rest = state.src[found + len(closing) : state.eMarks[line]]
    body = state.src[opening.end() : found]
    if not _AFTER_FORMULA.fullmatch(rest) or not body.strip():
        return False
    if closing == "\\]" and not (body[0].isspace() or looks_like_mathematics(body, display=True)):
        return False
    if not silent:
        state.line = line + 1
    return True


def _front_matter(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Note the values of the front matter that people read."""
    if start or silent or state.level or not (matter := front_matter(state.src)):
        return False
    for kind, lines in matter.values:
        _add(state, kind, lines)
    state.line = state.src.count("\n", 0, matter.end) + (
        not state.src.endswith("\n", 0, matter.end)
    )
    return True


def _html(rule: _Rule, state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Note the text between the tags of an HTML block."""
    if not rule(state, start, end, silent):
        return False
    if not silent and not _NO_TEXT.match(state.src, *_line(state, start)):
        lines = [_line(state, number) for number in range(start, state.line)]
        for block in _between_tags(state.src, lines):
            # A code block that an author expects to work here: it does in some readers.
            if not any(_FENCE.search(state.src, *line) for line in block):
                _add(state, "html", block)
    return True


def _between_tags(source: str, lines: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield the lines of each text between tags other than those inside a sentence."""
    text = "\n".join(source[start:end] for start, end in lines)
    starts = list(itertools.accumulate((end - start + 1 for start, end in lines), initial=0))
    position = 0
    for tag in (*_TAG.finditer(text), None):
        if tag is not None and (tag["inside"] or "").lower() in _INSIDE_SENTENCES:
            continue
        part = text[position : tag.start() if tag else len(text)]
        first = position + len(part) - len(part.lstrip())
        last = first + len(part.strip())
        if first < last:
            begin, end = (bisect.bisect_right(starts, at) - 1 for at in (first, last - 1))
            cut = [list(line) for line in lines[begin : end + 1]]
            cut[0][0] += first - starts[begin]
            cut[-1][1] = lines[end][0] + last - starts[end]
            yield [(start, stop) for start, stop in cut]
        position = tag.end() if tag else len(text)

"""The code blocks of a Markdown text. Imports nothing of the project."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})(.*)$")
_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"( {0,3})([-+*]|\d{1,9}[.)])( {1,4}(?! )|(?= {5})| *$)")
_RULE = re.compile(r" {0,3}([-*_])(?: *\1){2,} *$")


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced code block.

    Attributes:
        language: The first word behind the fence; empty where there is none.
        code: What stands between the fences, without the last line's end.
    """

    language: str
    code: str


@dataclass(slots=True)
class _Open:
    """A block whose end has not come: how many containers hold it, its fence, its lines."""

    depth: int
    indent: int
    marker: str
    language: str
    lines: list[str] = field(default_factory=list)

    def block(self) -> CodeBlock:
        """The block, as far as it goes."""
        return CodeBlock(self.language, "\n".join(self.lines))

    def ends(self, line: str) -> bool:
        """Whether `line` is its closing fence."""
        fence = _FENCE.match(line)
        return bool(fence and fence[2].startswith(self.marker) and not fence[3].strip())


def code_blocks(markdown: str) -> tuple[CodeBlock, ...]:
    r"""The fenced code blocks of a Markdown text, in their order.

    As in CommonMark: a fence is of backticks or tildes, at least three, and ends at one as long;
    lists and quotations may hold it; what is not closed goes to the end of what holds it.

    Args:
        markdown: What a model wrote.

    Example:
        >>> code_blocks("Look:\n```python\nx = 1\n```")
        (CodeBlock(language='python', code='x = 1'),)
    """
    found: list[CodeBlock] = []
    holders: list[int] = []  # for a list item its width, for a quotation 0
    code: _Open | None = None
    for raw in markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        depth, line = _inside(holders, raw)
        if code is not None:
            if depth == code.depth:
                if code.ends(line):
                    found.append(code.block())
                    code = None
                else:
                    line = _untabbed(line) if code.indent else line
                    margin = min(code.indent, len(line) - len(line.lstrip(" ")))
                    code.lines.append(line[margin:])
                continue
            found.append(code.block())
        del holders[depth:]
        code = _opened(holders, line)
    if code is not None:
        if code.lines and not code.lines[-1]:
            code.lines.pop()  # the text's own last line end
        found.append(code.block())
    return tuple(found)


def _inside(holders: list[int], line: str) -> tuple[int, str]:
    """How many of the containers go on in `line`, and what of it is inside them."""
    for depth, width in enumerate(holders):
        if width:
            start = _untabbed(line)
            if start.strip() and not start.startswith(" " * width):
                return depth, line
            line = start[width:]
        elif quote := _QUOTE.match(line):
            line = line[quote.end() :]
        else:
            return depth, line
    return len(holders), line


def _opened(holders: list[int], line: str) -> _Open | None:
    """The block that `line` opens, behind the containers that it opens; they are added."""
    line = _untabbed(line)
    while True:
        item = None if _RULE.match(line) else _ITEM.match(line)
        if quote := _QUOTE.match(line):
            holders.append(0)
            line = _untabbed(line[quote.end() :])
        elif item:
            # An item that begins with code, or with nothing, is one blank wide behind its mark.
            blanks = len(item[3]) if line[item.end() :].strip() else 1
            holders.append(len(item[1]) + len(item[2]) + max(blanks, 1))
            line = line[holders[-1] :]
        else:
            break
    fence = _FENCE.match(line)
    if fence is None or (fence[2][0] == "`" and "`" in fence[3]):
        return None
    words = fence[3].split()
    return _Open(len(holders), len(fence[1]), fence[2], words[0] if words else "")


def _untabbed(line: str) -> str:
    """A line whose leading tabs are blanks."""
    rest = line.lstrip(" \t")
    return line[: len(line) - len(rest)].expandtabs(4) + rest

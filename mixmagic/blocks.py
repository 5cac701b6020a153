"""The code blocks of a Markdown text. Imports nothing of the project."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})(.*)$")
_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"( {0,3})([-+*]|\d{1,9}[.)])( {1,4}(?! )|(?= {5})| *$)")
_RULE = re.compile(r" {0,3}([-*_])(?: *\1){2,} *$")

_SHELLS = frozenset(
    ("bash", "sh", "shell", "zsh", "console", "terminal", "shell-session", "cmd", "powershell")
)
_NO_PROGRAMS = frozenset(("text", "txt", "plain", "plaintext", "output", "log"))
_PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)")
_PREPARATION = re.compile(
    r"[$%>]?\s*(?:(?:mkdir|cd|touch|source|export|set|git\s+clone|conda\s+(?:create|activate))\b"
    r"|(?:python[\d.]*|py)\s+(?:-m\s+venv\b|\S+\.py\b))"
)
_INSTALLATION = re.compile(
    r"[$!%>]?\s*(?:sudo\s+)?(?:(?:\{sys\.executable\}|python[\d.]*|py)\s+-m\s+|uv\s+)?"
    r"(?:pip3?|conda|mamba|uv|poetry|npm|yarn|brew|apt|apt-get)\s+(?:-\S+\s+)*(?:install|add)\b"
)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced code block.

    Attributes:
        language: The first word behind the fence; empty where there is none.
        code: What stands between the fences, without the last line's end.
    """

    language: str
    code: str

    @property
    def source(self) -> str:
        r"""What can be run: of a Python session its input alone, without prompts and output.

        Example:
            >>> CodeBlock("pycon", ">>> 1 + 1\n2").source
            '1 + 1'
        """
        if not self.code.lstrip("\n").startswith(">>> "):
            return self.code
        lines = ((line, _PROMPT.match(line)) for line in self.code.split("\n"))
        return "\n".join(line[prompt.end() :] for line, prompt in lines if prompt)


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


def installs(code: str) -> bool:
    r"""Whether some code is installations alone, which come before a program and are none.

    Example:
        >>> installs("%%bash\npip install pandas")
        True
    """
    lines = _lines(code)
    return bool(lines) and all(map(_INSTALLATION.match, lines))


def main_block(blocks: Sequence[CodeBlock]) -> int:
    r"""Which of several blocks is what they are about: mostly the first.

    Where that one only prepares for a program, or starts it, it is the longest program.

    Args:
        blocks: At least one.

    Example:
        >>> main_block(code_blocks("```sh\npip install x\n```\n```python\nimport x\n```"))
        1
    """
    first, marked = blocks[0], any(block.language for block in blocks)
    if not installs(first.code) and not (_is_shell(first) and _prepares(first.code)):
        return 0
    # Beside blocks with a language, those without one are mostly what they print.
    programs = [
        at
        for at, each in enumerate(blocks)
        if bool(each.language) is marked
        and each.language.lower() not in _NO_PROGRAMS
        and not _is_shell(each)
        and not installs(each.code)
    ]
    return max(programs, key=lambda at: len(blocks[at].code), default=0)


def _prepares(code: str) -> bool:
    """Whether commands of a shell come before a program and are none of it."""
    return all(_INSTALLATION.match(line) or _PREPARATION.match(line) for line in _lines(code))


def _is_shell(block: CodeBlock) -> bool:
    """Whether a block is marked as a shell's."""
    return block.language.lower() in _SHELLS


def _lines(code: str) -> list[str]:
    """The lines that do something: without comments and the names of cell magics."""
    lines = map(str.strip, code.split("\n"))
    return [line for line in lines if line and not line.startswith(("#", "%%"))]


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

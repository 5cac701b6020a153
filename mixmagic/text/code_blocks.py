"""The code blocks of a Markdown text, as defined by CommonMark."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixmagic.core import lazy

if TYPE_CHECKING:  # imported with the first answer
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

    _Rule = Callable[[StateBlock, int, int, bool], bool]

# Levels of lists (two each) and block quotes that are parsed. Each level may read every line once
# more, so texts with very many lines get fewer levels.
_MAX_NESTING, _MAX_LINE_READS = 20, 200_000

_SHELLS = frozenset(
    ("bash", "sh", "shell", "zsh", "console", "terminal", "shell-session", "cmd", "powershell")
)
_NOT_PROGRAMS = frozenset(("text", "txt", "plain", "plaintext", "output", "log"))
_TICKS = re.compile("`+")
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
        language: The first word after the opening fence; empty if there is none.
        code: The lines between the fences, without the last line end.
    """

    language: str
    code: str

    @property
    def source(self) -> str:
        r"""The code that can be run: of a Python session only the input, without prompts.

        Example:
            >>> CodeBlock("pycon", ">>> 1 + 1\n2").source
            '1 + 1'
        """
        if not self.code.lstrip("\n").startswith(">>> "):
            return self.code
        lines = ((line, _PROMPT.match(line)) for line in self.code.split("\n"))
        return "\n".join(line[prompt.end() :] for line, prompt in lines if prompt)


def fenced(code: str, info: str = "") -> str:
    r"""Return code as a fenced block, whose fence is longer than any run of backticks in it.

    Args:
        code: The code, without its last line end.
        info: The text after the opening fence: a language.

    Example:
        >>> fenced("x = 1", "python")
        '```python\\nx = 1\\n```'
    """
    longest = max(map(len, _TICKS.findall(code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{info}\n{code}\n{fence}"


@functools.lru_cache(4)  # several callers need those of the same answer
def code_blocks(markdown: str) -> tuple[CodeBlock, ...]:
    r"""Return the fenced code blocks of a Markdown text, in their order.

    As in CommonMark: a fence has at least three backticks or tildes, and the block ends at one
    that is at least as long; lists and block quotes may contain it; an open block extends to the
    end of its container. HTML is text here, as when answers are shown: a block right below a tag
    counts.

    Args:
        markdown: A model's answer. Time and memory are linear in its length.

    Example:
        >>> code_blocks("Look:\n```python\nx = 1\n```")
        (CodeBlock(language='python', code='x = 1'),)
    """
    if "```" not in markdown and "~~~" not in markdown:
        return ()
    text = markdown.replace("\r\n", "\n").replace("\r", "\n")
    levels = min(_MAX_NESTING, _MAX_LINE_READS // (text.count("\n") + 1))
    found = _Found()
    _block_parser().block.parse(text, _block_parser(), {"levels": levels}, found)
    return found.all()


class _Found(list["Token"]):
    """Receives the parser's tokens, but keeps code blocks only: there may be a million tokens."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[CodeBlock] = []
        self._last: Token | None = None  # the parser fills it after appending it

    def append(self, token: Token) -> None:
        if token.type == "fence":
            self._keep()
            self._last = token

    def all(self) -> tuple[CodeBlock, ...]:
        """Return the code blocks, after the parser has ended."""
        self._keep()
        return tuple(self._blocks)

    def _keep(self) -> None:
        token, self._last = self._last, None
        if token is not None:
            language = next(iter(token.info.split(maxsplit=1)), "")
            self._blocks.append(CodeBlock(language, token.content.removesuffix("\n")))


@functools.cache
def _block_parser() -> MarkdownIt:
    """Return a parser of blocks, which threads share and nobody modifies."""
    rules = lazy.load("markdown_it.rules_block")
    # Without this, it would drop the text beyond its nesting limit.
    parser = lazy.load("markdown_it").MarkdownIt("commonmark", {"maxNesting": sys.maxsize})
    parser.disable("html_block")
    ends = ["paragraph", "reference", "blockquote"]
    parser.block.ruler.at("list", _limited(rules.list_block), {"alt": ends})
    parser.block.ruler.at("blockquote", _limited(rules.blockquote), {"alt": [*ends, "list"]})
    parser.block.ruler.getRules("")  # compiles them: not safe when two threads do it
    shared: MarkdownIt = parser
    return shared


def _limited(rule: _Rule) -> _Rule:
    """Return a rule for lists or block quotes that ignores those deeper than `levels`."""

    def limited(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        return state.level < state.env["levels"] and rule(state, start, end, silent)

    return limited


def installs(code: str) -> bool:
    r"""Return True if the code only installs packages.

    Example:
        >>> installs("%%bash\npip install pandas")
        True
    """
    lines = _lines(code)
    return bool(lines) and all(map(_INSTALLATION.match, lines))


def main_block(blocks: Sequence[CodeBlock]) -> int:
    r"""Return the index of the main block of an answer: usually the first.

    If the first one only prepares for a program, or starts it, return that of the longest program.

    Args:
        blocks: At least one.

    Example:
        >>> main_block(code_blocks("```sh\npip install x\n```\n```python\nimport x\n```"))
        1
    """
    first, marked = blocks[0], any(block.language for block in blocks)
    if not installs(first.code) and not (_is_shell(first) and _prepares(first.code)):
        return 0
    # Next to blocks with a language, those without one mostly show output.
    programs = [
        index
        for index, block in enumerate(blocks)
        if bool(block.language) is marked
        and block.language.lower() not in _NOT_PROGRAMS
        and not _is_shell(block)
        and not installs(block.code)
    ]
    return max(programs, key=lambda index: len(blocks[index].code), default=0)


def _prepares(code: str) -> bool:
    """Return True if shell commands only prepare for a program."""
    return all(_INSTALLATION.match(line) or _PREPARATION.match(line) for line in _lines(code))


def _is_shell(block: CodeBlock) -> bool:
    """Return True if the block's language is a shell."""
    return block.language.lower() in _SHELLS


def _lines(code: str) -> list[str]:
    """Return the lines of code without comments and names of cell magics."""
    lines = map(str.strip, code.split("\n"))
    return [line for line in lines if line and not line.startswith(("#", "%%"))]

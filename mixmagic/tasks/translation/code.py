r"""The comments, docstrings and strings of Python code that people read.

Magics, shell lines and cells that are not valid Python stay as they are. A translated string stays
a valid literal, and `assemble_code` checks that the code means the same.
"""

from __future__ import annotations

import ast
import bisect
import io
import re
import tokenize
from collections.abc import Iterator, Sequence

from mixmagic.tasks.translation.blocks import Block
from mixmagic.tasks.translation.literals import Literal, literal_of
from mixmagic.tasks.translation.segments import (
    Segment,
    assemble,
    block_segments,
    normalized_text,
    paragraphs,
)
from mixmagic.tasks.translation.shown_strings import shown_strings

# Cell magics whose cell is Python.
_PYTHON_CELL = re.compile(r"%%(?:time|timeit|capture|prun|python3?)\b")
_ASSIGNED = re.compile(r"\s*(?:[\w, ]+=\s*(?=[!%]))?")
# Comments for tools.
_FOR_TOOLS = re.compile(
    r"#!|#\s*(?:-\*-|%%|\+\+?\s|noqa\b|type:|pragma\b|fmt:|pylint\b|mypy\b|ruff\b|isort\b|flake8\b|nosec"
    r"|pyright\b|yapf\b|region\b|endregion\b|coding[:=]|export\b|hide\b|default_exp\b|@param\b|\|)",
    re.IGNORECASE,
)
_TOOL_AFTER = re.compile(
    r"\s+#\s*(?:noqa|type:|pragma|fmt:|pylint|mypy|ruff|pyright|nosec)\b.*", re.IGNORECASE
)
_SIGNS = re.compile(r"#+:?[ \t]*(?:@(?:title|markdown)[ \t]+)?")
_CODE_NODES = (
    ast.Assign, ast.AugAssign, ast.Call, ast.Attribute, ast.Subscript, ast.Import,
    ast.ImportFrom, ast.Return, ast.Delete, ast.For, ast.While, ast.With, ast.FunctionDef,
    ast.ClassDef, ast.Lambda, ast.Dict,
)  # fmt: skip
# Lines of docstrings that are names, rules or examples, and headings that tools read.
_NO_TEXT = re.compile(
    r"(?:[-=~^#*]{3,}|\.\. .*|:[\w-]+:\s*|[*\w][\w, *]*\s:(?:\s.*)?"
    r"|(?:Args|Arguments|Parameters|Attributes|Returns?|Yields?|Raises|Examples?|Notes?|See Also"
    r"|References|Warnings?|Other Parameters|Methods|Todo):?)$"
)
_FIELD = re.compile(r":[\w-]+(?:[ ][^:\n]+)?:[ \t]+|\*{0,2}\w+(?:[ ]?\([^()\n]*\))?:[ \t]+(?=\S)")
_LONG = ("'''", '"""')
_PROMPT = re.compile(r">>>|\.\.\.(?:\s|$)")


def code_segments(source: str, *, comments: bool, strings: bool) -> list[Segment]:
    r"""Return what people read in a cell of Python code, in its order.

    Args:
        source: The cell, with any line ends.
        comments: True for comments and docstrings, but not code in comments, nor what is for tools.
        strings: True for strings shown to people: printed ones, titles, labels, messages of errors.

    Example:
        >>> found = code_segments("x = 'a'  # the key\nprint('Done')", comments=True, strings=True)
        >>> [segment.text for segment in found]
        ['the key', 'Done']
    """
    text, removed = normalized_text(source)
    try:
        python = _python(text)
        tree = ast.parse(python)
        tokens = list(tokenize.generate_tokens(io.StringIO(python).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return []
    starts = [0, *(match.end() for match in re.finditer("\n", python))]
    blocks: list[Block] = []
    if comments:
        blocks += _comments(python, starts, tokens)
        blocks += _docstrings(python, starts, tree)
    if strings:
        blocks += _strings(python, starts, tree, tokens)
    found = [
        segment for block in blocks for segment in block_segments(source, text, removed, block)
    ]
    return sorted(found, key=lambda segment: segment.start)


def assemble_code(
    source: str, segments: Sequence[Segment], translations: Sequence[str | None]
) -> tuple[str, list[int]]:
    r"""Return a cell with translations instead of the segments, and the indexes of those refused.

    A translation is refused if the code would mean something else with it: a string that would end
    early, an f-string with another value in it.

    Args:
        source: The cell.
        segments: Those of `code_segments`, in their order.
        translations: One for each; `None` leaves the source.

    Example:
        >>> cell = "print('Done')"
        >>> assemble_code(cell, code_segments(cell, comments=False, strings=True), ["C'est fait"])
        ("print('C\\'est fait')", [])
    """
    whole = assemble(source, segments, translations)
    if _same(source, whole):
        return whole, []
    kept: list[str | None] = [None] * len(segments)
    refused = []
    for index, translation in enumerate(translations):
        kept[index] = translation
        if translation is not None and not _same(source, assemble(source, segments, kept)):
            kept[index] = None
            refused.append(index)
    return assemble(source, segments, kept), refused


def _same(source: str, translated: str) -> bool:
    """Return True if two cells differ only in comments and in the text of strings."""
    try:
        return _shape(source) == _shape(translated)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _shape(source: str) -> str:
    """Return the tree of a cell without the text of its strings."""
    tree = ast.parse(_python(normalized_text(source)[0]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        if isinstance(node, ast.JoinedStr):
            # The values in their order: a translation may have text between them or not.
            node.values = [part for part in node.values if not isinstance(part, ast.Constant)]
    return ast.dump(tree)


def _python(text: str) -> str:
    """Return a cell with Python instead of lines of IPython, with all offsets as they are.

    Raises:
        SyntaxError: The cell is for a magic that runs no Python.
    """
    lines = text.split("\n")
    if lines and lines[0].startswith("%%"):
        if not _PYTHON_CELL.match(lines[0]):
            raise SyntaxError("The cell is not Python.")
        lines[0] = " " * len(lines[0])
    goes_on = False
    for index, line in enumerate(lines):
        if goes_on or _is_shell(line):
            blank = _ASSIGNED.match(line)
            kept = blank[0] if blank and not goes_on else ""
            value = "" if goes_on else "0"
            goes_on = line.rstrip().endswith("\\")
            lines[index] = f"{kept}{value}".ljust(len(line))
    return "\n".join(lines)


def _is_shell(line: str) -> bool:
    """Return True if a line is a magic, a command or a question for help."""
    stripped = line.strip()
    if re.match(r"[!?]|%{1,2}[A-Za-z]", stripped):
        return True
    if re.match(r"[\w, ]+=\s*(?:!|%[A-Za-z])", stripped):
        return True
    return bool(re.fullmatch(r"[\w.*]+\?{1,2}", stripped))


def _comments(
    text: str, starts: Sequence[int], tokens: Sequence[tokenize.TokenInfo]
) -> Iterator[Block]:
    """Yield the comments; those of adjacent lines are one text."""
    lines: list[tuple[int, int]] = []
    last = (-1, -1)
    for token in tokens:
        if token.type != tokenize.COMMENT:
            continue
        row, column = token.start
        start = starts[row - 1] + column
        alone = not text[starts[row - 1] : start].strip()
        if lines and (not alone or (row - 1, column) != last):
            yield from _comment(text, lines)
            lines = []
        last = (row, column) if alone else (-1, -1)
        signs = _SIGNS.match(token.string)
        skipped = _FOR_TOOLS.match(token.string) or _is_code(token.string.lstrip("# "))
        if skipped or signs is None:
            yield from _comment(text, lines)
            lines = []
        else:
            titled = "@" in signs[0]
            first = start + (signs.end() if titled else len(signs[0].rstrip()))
            comment = _TOOL_AFTER.sub("", token.string)
            lines.append((first, start + len(comment)))
    yield from _comment(text, lines)


def _comment(text: str, lines: Sequence[tuple[int, int]]) -> Iterator[Block]:
    """Yield the paragraphs of a comment."""
    for paragraph in paragraphs(text, lines):
        yield Block("text", paragraph)


def _is_code(comment: str) -> bool:
    """Return True if a comment is code that is commented out."""
    for code in (comment, f"{comment}\n pass"):
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if any(isinstance(node, _CODE_NODES) for node in ast.walk(tree)):
            return True
    return _is_shell(comment)


def _docstrings(text: str, starts: Sequence[int], tree: ast.AST) -> Iterator[Block]:
    """Yield the paragraphs of docstrings, without examples and the names of parameters."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
            continue
        if not isinstance(first.value.value, str):
            continue
        start = _offset(text, starts, first.value.lineno, first.value.col_offset)
        literal = literal_of(text, start)
        if literal is not None:
            for lines in _docstring_lines(text, literal):
                for paragraph in paragraphs(text, lines):
                    yield Block(literal.kind, paragraph)


def _docstring_lines(text: str, literal: Literal) -> Iterator[list[tuple[int, int]]]:
    """Yield the lines of a docstring that are text, in groups."""
    lines: list[tuple[int, int]] = []
    example = fenced = False
    code: int | None = None  # the indent of the line before a block of code
    below = text[literal.start : literal.end].split("\n")[1:]
    least = min((len(line) - len(line.lstrip()) for line in below if line.strip()), default=0)
    for start, end in _lines(text, literal):
        line = text[start:end].strip()
        margin = end - start - len(text[start:end].lstrip())
        indent = margin if start > literal.start else least
        example = (example and bool(line)) or bool(_PROMPT.match(line))
        if code is not None and line and indent <= code:
            code = None
        is_code = example or fenced or code is not None or bool(_NO_TEXT.match(line))
        if line.startswith("```"):
            fenced, is_code = not fenced, True
        if line.endswith("::") and code is None:
            code = indent
        field = _FIELD.match(text, start + margin, end)
        if is_code or field:
            yield lines
            lines = []
        if not is_code:
            lines.append((field.end() if field else start, end))
    yield lines


def _lines(text: str, literal: Literal) -> Iterator[tuple[int, int]]:
    """Yield the offsets of the lines of a literal."""
    start = literal.start
    for line in text[literal.start : literal.end].split("\n"):
        yield start, start + len(line)
        start += len(line) + 1


def _strings(
    text: str, starts: Sequence[int], tree: ast.AST, tokens: Sequence[tokenize.TokenInfo]
) -> Iterator[Block]:
    """Yield the strings shown to people."""
    literals = [
        (starts[first[0] - 1] + first[1], starts[last[0] - 1] + last[1])
        for first, last in _literal_tokens(tokens)
    ]
    seen: set[int] = set()
    for node in shown_strings(tree):
        start = _offset(text, starts, node.lineno, node.col_offset)
        end = _offset(text, starts, node.end_lineno or 0, node.end_col_offset or 0)
        for first, last in literals[bisect.bisect_left(literals, (start, start)) :]:
            if last > end:
                break
            if first not in seen and (literal := literal_of(text, first)):
                seen.add(first)
                if "\n" in text[literal.start : literal.end] and literal.kind[-3:] not in _LONG:
                    continue  # a backslash joins its lines
                lines = list(_lines(text, literal))
                for paragraph in paragraphs(text, lines):
                    yield Block(literal.kind, paragraph)


def _literal_tokens(
    tokens: Sequence[tokenize.TokenInfo],
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield the first and last position of each literal; Python 3.12 splits f-strings."""
    opening, closing = (getattr(tokenize, f"FSTRING_{end}", -1) for end in ("START", "END"))
    opened: list[tuple[int, int]] = []
    for token in tokens:
        if token.type == opening:
            opened.append(token.start)
        elif token.type == closing:
            start = opened.pop()
            if not opened:
                yield start, token.end
        elif token.type == tokenize.STRING and not opened:
            yield token.start, token.end


def _offset(text: str, starts: Sequence[int], line: int, column: int) -> int:
    """Return the offset of a position of `ast`, whose columns are bytes of UTF-8."""
    start = starts[line - 1]
    end = starts[line] if line < len(starts) else len(text)
    return start + len(text[start:end].encode()[:column].decode(errors="ignore"))

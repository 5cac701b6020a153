"""The code, the JSON value or the formulas in the text of an answer."""

from __future__ import annotations

import contextlib
import json
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from mixmagic.calls.completion import Completion
from mixmagic.errors import AnswerUnusable, counted, one_line
from mixmagic.text.code_blocks import CodeBlock, code_blocks, main_block

# The hint for an answer that is not in the requested form.
ASK_AGAIN = "Its text is kept. Ask again more plainly or with -t 0, or read the text as it is."
_ASK_AGAIN_PLAINLY = "Its text is kept. Ask again more plainly, or read the text as it is."
# An opening bracket, or brackets that cannot be JSON: [0, 1), {x, y}, [see below], [ in prose.
_OUTSIDE = re.compile(
    r"(?P<prose>\[[^][{}()\"\n]*\)"
    r"|\{\s*[^][{}\"':\s][^][{}\"':]*\}"
    r"|\[\s*(?!(?:true|false|null|NaN|Infinity|None|True|False)\b)"
    r"(?:[^\W\d_][^][{}\"]*\]|[^\W\d_]+\s+[^\W\d_]))"
    r"|[\[{]"
)
# A bracket, or a string, in which brackets do not count; an open string extends to the end.
_INSIDE = re.compile(r'"(?:\\.|[^"\\])*"?|[\[\]{}]', re.DOTALL)
# A string, or a JavaScript comment: models write comments into JSON code blocks.
_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"?|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_LIST_MARK = re.compile(r"(?:[-*+•]|\d{1,9}[.)])?")


def code(answer: str) -> str:
    r"""Return the code of an answer: its first code block, or the whole answer if it has none.

    A first block that only installs something is skipped: see `code_blocks.main_block`.

    Example:
        >>> code("Sure:\n```python\nx = 1\n```")
        'x = 1'
    """
    return main_code_block(answer).code


def main_code_block(answer: str) -> CodeBlock:
    """Return the block that `code` uses, or the whole answer as a block without a language."""
    blocks = code_blocks(answer)
    return blocks[main_block(blocks)] if blocks else CodeBlock("", answer.strip("\n"))


def other_blocks_note(answer: str) -> str:
    r"""Return a note about the blocks that `code` omits; empty if there are none.

    Example:
        >>> other_blocks_note("```sh\npip install x\n```\n```python\nimport x\n```")
        'the last of 2 code blocks'
    """
    blocks = code_blocks(answer)
    return position_note(main_block(blocks), len(blocks), "code blocks") if blocks else ""


def position_note(index: int, count: int, things: str) -> str:
    """Return a note that tells which of several things is used; empty if there is only one.

    Example:
        >>> position_note(0, 2, "tables")
        'the first of 2 tables'
    """
    if count < 2:
        return ""
    which = {0: "the first", count - 1: "the last"}.get(index, f"number {index + 1}")
    return f"{which} of {count} {things}"


def loads(answer: str, *, exact: bool = False) -> Any:
    """Return the JSON value of an answer, also from a code block or between words.

    Integers keep all their digits; the last of equal keys counts. Several values below each other
    (JSON Lines, the items of a list) become a list. Otherwise the first of several code blocks
    counts, and the longest of several values between words: see `other_values_note`.

    Args:
        answer: The text of the answer.
        exact: True to return a `Decimal` for a number that a float would round.

    Raises:
        AnswerUnusable: It has no JSON, or invalid JSON; the message has the line and column.

    Example:
        >>> loads('Here it is: {"age": 31}. Anything else?')
        {'age': 31}
    """
    return _find_json(answer, exact=exact)[0]


def json_texts(answer: str) -> tuple[list[str], bool]:
    """Return the texts in an answer that could be JSON values; some may be invalid.

    Returns:
        The texts in their order, just the answer itself if it is JSON; and True if they are items
        of a list, below each other.

    Example:
        >>> json_texts('First {"a": 1}, then {"a": 2}.')
        (['{"a": 1}', '{"a": 2}'], False)
    """
    whole = answer.strip().removeprefix("\ufeff")
    if _is_valid(whole):
        return [whole], False
    spans = _bracket_spans(whole)
    parts = [whole[start:end] for start, end in spans]
    known = set(parts)  # an open bracket hides the rest of the text, but not code blocks
    blocks = [block for block in _json_blocks(whole) if block not in known]
    return [*blocks, *parts], _is_list(spans, whole)


def parse_exact(text: str) -> Any:
    """Return the value of a JSON text; a number that a float would round is a `Decimal`.

    Raises:
        ValueError: It is not JSON.
    """
    return _decode(text, exact=True)


def without_comments(text: str) -> str:
    """Return a JSON text without JavaScript comments."""
    return _COMMENT.sub(lambda part: part[0] if part[0][0] == '"' else "", text)


def other_values_note(answer: str) -> str:
    """Return a note about the JSON that `loads` omits; empty if there is none.

    Example:
        >>> other_values_note('First {"a": 1}, then {"a": 200}.')
        'the longest of 2 JSON values'
    """
    try:
        return _find_json(answer)[1]
    except AnswerUnusable:
        return ""


def _find_json(answer: str, *, exact: bool = False) -> tuple[Any, str]:
    """Return the JSON value of an answer, and a note about omitted ones."""
    text = answer.strip().removeprefix("\ufeff")
    with contextlib.suppress(ValueError):
        return _decode(text, exact=exact), ""
    blocks = _json_blocks(text)
    note = position_note(0, len(blocks), "JSON blocks")
    if blocks:
        text = without_comments(blocks[0])
    with contextlib.suppress(ValueError):
        return _decode(text, exact=exact), note
    spans = _bracket_spans(text)
    if not spans:
        raise AnswerUnusable("The answer has no JSON in it.", ASK_AGAIN)
    parts = [text[start:end] for start, end in spans]
    is_list = _is_list(spans, text)
    chosen = parts if is_list else [max(parts, key=len)]
    try:
        values = [_decode(part, exact=exact) for part in chosen]
    except json.JSONDecodeError as error:
        near = one_line(error.doc[max(error.pos - 20, 0) : error.pos + 10], 40)
        raise AnswerUnusable(
            f"The answer's JSON is invalid: {error.msg} in line {error.lineno}, column"
            f" {error.colno} of the JSON, near {near!r}.",
            ASK_AGAIN,
        ) from None
    except ValueError as error:
        reason = one_line(error, 120)
        raise AnswerUnusable(f"The answer's JSON cannot be read: {reason}.", ASK_AGAIN) from None
    if is_list:
        return values, note
    count = sum(map(_is_valid, parts))
    return values[0], note or (f"the longest of {count} JSON values" if count > 1 else "")


def _decode(text: str, *, exact: bool = False) -> Any:
    """Return the value of a JSON text; raise `ValueError` if it is invalid."""
    try:
        return (_EXACT if exact else _DECODER).decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _is_valid(text: str) -> bool:
    """Return True if a text is a JSON value."""
    try:
        _decode(text)
    except ValueError:
        return False
    return True


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    """Return a float; raise `ValueError` if it would be infinite."""
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits[:20])


def _exact(digits: str) -> float | Decimal:
    """Return a float, or a `Decimal` if a float would round."""
    number = _finite(digits)
    with contextlib.suppress(InvalidOperation):  # a `Decimal` cannot have such an exponent
        if Decimal(repr(number)) != (whole := Decimal(digits)):
            return whole
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
_EXACT = json.JSONDecoder(parse_constant=_refuse, parse_float=_exact)


def _json_blocks(answer: str) -> list[str]:
    """Return the code blocks in JSON: by their language, or else by their first character."""
    blocks = code_blocks(answer)
    named = [block.code.strip() for block in blocks if block.language.lower().startswith("json")]
    return named or [
        block.code.strip() for block in blocks if block.code.lstrip().startswith(("{", "["))
    ]


def _bracket_spans(text: str) -> list[tuple[int, int]]:
    """Return the spans of the outermost brackets; an open one extends to the end."""
    spans, depth, start, position = [], 0, 0, 0
    while sign := (_INSIDE if depth else _OUTSIDE).search(text, position):
        position = sign.end()
        if sign.lastgroup == "prose":
            continue
        if sign[0] in "[{":
            start = start if depth else sign.start()
            depth += 1
        elif sign[0] in "]}":
            depth -= 1
            if not depth:
                spans.append((start, position))
    return [*spans, (start, len(text))] if depth else spans


def _is_list(spans: list[tuple[int, int]], text: str) -> bool:
    """Return True if a text consists of several values below each other."""
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    between = (text[end:start].strip(", \t\r\n") for end, start in zip(ends, starts, strict=True))
    return len(spans) > 1 and all(map(_LIST_MARK.fullmatch, between))


# The start of a formula, or, in group `kept`, a whole formula that stays as it is.
_OPENING = re.compile(
    r"\\\[|\\\(|\$\$|\\begin\{(?P<name>equation|align|gather|multline)(?P<star>\*?)\}"
    r"|(?P<kept>(?<!\\)\$(?=\S)[^$\n]+?(?<=\S)\$)"
)
_CLOSING = {"\\[": "\\]", "\\(": "\\)", "$$": "$$"}
# Signs that plain words do not have.
_SIGNS = re.compile(r"[\\^_=]")
# Four words in a row, outside of commands, and of the text in them.
_PROSE = re.compile(r"(?:(?<![A-Za-z])(?:[A-Za-z]{2,}|[aAI])[,;:.]?\s+){3}[A-Za-z]{2,}")
_COMMAND = re.compile(r"\\(?:text\w*|mbox|mathrm|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_INNER = {"align": "aligned", "gather": "gathered"}


def explained(error: AnswerUnusable, completion: Completion) -> AnswerUnusable:
    """Return the error of an answer that cannot be read, with its real reason.

    An answer that was cut off is incomplete, whatever else is wrong with it; and a temperature of 0
    is not advised to who has set it.

    Example:
        >>> explained(error, completion).message
        'The answer was cut off at 200 tokens: it is not complete.'
    """
    message, hint = error.message, error.hint
    if completion.finish == "length":
        count = counted(completion.usage.completion_tokens, "token")
        message = f"The answer was cut off at {count}: it is not complete."
        hint = "Raise --max-tokens, or ask for less. Everything received is kept."
    elif hint == ASK_AGAIN and completion.request.params.get("temperature") == 0:
        hint = _ASK_AGAIN_PLAINLY
    better = AnswerUnusable(message, hint)
    better.partial = completion
    return better


def latex(answer: str) -> str:
    r"""Return the LaTeX of an answer, with dollars as delimiters, which every front end knows.

    An answer without delimiters is one formula, unless it is prose; a code block around it is
    removed.

    Raises:
        AnswerUnusable: It has no formula in it.

    Example:
        >>> latex(r"So \[ x^2 \] holds for \(x\).")
        'So \n\n$$\nx^2\n$$\n\n holds for $x$.'
    """
    blocks = code_blocks(answer)
    in_block = blocks and blocks[0].language.lower() in ("", "latex", "tex", "math", "katex")
    text = (blocks[0].code if in_block else answer).strip()
    parts, done, position = [], 0, 0
    absent: set[str] = set()  # ends that do not occur in the rest: searched only once
    while opening := _OPENING.search(text, position):
        start, end, closing = opening.start(), opening.end(), _closing(opening)
        if closing:
            end = -1 if closing in absent else text.find(closing, end)
            if end < 0:
                absent.add(closing)
                position = start + 1
                continue
        parts += [text[done:start], _with_dollars(opening, text[opening.end() : end])]
        position = done = end + len(closing)
    if parts:
        return "".join([*parts, text[done:]]).strip()
    if not _is_formula(text):
        raise AnswerUnusable("The answer has no formula in it.", ASK_AGAIN)
    return _display(text).strip()


def _is_formula(text: str) -> bool:
    """Return True if a text without delimiters is a formula: it has signs of one, or no words."""
    if _SIGNS.search(text):
        return not _PROSE.search(_COMMAND.sub(" ", text))
    return bool(re.search(r"\w", text)) and not re.search(r"\$|[^\W\d_]{2}", text)


def _closing(opening: re.Match[str]) -> str:
    """Return the end of the formula that `opening` begins; empty if the match includes it."""
    if opening["kept"] is not None:
        return ""
    if opening["name"] is not None:
        return f"\\end{{{opening['name']}{opening['star']}}}"
    return _CLOSING[opening[0]]


def _with_dollars(opening: re.Match[str], body: str) -> str:
    """Return a formula with dollars as delimiters."""
    if opening["kept"] is not None:
        return opening[0]
    if opening[0] == "\\(":
        return f"${_without_blank_lines(body)}$"
    if inner := _INNER.get(opening["name"]):
        return _display(f"\\begin{{{inner}}}\n{_without_blank_lines(body)}\n\\end{{{inner}}}")
    return _display(body)


def _display(formula: str) -> str:
    """Return a displayed formula."""
    return f"\n\n$$\n{_without_blank_lines(formula)}\n$$\n\n"


def _without_blank_lines(formula: str) -> str:
    """Return a formula without blank lines, which would end it."""
    return "\n".join(line for line in formula.strip().split("\n") if line.strip())

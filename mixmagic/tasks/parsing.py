"""What an answer in a known form says: its code, its JSON value, its formulas. Nothing is shown."""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import Any

from mixmagic.blocks import CodeBlock, code_blocks
from mixmagic.errors import AnswerUnusable, one_line

# What can be done about an answer in another form than was asked for.
AGAIN = "Its text is kept: ask again, plainer or with -t 0, or read it as it is."
_OUTSIDE = re.compile(r"[\[{]")
# A bracket, or a text in which brackets mean nothing.
_INSIDE = re.compile(r'"(?:\\.|[^"\\])*"|[\[\]{}]', re.DOTALL)
_BETWEEN = re.compile(r"[\s,]")


def code(answer: str) -> str:
    r"""The code of an answer: its first fenced block, or all of it where it has none.

    Example:
        >>> code("Sure:\n```python\nx = 1\n```")
        'x = 1'
    """
    return block(answer).code


def block(answer: str) -> CodeBlock:
    """The first fenced block of an answer, or all of it as one without a language."""
    blocks = code_blocks(answer)
    return blocks[0] if blocks else CodeBlock("", answer.strip("\n"))


def loads(answer: str) -> Any:
    """The JSON value of an answer, which may stand in a fence or between words.

    Integers keep all their digits; of equal keys the last one counts. Values that stand one below
    the other (JSON Lines) are a list.

    Args:
        answer: What the model wrote.

    Raises:
        AnswerUnusable: It has no JSON, or such as cannot be read; says in which line and column.

    Example:
        >>> loads('Here it is: {"age": 31}. Anything else?')
        {'age': 31}
    """
    whole = answer.strip().removeprefix("\ufeff")
    for meant in (whole, _json_in(whole)):
        with contextlib.suppress(ValueError):
            return _value(meant)
    parts = _bracketed(meant)
    if not parts:
        raise AnswerUnusable("The answer has no JSON in it.", AGAIN)
    found = max(parts, key=len)
    try:
        return [_value(part) for part in parts] if _alone(parts, meant) else _value(found)
    except json.JSONDecodeError as error:
        near = one_line(found[max(error.pos - 20, 0) : error.pos + 10], 40)
        where = f"in line {error.lineno}, column {error.colno} of it, near {near!r}"
        raise AnswerUnusable(f"The answer's JSON is none: {error.msg} {where}.", AGAIN) from None
    except ValueError as error:
        said = one_line(error, 120)
        raise AnswerUnusable(f"The answer's JSON cannot be read: {said}.", AGAIN) from None


def _value(text: str) -> Any:
    """The value of a JSON text; `ValueError` where it is none."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    """A float, unless it is beyond what floats can hold."""
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits[:20])


def _json_in(answer: str) -> str:
    """What of an answer is most likely meant as JSON: a fenced block, or else all of it."""
    blocks = code_blocks(answer)
    named = (each.code for each in blocks if each.language.lower().startswith("json"))
    other = (each.code for each in blocks if each.code.lstrip().startswith(("{", "[")))
    return next(named, next(other, answer)).strip()


def _bracketed(text: str) -> list[str]:
    """The parts of a text between outermost brackets; one that is not closed goes to the end."""
    parts, depth, start, place = [], 0, 0, 0
    while sign := (_INSIDE if depth else _OUTSIDE).search(text, place):
        place = sign.end()
        if sign[0] in "[{":
            start = start if depth else sign.start()
            depth += 1
        elif sign[0] in "]}":
            depth -= 1
            if not depth:
                parts.append(text[start:place])
    return [*parts, text[start:]] if depth else parts


def _alone(parts: list[str], text: str) -> bool:
    """Whether a text is nothing but several values, one below the other."""
    return len(parts) > 1 and len("".join(parts)) >= len(_BETWEEN.sub("", text))


_FORMULA = re.compile(
    r"\\\[(?P<display>.*?)\\\]|\\\((?P<inline>.*?)\\\)|\$\$(?P<dollars>.*?)\$\$"
    r"|\\begin\{(?P<name>equation|align|gather|multline)(?P<star>\*?)\}(?P<body>.*?)"
    r"\\end\{(?P=name)(?P=star)\}|(?P<kept>(?<!\\)\$(?=\S)[^$\n]+?(?<=\S)\$)",
    re.DOTALL,
)
# What words alone do not have.
_SIGNS = re.compile(r"[\\^_=]")
_INNER = {"align": "aligned", "gather": "gathered"}


def latex(answer: str) -> str:
    r"""The LaTeX of an answer, its formulas between dollars, as every reader knows them.

    An answer that has no delimiters is one formula; a fence around it is taken off.

    Example:
        >>> latex(r"So \[ x^2 \] holds for \(x\).")
        'So \n\n$$\nx^2\n$$\n\n holds for $x$.'
    """
    blocks = code_blocks(answer)
    fenced = blocks and blocks[0].language.lower() in ("", "latex", "tex", "math", "katex")
    text = (blocks[0].code if fenced else answer).strip()
    if _FORMULA.search(text):
        return _FORMULA.sub(_formula, text).strip()
    return _display(text).strip() if _SIGNS.search(text) else text


def _formula(match: re.Match[str]) -> str:
    """One formula between dollars."""
    if match["kept"] is not None:
        return match["kept"]
    if match["inline"] is not None:
        return f"${_tight(match['inline'])}$"
    if match["name"] is not None:
        inner = _INNER.get(match["name"])
        body = _tight(match["body"])
        return _display(f"\\begin{{{inner}}}\n{body}\n\\end{{{inner}}}" if inner else body)
    return _display(match["display"] if match["display"] is not None else match["dollars"])


def _display(formula: str) -> str:
    """A formula on lines of its own."""
    return f"\n\n$$\n{_tight(formula)}\n$$\n\n"


def _tight(formula: str) -> str:
    """A formula without blank lines, which would end it."""
    return "\n".join(line for line in formula.strip().split("\n") if line.strip())

"""What an answer in a known form says: its code, its JSON value, its formulas. Nothing is shown."""

from __future__ import annotations

import contextlib
import json
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from mixmagic.errors import AnswerUnusable, one_line
from mixmagic.text.code_blocks import CodeBlock, code_blocks, main_block

# What can be done about an answer in another form than was asked for.
AGAIN = "Its text is kept: ask again, plainer or with -t 0, or read it as it is."
# An opening bracket, or what no JSON is in: [0, 1), {x, y}, [see below], the [ of a sentence.
_OUTSIDE = re.compile(
    r"(?P<prose>\[[^][{}()\"\n]*\)"
    r"|\{\s*[^][{}\"':\s][^][{}\"':]*\}"
    r"|\[\s*(?!(?:true|false|null|NaN|Infinity|None|True|False)\b)"
    r"(?:[^\W\d_][^][{}\"]*\]|[^\W\d_]+\s+[^\W\d_]))"
    r"|[\[{]"
)
# A bracket, or a text in which brackets mean nothing; one without an end goes to the end.
_INSIDE = re.compile(r'"(?:\\.|[^"\\])*"?|[\[\]{}]', re.DOTALL)
# A text, or a comment of JavaScript's, which models write into a fence.
_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"?|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_MARK = re.compile(r"(?:[-*+•]|\d{1,9}[.)])?")


def code(answer: str) -> str:
    r"""The code of an answer: its first fenced block, or all of it where it has none.

    A first block that only installs something is passed over: see `code_blocks.main_block`.

    Example:
        >>> code("Sure:\n```python\nx = 1\n```")
        'x = 1'
    """
    return block(answer).code


def block(answer: str) -> CodeBlock:
    """The block that `code` takes, or all of the answer as one without a language."""
    blocks = code_blocks(answer)
    return blocks[main_block(blocks)] if blocks else CodeBlock("", answer.strip("\n"))


def other_blocks(answer: str) -> str:
    r"""A remark on the blocks that `code` leaves out; empty where there are none.

    Example:
        >>> other_blocks("```sh\npip install x\n```\n```python\nimport x\n```")
        'the last of 2 code blocks'
    """
    blocks = code_blocks(answer)
    return one_of(main_block(blocks), len(blocks), "code blocks") if blocks else ""


def one_of(place: int, count: int, things: str) -> str:
    """A remark on one of several things, the others being left out; empty where it is alone.

    Example:
        >>> one_of(0, 2, "tables")
        'the first of 2 tables'
    """
    if count < 2:
        return ""
    which = {0: "the first", count - 1: "the last"}.get(place, f"number {place + 1}")
    return f"{which} of {count} {things}"


def loads(answer: str, *, exact: bool = False) -> Any:
    """The JSON value of an answer, which may stand in a fence or between words.

    Integers keep all their digits; of equal keys the last one counts. Values that stand one below
    the other (JSON Lines, a list's items) are a list. Of several fences the first counts, of
    several values between words the longest: see `other_values`.

    Args:
        answer: What the model wrote.
        exact: Whether a number is a `Decimal` where a float would lose digits.

    Raises:
        AnswerUnusable: It has no JSON, or such as cannot be read; says in which line and column.

    Example:
        >>> loads('Here it is: {"age": 31}. Anything else?')
        {'age': 31}
    """
    return _json(answer, exact=exact)[0]


def texts(answer: str) -> tuple[list[str], bool]:
    """The texts of the JSON values in an answer, the last one last; some may be unreadable.

    Returns:
        The texts, the answer itself if it is JSON; and whether they are a list's items, one below
        the other.

    Example:
        >>> texts('First {"a": 1}, then {"a": 2}.')
        (['{"a": 1}', '{"a": 2}'], False)
    """
    whole = answer.strip().removeprefix("\ufeff")
    if _is_json(whole):
        return [whole], False
    places = _bracketed(whole)
    parts = [whole[start:end] for start, end in places]
    known = set(parts)  # a bracket without an end hides what comes behind it, but not fences
    blocks = [each for each in _fenced(whole) if each not in known]
    return [*blocks, *parts], _alone(places, whole)


def value(text: str) -> Any:
    """The value of a JSON text, in which a number is a `Decimal` where a float would lose digits.

    Raises:
        ValueError: It is not JSON.
    """
    return _value(text, exact=True)


def uncommented(text: str) -> str:
    """A JSON text without JavaScript's comments."""
    return _COMMENT.sub(lambda part: part[0] if part[0][0] == '"' else "", text)


def other_values(answer: str) -> str:
    """A remark on the JSON that `loads` leaves out; empty where there is none.

    Example:
        >>> other_values('First {"a": 1}, then {"a": 200}.')
        'the longest of 2 JSON values'
    """
    try:
        return _json(answer)[1]
    except AnswerUnusable:
        return ""


def _json(answer: str, *, exact: bool = False) -> tuple[Any, str]:
    """The JSON value of an answer, and a remark on what is left out."""
    whole = answer.strip().removeprefix("\ufeff")
    with contextlib.suppress(ValueError):
        return _value(whole, exact=exact), ""
    fenced = _fenced(whole)
    meant, remark = fenced[0] if fenced else whole, one_of(0, len(fenced), "JSON blocks")
    if fenced:
        meant = uncommented(meant)
    with contextlib.suppress(ValueError):
        return _value(meant, exact=exact), remark
    places = _bracketed(meant)
    if not places:
        raise AnswerUnusable("The answer has no JSON in it.", AGAIN)
    parts = [meant[start:end] for start, end in places]
    alone = _alone(places, meant)
    try:
        read = [_value(part, exact=exact) for part in (parts if alone else [max(parts, key=len)])]
    except json.JSONDecodeError as error:
        near = one_line(error.doc[max(error.pos - 20, 0) : error.pos + 10], 40)
        where = f"in line {error.lineno}, column {error.colno} of it, near {near!r}"
        raise AnswerUnusable(f"The answer's JSON is none: {error.msg} {where}.", AGAIN) from None
    except ValueError as error:
        said = one_line(error, 120)
        raise AnswerUnusable(f"The answer's JSON cannot be read: {said}.", AGAIN) from None
    count = 0 if alone else sum(map(_is_json, parts))
    value = read if alone else read[0]
    return value, remark or (f"the longest of {count} JSON values" if count > 1 else "")


def _value(text: str, *, exact: bool = False) -> Any:
    """The value of a JSON text; `ValueError` where it is none."""
    try:
        return (_EXACT if exact else _DECODER).decode(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _is_json(text: str) -> bool:
    """Whether a text is a JSON value."""
    try:
        _value(text)
    except ValueError:
        return False
    return True


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    """A float, unless it is beyond what floats can hold."""
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits[:20])


def _exact(digits: str) -> float | Decimal:
    """A float, or a `Decimal` where that loses digits."""
    number = _finite(digits)
    with contextlib.suppress(InvalidOperation):  # its exponent is beyond those of a `Decimal`
        if Decimal(repr(number)) != (whole := Decimal(digits)):
            return whole
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
_EXACT = json.JSONDecoder(parse_constant=_refuse, parse_float=_exact)


def _fenced(answer: str) -> list[str]:
    """The fenced blocks that are meant as JSON: by their language, or else by how they begin."""
    blocks = code_blocks(answer)
    named = [each.code.strip() for each in blocks if each.language.lower().startswith("json")]
    return named or [
        each.code.strip() for each in blocks if each.code.lstrip().startswith(("{", "["))
    ]


def _bracketed(text: str) -> list[tuple[int, int]]:
    """Where a text has its outermost brackets; one that is not closed goes to the end."""
    parts, depth, start, place = [], 0, 0, 0
    while sign := (_INSIDE if depth else _OUTSIDE).search(text, place):
        place = sign.end()
        if sign.lastgroup == "prose":
            continue
        if sign[0] in "[{":
            start = start if depth else sign.start()
            depth += 1
        elif sign[0] in "]}":
            depth -= 1
            if not depth:
                parts.append((start, place))
    return [*parts, (start, len(text))] if depth else parts


def _alone(places: list[tuple[int, int]], text: str) -> bool:
    """Whether a text is nothing but several values, one below the other."""
    ends = [0, *(end for _, end in places)]
    starts = [*(start for start, _ in places), len(text)]
    between = (text[end:start].strip(", \t\r\n") for end, start in zip(ends, starts, strict=True))
    return len(places) > 1 and all(map(_MARK.fullmatch, between))


# Where a formula begins, or in `kept` one that stays as it is.
_OPENING = re.compile(
    r"\\\[|\\\(|\$\$|\\begin\{(?P<name>equation|align|gather|multline)(?P<star>\*?)\}"
    r"|(?P<kept>(?<!\\)\$(?=\S)[^$\n]+?(?<=\S)\$)"
)
_CLOSING = {"\\[": "\\]", "\\(": "\\)", "$$": "$$"}
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
    parts, done, place = [], 0, 0
    absent: set[str] = set()  # ends that are nowhere in the rest: looked for once, not each time
    while opening := _OPENING.search(text, place):
        start, end, closing = opening.start(), opening.end(), _closing(opening)
        if closing:
            end = -1 if closing in absent else text.find(closing, end)
            if end < 0:
                absent.add(closing)
                place = start + 1
                continue
        parts += [text[done:start], _formula(opening, text[opening.end() : end])]
        place = done = end + len(closing)
    if parts:
        return "".join([*parts, text[done:]]).strip()
    return _display(text).strip() if _SIGNS.search(text) else text


def _closing(opening: re.Match[str]) -> str:
    """The end of the formula that `opening` begins; empty if it is in the match."""
    if opening["kept"] is not None:
        return ""
    if opening["name"] is not None:
        return f"\\end{{{opening['name']}{opening['star']}}}"
    return _CLOSING[opening[0]]


def _formula(opening: re.Match[str], body: str) -> str:
    """A formula between dollars."""
    if opening["kept"] is not None:
        return opening[0]
    if opening[0] == "\\(":
        return f"${_tight(body)}$"
    if inner := _INNER.get(opening["name"]):
        return _display(f"\\begin{{{inner}}}\n{_tight(body)}\n\\end{{{inner}}}")
    return _display(body)


def _display(formula: str) -> str:
    """A formula on lines of its own."""
    return f"\n\n$$\n{_tight(formula)}\n$$\n\n"


def _tight(formula: str) -> str:
    """A formula without blank lines, which would end it."""
    return "\n".join(line for line in formula.strip().split("\n") if line.strip())

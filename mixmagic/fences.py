"""What is code or mathematics in Markdown: where it may be cut, which dollars are money.

Imports nothing of the project.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_CODE = re.compile(r" {0,3}(`{3,}|~{3,})([^`\n]*)$")
# What begins and ends display math.
MATH = "$$"
# A code span, in which it does not.
_SPAN = re.compile(r"(?<![`\\])(`+)(?!`).+?(?<!`)\1(?!`)")
# Outside fences: a code span, an escaped dollar, mathematics; else a dollar that is money. As in
# pandoc, mathematics neither begins nor ends with a blank, and no digit follows it.
_DOLLAR = re.compile(
    r"(?P<kept>(?P<ticks>(?<!`)`+(?!`)).*?(?<!`)(?P=ticks)(?!`)|\\\$|\$\$.*?\$\$"
    r"|\$(?=[^\s$`])[^$`]*?(?<=[^\s\\])\$(?!\d))|\$",
    re.DOTALL,
)
# Neither Markdown's reader nor the one of the finished page takes this for mathematics.
DOLLAR = "<span>&#36;</span>"


@dataclass(frozen=True, slots=True)
class Fence:
    """A code fence or display math: the line that opened it and the marker that closes it."""

    opening: str
    marker: str


def in_html(text: str) -> str:
    """A text in HTML: nothing of it is markup, nor, between two dollars, mathematics."""
    return html.escape(text).replace("$", DOLLAR)


def _after(line: str, fence: Fence | None) -> Fence | None:
    """The fence that is open after `line`, given the one open before it."""
    if fence is None:
        if code := _CODE.match(line):
            return Fence(line, code[1])
        return Fence(MATH, MATH) if MATH in line and _SPAN.sub("", line).count(MATH) % 2 else None
    if fence.marker == MATH:
        return None if line.count(MATH) % 2 else fence
    code = _CODE.match(line)
    closes = code and not code[2].strip() and code[1].startswith(fence.marker)
    return None if closes else fence


def open_fence(markdown: str) -> Fence | None:
    """The fence that `markdown` leaves open, if any."""
    fence = None
    for line in markdown.split("\n"):
        fence = _after(line, fence)
    return fence


def close_fence(markdown: str) -> str:
    """Close the fence that an answer cut short has left open."""
    fence = open_fence(markdown)
    return f"{markdown.rstrip()}\n{fence.marker}\n" if fence else markdown


def split(markdown: str, limit: int) -> tuple[str, str]:
    r"""Cut `markdown` in two that render as the whole did: (closed, rest).

    The cut is at the last blank line outside fences. Where there is none, nothing is cut up
    to twice `limit`; beyond it, at the last line's end, or at `limit`, and an open fence is
    closed before the cut and opened again behind it.

    Example:
        >>> split("one\n\ntwo", 4)
        ('one\n\n', 'two')
    """
    cut, position, fence = 0, 0, None
    for line in markdown.split("\n"):
        position += len(line) + 1
        fence = _after(line, fence)
        if fence is None and not line.strip() and position < len(markdown):
            cut = position
    if cut or len(markdown) <= 2 * limit:
        return markdown[:cut], markdown[cut:]
    # Behind the first line: cut there, an open fence would come back as long as it was.
    start = markdown.find("\n") + 1
    cut = markdown.rfind("\n", start, -1) + 1 or max(limit, start + 1)
    head, rest = markdown[:cut], markdown[cut:]
    fence = open_fence(head)
    if fence is None:
        return head, rest
    # An opening about as long as what was cut off would have to be said again for ever.
    long = len(fence.opening) > limit // 2 and cut - len(fence.opening) <= limit // 2
    return close_fence(head), rest if long else f"{fence.opening}\n{rest}"


def literal_dollars(markdown: str) -> str:
    """Keep "$5 or $10" from being set as mathematics: only dollars that pair are left.

    Example:
        >>> literal_dollars("$n$ costs $5")
        '$n$ costs <span>&#36;</span>5'
    """
    if "$" not in markdown:
        return markdown
    parts: list[str] = []
    paragraph: list[str] = []

    def flush() -> None:
        text = "".join(paragraph)
        parts.append(_DOLLAR.sub(lambda match: match["kept"] or DOLLAR, text))
        paragraph.clear()

    fence = None
    for line in markdown.splitlines(keepends=True):
        before, fence = fence, _after(line.rstrip("\r\n"), fence)
        if before is None and fence is None:
            paragraph.append(line)
            if not line.strip():
                flush()
        else:
            flush()
            parts.append(line)
    flush()
    return "".join(parts)

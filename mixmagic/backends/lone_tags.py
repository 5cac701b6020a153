"""Finds the end of thoughts in a finished answer, if only their closing tag is in it. No I/O."""

from __future__ import annotations

import re

# Opening and closing tags of thoughts.
PAIRS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "<longcat_think>": "</longcat_think>",
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|channel>thought": "<channel|>",
}
# A line that may begin or end a code block: its marks, and the text after them.
FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})([^\n]*)")
_SIGNS = re.compile(
    r"(?P<fence>^[ \t]*(?:`{3,}|~{3,})[^\n]*$)|(?P<end>\n)|(?P<ticks>`+)|(?P<quote>\")|\\[^\n]"
    rf"|(?P<closing>{'|'.join(map(re.escape, PAIRS.values()))})"
    rf"|(?P<opening>{'|'.join(map(re.escape, PAIRS))})",
    re.IGNORECASE | re.MULTILINE,
)
# Harmony's analysis without its marks: some servers drop special tokens.
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[^a-z\s])")
_BARE_FINAL = "assistantfinal"
# Signs that continue a sentence after a tag that it mentions.
_GOES_ON = tuple(".,;:!?)'\u201d\u2019\"")

_Span = tuple[int, int]


def last(text: str) -> _Span | None:
    r"""Return the span of the last closing tag that has no opening one and is not literal.

    A tag is literal if it is in a code block, or in a code span or quotation that ends on the same
    line. Time is linear in the text's length.

    Example:
        >>> last("A draft.\n</think>\nHi")
        (9, 17)
    """
    if _BARE_ANALYSIS.match(text) and (index := text.rfind(_BARE_FINAL)) > 0:
        return index, index + len(_BARE_FINAL)
    reader = _Reader(text)
    for sign in _SIGNS.finditer(text):
        if sign.lastgroup is not None:
            getattr(reader, sign.lastgroup)(sign)
    reader.end()
    return reader.found or next(iter(reader.fenced[-1:]), None)


class _Reader:
    """Reads the marks in a text, with a method for each kind.

    Attributes:
        found: The last closing tag so far that is surely not literal.
        fenced: The closing tags since the beginning of a code block, which may not end.
    """

    def __init__(self, text: str) -> None:
        self.found: _Span | None = None
        self.fenced: list[_Span] = []
        self._text = text
        self._quoted: list[_Span] = []  # in a code span or a quotation, which may not end
        self._fence = self._ticks = ""
        self._quote = False
        self._opened = 0

    def fence(self, sign: re.Match[str]) -> None:
        """A line that may begin or end a code block."""
        line = FENCE.match(sign[0])
        marks, info = line.groups() if line else ("", "")
        if not self._fence:
            self._fence = "" if marks[0] == "`" and "`" in info else marks
        elif info.strip():  # another one begins: the one in the thoughts had no end
            self.found = self.fenced[-1] if self.fenced else self.found
            self._fence = marks
            self.fenced.clear()
        elif marks.startswith(self._fence):
            self._fence = ""
            self.fenced.clear()

    def end(self, sign: re.Match[str] | None = None) -> None:
        """The end of a line: a code span or quotation that has not ended was not one."""
        self.found = self._quoted[-1] if self._quoted else self.found
        self._quoted.clear()
        self._ticks, self._quote = "", False

    def ticks(self, sign: re.Match[str]) -> None:
        """Backticks, which may begin or end a code span."""
        if self._fence or self._quote:
            return
        if self._ticks == sign[0]:
            self._ticks = ""
            self._quoted.clear()
        else:
            self._ticks = self._ticks or sign[0]

    def quote(self, sign: re.Match[str]) -> None:
        """A quotation mark."""
        if not (self._fence or self._ticks):
            self._quote = not self._quote
            self._quoted.clear()

    def opening(self, sign: re.Match[str]) -> None:
        """An opening tag, which is literal."""
        self._opened += 1

    def closing(self, sign: re.Match[str]) -> None:
        """A closing tag."""
        if self._opened:
            self._opened -= 1
        elif self._fence:
            self.fenced.append(sign.span())
        elif self._ticks or self._quote:
            self._quoted.append(sign.span())
        elif not self._is_mentioned(*sign.span()):
            self.found = sign.span()

    def _is_mentioned(self, start: int, end: int) -> bool:
        """True if a tag is in a line of text, and a sentence continues right after it."""
        begins_line = not start or self._text[start - 1] == "\n"
        return not begins_line and self._text.startswith(_GOES_ON, end)

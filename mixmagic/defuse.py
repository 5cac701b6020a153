r"""What a model writes, made harmless to whoever shows it: it may say anything, and do nothing.

A notebook's own outputs are trusted: raw HTML in Markdown runs there, a picture's address carries
away whatever the model was told to put into it, and a terminal obeys its escape sequences.

The readers of Markdown (JupyterLab's, nbconvert's, VS Code's) differ in what is code and what is
mathematics. So nothing here depends on their agreeing: outside of code, what could act is broken
up; code that would act as text is left alone only where everybody takes it for code, and is else
written as HTML without one active sign.

May import `fences`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mixmagic.fences import MATH, literal_dollars, open_fence

# What a terminal would obey instead of showing.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
# A fence, which may follow list markers on its line.
_FENCE = re.compile(r"( *(?:(?:[-*+]|\d{1,9}[.)]) {1,4})*)(`{3,}|~{3,})(.*)$")
_LANGUAGE = re.compile(r"\s*([\w+#.-]+)(?:\s|$)")
# Drawn by a program that fetches pictures and styles: shown as its source.
_DRAWN = "mermaid"
# What may begin a line without being a part of its text.
_MARKS = r"^(?P<marks>[ \t>*+.):\d-]*)"
# A label that does not end in its paragraph might end inside a later fence, and take it away.
_LABEL = re.compile(rf"{_MARKS}\[", re.MULTILINE)
_LABEL_ENDS = re.compile(r"\\[\s\S]|(?P<end>\])")
# No fence as it stands, but perhaps one for whoever takes mathematics out of it first.
_LOOKS_FENCED = re.compile(rf"{_MARKS}(?P<fence>`{{3,}}|~{{3,}})", re.MULTILINE)
# A tag, a link, its definition or a picture, should this be text.
_ACTIVE = re.compile(r"<[A-Za-z/!?]|\]\(|!\[|^[ \t]*\[[^\]\n]*\]:", re.MULTILINE)
_SPAN = re.compile(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)")
# A link to the web, such that every reader sees the same end of it.
_LINK = (
    r"\]\((?:https?://|mailto:|\#)(?:[^\s`<>()\\$\"]|\([^\s`<>()\\$\"]*\))*"
    r'(?: +"[^"`<>\n\\$]*")?\)'
)
_BREAK = re.compile(rf"(?P<link>{_LINK})|<(?=[A-Za-z/!?])|\]\(|\]:|!\[")
_INSTEAD = {"<": "&lt;", "](": "]&#40;", "]:": "]\\:", "![": "[image: "}
# Where somebody may see mathematics or code, an entity or a backslash would be a part of it.
_SPACED = {"<": "< ", "](": "] (", "]:": "] :", "![": "! ["}
_FOREIGN = re.compile(r"\$|\\\\?[(\[]|\\begin\{|^(?: {4}| *\t| *>)", re.MULTILINE)
_MATH_BEGINS = re.compile(r"\$\$|\\\\?[\[(]|\\begin\{")
_MATH_ENDS = re.compile(r"\$\$|\\\\?[\])]|\\end\{")
# Mathematics inside an address would be put back into it unescaped.
_ADDRESS = re.compile(r"(?:://|www\.)\S*", re.IGNORECASE)
_MATH_SIGNS = re.compile(r"[$\\]")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~\t\n]")


def plain(text: str) -> str:
    r"""A text without what a terminal would obey.

    Example:
        >>> plain("\x1b[31mred\x07")
        'red'
    """
    return _CONTROL.sub("", text)


def markdown(text: str) -> str:
    """A model's Markdown as it can be shown: no HTML, no script, no picture from elsewhere.

    Links lead to the web or nowhere; what is left open is closed; money stays money.

    Example:
        >>> markdown("<b>bold</b> ![x](https://example.org/?secret)")
        '&lt;b>bold&lt;/b> [image: x](https://example.org/?secret)'
    """
    lines = plain(text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    safe = "\n".join(_Writer().write(lines))
    fence = open_fence(safe)
    if fence is not None and fence.marker == MATH:
        safe = f"{safe}\n{MATH}"
    return literal_dollars(safe)


@dataclass(slots=True)
class _Code:
    """A fenced block: what stands before its fence, the fence, and what has come of it."""

    before: str
    marker: str
    language: str
    lines: list[str] = field(default_factory=list)

    def ends(self, line: str) -> bool:
        """Whether a reader may take `line` for its end."""
        match = _FENCE.match(line.expandtabs(4))
        return bool(
            match
            and not match[1].strip()
            and len(match[1]) <= len(self.before) + 3
            and match[2].startswith(self.marker)
            and not match[3].strip("`~ ")
        )

    def leaves(self, line: str) -> bool:
        """Whether `line` stands to the left of it: where its list ends, it does."""
        expanded = line.expandtabs(4)
        return bool(line.strip()) and len(expanded) - len(expanded.lstrip(" ")) < len(self.before)

    def written(self, *, certain: bool) -> list[str]:
        """Its lines: a fence, or HTML on one line where a reader might see something else."""
        body, margin = "\n".join(self.lines), len(self.before)
        if not certain or (margin and ("$" in body or _is_active(body))):
            # Line ends as entities too: a blank line would end the HTML.
            flush = [line.expandtabs(4)[margin:] for line in self.lines] if margin else self.lines
            return [f"{self.before}<pre><code>{_inert(chr(10).join(flush))}</code></pre>"]
        opening, closing = f"{self.before}{self.marker}{self.language}", " " * margin + self.marker
        return [opening, *self.lines, closing]


def _opened(line: str) -> _Code | None:
    """The fenced block that `line` opens."""
    match = _FENCE.match(line.expandtabs(4) if line.startswith((" ", "\t")) else line)
    if match is None or (match[2][0] == "`" and "`" in match[3]):
        return None
    language = _LANGUAGE.match(match[3])
    drawn = language and language[1].lower().startswith(_DRAWN)
    return _Code(match[1], match[2], language[1] if language and not drawn else "")


class _Writer:
    """Goes through the lines of a text and writes them anew."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._paragraph: list[str] = []
        self._math = False  # whether mathematics has begun, which may not have ended
        self._ended = False  # whether the last thing was a fence that no list holds

    def write(self, lines: list[str]) -> list[str]:
        """The lines, written anew."""
        code: _Code | None = None
        for line in lines:
            if code is not None:
                if code.ends(line):
                    self._add_code(code)
                    code = None
                    continue
                if not code.leaves(line):
                    code.lines.append(line)
                    continue
                self._add_code(code)
            code = _opened(line)
            if code is not None or not line.strip():
                self._add_paragraph()
                self._out += [line] if code is None else []
            else:
                self._paragraph.append(line)
        if code is not None:
            self._add_code(code)
        self._add_paragraph()
        return self._out

    def _add_code(self, code: _Code) -> None:
        """Write a fenced block."""
        body = "\n".join(code.lines)
        certain = not (self._math and (_MATH_ENDS.search(body) or _is_active(body)))
        # Else what stands before it could be continued by it, in a list of another number or so.
        if not 1 <= len(code.before) <= 3 or code.before.strip():
            self._set_apart()
        self._out += code.written(certain=certain)
        self._ended = not code.before

    def _add_paragraph(self) -> None:
        """Write the lines that stand together."""
        if not self._paragraph:
            return
        text = "\n".join(self._paragraph)
        if self._ended:
            self._set_apart()
        self._out += _text(text, spaced=self._math or bool(_FOREIGN.search(text))).split("\n")
        self._paragraph.clear()
        self._math = self._math or bool(_MATH_BEGINS.search(text))

    def _set_apart(self) -> None:
        """Leave a blank line."""
        if self._out and self._out[-1].strip():
            self._out.append("")


def _text(text: str, *, spaced: bool) -> str:
    """A paragraph in which nothing can act."""
    instead = _SPACED if spaced else _INSTEAD
    parts, done = [], 0

    def broken(rest: str) -> str:
        rest = _BREAK.sub(lambda match: match["link"] or instead[match[0]], rest)
        rest = _LOOKS_FENCED.sub(lambda match: match["marks"] + _inert(match["fence"]), rest)
        return _ADDRESS.sub(lambda match: _MATH_SIGNS.sub(_entity, match[0]), rest)

    for span in _SPAN.finditer(text):
        parts.append(broken(text[done : span.start()]))
        active = _is_active(span[2]) or len(span[1]) > 2
        parts.append(f"<code>{_inert(span[2])}</code>" if active else span[0])
        done = span.end()
    whole = "".join([*parts, broken(text[done:])])
    last = max((end.start() for end in _LABEL_ENDS.finditer(whole) if end["end"]), default=-1)
    opened = "{}[" if spaced else "&#91;"
    return _LABEL.sub(lambda m: m[0] if m.end() <= last else m["marks"] + opened, whole)


def _is_active(text: str) -> bool:
    """Whether it would act, or could be made to by mathematics in an address."""
    return bool(_ACTIVE.search(text)) or any(
        _MATH_SIGNS.search(address[0]) for address in _ADDRESS.finditer(text)
    )


def _inert(text: str) -> str:
    """A text as HTML in which no reader finds a sign of its own."""
    return _PUNCTUATION.sub(_entity, text)


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match[0])};"

"""The words of a text, by a reader without HTML: none may be lost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Its own limit of nesting would drop what is deeper.
_READER = MarkdownIt("commonmark", {"html": False, "maxNesting": 500})
_READER.enable(["table", "strikethrough"]).validateLink = lambda url: True
_NO_TEXT = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\ufffd]"
)
# HTML that is read as the sign that it shows, as it is the sanitizer's own.
_OWN = re.compile(r"<span>&#(?:36|92);</span>")
# The box of a task.
_BOX = re.compile(r"(?<=[-+*.)] )\[[xX]\] ")
_WORDS = re.compile(r"[^\W_]+")
# Mathematics, which that reader does not know, and definitions of links, which it knows more of.
_OTHERWISE = re.compile(r"\$|\\[\[(]|\\begin|\]\s*:|<code>")


def _said(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.children:
            yield from _said(token.children)
        elif token.type not in ("image", "inline"):
            yield token.content


def said(text: str) -> str:
    """Return the words that a reader shows of a text, without markup."""
    return "".join(_said(_READER.parse(text)))


def lost(text: str, shown: str) -> str | None:
    """The first letters or digits of a text that are not shown, with some around them.

    `None` if there are none, or if the text may be read otherwise.

    Args:
        text: Markdown.
        shown: What is to be read of it.
    """
    clean = _NO_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    if _OTHERWISE.search(clean):
        return None
    wanted = "".join(_WORDS.findall(said(_BOX.sub("", _OWN.sub("$", clean)))))
    found = iter("".join(_WORDS.findall(shown)))
    for position, letter in enumerate(wanted):
        if letter not in found:
            return wanted[max(0, position - 10) : position + 20]
    return None

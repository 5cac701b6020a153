r"""Find what a translation must not change inside a line of text: code, links, formulas, names.

A scanner of regular expressions, not a parser: what it finds is hidden from the model, so that a
false find costs little, and one missed is found by the checks.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from mixmagic.text.mathematics import looks_like_mathematics


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text that must not change.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last character; equal to `start` for the end of a shortcut link.
        kind: `code`, `math`, `target`, …
    """

    start: int
    end: int
    kind: str


# A mark, in the forms in which models return it; see `spans`.
MARK = re.compile(r"\[\s*\[\s*(\d{1,6})\s*\]\s*\]")

_ATTRIBUTES = r"""(?:\s+[^\s"'<>=/`]++(?:\s*=\s*(?:"[^"]*+"|'[^']*+'|[^\s"'=<>`]++))?)*+\s*/?"""
_EXTENSIONS = (
    "bash|bat|bib|bz2|c|cc|cfg|conf|cpp|css|csv|cu|db|dll|doc|docx|env|exe|feather|gguf|gif|gz|h|h5"
    "|html?|ini|ipynb|jar|java|jl|jpe?g|json|jsonl|jsx|lock|log|md|mp3|mp4|npy|npz|onnx|parquet|pdf"
    "|php|pkl|png|po|pot|pptx?|ps1|pth?|py|pyi|qmd|r|rb|rmd|rs|rst|safetensors|scss|sh|so|sql"
    "|sqlite3?|svg|tar|tex|tiff?|toml|tsv|tsx|txt|wasm|wav|webm|webp|whl|xlsx?|xml|ya?ml|zip"
)
# The first that matches at the leftmost position counts. Lengths are limited, so that a text of
# openings without ends takes linear time.
_RULES = {
    "mark": MARK.pattern.replace("(", "(?:"),
    "break": r"(?:\x20{2,}|\\)\n",
    # A role of MyST or reStructuredText may stand before it. `_code` finds its end.
    "code": r"(?:\{[A-Za-z][\w:.+-]*\}|(?<![\w:]):[A-Za-z][\w:.+-]*:)?(?P<ticks>`+)",
    "comment": r"<!--[\s\S]{0,2000}?-->",
    "element": rf"<(?P<element_name>code|pre|script|style|kbd|samp|var|math|svg|tt){_ATTRIBUTES}>"
    r"[\s\S]{0,2000}?</(?P=element_name)\s*>",
    "autolink": r"<(?:[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*|[\w.+-]+@[\w.-]+)>",
    "tag": rf"<(?:/?[A-Za-z][\w:.-]*+{_ATTRIBUTES}|![A-Za-z][^>]*|\?[\s\S]{{0,2000}}?\?)>",
    "entity": r"&(?:\#\d{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});",
    "template": r"\{\{[\s\S]{0,2000}?\}\}|\{%[\s\S]{0,2000}?%\}|\{\#\s[\s\S]{0,2000}?\s\#\}"
    r"|<%[\s\S]{0,2000}?%>",
    "environment": r"\\begin\{(?P<environment_name>[A-Za-z]+\*?)\}[\s\S]{0,2000}?"
    r"\\end\{(?P=environment_name)\}",
    "math": r"\$\$(?:[^$\\]|\\[\s\S]){1,2000}+\$\$"
    # By pandoc's rules, so that amounts of money are not formulas; not `$HOME:$PATH`.
    r"|(?<![\w$\\])\$(?![\s$])(?P<formula>(?:[^$\\]|\\[\s\S]){1,1000}?)(?<!\s)\$(?![\dA-Z_{$])"
    r"|\\\((?P<round>(?:[^\\]|\\[^)]){1,1000}?)\\\)|\\\[(?P<square>(?:[^\\]|\\[^\]]){1,1000}?)\\\]"
    r"|\\\\\((?:[^\\]|\\[^\\]){1,1000}?\\\\\)|\\\\\[(?:[^\\]|\\[^\\]){1,1000}?\\\\\]",
    "variable": r"(?:\$\{[^{}\s`]{0,200}\}|(?<![\w$])\$[A-Za-z_]\w+(?!\w|\$)|(?<!\w)%[A-Z_]{2,}%)"
    r"(?:[/\\]\w[\w.+@%~=-]*(?<=\w))*+/?",
    "target": r"\]\(",  # of a link or an image; `_target` finds its end
    "reference": r"(?<=\])\[[^\[\]\n]*[^\[\]\s][^\[\]\n]*\](?![\[(])",
    "footnote": r"\[\^[^\[\]\s]+\]",
    "citation": r"\[(?:[^\[\]\n@`]*[\s-])?@[\w{][^\[\]\n`]*\](?![\[(])",
    "contents": r"\[TOC\]|\[\[_?TOC_?\]\]",
    "url": r"(?<![A-Za-z0-9])(?:[A-Za-z][A-Za-z0-9+.-]*://|mailto:|doi:|arXiv:|data:\w+/|www\.)"
    r"[^\s<>\"`|\\^\0]+",
    "email": r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+",
    "path": r"(?<![\w/\\:.~<>*@])(?:(?:~|\.{1,2}|[A-Za-z]:)(?:/[\w.+@%~=-]*|\\\w[\w.+@%~=-]*)+"
    r"|/[\w.+@%~-]*\w(?:/[\w.+@%~=-]*)*)(?<![.])"
    rf"|(?<![\w/.@-])(?:[\w.@-]{{1,99}}/){{0,20}}[\w.-]{{0,99}}\w\.(?:{_EXTENSIONS})(?![\w-]|\.\w)"
    r"|(?<![\w/.@-])[a-z][\w.-]{0,99}\.(?:js|ts|mjs)(?![\w-]|\.\w)"
    r"|(?<![\w/.@-])(?:[\w.-]{1,99}/){1,20}(?=[\s),;:!?'\"]|\.?$)",
    "domain": r"(?<![\w@./-])(?:[a-z0-9-]{1,63}\.){1,9}(?:com|org|net|io|dev|ai|edu|gov)"
    r"(?:/[^\s<>\"`|\\)]*)?(?<![.,;:!?])(?![\w-])",
    "mention": r"(?<![\w@/.])@[A-Za-z_][\w/-]*(?:\.\w+)*",
    "placeholder": r"\{[^\s{}`]{0,200}\}|\{:?\s*[\#.][^{}\n]{0,200}\}"
    r"|\{[A-Za-z_][\w.\[\]]*(?:![rsa])?:[^{}\n]{0,12}\}"
    r"|%\([^()\n]+\)[-+0\#]*\d*(?:\.\d+)?[A-Za-z]"
    r"|%(?:\d+\$)?[-+0\#]*(?:\d+|\*)?(?:\.(?:\d+|\*))?(?:hh?|ll?|z)?"
    r"[sdifgeorxXcuFEGp](?![A-Za-z0-9])|%%",
    "emoji": r"(?<![\w:]):(?:[a-z][a-z0-9_+-]*|[+-]1):(?![\w:])",
    "color": r"(?<![\w&])\#[0-9A-Fa-f]{6}(?!\w)",
    "option": r"(?<![\w-])--[A-Za-z][\w-]*(?:=[^\s,;)]+)?",
    "name": r"(?<![\w\\])[A-Za-z][A-Za-z0-9]*(?:\\?_[A-Za-z0-9]+)+(?:\(\))?(?!\w)"
    r"|(?<![\w\\])[A-Za-z_][\w.]{0,99}\(\)",
    "command": r"\\[A-Za-z]+\*?(?:\[[^\[\]\n`]*\])?(?:\{[^{}\n`]*\})*",
    "escape": r"\\[!-/:-@\[-`{-~]",
}
_MARKDOWN_ONLY = ("break", "reference", "contents", "escape")
_FILLER = "\0"
_AFTER_URL = ".,;:!?'*_~…。»”]}"
# The target of a link; parentheses in it are balanced.
_DESTINATION = re.compile(
    r"\s*(?:<[^<>\n]*>|(?!<)(?:[^\s()\\]|\\[^\s]|\((?:[^\s()\\]|\\[^\s]|\([^\s()]*+\))*+\))++)"
)
_TITLE = re.compile(r"""\s+("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\((?:[^()\\]|\\.)*\))""")
_ROLE_TARGET = re.compile(r"\s*<[^<>`]+>$")
_LABEL = re.compile(r"\[((?:[^\[\]\\]|\\.)+)\](\[\])?(?![\[(:])")
_WORDS = re.compile(r"(?<!\\)\b[A-Za-z]{3,}\b")


def find_spans(
    text: str,
    *,
    markdown: bool,
    terms: Sequence[str] = (),
    labels: Collection[str] = (),
    fixed: Sequence[tuple[int, int]] = (),
) -> list[Span]:
    """Return the parts of a text that must not change, in their order, without overlaps.

    Args:
        text: A paragraph, a heading, a cell.
        markdown: True to read it as Markdown: references, escapes, line breaks.
        terms: Words that stay as they are, in this case of their letters.
        labels: The labels of the document's link definitions, as `normalized`.
        fixed: The offsets of further parts, in their order.

    Example:
        >>> find_spans("Call `f(x)` twice", markdown=True)
        [Span(start=5, end=11, kind='code')]
    """
    for start, end in fixed:  # no rule begins or ends inside such a part
        text = f"{text[:start]}{_FILLER * (end - start)}{text[end:]}"
    spans = list(_found(text, _pattern(markdown, tuple(terms))))
    if fixed:
        spans = _united(spans, [Span(start, end, "fixed") for start, end in fixed])
    if labels and markdown:
        spans += _label_spans(text, spans, labels)
        spans.sort(key=lambda span: (span.start, span.end))
    return spans


def normalized(label: str) -> str:
    """Return the label of a link in the form in which labels are compared.

    Example:
        >>> normalized("My  Link")
        'my link'
    """
    return " ".join(label.split()).casefold()


def _united(spans: Sequence[Span], fixed: Sequence[Span]) -> list[Span]:
    """Return all spans; one that contains a fixed part stays whole."""
    inside = [
        part
        for part in fixed
        if not any(span.start <= part.start and part.end <= span.end for span in spans)
    ]
    return sorted([*spans, *inside], key=lambda span: span.start)


@functools.lru_cache(64)
def _pattern(markdown: bool, terms: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of all rules."""
    rules = {kind: rule for kind, rule in _RULES.items() if markdown or kind not in _MARKDOWN_ONLY}
    if words := sorted((re.escape(term) for term in terms if term.strip()), key=len, reverse=True):
        rules["term"] = rf"(?<!\w)(?:{'|'.join(words)})(?!\w)"
    return re.compile("|".join(f"(?P<{kind}>{rule})" for kind, rule in rules.items()))


def _found(text: str, pattern: re.Pattern[str]) -> Iterator[Span]:
    """Yield what the rules find."""
    position = 0
    while match := pattern.search(text, position):
        kind = match.lastgroup or ""
        spans = _SPECIAL.get(kind, _plain)(text, match, kind)
        yield from spans
        # Backticks that close nowhere are text, all of them.
        position = spans[-1].end if spans else match.end() if kind == "code" else match.start() + 1


def _plain(text: str, match: re.Match[str], kind: str) -> list[Span]:
    """Return the span of a match."""
    return [Span(match.start(), match.end(), kind)]


def _code(text: str, match: re.Match[str], kind: str) -> list[Span]:
    """Return a code span; of a role such as {ref}`text <target>`, all but its text."""
    ticks = match["ticks"]
    closing = re.compile(rf"(?<!`){ticks}(?!`)").search(text, match.end())
    if closing is None:
        return []
    if match.end() - match.start() > len(ticks):  # a role
        target = _ROLE_TARGET.search(text[match.end() : closing.start()])
        if target and target.start():
            start = match.end() + target.start()
            return [Span(match.start(), match.end(), "role"), Span(start, closing.end(), "role")]
    return [Span(match.start(), closing.end(), kind)]


def _math(text: str, match: re.Match[str], kind: str) -> list[Span]:
    r"""Return a formula, unless its delimiters are escaped brackets or signs of money."""
    for group, display in (("round", False), ("square", True)):
        if (body := match[group]) is not None and not looks_like_mathematics(body, display=display):
            return []
    if (
        (body := match["formula"])
        and not re.search(r"[\\^_={}]", body)
        and len(_WORDS.findall(body)) > 1
    ):
        return []
    return _plain(text, match, kind)


def _target(text: str, match: re.Match[str], kind: str) -> list[Span]:
    """Return the target of a link or an image; its title stays visible."""
    if text.startswith(")", match.end()):
        return []
    destination = _DESTINATION.match(text, match.end())
    if destination is None:
        return []
    start, end = destination.span()
    after = title.end() if (title := _TITLE.match(text, end)) else end
    closing = re.compile(r"\s*\)").match(text, after)
    if closing is None:
        return []
    if not title or not re.search(r"[^\W\d_]{2}", title[1]):
        end = closing.end() - 1
    return [Span(start, end, kind)]


def _url(text: str, match: re.Match[str], kind: str) -> list[Span]:
    """Return a URL without the punctuation of the sentence after it."""
    url = match[0]
    while url and (url[-1] in _AFTER_URL or (url[-1] == ")" and url.count(")") > url.count("("))):
        url = url[:-1]
    if ")" in url and "(" not in url:  # `(see http://a.b)or`
        url = url[: url.index(")")]
    return [Span(match.start(), match.start() + len(url), kind)] if url else []


_SPECIAL = {"code": _code, "math": _math, "target": _target, "url": _url}


def _label_spans(text: str, spans: Sequence[Span], labels: Collection[str]) -> Iterator[Span]:
    """Yield the ends of links whose text is their label: `[Guide]`, `[Guide][]`."""
    for match in _LABEL.finditer(text):
        inside = any(span.start < match.end() and match.end() - 1 < span.end for span in spans)
        if not inside and normalized(match[1]) in labels:
            start = match.end() if match[2] is None else match.start(2)
            yield Span(start, match.end(), "label")

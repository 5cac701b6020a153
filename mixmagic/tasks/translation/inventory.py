"""Compare what a translation must not change: code, formulas, links, tags, placeholders."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.scan import Span, find_spans
from mixmagic.tasks.translation.sentences import sentences

# What a hidden part is called, by its kind; kinds that are not here are not compared as a whole.
_NAMES = {
    "code": "The code",
    "role": "The role",
    "math": "The formula",
    "environment": "The formula",
    "element": "The element",
    "comment": "The comment",
    "tag": "The HTML tag",
    "template": "The template tag",
    "variable": "The variable",
    "placeholder": "The placeholder",
    "footnote": "The footnote",
    "citation": "The citation",
    "reference": "The reference",
    "url": "The URL",
    "target": "The link target",
    "email": "The e-mail address",
    "emoji": "The emoji code",
    "mark": "The mark",
    "contents": "The mark",
    "command": "The command",
    "path": "The path",
    "domain": "The address",
    "mention": "The name",
    "color": "The color",
    "option": "The option",
    "name": "The name",
}
# Found by rules that also match words of some language: only a loss is sure, and by its letters.
_BY_LETTERS = ("path", "domain", "mention", "color", "option", "name", "reference", "command")
# Tags that a translation may need: of ordinal numbers, and of line breaks.
_FREE_TAGS = re.compile(r"</?(?:sup|sub|wbr|br|bdi)\b[^>]*>", re.IGNORECASE)
_NUMBERED = re.compile(r"(?<![0-9%])%[0-9]{1,2}(?![0-9])")
_ATTRIBUTE = re.compile(r"""([^\s"'<>=/]+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'<>]+))?""")
# Attributes with words that people read.
_READ = ("alt", "title", "placeholder", "label", "summary", "aria-label", "lang", "content")
# A name such as IPv4 or Jinja2.
_NAME = re.compile(r"(?<![\w-])(?=[A-Za-z]\w*[0-9])[A-Za-z0-9]+(?![\w-])")
# A placeholder that a program fills in by its position.
_BY_POSITION = re.compile(r"(?<!%)%(?:\.[0-9]+)?[sdifr](?![A-Za-z0-9])")
_LONGEST = 60
_QUOTES = "\"'“”„«»\u2019"
_GAP = "\ufffc"
_WORDS = {"entity": " ", "tag": " ", "break": " ", "escape": ""}


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a text that are not words.

    Attributes:
        text: The text.
        counts: How often each part occurs, by its kind and the form in which it is compared.
        raw: A part as it is written, by the same keys.
        words: The text with a sign of replacement for each part.
    """

    text: str
    counts: Counter[tuple[str, str]]
    raw: dict[tuple[str, str], str]
    words: str


def parts_of(text: str, *, markdown: bool) -> Parts:
    """Return the parts of a text that are not words.

    Args:
        text: The text.
        markdown: True to read it as Markdown.

    Example:
        >>> parts_of("Call `f` with {x}", markdown=True).counts[("code", "f")]
        1
    """
    spans: Sequence[Span] = find_spans(text, markdown=markdown)
    taken = [(span.start, span.end) for span in spans]
    spans = sorted(
        [
            *spans,
            *(
                Span(match.start(), match.end(), "placeholder")
                for match in _NUMBERED.finditer(text)
                if not any(start < match.end() and match.start() < end for start, end in taken)
            ),
        ],
        key=lambda span: span.start,
    )
    counts: Counter[tuple[str, str]] = Counter()
    raw: dict[tuple[str, str], str] = {}
    words: list[str] = []
    position = 0
    for span in spans:
        part = text[span.start : span.end]
        key = _key(span.kind, part)
        counts[key] += 1
        raw.setdefault(key, part)
        words += [text[position : span.start], _WORDS.get(span.kind, _GAP) or part[-1]]
        position = span.end
    return Parts(text, counts, raw, "".join([*words, text[position:]]))


def part_faults(
    source: Parts, translation: Parts, *, markdown: bool, codes: tuple[str, str] = ("", "")
) -> list[Fault]:
    """Return the parts that a translation lost, changed or added.

    Args:
        source: What the text has.
        translation: What its translation has.
        markdown: True if both are Markdown.
        codes: The codes of both languages: `/en/` of a URL may become `/fr/`.

    Example:
        >>> ours, theirs = (parts_of(text, markdown=True) for text in ("Use {x}.", "Usa {y}."))
        >>> part_faults(ours, theirs, markdown=True)[0].message
        'The placeholder {x} became {y}.'
    """
    lost = _missing(source, translation, markdown=markdown)
    added = [
        key
        for key in _missing(translation, source, markdown=markdown)
        if key[0] not in _BY_LETTERS
        and not _FREE_TAGS.fullmatch(translation.raw[key])
        and (markdown or key[0] != "code")
    ]
    faults = []
    for key in lost:
        kind, name, part = key[0], _NAMES[key[0]], _shown(source.raw[key])
        other = next((other for other in added if other[0] == kind), None)
        if other is not None and _localized(key[1], codes) == other[1]:
            added.remove(other)
        elif other is not None:
            added.remove(other)
            changed = _shown(translation.raw[other])
            faults.append(Fault(kind, f"{name} {part} became {changed}."))
        elif translation.counts[key] and _said_once(key, source, translation):
            continue
        elif translation.counts[key]:
            times = f"{translation.counts[key]} of {source.counts[key]}"
            faults.append(Fault(kind, f"{name} {part} is missing ({times})."))
        else:
            faults.append(Fault(kind, f"{name} {part} is missing."))
    for key in added:
        name, part = _NAMES[key[0]], _shown(translation.raw[key])
        times = "so often" if source.counts[key] else "at all"
        faults.append(Fault(key[0], f"{name} {part} does not occur {times} in the source."))
    return [*faults, *_order_faults(source, translation), *_name_faults(source, translation)]


def _order_faults(source: Parts, translation: Parts) -> list[Fault]:
    """Return the fault of placeholders whose values a program would exchange."""
    ours, theirs = (_BY_POSITION.findall(each.text) for each in (source, translation))
    if ours == theirs or Counter(ours) != Counter(theirs):
        return []
    listed = ", ".join(ours)
    return [Fault("placeholder", f"The placeholders {listed} must stay in this order.")]


def _missing(one: Parts, other: Parts, *, markdown: bool) -> list[tuple[str, str]]:
    """Return the parts of a text that another one has less often."""
    found = []
    for key, count in one.counts.items():
        kind, form = key
        if kind not in _NAMES or other.counts[key] >= count:
            continue
        if (kind == "target" and markdown) or form.endswith("://"):
            continue  # `structure` compares links
        if kind == "path" and not re.search(r"\w\w", form):
            continue
        # Not found by the scanner, but there: the letters around it are others.
        plain = kind == "name" or (kind == "code" and not markdown)
        written = form if plain else one.raw[key]
        by_letters = kind in _BY_LETTERS or (kind != "tag" and not _among_others(key, one))
        if not by_letters or other.text.count(written) < min(count, one.text.count(written)):
            found.append(key)
    return found


def _localized(form: str, codes: tuple[str, str]) -> str:
    """Return a URL, or a tag with one, of the same page in the other language."""
    ours, theirs = codes
    return re.sub(rf"(?<=[/.]){ours}(?=[/.])", theirs, form) if ours and "//" in form else ""


def _said_once(key: tuple[str, str], source: Parts, translation: Parts) -> bool:
    """Return True if two sentences with the same named placeholder became one."""
    named = key[0] == "placeholder" and re.search(r"[A-Za-z]{2}", key[1])
    return bool(named) and len(sentences(translation.words)) < len(sentences(source.words))


def _among_others(key: tuple[str, str], one: Parts) -> bool:
    """Return True if a part is written within another one of the same text."""
    return any(key != other and one.raw[key] in one.raw[other] for other in one.raw)


def _key(kind: str, part: str) -> tuple[str, str]:
    """Return the kind of a part, and the form in which it is compared."""
    if kind == "code":
        return kind, " ".join(part.strip("`").split()) if part.startswith("`") else part
    if kind in ("math", "environment"):
        return "math", re.sub(r"\s+", "", part)
    if kind in ("autolink", "url"):
        return "url", part.strip("<>" + _QUOTES)
    if kind == "tag":
        return kind, _tag(part)
    if kind in ("element", "comment", "template"):
        return kind, " ".join(part.split())
    if kind == "name":
        return kind, part.removesuffix("()")
    if kind == "entity":
        return kind, html.unescape(part)
    return kind, part


def _tag(part: str) -> str:
    """Return a tag with its attributes in order, without those that people read."""
    name = re.match(r"</?[^\s/>]*", part)
    if name is None or part.startswith(("<!", "<?")):
        return part
    attributes = sorted(
        f"{match[1].lower()}={'' if match[1].lower() in _READ else (match[2] or '').strip(_QUOTES)}"
        for match in _ATTRIBUTE.finditer(part[name.end() :].rstrip("/>"))
    )
    return " ".join([name[0].lower(), *attributes])


def _name_faults(source: Parts, translation: Parts) -> list[Fault]:
    """Return the faults of names with digits."""
    other = translation.text.lower()
    names = dict.fromkeys(_NAME.findall(source.words))
    return [
        Fault("name", f"The name {name} is missing.") for name in names if name.lower() not in other
    ]


def _shown(part: str) -> str:
    """Return a part as a fault names it."""
    line = " ".join(part.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"

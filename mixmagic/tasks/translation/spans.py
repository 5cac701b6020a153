"""Hide from a model what it must not change: each such part of a text becomes a numbered mark."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.scan import MARK, Span, find_spans, normalized

_WORD = re.compile(r"[^\W\d_]{2}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_LONGEST = 60  # characters of a part that a fault names
# The end of a link, as models write it.
_LINK_END = re.compile(rf"\]\s*\(\s*({MARK.pattern})(\s*)(?=\)|[\"'(])")
# A mark with spaces that some models add.
_AFTER_SPACE = re.compile(rf"\s+{MARK.pattern}")
_BEFORE_SPACE = re.compile(rf"{MARK.pattern}\s+")


@dataclass(frozen=True, slots=True)
class Restored:
    """The text of a model's answer, with everything hidden put back.

    Attributes:
        text: The text; the best that the answer allows if there are faults.
        faults: Marks that are missing, repeated or unknown, and links that are broken.
    """

    text: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Masked:
    """A text whose parts that must not change are numbered marks.

    Attributes:
        source: The whole text.
        text: The text for the model.
        hidden: The parts: mark 1 is the first.
        kinds: Their kinds.
    """

    source: str
    text: str
    hidden: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def has_words(self) -> bool:
        """True if anything is left to translate.

        Example:
            >>> mask("`x`: $y$", markdown=True).has_words
            False
        """
        return bool(_WORD.search(MARK.sub(" ", self.text)))

    def restore(self, answer: str) -> Restored:
        """Replace the marks by the hidden parts; never raises.

        Line ends of the answer become spaces if the text had none. Spaces around the answer are
        those of the source.

        Example:
            >>> restored = mask("Call `f(x)` now.", markdown=True).restore("Appelez maintenant.")
            >>> restored.text, restored.faults[0].message
            ('Appelez maintenant.', '`f(x)` is missing.')
        """
        answer = answer.strip()
        if "\n" not in self.text.strip():
            answer = re.sub(r"\s*\n\s*", " ", answer)
        answer = _LINK_END.sub(self._close_link, answer)
        answer = _AFTER_SPACE.sub(self._without_space_before, answer)
        answer = _BEFORE_SPACE.sub(self._without_space_after, answer)
        parts: list[str] = []
        faults: list[Fault] = []
        seen: Counter[str] = Counter()
        position = 0
        for match in MARK.finditer(answer):
            parts.append(answer[position : match.start()])
            position = match.end()
            index = int(match[1]) - 1
            if not 0 <= index < len(self.hidden):
                faults.append(Fault("unknown", f"{match[0]} does not occur in the text."))
                continue
            part, fault = self._part(index, "".join(parts))
            parts.append(part)
            seen[self.hidden[index]] += 1
            faults += [fault] if fault else []
        parts.append(answer[position:])
        faults += self._counted(seen)
        text = "".join(parts)
        before, after = _outer(self.source)
        return Restored(f"{before}{text}{after}", tuple(faults))

    def _close_link(self, match: re.Match[str]) -> str:
        """Return the end of a link without superfluous spaces."""
        index = int(match[2]) - 1
        if 0 <= index < len(self.kinds) and self.kinds[index] == "target":
            titled = match.string[match.end()] != ")"
            return f"]({match[1]}{(match[3] or ' ') if titled else ''}"
        return match[0]

    def _without_space_before(self, match: re.Match[str]) -> str:
        """Return a mark without a space before it that its part cannot have."""
        index = int(match[1]) - 1
        if (
            not 0 <= index < len(self.kinds)
            or self.text.partition(mark_of(index))[0][-1:].isspace()
        ):
            return match[0]
        ends = self.kinds[index] in ("label", "reference", "break", "footnote")
        return match[0].lstrip() if ends or self.hidden[index].startswith("</") else match[0]

    def _without_space_after(self, match: re.Match[str]) -> str:
        """Return a mark without a space after it that its part cannot have."""
        index = int(match[1]) - 1
        if not 0 <= index < len(self.kinds) or self.text.partition(mark_of(index))[2][:1].isspace():
            return match[0]
        opens = self.kinds[index] == "tag" and self.hidden[index][1] != "/"
        return match[0].rstrip() if opens or self.kinds[index] == "break" else match[0]

    def _part(self, index: int, before: str) -> tuple[str, Fault | None]:
        """Return a hidden part for its place, and a fault if it does not fit there."""
        part, kind = self.hidden[index], self.kinds[index]
        if kind == "label":
            return _label(part, before, self._label_of(index))
        if kind == "target" and not before.endswith("]("):
            return part, Fault("link", f"The link to {_shown(part)} is broken.")
        if kind == "reference" and not before.endswith("]"):
            return part, Fault("link", f"The link {_shown(part)} is broken.")
        return part, None

    def _label_of(self, index: int) -> str:
        """Return the text of a link, in the source, that is its own label."""
        mark = mark_of(index)
        return _last_bracket(self.text[: self.text.index(mark)])

    def _counted(self, seen: Counter[str]) -> list[Fault]:
        """Return the faults of parts that are missing or occur too often."""
        expected = Counter(self.hidden)
        faults = []
        for part, count in expected.items():
            shown = _shown(part) if part else "A link"
            if seen[part] < count:
                times = "" if count == 1 else f" ({seen[part]} of {count})"
                faults.append(Fault("missing", f"{shown} is missing{times}."))
            elif seen[part] > count:
                faults.append(Fault("repeated", f"{shown} occurs {seen[part]} times, not {count}."))
        return faults


def mask(
    text: str,
    *,
    markdown: bool,
    terms: Sequence[str] = (),
    labels: Collection[str] = (),
    fixed: Sequence[tuple[int, int]] = (),
) -> Masked:
    """Return a text with marks instead of what must not change.

    A mark in the source itself is hidden like everything else, so that it is not confused.

    Args:
        text: A paragraph, a heading, a cell.
        markdown: True to read it as Markdown.
        terms: Words that stay as they are, in this case of their letters.
        labels: The labels of the document's link definitions, as `scan.normalized`.
        fixed: The offsets of further parts to hide.

    Example:
        >>> mask("Call `f(x)` and see [the guide](a.md).", markdown=True).text
        'Call [[1]] and see [the guide]([[2]]).'
    """
    found = find_spans(text, markdown=markdown, terms=terms, labels=labels, fixed=fixed)
    spans = _joined(found)
    parts, position = [], 0
    for index, span in enumerate(spans):
        parts += [text[position : span.start], mark_of(index)]
        position = span.end
    parts.append(text[position:])
    hidden = tuple(text[span.start : span.end] for span in spans)
    return Masked(text, "".join(parts), hidden, tuple(span.kind for span in spans))


def mark_of(index: int) -> str:
    """Return the mark of the hidden part with this index, which counts from 0.

    Example:
        >>> mark_of(0)
        '[[1]]'
    """
    return f"[[{index + 1}]]"


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Join neighbors without anything between them: models lose the order of marks in a row."""
    joined: list[Span] = []
    for span in spans:
        if joined and joined[-1].end == span.start and _plain(joined[-1]) and _plain(span):
            joined[-1] = Span(joined[-1].start, span.end, joined[-1].kind)
        else:
            joined.append(span)
    return joined


def _plain(span: Span) -> bool:
    """Return True if a span may stand anywhere."""
    return span.kind not in ("label", "target", "reference", "break")


def _label(part: str, before: str, source_label: str) -> tuple[str, Fault | None]:
    """Return the end of a link whose text was its label: with a label if the text changed."""
    text = _last_bracket(before)
    if not before.endswith("]") or not text:
        return "", Fault("link", f"The link [{source_label}] is broken.")
    same = normalized(text) == normalized(source_label)
    return (part if same else f"[{source_label}]"), None


def _last_bracket(before: str) -> str:
    """Return the text of the brackets that end here."""
    depth = 0
    for position in range(len(before) - 1, -1, -1):
        depth += {"]": 1, "[": -1}.get(before[position], 0)
        if not depth:
            return before[position + 1 : -1]
    return ""


def _shown(part: str) -> str:
    """Return a hidden part as a fault names it."""
    line = " ".join(part.split())
    line = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
    return line if "`" in line else f"`{line}`"


def _outer(text: str) -> tuple[str, str]:
    """Return the spaces before and after a text."""
    inner = text.strip()
    start = text.find(inner) if inner else len(text)
    return text[:start], text[start + len(inner) :]

r"""Cut a document into the texts that people read, and replace them by their translations.

A segment is a slice of the source, and what is not in a segment stays as it is, byte for byte. A
model sees one line: the soft line breaks of a paragraph, with the quote markers and indents after
them, become spaces. A translation gets these breaks again, with their own bytes: before the same
words if it has as many as the source, else at the spaces that are nearest in proportion, but never
where a line would begin a list or another block.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mixmagic.tasks.translation import literals
from mixmagic.tasks.translation.blocks import Block, find_blocks
from mixmagic.tasks.translation.front_matter import quoted, unquoted
from mixmagic.tasks.translation.scan import Span, find_spans
from mixmagic.tasks.translation.spans import Masked, mask

# A paragraph with more characters is split at sentences, into parts of about this length.
_LONGEST = 1000
_SENTENCE = re.compile(r"(?<=[.!?…])[\"”»)*_]*\s+(?=[^\s\da-z])")
_BETWEEN_PICTURES = re.compile(r"(?<=\))\s+(?=\[?!\[)")
# Text that begins another block at the beginning of a line.
_BEGINS_BLOCK = re.compile(
    r"[-+*](?:\s|$)|=+(?:\s|$)|[-=*_+]{2,}(?=\s|$)|\d{1,9}[.)](?:\s|$)|#{1,6}(?:\s|$)|[>|]|<[/!?]?\w*"
    r"|:(?:\s|::)|`{3}|~{3}|\$\$"
    r"|\\begin|\\?\\\[|\[\^[^\]]*\]:|\[[xX ]\]\s|\[!\w+\]|!!!|\?\?\?|%(?:\s|$)|\([\w./:-]+\)=|\{:"
)
_CLOSES_HEADING = re.compile(r"(?<=\s)#+$")
_LIST_LINE = re.compile(r"\s*(?:[-+*•–]|\d{1,3}[.)]|\(?[a-zA-Z\d][.)])\s+|\s*(?:>\s?)+")  # noqa: RUF001
_FULL_LINE = 40  # characters: after a shorter line of plain text, a new text begins


@dataclass(frozen=True, slots=True)
class Segment:
    """A text that people read: a paragraph, a heading, an item of a list, a table's cell.

    Attributes:
        start: The offset of its first character in the source.
        end: The offset after its last character.
        text: The text without line breaks, except in code, formulas and tags.
        markdown: True if it is Markdown.
        kind: `text`, that of a block, or the prefix and the quote of a literal.
        breaks: The line breaks: the offset in `text`, and the bytes in the source.
        labels: The labels of the document's link definitions.
    """

    start: int
    end: int
    text: str
    markdown: bool
    kind: str = "text"
    breaks: tuple[tuple[int, str], ...] = ()
    labels: frozenset[str] = frozenset()

    def mask(self, terms: Sequence[str] = ()) -> Masked:
        """Return the text with marks instead of what must not change.

        Args:
            terms: Words that stay as they are.

        Example:
            >>> markdown_segments("# The `x` axis")[0].mask().text
            'The [[1]] axis'
        """
        is_literal = literals.is_literal(self.kind)
        fixed = literals.fixed_parts(self.text, self.kind) if is_literal else ()
        return mask(self.text, markdown=self.markdown, terms=terms, labels=self.labels, fixed=fixed)


def markdown_segments(source: str) -> list[Segment]:
    r"""Return what people read in a Markdown document, in its order.

    Args:
        source: The document, with any line ends.

    Example:
        >>> [segment.text for segment in markdown_segments("# Title\n\n> one\n> two\n\n    code\n")]
        ['Title', 'one two']
    """
    text, removed = normalized_text(source)
    found = find_blocks(text)
    return [
        segment
        for block in found.blocks
        for segment in block_segments(source, text, removed, block, labels=found.labels)
    ]


def text_segments(source: str) -> list[Segment]:
    r"""Return the paragraphs of a plain text, in their order.

    A line goes on in the next one if it is long, and the next has the same indent and does not
    begin an item of a list.

    Args:
        source: The text, with any line ends.

    Example:
        >>> [segment.text for segment in text_segments("Shopping\n- two eggs\n- some milk\n")]
        ['Shopping', 'two eggs', 'some milk']
    """
    text, removed = normalized_text(source)
    lines = [match.span() for match in re.finditer(r"^.*", text, re.MULTILINE)]
    return [
        segment
        for paragraph in paragraphs(text, lines)
        for segment in block_segments(source, text, removed, Block("text", paragraph))
    ]


def paragraphs(
    text: str, lines: Sequence[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], ...]]:
    r"""Yield the lines of each paragraph, without markers and spaces before them.

    Args:
        text: A text with `\n` as its line ends.
        lines: The offsets of its lines.

    Example:
        >>> list(paragraphs("- one\n- two", [(0, 5), (6, 11)]))
        [((2, 5),), ((8, 11),)]
    """
    paragraph: list[tuple[int, int]] = []
    indent = 0
    for start, end in lines:
        line = text[start:end]
        marker = _LIST_LINE.match(line)
        before = marker.end() if marker else len(line) - len(line.lstrip())
        goes_on = line.strip() and not marker and before == indent
        if paragraph and not (goes_on and paragraph[-1][1] - paragraph[-1][0] >= _FULL_LINE):
            yield tuple(paragraph)
            paragraph = []
        if line.strip():
            paragraph.append((start + before, end))
            indent = before
    if paragraph:
        yield tuple(paragraph)


def assemble(source: str, segments: Sequence[Segment], translations: Sequence[str | None]) -> str:
    r"""Return the source with translations instead of the segments.

    Args:
        source: The document.
        segments: Its segments, in their order.
        translations: One for each; `None` leaves the source.

    Example:
        >>> source = "> one\n> two\n\n`x`\n"
        >>> assemble(source, markdown_segments(source), ["UNE DEUX"])
        '> UNE\n> DEUX\n\n`x`\n'
    """
    parts, position = [], 0
    for segment, translation in zip(segments, translations, strict=True):
        parts.append(source[position : segment.start])
        same = translation is None or translation == segment.text
        original = source[segment.start : segment.end]
        parts.append(original if same else _written(segment, translation or ""))
        position = segment.end
    parts.append(source[position:])
    return "".join(parts)


def normalized_text(source: str) -> tuple[str, list[int]]:
    r"""Return a text with `\n` as its line ends, and the offsets at which a character was removed.

    These are offsets in the new text: of a byte order mark, and of `\r` before `\n`.

    Example:
        >>> normalized_text("a\r\nb")
        ('a\nb', [1])
    """
    removed = [0] if source.startswith("\ufeff") else []
    text = source[len(removed) :]
    removed += [match.start() - index for index, match in enumerate(re.finditer("\r\n", text))]
    return text.replace("\r\n", "\n").replace("\r", "\n"), removed


def block_segments(
    source: str,
    text: str,
    removed: Sequence[int],
    block: Block,
    *,
    labels: frozenset[str] = frozenset(),
) -> Iterator[Segment]:
    """Yield the segments of a block: it is split at hard line breaks, and if it is too long.

    Args:
        source: The document.
        text: The document as returned by `normalized_text`.
        removed: As returned by `normalized_text`.
        block: Its lines are offsets in `text`.
        labels: The labels of the document's link definitions.
    """
    markdown = block.kind not in ("html", "text") and not literals.is_literal(block.kind)
    lines = "\n".join(text[start:end] for start, end in block.lines)
    spans = find_spans(lines, markdown=markdown, labels=labels)
    starts = [0]
    for start, end in block.lines:
        starts.append(starts[-1] + end - start + 1)

    def original(offset: int) -> int:
        """Return the offset in the source of an offset in the lines."""
        line = bisect.bisect_right(starts, offset) - 1
        line = min(line, len(block.lines) - 1)
        position = block.lines[line][0] + offset - starts[line]
        return position + bisect.bisect_right(removed, position)

    for start, end in _pieces(lines, spans):
        parts, breaks, length, position = [], [], 0, start
        for match in re.compile(r"[ \t]*\n").finditer(lines, start, end):
            hidden = any(span.start < match.end() <= span.end for span in spans)
            at = match.end() - 1 if hidden else match.start()
            parts.append(lines[position:at])
            length += len(parts[-1])
            after = original(match.end())
            breaks.append((length, source[_before(source, original(at)) : after]))
            parts.append("\n" if hidden else " ")
            length, position = length + 1, match.end()
        parts.append(lines[position:end])
        whole = "".join(parts)
        segment = Segment(
            original(start),
            original(end - 1) + 1,
            whole if breaks else _readable(whole, block.kind),
            markdown,
            block.kind,
            tuple(breaks),
            labels,
        )
        if segment.mask().has_words:
            yield segment


def _readable(raw: str, kind: str) -> str:
    """Return the text of a slice of the source."""
    return literals.readable(raw, kind) if literals.is_literal(kind) else unquoted(raw, kind)


def _before(source: str, offset: int) -> int:
    r"""Return the offset of a line end, with its `\r`."""
    return offset - 1 if source[offset - 1 : offset + 1] == "\r\n" else offset


def _pieces(text: str, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Yield the offsets of the texts that are translated one by one, without spaces around."""
    cuts = [(span.start, span.end) for span in spans if span.kind == "break"]
    cuts += [match.span() for match in _BETWEEN_PICTURES.finditer(text) if _free(match, spans)]
    if len(text) > _LONGEST:
        last = 0
        for match in _SENTENCE.finditer(text):
            if match.start() - last > _LONGEST // 2 and _free(match, spans):
                cuts.append(match.span())
                last = match.end()
    position = 0
    for start, end in (*sorted(cuts), (len(text), len(text))):
        piece = text[position:start]
        if start < len(text) and not _balanced(piece):
            continue
        if piece.strip():
            first = position + len(piece) - len(piece.lstrip())
            yield first, first + len(piece.strip())
        position = end


def _free(match: re.Match[str], spans: Sequence[Span]) -> bool:
    """Return True if a match is outside of all spans."""
    return not any(span.start < match.end() and match.start() < span.end for span in spans)


def _balanced(text: str) -> bool:
    """Return True if a text seems to close all that it opens."""
    even = all(text.count(sign) % 2 == 0 for sign in "*_~`")
    return even and text.count("[") == text.count("]") and text.count("<") == text.count(">")


def _written(segment: Segment, translation: str) -> str:
    """Return a translation in the form of the source that it replaces."""
    text = _laid_out(segment, translation)
    if literals.is_literal(segment.kind):
        return literals.written(text, segment.kind, segment.text)
    if segment.kind.endswith("cell"):
        text = _without_bars(text, segment.text)
    if segment.kind == "heading" and not _CLOSES_HEADING.search(segment.text):
        text = _CLOSES_HEADING.sub(r"\\\g<0>", text)
    if segment.kind == "heading" and "|" not in segment.text:
        text = text.replace("|", "&#124;")  # with an underline below, it would begin a table
    if segment.kind in ("paragraph", "heading", "first cell"):
        text = _without_marker(text, segment.text)
    return quoted(text, segment.kind)


def _without_bars(text: str, source: str) -> str:
    """Return the text of a cell that does not end at a bar; bars in the source's code stay."""
    code = [
        span
        for span in find_spans(text, markdown=True)
        if span.kind == "code" and text[span.start : span.end] in source
    ]
    bars = [match for match in re.finditer(r"(?<!\\)\|", text) if _free(match, code)]
    for match in reversed(bars):
        text = f"{text[: match.start()]}\\{text[match.start() :]}"
    return text


def _without_marker(text: str, source: str) -> str:
    """Return a text that begins no list, heading or other block, if its source does not."""
    marker = _BEGINS_BLOCK.match(text)
    if marker is None or _starts_with(source, marker):
        return text
    first = next(iter(find_spans(text, markdown=True)), None)
    if first is not None and first.start == 0 and text[: first.end] in source:
        return text  # a part of the source that the translation begins with
    sign = marker[0].rstrip()
    at = len(sign) - 1 if sign[0].isdigit() else 0
    return f"{text[:at]}\\{text[at:]}"


def _laid_out(segment: Segment, translation: str) -> str:
    """Return a translation with the line breaks of its source."""
    hidden = [bytes_ for at, bytes_ in segment.breaks if segment.text[at] == "\n"]
    soft = [(at, bytes_) for at, bytes_ in segment.breaks if segment.text[at] != "\n"]
    replaced = _line_ends(translation, hidden) | _soft_breaks(segment, translation, soft)
    parts, position = [], 0
    for (start, end), bytes_ in sorted(replaced.items()):
        parts += [translation[position:start], bytes_]
        position = end
    parts.append(translation[position:])
    return "".join(parts)


def _line_ends(translation: str, hidden: Sequence[str]) -> dict[tuple[int, int], str]:
    """Return the bytes of the line ends inside code, formulas and tags."""
    found = list(re.finditer(r"\n", translation))
    if len(found) != len(hidden):
        hidden = [hidden[0] if hidden else " "] * len(found)
    return {match.span(): bytes_ for match, bytes_ in zip(found, hidden, strict=True)}


def _soft_breaks(
    segment: Segment, translation: str, soft: Sequence[tuple[int, str]]
) -> dict[tuple[int, int], str]:
    """Return the spaces of a translation that become line breaks, with their bytes."""
    if not soft:
        return {}
    text = segment.text
    spaces = list(re.finditer(r"\s+", text))
    candidates = list(re.finditer(r"\s+", translation))
    chosen: dict[tuple[int, int], str] = {}
    if len(spaces) == len(candidates):
        starts = [match.start() for match in spaces]
        for at, bytes_ in soft:
            index = bisect.bisect_right(starts, at) - 1
            match, inside = candidates[index], at - starts[index]
            start = match.start() + inside
            same = match[0] == spaces[index][0]
            if same and _may_begin(translation, start + 1, text[at + 1 :]):
                chosen[start, start + 1] = bytes_
        return chosen
    spans = find_spans(translation, markdown=segment.markdown)
    free = [
        match
        for match in candidates
        if match[0] == " " and _may_begin(translation, match.end(), "") and _free(match, spans)
    ]
    last = -1
    for at, bytes_ in soft:
        target = at * len(translation) / len(text)
        later = [match for match in free if match.start() > last]
        if later:
            best = min(later, key=lambda match: abs(match.start() - target))
            chosen[best.span()] = bytes_
            last = best.start()
    return chosen


def _may_begin(text: str, offset: int, source: str) -> bool:
    """Return True if a line may begin at an offset, as this line of the source did."""
    marker = _BEGINS_BLOCK.match(text, offset)
    return marker is None or _starts_with(source, marker)


def _starts_with(source: str, marker: re.Match[str]) -> bool:
    """Return True if a text begins with the marker that another one begins with."""
    own = _BEGINS_BLOCK.match(source)
    return own is not None and own[0].rstrip().casefold() == marker[0].rstrip().casefold()

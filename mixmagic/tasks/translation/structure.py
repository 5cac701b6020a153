"""Compare the structure of two Markdown texts: headings, lists, tables, emphasis, links, images."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mixmagic.core import lazy
from mixmagic.errors import counted
from mixmagic.tasks.translation.fault import Fault

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# Code blocks of MyST and Quarto with prose in them.
_PROSE_BLOCK = re.compile(
    r"\{(?:note|tip|hint|warning|important|caution|danger|error|attention|admonition|seealso"
    r"|exercise|solution|dropdown|margin|sidebar|figure|epigraph|topic|card|grid|tab-item)\b"
)
_COLON_FENCE = re.compile(r"^[ >]*(:{3,}.*?)\s*$", re.MULTILINE)
_TASK = re.compile(r"\[([ xX])\](?=\s)")
_PIPE = re.compile(r"(?<!\\)\|")
_EMPHASIS = {
    "strong_open": ("bold", "Bold text"),
    "em_open": ("italic", "Italic text"),
    "s_open": ("strikethrough", "Strikethrough text"),
}
_CONTAINERS = {"bullet_list_open": "-", "ordered_list_open": "1", "blockquote_open": ">"}
# Bold text of the translation may cover this much more or less of the text than the source's.
_COVER = 0.35


@dataclass(slots=True)
class Outline:
    """The structure of a Markdown text.

    Attributes:
        headings: Their levels.
        items: The nesting of each list item, and `1` if its list is numbered, else `-`.
        tables: The filled cells of each row of each table, and the alignment of its columns.
        code: The language and the text of each code block.
        blocks: How often paragraphs, quotes and rules occur.
        links: Their targets.
        images: Their targets.
        described: The number of images with a description.
        tasks: The boxes of task lists.
        emphasis: The texts that are emphasized, by the kind.
        covered: The share of the letters that is bold.
    """

    headings: list[int] = field(default_factory=list)
    items: list[tuple[int, str]] = field(default_factory=list)
    tables: list[list[tuple[str, ...]]] = field(default_factory=list)
    code: list[tuple[str, str]] = field(default_factory=list)
    blocks: Counter[str] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    described: int = 0
    tasks: list[str] = field(default_factory=list)
    emphasis: dict[str, list[str]] = field(default_factory=dict)
    covered: float = 0.0
    empty_links: int = 0


def structure_faults(source: str, translation: str) -> list[Fault]:
    """Return how the structure of a translation differs from that of its source.

    Example:
        >>> structure_faults("## A title", "### Un titre")[0].message
        'The heading of level 2 became one of level 3.'
    """
    ours, theirs = _outline(source), _outline(translation)
    return [
        *_heading_faults(ours.headings, theirs.headings),
        *_code_faults(ours.code, theirs.code),
        *_list_faults(ours, theirs),
        *_table_faults(ours.tables, theirs.tables),
        *_block_faults(ours, theirs, source, translation),
        *_link_faults(ours, theirs),
        *_emphasis_faults(ours, theirs),
    ]


@functools.cache
def _parser() -> MarkdownIt:
    parser: MarkdownIt = lazy.load("markdown_it").MarkdownIt("commonmark", {"maxNesting": 100})
    parser.enable(["table", "strikethrough"])
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # compared, not shown
    return parser


def _outline(text: str) -> Outline:
    """Return the structure of a text."""
    outline = Outline(emphasis={kind: [] for kind, _ in _EMPHASIS.values()})
    tokens = _parser().parse(text)
    lines = text.split("\n")
    containers: list[str] = []
    for token in tokens:
        _contained(token, containers, outline)
        if token.type.startswith(("table", "tr", "th", "td", "inline")):
            _tabular(token, lines, outline)
        if token.type == "heading_open":
            outline.headings.append(int(token.tag[1]))
        elif token.type == "paragraph_open":
            outline.blocks["paragraph"] += not token.hidden
        elif token.type == "hr":
            outline.blocks["rule"] += 1
        elif token.type in ("fence", "code_block"):
            outline.code.append((token.info.strip(), token.content.rstrip()))
        elif token.type == "inline":
            _inline(token, outline)
    letters = sum(_letters(token.content) for token in tokens if token.type == "inline")
    outline.covered = sum(map(_letters, outline.emphasis["bold"])) / (letters or 1)
    return outline


def _contained(token: Token, containers: list[str], outline: Outline) -> None:
    """Add list items and quotes; `containers` are those that are open."""
    if token.type == "list_item_open":
        depth = sum(kind != ">" for kind in containers)
        outline.items.append((depth, containers[-1]))
    elif token.type in _CONTAINERS:
        containers.append(_CONTAINERS[token.type])
        outline.blocks["quote"] += token.type == "blockquote_open"
    elif token.type.replace("_close", "_open") in _CONTAINERS:
        containers.pop()


def _tabular(token: Token, lines: list[str], outline: Outline) -> None:
    """Add the rows and cells of a table."""
    if token.type == "table_open":
        outline.tables.append([])
    elif token.type == "tr_open" and token.map:
        outline.tables[-1].append((f"{_cells(lines[token.map[0]])}",))
    elif token.type in ("th_open", "td_open"):
        outline.tables[-1][-1] += (str(token.attrs.get("style", "")),)
    elif token.type == "inline" and outline.tables and outline.tables[-1] and not token.content:
        outline.tables[-1][-1] += ("empty",)


def _inline(parent: Token, outline: Outline) -> None:
    """Add the structure inside a paragraph."""
    if box := _TASK.match(parent.content):
        outline.tasks.append(box[1].lower())
    inside: list[str] = []
    link: list[str] | None = None
    for token in parent.children or []:
        if token.type in _EMPHASIS:
            kind = _EMPHASIS[token.type][0]
            outline.emphasis[kind].append("")
            inside.append(kind)
        elif token.type.replace("_close", "_open") in _EMPHASIS:
            inside.pop()
        elif token.type == "link_open" and token.markup != "autolink":
            outline.links[str(token.attrs.get("href", ""))] += 1
            link = []
        elif token.type == "link_close" and link is not None:
            outline.empty_links += not link
            link = None
        elif token.type == "image":
            outline.images[str(token.attrs.get("src", ""))] += 1
            outline.described += bool(token.content.strip())
        elif token.type == "hardbreak":
            outline.blocks["break"] += 1
        if token.content and link is not None:
            link.append(token.content)
        for kind in inside:
            outline.emphasis[kind][-1] += token.content


def _cells(line: str) -> int:
    """Return the number of cells that a row of a table is written with."""
    row = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "x", line.strip(" >\t"))
    row = row.removeprefix("|")
    return len(_PIPE.findall(row)) + (not row.rstrip().endswith("|") or row.endswith("\\|"))


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _heading_faults(ours: list[int], theirs: list[int]) -> Iterator[Fault]:
    """Yield the faults of headings."""
    if len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            if one != other:
                message = f"The heading of level {one} became one of level {other}."
                yield Fault("heading", message)
    else:
        yield Fault("heading", f"There are {counted(len(theirs), 'heading')}, not {len(ours)}.")


def _code_faults(ours: list[tuple[str, str]], theirs: list[tuple[str, str]]) -> Iterator[Fault]:
    """Yield the faults of code blocks."""
    if len(ours) != len(theirs):
        message = f"There are {counted(len(theirs), 'code block')}, not {len(ours)}."
        yield Fault("code block", message)
        return
    for (info, code), (other_info, other) in zip(ours, theirs, strict=True):
        if info != other_info:
            message = f"The first line of the code block became `{other_info}`, not `{info}`."
            yield Fault("code block", message)
        elif code != other and not _PROSE_BLOCK.match(info):
            pairs = zip(code.split("\n"), [*other.split("\n"), *code.split("\n")], strict=False)
            line = next((one for one, two in pairs if one != two), other.split("\n")[-1])
            yield Fault("code block", f"The code block was changed at: {line.strip():.60}")


def _list_faults(ours: Outline, theirs: Outline) -> Iterator[Fault]:
    """Yield the faults of lists."""
    count, other = len(ours.items), len(theirs.items)
    if count != other:
        yield Fault("list", f"There are {counted(other, 'list item')}, not {count}.")
    elif [depth for depth, _ in ours.items] != [depth for depth, _ in theirs.items]:
        yield Fault("list", "The nesting of the list is not the same.")
    elif ours.items != theirs.items:
        yield Fault("list", "A numbered list became one with bullets, or the other way round.")
    if ours.tasks != theirs.tasks:
        yield Fault("list", "The boxes of the task list are not the same.")


def _table_faults(
    ours: list[list[tuple[str, ...]]], theirs: list[list[tuple[str, ...]]]
) -> Iterator[Fault]:
    """Yield the faults of tables."""
    if len(ours) != len(theirs):
        yield Fault("table", f"There are {counted(len(theirs), 'table')}, not {len(ours)}.")
        return
    for one, other in zip(ours, theirs, strict=True):
        if len(one) != len(other):
            yield Fault("table", f"The table has {counted(len(other), 'row')}, not {len(one)}.")
            continue
        for number, (row, changed) in enumerate(zip(one, other, strict=True), 1):
            if row[0] != changed[0]:
                message = f"Row {number} of the table has {changed[0]} cells, not {row[0]}."
                yield Fault("table", message)
                break
            if row != changed:
                if row.count("empty") != changed.count("empty"):
                    message = f"Row {number} of the table has not the same filled cells."
                else:
                    message = "The columns of the table are not aligned in the same way."
                yield Fault("table", message)
                break


def _block_faults(ours: Outline, theirs: Outline, source: str, other: str) -> Iterator[Fault]:
    """Yield the faults of paragraphs, quotes, rules and line breaks."""
    names = {"paragraph": "paragraph", "rule": "rule", "break": "line break"}
    for kind in sorted({*ours.blocks, *theirs.blocks}):
        count, changed = ours.blocks[kind], theirs.blocks[kind]
        if count != changed:
            name = names.get(kind, "quote")
            yield Fault(name, f"There are {counted(changed, name)}, not {count}.")
    if _COLON_FENCE.findall(source) != _COLON_FENCE.findall(other):
        yield Fault("directive", "The lines with ::: are not the same.")


def _link_faults(ours: Outline, theirs: Outline) -> Iterator[Fault]:
    """Yield the faults of links and images."""
    for kind, one, other in (
        ("link", ours.links, theirs.links),
        ("image", ours.images, theirs.images),
    ):
        lost, added = list((one - other).elements()), list((other - one).elements())
        for index in range(max(len(lost), len(added))):
            if index >= len(added):
                message = f"The {kind} to {lost[index]} is missing."
            elif index >= len(lost):
                message = f"The {kind} to {added[index]} does not occur in the source."
            else:
                message = f"The target of the {kind} {lost[index]} became {added[index]}."
            yield Fault(kind, message)
    if theirs.described < ours.described and ours.images == theirs.images:
        yield Fault("image", "The description of an image is missing.")
    if theirs.empty_links > ours.empty_links:
        yield Fault("link", "A link has no text.")


def _emphasis_faults(ours: Outline, theirs: Outline) -> Iterator[Fault]:
    """Yield the faults of bold, italic and strikethrough text."""
    for kind, name in _EMPHASIS.values():
        count, changed = len(ours.emphasis[kind]), len(theirs.emphasis[kind])
        if changed < count:
            times = "" if count == 1 else f" ({changed} of {count})"
            yield Fault(kind, f"{name} is missing{times}.")
        elif changed > count:
            yield Fault(kind, f"{name} does not occur so often in the source.")
    if ours.emphasis["bold"] and abs(ours.covered - theirs.covered) > _COVER:
        yield Fault("bold", "Other words are bold than in the source.")

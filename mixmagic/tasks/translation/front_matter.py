"""The values of a document's front matter that people read: titles, descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_READ = (
    "title|subtitle|short_title|long_title|description|summary|excerpt|abstract|caption|alt|tagline"
    "|lead|subject|toc_title|linktitle|sidebar_label|banner"
)
_YAML = re.compile(r"\A---[ \t]*\n((?:.*\n)*?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_TOML = re.compile(r"\A\+\+\+[ \t]*\n((?:.*\n)*?)\+\+\+[ \t]*(?:\n|\Z)")
_FIRST = re.compile(r"[\w\"'.-][\w\"'. -]*(?::(?:\s|$)|\s*=)|\[[\w.\"-]+\]")
_KEY = re.compile(
    rf"^(?P<indent>[ \t]*)(?:-[ \t]+)?(?P<quote>[\"']?)(?:{_READ})(?P=quote)[ \t]*"
    r"(?P<sign>[:=])[ \t]+(?P<value>\S.*?)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^']|'')*)'")
_BLOCK = re.compile(r"[|>][-+\d]*(?:[ \t]+#.*)?$")
# A plain value ends before a comment; these begin something else.
_PLAIN = re.compile(r"(?![\[\]{}&*!|>%@`\"'#-])(?:(?!\s#|:\s|:$).)+")
_NEEDS_QUOTES = re.compile(
    r"[-?:,\[\]{}#&*!|>'\"%@`]|.*(?::\s|:$|\s#)|(?:true|false|yes|no|on|off|null|~|[-+.\d][\d.,:_eE+-]*)$",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The front matter of a document.

    Attributes:
        end: The offset after it.
        values: Of each value that people read its kind (`plain`, `double`, `single`, `literal`,
            `folded`) and the offsets of its lines.
    """

    end: int
    values: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]


def front_matter(text: str) -> FrontMatter | None:
    r"""Return the front matter of a document, in YAML or TOML; `None` without one.

    Example:
        >>> front_matter("---\ntitle: My page\n---\n")
        FrontMatter(end=23, values=(('plain', ((11, 18),)),))
    """
    match = _YAML.match(text) or _TOML.match(text)
    if match is None:
        return None
    lines = [line for line in match[1].split("\n") if line.strip() and not line.startswith("#")]
    if not lines or not _FIRST.match(lines[0]):
        return None  # a line, text and a line
    start, end = match.span(1)
    return FrontMatter(match.end(), tuple(_values(text, start, end)))


def quoted(value: str, kind: str) -> str:
    """Return a value in the form of the value that it replaces.

    Args:
        value: The text.
        kind: As in `FrontMatter.values`.

    Example:
        >>> quoted("Part 1: the end", "plain"), quoted("l'été", "single")
        ('"Part 1: the end"', "l''été")
    """
    double = value.replace("\\", "\\\\").replace('"', '\\"')
    if kind == "plain":
        return f'"{double}"' if _NEEDS_QUOTES.match(value) else value
    if kind == "literal":
        return value.replace("'", "’")  # noqa: RUF001  # TOML has no escape for it
    return {"double": double, "single": value.replace("'", "''")}.get(kind, value)


def unquoted(value: str, kind: str) -> str:
    """Return the text of a value.

    Example:
        >>> unquoted("l''été", "single")
        "l'été"
    """
    if kind == "double":
        return value.replace('\\"', '"')
    return value.replace("''", "'") if kind == "single" else value


def _values(text: str, start: int, end: int) -> Iterator[tuple[str, tuple[tuple[int, int], ...]]]:
    """Yield the kind and the lines of each value that people read."""
    for key in _KEY.finditer(text, start, end):
        first, last = key.span("value")
        yaml = key["sign"] == ":"
        indent = len(key["indent"])
        if yaml and _BLOCK.match(text, first, last):
            for lines in _indented(text, last + 1, end, indent):
                yield "folded", lines
        elif match := _QUOTED.match(text, first, last):
            group = 1 if match[1] is not None else 2
            kind = "double" if group == 1 else "single" if yaml else "literal"
            known = re.sub(r"\\\"", "", match[group])
            if "\\" not in known or kind != "double":
                yield kind, (match.span(group),)
        elif yaml and (plain := _PLAIN.match(text, first, last)):
            more = [line for lines in _indented(text, last + 1, end, indent) for line in lines]
            if not more and re.match(r"\s+#|$", text[plain.end() : last]):
                yield "plain", ((first, first + len(plain[0].rstrip())),)


def _indented(
    text: str, start: int, end: int, indent: int
) -> Iterator[tuple[tuple[int, int], ...]]:
    """Yield the paragraphs of the following lines that are indented more."""
    lines: list[tuple[int, int]] = []
    for match in re.compile(r"([ \t]*)(.*)(?:\n|\Z)").finditer(text, start, end):
        if not match[2].strip():
            if lines:
                yield tuple(lines)
            lines = []
        elif len(match[1]) <= indent:
            break
        else:
            lines.append(match.span(2))
        if match.end() >= end:
            break
    if lines:
        yield tuple(lines)

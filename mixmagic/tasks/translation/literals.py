"""String literals of Python: what in them is text, and how a text is written in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_OPENING = re.compile(r"([A-Za-z]*)(\"\"\"|'''|\"|')")
_ESCAPE = re.compile(
    r"\\(?:N\{[^{}]*\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{1,3}|\n|.)"
)


@dataclass(frozen=True, slots=True)
class Literal:
    """A string literal in a source.

    Attributes:
        start: The offset of its text, after the opening quote.
        end: The offset of its closing quote.
        kind: Its prefix and its quote: `f"`.
    """

    start: int
    end: int
    kind: str


def literal_of(source: str, offset: int) -> Literal | None:
    """Return the literal that begins at an offset; `None` if it is not text.

    Example:
        >>> literal_of("print(f'Hi {x}')", 6)
        Literal(start=8, end=14, kind="f'")
    """
    opening = _OPENING.match(source, offset)
    if opening is None or set(opening[1].lower()) & {"b", "t"}:
        return None
    prefix, quote = opening[1].lower(), opening[2]
    position = opening.end()
    while not source.startswith(quote, position):
        if position >= len(source):
            return None
        field = _field_end(source, position) if "f" in prefix else None
        if field is not None:
            position = field
        else:
            position += 2 if source[position] == "\\" else 1
    return Literal(opening.end(), position, f"{prefix}{quote}")


def is_literal(kind: str) -> bool:
    """Return True if the kind of a segment is that of a literal.

    Example:
        >>> is_literal('f"'), is_literal("paragraph")
        (True, False)
    """
    return kind[-1:] in ('"', "'")


def readable(raw: str, kind: str) -> str:
    r"""Return the text of a literal: its own quotes lose their backslashes.

    Args:
        raw: A part of the source of the literal, inside its quotes.
        kind: As in `Literal.kind`.

    Example:
        >>> readable("It\\'s {x}\\n", "f'")
        "It's {x}\\n"
    """
    quote = _quote(kind)
    if "r" in kind:
        return raw
    return "".join(quote if part == f"\\{quote}" else part for part, _ in _parts(raw, kind))


def fixed_parts(text: str, kind: str) -> list[tuple[int, int]]:
    r"""Return the offsets of what must not change in the text of a literal: escapes, fields.

    Args:
        text: As from `readable`.
        kind: As in `Literal.kind`.

    Example:
        >>> fixed_parts("It's {x}\\n", "f'")
        [(5, 8), (8, 10)]
    """
    found: list[tuple[int, int]] = []
    offset = 0
    for part, is_fixed in _parts(text, kind):
        if is_fixed:
            found.append((offset, offset + len(part)))
        offset += len(part)
    return found


def written(text: str, kind: str, source: str) -> str:
    r"""Return a text as the source of a literal.

    Args:
        text: As from `readable`, with other words.
        kind: As in `Literal.kind`.
        source: The text that it replaces.

    Example:
        >>> written("C'est {x}\\n", "f'", "It is {x}\\n")
        "C\\'est {x}\\n"
    """
    quote = _quote(kind)
    # A raw literal has no escapes.
    safe = ("’" if quote[0] == "'" else "”") if "r" in kind else f"\\{quote[0]}"  # noqa: RUF001
    parts = [
        part if is_fixed else part.replace(quote, safe * len(quote))
        for part, is_fixed in _parts(text, kind)
    ]
    # A quote at the end would be a part of the closing one.
    joined = "".join(parts)
    if joined.endswith(quote[0]) and not joined.endswith(safe) and not source.endswith(quote[0]):
        joined = joined[:-1] + safe
    return joined


def _quote(kind: str) -> str:
    """Return the quote of a kind of literals."""
    return kind.lstrip("abcdefghijklmnopqrstuvwxyz")


def _parts(raw: str, kind: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a literal, with True for escapes and the fields of f-strings."""
    position = start = 0
    while position < len(raw):
        end = None
        if "f" in kind and raw[position] in "{}":
            doubled = raw[position : position + 2] in ("{{", "}}")
            end = position + 2 if doubled else _field_end(raw, position)
        elif raw[position] == "\\":
            match = _ESCAPE.match(raw, position)
            end = match.end() if match else None
            if "r" in kind:
                end = position + 2
        if end is None:
            position += 1
            continue
        if start < position:
            yield raw[start:position], False
        yield raw[position:end], True
        position = start = end
    if start < len(raw):
        yield raw[start:], False


def _field_end(source: str, start: int) -> int | None:
    """Return the end of the field of an f-string that begins here; `None` if none does."""
    if not source.startswith("{", start):
        return None
    if source.startswith("{{", start):
        return start + 2
    depth, position, quote = 0, start, ""
    while position < len(source):
        character = source[position]
        if quote:
            if source.startswith(quote, position):
                position += len(quote) - 1
                quote = ""
        elif character in "\"'":
            quote = character * 3 if source.startswith(character * 3, position) else character
            position += len(quote) - 1
        elif character in "{[(":
            depth += 1
        elif character in "}])":
            depth -= 1
            if not depth:
                return position + 1
        position += 1
    return None

"""What the body of an error says, wherever and in whatever shape it says it. No I/O."""

from __future__ import annotations

import contextlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mixmagic.errors import one_line

# Where the words of an error stand, and what else of it may hold some; its codes.
_NAMES = ("error", "errors", "message", "detail", "details", "msg", "status_msg", "base_resp",
          "error_description", "error_message", "error_msg", "errorMessage", "Message", "fault",
          "faultstring", "description", "reason", "title")  # fmt: skip
_HOLDERS = ("error", "errors", "message", "detail", "details", "metadata", "raw", "data",
            "base_resp", "fieldViolations")  # fmt: skip
_CODES = ("type", "code", "error_type", "status", "error_code", "status_code", "reason")
_DEEPEST, _WIDEST = 8, 100  # levels, items
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_LONGEST_HEAD = 4096  # characters of a page in which its title is looked for
_HALF = re.compile("[\ud800-\udfff]")
_parse = json.JSONDecoder().decode  # json.loads without its looks at options
_parse_from = json.JSONDecoder().raw_decode  # and without looking for blanks


def loads(text: str) -> Any:
    """Parse JSON; half a surrogate pair, which nobody could write down, is replaced.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    try:
        value, end = _parse_from(text)
        if end != len(text):
            raise ValueError
    except ValueError:
        value = _parse(text)
    if "\\ud" in text or "\\uD" in text:
        value = _parse(_HALF.sub("\ufffd", json.dumps(value, ensure_ascii=False)))
    return value


def parse(raw: bytes) -> Any:
    """The body of a refusal: JSON, or else its text."""
    text = raw.decode("utf-8-sig", "replace")
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def says(body: Any, longest: int = 200) -> str:
    """Return the provider's own words in a body: JSON of any known shape, text, or a page's title.

    An empty text if there are none. What it has answered without an error may be given, too.

    Args:
        body: As `parse` gives it.
        longest: Characters of what is returned.

    Example:
        >>> says({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]})
        'seed: Extra inputs are not permitted'
    """
    return one_line(_words(body, _DEEPEST), longest)


def parts(body: Any, depth: int = _DEEPEST) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of an error's body that may say something, from the outermost on."""
    if isinstance(body, str):
        body = _inner(body)
    if isinstance(body, Mapping) and depth > 0:
        yield body
        for name in _HOLDERS:
            if name in body:
                yield from parts(body[name], depth - 1)
    elif isinstance(body, list) and depth > 0:
        for each in body[:_WIDEST]:
            yield from parts(each, depth - 1)


def codes(body: Any) -> str:
    """Return the machine-readable parts of an error's body, in one text."""
    said = (str(part[name]) for part in parts(body) for name in _CODES if part.get(name))
    return " ".join(dict.fromkeys(said))


def _words(body: Any, depth: int) -> str:
    """The words of a body, uncut."""
    if isinstance(body, str):
        inner = _inner(body)
        return ("" if inner is body else _words(inner, depth - 1)) or _page_title(body)
    if not isinstance(body, (Mapping, list)):
        return "" if body is None or type(body) is bool else str(body)
    if depth <= 0:
        return ""
    if isinstance(body, list):
        return "; ".join(_each(body[:_WIDEST], depth))
    if _is_well(body):
        return ""
    said = _each([body[name] for name in _NAMES if name in body], depth)
    if said and "error" in body and " " not in said[0]:  # a code; its meaning stands beside it
        said = [": ".join(said[:2])]
    said = [*said[:1], *_each([_behind(body.get("metadata"))], depth)]
    return _placed(": ".join(dict.fromkeys(said)), body)


def _each(values: list[Any], depth: int) -> list[str]:
    """The words of several values, where they have some; a number says nothing beside others."""
    found = [_words(v, depth - 1) for v in values if type(v) not in (int, float)]
    return list(dict.fromkeys(filter(None, found)))


def _behind(metadata: Any) -> Any:
    """What the provider behind OpenRouter has said: in one of two places."""
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return raw["data"] if isinstance(raw, Mapping) and "data" in raw else raw


def _placed(words: str, body: Mapping[str, Any]) -> str:
    """Words with the field that they are about, unless they name it."""
    place = body.get("loc")
    if isinstance(place, list):
        path = ".".join(str(step) for step in place if step != "body")
        return f"{path}: {words}" if path and words and path not in words else words
    param = body.get("param")
    named = isinstance(param, str) and param.strip() and param not in words
    return f"{words} ({param})" if words and named else words


def _is_well(body: Mapping[str, Any]) -> bool:
    """True if an object says that nothing is wrong: MiniMax's, beside every answer."""
    return "status_msg" in body and body.get("status_code") == 0


def _inner(text: str) -> Any:
    """The JSON that a text holds, as it does where one server quotes another's; or the text."""
    if text.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            return loads(text)
    return text


def _page_title(text: str) -> str:
    """A text; of a gateway's page, which is no message, the title."""
    if text.lstrip()[:1] != "<":
        return text
    title = _TITLE.search(text[:_LONGEST_HEAD])
    return html.unescape(title[1]).replace("<", " ") if title else ""

"""The words, codes and numbers of an error's body, in any of the shapes in use. No I/O."""

from __future__ import annotations

import contextlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mixmagic.errors import one_line

# Fields that hold the message of an error, those that may contain such fields, and its codes.
_NAMES = ("error", "errors", "message", "detail", "details", "msg", "status_msg", "base_resp",
          "error_description", "error_message", "error_msg", "errorMessage", "Message", "fault",
          "faultstring", "description", "reason", "title")  # fmt: skip
_HOLDERS = ("error", "errors", "message", "detail", "details", "metadata", "raw", "data",
            "base_resp", "fieldViolations")  # fmt: skip
_CODES = ("type", "code", "error_type", "status", "error_code", "status_code", "reason")
_DEEPEST, _WIDEST = 8, 100  # levels, items
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_LONGEST_HEAD = 4096  # characters of a page that are searched for its title
_HALF = re.compile("[\ud800-\udfff]")
_parse = json.JSONDecoder().decode  # json.loads without its checks of options
_parse_from = json.JSONDecoder().raw_decode  # and without skipping whitespace

# How providers say that a prompt is too long for a model: as a code, or in words.
_OVERFLOW_CODES = (
    "context_length_exceeded",
    "context_window_exceeded",
    "exceed_context_size_error",
    "model_context_window_exceeded",
    "request_too_large",
)
# Only about the prompt: the limit of an answer is another one.
_OVERFLOW_WORDS = re.compile(
    r"""context[ _-]?(?:length|size|window|limit|overflow)|max(?:imum)?\ context
      | max_(?:model|seq)_len
      | (?:prompt|input|inputs|request|conversation|messages?)(?:\ tokens)?
        \ (?:is|are|was)?\ ?(?:too\ (?:long|large)|longer\ than)
      | reduce\ (?:the\ (?:length|size)\ of\ )?(?:the|your)\ (?:messages|prompt|inputs?|context)
      | `?inputs`?\ (?:tokens\ \+|must\ have\ less\ than)
      | max(?:imum)?\ (?:prompt|input|model|sequence)\ (?:length|size|tokens?)
      | (?:prompt|input|token|sequence)s?[ _](?:tokens?\ )?(?:count|length)s?\b.{0,60}?
        (?:exceed|greater\ than|longer\ than|too\ (?:long|large))
      | (?:input|prompt)\ (?:tokens?\ )?.{0,40}?(?:can\ ?not\ )?exceeds?\ .{0,40}?(?:limit|maximum)
      | (?:too\ many|exceed\w*\ (?:the\ )?(?:model'?s?\ )?(?:max(?:imum)?\ )?)\ ?
        (?:input\ |prompt\ )?tokens?\b(?!\ per)
      | exceed\w*\ (?:the\ )?(?:model|max(?:imum)?)\ (?:input\ )?(?:token|sequence|context)
      | token\ limit\ exceeded
      | length\ of\ (?:all\ )?(?:messages|prompt\w*).{0,40}?(?:long|less\ than)
      | range\ of\ input\ length
      | string\ too\ long\.\ expected\ a\ string\ with\ maximum\ length\ \d{5}
      | exceed\ max\ message\ tokens
    """,
    re.IGNORECASE | re.VERBOSE,
)
# A temporary limit of the account.
_RATE = re.compile(r"per[ _-](?:second|minute|hour|day)|\b[RT]P[MD]\b|rate[ _-]?limit", re.I)
_NUMBER = r"(?<![\w.-])(\d[\d,]{0,14})(?!\d)"
_NUMBERS = re.compile(_NUMBER)
# Phrases around the number of tokens that a model accepts, the clearest first.
_CONTEXT_LIMITS = [
    re.compile(rf"{before}{_NUMBER}{after}", re.IGNORECASE)
    for before, after in (
        (r"(?:<=?|>)\s*", ""),
        (r"context (?:length|size|window)(?: limit)?(?: is| of|:)?(?: only)?\s*\(?", ""),
        (r"max(?:imum)? (?:prompt|input|model|sequence) \w+:?(?: is| of)?\s*\(?", ""),
        (r"(?:token limit|limit of|less than|allowed|allowed token size|not exceed):?\s*\(?", ""),
        (r"(?:max_(?:seq|model)_len|tokens limit):?\s*\(?", ""),
        (r"range of input length should be \[1, ?", r"\]"),
        ("", r" (?:tokens? )?max(?:imum)?\b"),
    )
]
_LEAST_TOKENS, _MOST_TOKENS = 16, 10**9  # other numbers are not token counts


def loads(text: str) -> Any:
    """Parse JSON; replace half surrogate pairs, which cannot be encoded.

    Raises:
        ValueError: It is not valid JSON.
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


def is_json(text: str) -> bool:
    """Return True if a text is one JSON value; a truncated object or list is not."""
    try:
        _parse(text)
    except (ValueError, RecursionError):
        return False
    return True


def parse_body(raw: bytes) -> Any:
    """Return the body of an error as JSON, or as text if it is not JSON."""
    text = raw.decode("utf-8-sig", "replace")
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def provider_message(body: Any, longest: int = 200) -> str:
    """Return the provider's message in a body: JSON of any known shape, text, or a page's title.

    Return an empty string if there is none. Bodies of successful responses are allowed, too.

    Args:
        body: The result of `parse_body`.
        longest: Maximum number of characters.

    Example:
        >>> provider_message({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]})
        'seed: Extra inputs'
    """
    return one_line(_words(body, _DEEPEST), longest)


def parts(body: Any, depth: int = _DEEPEST) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of an error's body that may hold a message, outermost first."""
    if isinstance(body, str):
        body = _inner(body)
    if isinstance(body, Mapping) and depth > 0:
        yield body
        for name in _HOLDERS:
            if name in body:
                yield from parts(body[name], depth - 1)
    elif isinstance(body, list) and depth > 0:
        for item in body[:_WIDEST]:
            yield from parts(item, depth - 1)


def codes(body: Any) -> str:
    """Return the machine-readable parts of an error's body, in one text."""
    values = (str(part[name]) for part in parts(body) for name in _CODES if part.get(name))
    return " ".join(dict.fromkeys(values))


def _words(body: Any, depth: int) -> str:
    """The message of a body, not truncated."""
    if isinstance(body, str):
        inner = _inner(body)
        return ("" if inner is body else _words(inner, depth - 1)) or _page_title(body)
    if not isinstance(body, (Mapping, list)):
        return "" if body is None or type(body) is bool else str(body)
    if depth <= 0:
        return ""
    if isinstance(body, list):
        return "; ".join(_messages(body[:_WIDEST], depth))
    if _is_success(body):
        return ""
    messages = _messages([body[name] for name in _NAMES if name in body], depth)
    if messages and "error" in body and " " not in messages[0]:  # a code; its meaning is next to it
        messages = [": ".join(messages[:2])]
    messages = [*messages[:1], *_messages([_upstream_error(body.get("metadata"))], depth)]
    return _with_field(": ".join(dict.fromkeys(messages)), body)


def _messages(values: list[Any], depth: int) -> list[str]:
    """The messages of several values, except numbers."""
    messages = [_words(v, depth - 1) for v in values if type(v) not in (int, float)]
    return list(dict.fromkeys(filter(None, messages)))


def _upstream_error(metadata: Any) -> Any:
    """The error of the provider behind OpenRouter: `raw`, or `data` in it."""
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return raw["data"] if isinstance(raw, Mapping) and "data" in raw else raw


def _with_field(words: str, body: Mapping[str, Any]) -> str:
    """A message with the field that it is about, unless it names the field."""
    location = body.get("loc")
    if isinstance(location, list):
        path = ".".join(str(step) for step in location if step != "body")
        return f"{path}: {words}" if path and words and path not in words else words
    param = body.get("param")
    has_param = isinstance(param, str) and param.strip() and param not in words
    return f"{words} ({param})" if words and has_param else words


def _is_success(body: Mapping[str, Any]) -> bool:
    """True if an object reports success: MiniMax's, which comes with every answer."""
    return "status_msg" in body and body.get("status_code") == 0


def _inner(text: str) -> Any:
    """The JSON inside a text, if one server quotes another's; otherwise the text."""
    if text.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            return loads(text)
    return text


def _page_title(text: str) -> str:
    """A text; if it is a gateway's HTML page, its title."""
    if text.lstrip()[:1] != "<":
        return text
    title = _TITLE.search(text[:_LONGEST_HEAD])
    return html.unescape(title[1]).replace("<", " ") if title else ""


class Overflow(NamedTuple):
    """Sizes that a provider reports for a prompt that is too long.

    Attributes:
        tokens: Tokens of the prompt, or of prompt and answer; `None` if unknown.
        limit: Tokens that the model accepts; `None` if unknown.
    """

    tokens: int | None = None
    limit: int | None = None


def is_overflow(words: str, codes: str) -> bool:
    """Return True if an error says that the prompt is too long for the model.

    Args:
        words: The provider's message.
        codes: The machine-readable parts of the error.

    Example:
        >>> is_overflow("prompt is too long: 213462 tokens > 200000 maximum", "")
        True
    """
    if any(code in codes for code in _OVERFLOW_CODES):
        return True
    return _OVERFLOW_WORDS.search(words) is not None and not _RATE.search(f"{words} {codes}")


def measured(words: str) -> Overflow:
    """Return the sizes in the message of an error for which `is_overflow` is true.

    Example:
        >>> measured("prompt is too long: 213462 tokens > 200000 maximum")
        Overflow(tokens=213462, limit=200000)
    """
    if "string too long" in words.lower():
        return Overflow()  # in characters
    match = next(filter(None, (pattern.search(words) for pattern in _CONTEXT_LIMITS)), None)
    limit = _comma_number(match[1]) if match else 0
    if not _LEAST_TOKENS <= limit <= _MOST_TOKENS:
        return Overflow()
    most = max(map(_comma_number, _NUMBERS.findall(words)))
    return Overflow(most if limit < most <= _MOST_TOKENS else None, limit)


def _comma_number(text: str) -> int:
    """A number, with or without commas."""
    return int(text.replace(",", ""))

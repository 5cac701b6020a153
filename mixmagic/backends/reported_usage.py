"""Token counts and charges in a provider's JSON, in any of the forms in use. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from mixmagic.core.money import Usage, exact_sum, round_up

# Fields that can hold a usage object; and objects that can hold such a field.
_FIELDS = ("usage", "usageMetadata", "usage_metadata")
_HOLDERS = ("x_groq", "response", "message", "delta")
_TIMINGS = "timings"  # llama.cpp's
# Fields besides `usage` that may hold counts.
ELSEWHERE = frozenset({*_FIELDS[1:], *_HOLDERS, _TIMINGS})
# Objects of an error that can hold a usage object.
_OF_ERRORS = ("error", "metadata", "data", "detail", "details", "choices", *_HOLDERS)
_DEEPEST, _WIDEST = 5, 100

# Names of counts at OpenAI, Anthropic, Gemini, DeepSeek and llama.cpp.
_BESIDE_OR_WITHIN = {
    "cached_tokens": "cached",
    "cache_write_tokens": "written",
    "cache_creation_tokens": "written",
    "reasoning_tokens": "thoughts",
}
_WORDS = {
    **_BESIDE_OR_WITHIN,
    "prompt_tokens": "prompt",
    "input_tokens": "prompt",
    "promptTokenCount": "prompt",
    "prompt_token_count": "prompt",
    "prompt_n": "prompt",
    "completion_tokens": "answer",
    "output_tokens": "answer",
    "candidatesTokenCount": "answer",
    "candidates_token_count": "answer",
    "predicted_n": "answer",
    "total_tokens": "total",
    "totalTokenCount": "total",
    "total_token_count": "total",
    "prompt_cache_hit_tokens": "cached",
    "cachedContentTokenCount": "cached",
    "cached_content_token_count": "cached",
    "cache_read_input_tokens": "read apart",
    "cache_creation_input_tokens": "written apart",
    "thoughtsTokenCount": "thoughts apart",
    "thoughts_token_count": "thoughts apart",
}
_DETAILS = {
    "prompt_tokens_details",
    "input_tokens_details",
    "completion_tokens_details",
    "output_tokens_details",
}
_LIFETIMES = "cache_creation"  # Anthropic's: what goes into the cache, by how long it stays there
_CHARGES = {"cost", "cost_details", "cost_in_usd_ticks"}
# More tokens than a call can have: a greater number is not a count.
_MOST_TOKENS = 10**9
# A higher charge is a mistake, or in another unit.
_MOST_DOLLARS = 1_000_000
_TICKS = 10**10  # of xAI's, in a dollar
_DIGITS = re.compile(r"[0-9]{1,10}(?:\.0{1,6})?")
_DECIMAL = re.compile(r"\s*\+?([0-9]{1,30}\.?|[0-9]{0,30}\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?\s*")


def read(frame: Mapping[str, Any]) -> Usage | None:
    """Return the usage in a frame, or in one of its choices.

    Several places may hold one: the one that counts the most is taken, and a charge from any of
    them. llama.cpp's timings are read only if there is no other.

    Example:
        >>> read({"x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 5}}})
        Usage(prompt_tokens=9, completion_tokens=5, ...)
    """
    found = [known for known in map(usage, _objects(frame)) if known is not None]
    if not any(map(says, found)):
        return _timed(frame.get(_TIMINGS)) or next(iter(found), None)
    most = max(found, key=lambda known: known.total_tokens)
    charges = [known.charge for known in found if known.charge is not None]
    return replace(most, charge=max(charges, default=None))


def in_error(body: Any) -> Usage | None:
    """Return the usage that the body of an error tells: beside the error, or inside it."""
    found = map(read, _nested(body, _DEEPEST))
    return next((each for each in found if each is not None and says(each)), None)


def usage(said: Any) -> Usage | None:
    """Return a usage object's counts and charge; `None` if it has neither.

    Each half is at least what the object tells of it, and 0 if it tells nothing. Tokens of thoughts
    that are not among those of the answer are added; nothing is counted twice.

    Args:
        said: A usage object in the words of OpenAI, Anthropic or Gemini, or any JSON.

    Example:
        >>> usage({"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 4030})
        Usage(prompt_tokens=10, completion_tokens=4020, ...)
    """
    if not isinstance(said, dict):
        return None
    known = _counts(said, _WORDS, {})
    charge = None if _CHARGES.isdisjoint(said) else _charge(said)
    if _LIFETIMES in said:
        lives = filter(None, map(_count, _object(said, _LIFETIMES).values()))
        known["written apart"] = max(known.get("written apart", 0), min(sum(lives), _MOST_TOKENS))
    prompt, read, written = _prompt(said, known)
    out = _out(known, prompt)
    if prompt is None:
        if not out and charge is None and "answer" not in known:
            return None
        prompt = max(known.get("total", 0) - out, 0) if out else 0
    read = min(read, prompt)
    written = min(written, prompt - read)
    thoughts = min(max(known.get("thoughts", 0), known.get("thoughts apart", 0)), out)
    return Usage(
        prompt,
        out,
        read,
        cache_write_tokens=written,
        charge=charge,
        reasoning_tokens=thoughts,
    )


def says(usage: Usage) -> bool:
    """True if a usage counts anything, or tells a charge."""
    return usage.total_tokens > 0 or usage.charge is not None


def _objects(frame: Mapping[str, Any]) -> Iterator[Any]:
    """The usage objects of a frame, the usual place first."""
    yield frame.get(_FIELDS[0])
    for holder in (frame, *(frame.get(name) for name in _HOLDERS)):
        if isinstance(holder, dict):
            yield from (holder[name] for name in _FIELDS if name in holder)


def _nested(body: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """The objects of an error, from the outermost on, that can hold a usage object."""
    if isinstance(body, dict) and depth:
        yield body
        for name in _OF_ERRORS:
            yield from _nested(body.get(name), depth - 1)
    elif isinstance(body, list) and depth:
        for each in body[:_WIDEST]:
            yield from _nested(each, depth - 1)


def _timed(timings: Any) -> Usage | None:
    """The counts of llama.cpp's timings, whose prompt is without what was in its cache."""
    if not isinstance(timings, dict):
        return None
    found, cached = usage(timings), _count(timings.get("cache_n")) or 0
    return found and Usage(found.prompt_tokens + cached, found.completion_tokens, cached)


def _counts(
    said: dict[str, Any], words: Mapping[str, str], known: dict[str, int]
) -> dict[str, int]:
    """Add to `known` the greatest count of each kind that an object, with its details, has."""
    for name, value in said.items():
        kind = words.get(name)
        if kind is not None:
            number = _count(value)
            if number is not None and number >= known.get(kind, 0):
                known[kind] = number
        elif words is _WORDS and name in _DETAILS and isinstance(value, dict):
            _counts(value, _BESIDE_OR_WITHIN, known)
    return known


def _count(value: Any) -> int | None:
    """A number of tokens, if it is one; some proxies make 9 to 9.0, or to a text."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _prompt(said: Mapping[str, Any], known: dict[str, int]) -> tuple[int | None, int, int]:
    """Tokens that went in, with those from the cache and into it; then these two.

    Anthropic's `input_tokens` leave out those that the cache had a part in. Proxies that translate
    them to `prompt_tokens` add them, unless more of them than of the prompt, or the total, tells
    otherwise.
    """
    prompt, answer = known.get("prompt"), known.get("answer", 0)
    cached, written = known.get("cached", 0), known.get("written", 0)
    read, stored = known.get("read apart", 0), known.get("written apart", 0)
    if apart := read + stored:
        given = prompt or 0
        if _count(said.get("prompt_tokens")):
            outside = apart > given or known.get("total") == given + apart + answer
        else:
            outside = not cached
        if outside:
            prompt = given + apart
    return prompt, cached or read, max(written, stored)


def _out(known: dict[str, int], prompt: int | None) -> int:
    """Tokens that came out, those of thoughts too.

    Most providers count thoughts among the answer's tokens, some beside them: xAI, Gemini. A total
    that is more than both halves tells those, and one that is both halves tells that there are
    none. Without a total, thoughts that are more than the answer cannot be a part of it; Gemini's
    own count never is.
    """
    given, answer, total = prompt or 0, known.get("answer", 0), known.get("total", 0)
    apart = known.get("thoughts apart", 0)
    thoughts = max(known.get("thoughts", 0), apart)
    if prompt is not None and total > given + answer:
        return max(total - given, thoughts)
    if thoughts > answer:
        return answer + thoughts
    return answer + apart * (total != given + answer)


def _charge(said: Mapping[str, Any]) -> Decimal | None:
    """US dollars that the provider says it charges, rounded up to a nanodollar.

    OpenRouter's `cost` is all of it, unless the call was made with the user's own key for the
    provider behind it (BYOK): then it is OpenRouter's fee, and that provider's charge is beside it.
    Perplexity's is an object, xAI's is in ticks.
    """
    cost = said.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    behind = _number(_object(said, "cost_details").get("upstream_inference_cost"), _MOST_DOLLARS)
    cost, own_key = _number(cost, _MOST_DOLLARS), said.get("is_byok")
    if not isinstance(own_key, bool):
        own_key = behind > cost  # without the user's own key it never is
    if own_key and not behind:
        return None  # the fee alone
    if charge := exact_sum([cost, behind]) if own_key else cost:
        return round_up(charge)
    ticks = _number(said.get("cost_in_usd_ticks"), _MOST_DOLLARS * _TICKS)
    return round_up(ticks, _TICKS) if ticks else None


def _number(value: Any, most: int) -> Decimal:
    """A number over 0, in digits or a text of them; 0 if it is not one, or over `most`."""
    if type(value) is int:
        number = Decimal(value)
    elif isinstance(value, float) or (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        number = Decimal(str(value).strip())  # the digits as they were written
    else:
        return Decimal(0)
    return number if number.is_finite() and 0 < number <= most else Decimal(0)


def _object(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object in a field; an empty one if there is none."""
    value = said.get(name)
    return value if isinstance(value, dict) else {}

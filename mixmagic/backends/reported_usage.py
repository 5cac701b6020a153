"""Token counts and charges in a provider's JSON, in any of the forms in use. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from mixmagic.core.money import Usage, exact_sum, round_up

# Fields that can hold a usage object, and objects that can hold such a field.
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
_LIFETIMES = "cache_creation"  # Anthropic's: tokens written to the cache, by their lifetime
_CHARGES = {"cost", "cost_details", "cost_in_usd_ticks"}
# No call has more tokens: a larger number is not a count.
_MOST_TOKENS = 10**9
# A higher charge is a mistake, or in another unit.
_MOST_DOLLARS = 1_000_000
_TICKS = 10**10  # of xAI's, in a dollar
_DIGITS = re.compile(r"[0-9]{1,10}(?:\.0{1,6})?")
_DECIMAL = re.compile(r"\s*\+?([0-9]{1,30}\.?|[0-9]{0,30}\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?\s*")


def usage_in(frame: Mapping[str, Any]) -> Usage | None:
    """Return the usage in a frame, or in one of its choices.

    If there are several, the one with the most tokens is returned, with the highest charge of all.
    llama.cpp's timings are read only if there is no other.

    Example:
        >>> usage_in({"x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 5}}})
        Usage(prompt_tokens=9, completion_tokens=5, ...)
    """
    usages = [known for known in map(usage, _objects(frame)) if known is not None]
    if not any(map(is_informative, usages)):
        return _timed(frame.get(_TIMINGS)) or next(iter(usages), None)
    most = max(usages, key=lambda known: known.total_tokens)
    charges = [known.charge for known in usages if known.charge is not None]
    return replace(most, charge=max(charges, default=None))


def in_error(body: Any) -> Usage | None:
    """Return the usage in the body of an error: next to the error, or inside it."""
    usages = map(usage_in, _nested(body, _DEEPEST))
    return next((usage for usage in usages if usage is not None and is_informative(usage)), None)


def usage(reported: Any) -> Usage | None:
    """Return a usage object's counts and charge; `None` if it has neither.

    The tokens of the prompt and of the answer are at least the reported ones, and 0 if none are.
    Tokens of thoughts that are not counted in the answer are added; nothing is counted twice.

    Args:
        reported: A usage object in the form of OpenAI, Anthropic or Gemini, or any JSON.

    Example:
        >>> usage({"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 4030})
        Usage(prompt_tokens=10, completion_tokens=4020, ...)
    """
    if not isinstance(reported, dict):
        return None
    known = _counts(reported, _WORDS, {})
    charge = None if _CHARGES.isdisjoint(reported) else _charge(reported)
    if _LIFETIMES in reported:
        counts = filter(None, map(_token_count, _object(reported, _LIFETIMES).values()))
        known["written apart"] = max(known.get("written apart", 0), min(sum(counts), _MOST_TOKENS))
    prompt, read, written = _prompt(reported, known)
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


def is_informative(usage: Usage) -> bool:
    """Return True if a usage has any tokens, or a charge."""
    return usage.total_tokens > 0 or usage.charge is not None


def _objects(frame: Mapping[str, Any]) -> Iterator[Any]:
    """The usage objects of a frame, the one at the usual place first."""
    for holder in (frame, *(frame.get(name) for name in _HOLDERS)):
        if isinstance(holder, dict):
            yield from (holder[name] for name in _FIELDS if name in holder)


def _nested(body: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """The objects of an error that can hold a usage object, outermost first."""
    if isinstance(body, dict) and depth:
        yield body
        for name in _OF_ERRORS:
            yield from _nested(body.get(name), depth - 1)
    elif isinstance(body, list) and depth:
        for item in body[:_WIDEST]:
            yield from _nested(item, depth - 1)


def _timed(timings: Any) -> Usage | None:
    """The counts of llama.cpp's timings, whose prompt does not include cached tokens."""
    if not isinstance(timings, dict):
        return None
    counts, cached = usage(timings), _token_count(timings.get("cache_n")) or 0
    return counts and Usage(counts.prompt_tokens + cached, counts.completion_tokens, cached)


def _counts(
    reported: dict[str, Any], words: Mapping[str, str], known: dict[str, int]
) -> dict[str, int]:
    """Add to `known` the largest count of each kind in an object and its details."""
    for name, value in reported.items():
        kind = words.get(name)
        if kind is not None:
            number = _token_count(value)
            if number is not None and number >= known.get(kind, 0):
                known[kind] = number
        elif words is _WORDS and name in _DETAILS and isinstance(value, dict):
            _counts(value, _BESIDE_OR_WITHIN, known)
    return known


def _token_count(value: Any) -> int | None:
    """A number of tokens, or `None` if it is not one; some proxies turn 9 into 9.0 or "9"."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _prompt(reported: Mapping[str, Any], known: dict[str, int]) -> tuple[int | None, int, int]:
    """Tokens of the prompt, and of these, the ones read from and written to the cache.

    Anthropic's `input_tokens` do not include the tokens read from or written to the cache. In the
    `prompt_tokens` of proxies that translate them, they are included, unless there are more of them
    than of the prompt, or the total shows that they are not.
    """
    prompt, answer = known.get("prompt"), known.get("answer", 0)
    cached, written = known.get("cached", 0), known.get("written", 0)
    read, stored = known.get("read apart", 0), known.get("written apart", 0)
    if separate := read + stored:
        prompt_tokens = prompt or 0
        if _token_count(reported.get("prompt_tokens")):
            is_separate = (
                separate > prompt_tokens or known.get("total") == prompt_tokens + separate + answer
            )
        else:
            is_separate = not cached
        if is_separate:
            prompt = prompt_tokens + separate
    return prompt, cached or read, max(written, stored)


def _out(known: dict[str, int], prompt: int | None) -> int:
    """Tokens of the answer, including thoughts.

    Most providers include thoughts in the answer's tokens; some, like xAI and Gemini, count them
    separately. If the total is more than prompt and answer, the difference is the thoughts; if it
    is equal, there are no separate ones. Without a total, thoughts that are more than the answer
    cannot be included in it; those in Gemini's own field never are.
    """
    prompt_tokens, answer, total = prompt or 0, known.get("answer", 0), known.get("total", 0)
    separate = known.get("thoughts apart", 0)
    thoughts = max(known.get("thoughts", 0), separate)
    if prompt is not None and total > prompt_tokens + answer:
        return max(total - prompt_tokens, thoughts)
    if thoughts > answer:
        return answer + thoughts
    return answer + separate * (total != prompt_tokens + answer)


def _charge(reported: Mapping[str, Any]) -> Decimal | None:
    """The provider's reported charge in US dollars, rounded up to a nanodollar.

    OpenRouter's `cost` is the whole charge, unless the call was made with the user's own key for
    the upstream provider (BYOK): then it is OpenRouter's fee, and the upstream charge is separate.
    Perplexity's is an object, xAI's is in ticks.
    """
    cost = reported.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    upstream = _positive_number(
        _object(reported, "cost_details").get("upstream_inference_cost"), _MOST_DOLLARS
    )
    cost, own_key = _positive_number(cost, _MOST_DOLLARS), reported.get("is_byok")
    if not isinstance(own_key, bool):
        own_key = upstream > cost  # never without the user's own key
    if own_key and not upstream:
        return None  # only the fee is known
    if charge := exact_sum([cost, upstream]) if own_key else cost:
        return round_up(charge)
    ticks = _positive_number(reported.get("cost_in_usd_ticks"), _MOST_DOLLARS * _TICKS)
    return round_up(ticks, _TICKS) if ticks else None


def _positive_number(value: Any, most: int) -> Decimal:
    """A positive number, or a string of one; 0 if it is not one, or over `most`."""
    if type(value) is int:
        number = Decimal(value)
    elif isinstance(value, float) or (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        number = Decimal(str(value).strip())  # exactly the digits received
    else:
        return Decimal(0)
    return number if number.is_finite() and 0 < number <= most else Decimal(0)


def _object(reported: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object in a field; an empty one if there is none."""
    value = reported.get(name)
    return value if isinstance(value, dict) else {}

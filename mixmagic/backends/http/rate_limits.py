"""Rate limits, and the time to wait, in the headers of a response. No I/O.

`Retry-After` is RFC 9110's; the others are customs: `x-ratelimit-*` for requests and
`x-tokenlimit-*` for tokens (Together AI, per second, some with `-dynamic` behind the name), or
`x-ratelimit-*-requests` and `-tokens` (OpenAI, Groq).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mixmagic.core.values import RateLimits

_KINDS = ("", "-dynamic", "-requests", "-tokens")
_BUCKETS = ("-requests", "-tokens")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
# Numbers above these are moments, not durations: seconds and milliseconds since 1970.
_LONGEST = 64  # characters
_EPOCH, _EPOCH_MS = 1e9, 1e11


def limits(headers: Mapping[str, str], window: int) -> RateLimits:
    """The limits that a response's headers tell.

    Args:
        headers: With case-insensitive names.
        window: Seconds for which `x-ratelimit-limit` holds; 0 if unknown.

    Example:
        >>> limits({"x-ratelimit-limit": "20", "x-ratelimit-remaining": "3"}, window=1)
        RateLimits(requests=20.0, tokens=None, wait=0.0)
    """
    if not window:
        return RateLimits(wait=_room(headers))
    # If the rate is known, it is enough to keep to it.
    return RateLimits(
        requests=_rate(headers, "x-ratelimit-limit", window),
        tokens=_rate(headers, "x-tokenlimit-limit", window),
    )


def wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a refusal asks to wait; `None` if it does not say.

    A wait of zero, or a time in the past, says nothing.

    Example:
        >>> wait({"retry-after": "2"}), wait({"retry-after": "0"})
        (2.0, None)
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    after = headers.get("retry-after", "")
    told = (
        milliseconds and milliseconds / 1000,
        _duration(after) or _until(after, headers.get("date", "")),
        _used_up(headers),
        _duration(headers.get("x-ratelimit-reset", "")),
    )
    return next((seconds for seconds in told if seconds), None)


def _room(headers: Mapping[str, str]) -> float:
    """Seconds until there is room for one call more; 0 if there is some.

    Of `-requests` and `-tokens`, `reset` is the time to a full bucket, as OpenAI and Groq have it:
    room for one comes that much sooner.
    """
    told = []
    for kind in _KINDS:
        seconds = _reset(headers, kind)
        if seconds and kind in _BUCKETS:
            limit = _number(headers.get(f"x-ratelimit-limit{kind}", ""))
            seconds = seconds / limit if limit else 0.0
        told.append(seconds or 0.0)
    return max(told)


def _rate(headers: Mapping[str, str], name: str, window: int) -> float | None:
    """A limit per second; if it also has a dynamic variant, the lower one."""
    values = [_number(headers.get(each, "")) for each in (name, f"{name}-dynamic")]
    told = [value / window for value in values if value]
    return min(told, default=None)


def _used_up(headers: Mapping[str, str]) -> float | None:
    """Seconds until every exhausted limit has reset; `None` if no limit is exhausted."""
    told = (_reset(headers, kind) for kind in _KINDS)
    return max((seconds for seconds in told if seconds is not None), default=None)


def _reset(headers: Mapping[str, str], kind: str) -> float | None:
    """Seconds until an exhausted limit resets; `None` if it is not exhausted or not named."""
    if _number(headers.get(f"x-ratelimit-remaining{kind}", "")) != 0:
        return None
    return _duration(headers.get(f"x-ratelimit-reset{kind}", ""))


def _number(text: str) -> float | None:
    """A finite number that is not negative."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _duration(text: str) -> float | None:
    """Seconds, from `2`, `2.5`, `350ms`, `1m12s`, or a moment as seconds or ms since 1970."""
    if len(text) > _LONGEST:  # the pattern below takes its time
        return None
    number = _number(text)
    if number is None:
        parts = _PART.findall(text)
        whole = "".join(value + unit for value, unit in parts) == text.strip()
        seconds = sum(float(v) * _UNITS[u] for v, u in parts)
        return seconds if parts and whole and math.isfinite(seconds) else None
    if number >= _EPOCH_MS:
        return max(0.0, number / 1000 - time.time())
    return max(0.0, number - time.time()) if number >= _EPOCH else number


def _until(date: str, now: str) -> float | None:
    """Seconds until an HTTP date, by the server's own clock if the response has its time."""
    moment = _moment(date)
    if moment is None:
        return None
    return max(0.0, (moment - (_moment(now) or datetime.now(UTC))).total_seconds())


def _moment(date: str) -> datetime | None:
    """An HTTP date."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

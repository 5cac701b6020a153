"""Rate limits, and the time to wait, in the headers of a response. No I/O.

`Retry-After` is RFC 9110's; the others are conventions: `x-ratelimit-*` for requests and
`x-tokenlimit-*` for tokens (Together AI, per second, some with the suffix `-dynamic`), or
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
_LONGEST = 64  # characters
# Numbers above these are times, not durations: seconds and milliseconds since 1970.
_EPOCH, _EPOCH_MS = 1e9, 1e11


def limits(headers: Mapping[str, str], window: int) -> RateLimits:
    """Return the rate limits in a response's headers.

    Args:
        headers: The headers, with case-insensitive names.
        window: Seconds that `x-ratelimit-limit` applies to; 0 if unknown.

    Example:
        >>> limits({"x-ratelimit-limit": "20", "x-ratelimit-remaining": "3"}, window=1)
        RateLimits(requests=20.0, tokens=None, wait=0.0)
    """
    if not window:
        return RateLimits(wait=_next_call(headers))
    # If the rate is known, no wait is needed.
    return RateLimits(
        requests=_rate(headers, "x-ratelimit-limit", window),
        tokens=_rate(headers, "x-tokenlimit-limit", window),
    )


def wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a refusal asks to wait; `None` if it does not.

    A wait of zero, or until a time in the past, is ignored.

    Example:
        >>> wait({"retry-after": "2"}), wait({"retry-after": "0"})
        (2.0, None)
    """
    milliseconds = _finite_number(headers.get("retry-after-ms", ""))
    after = headers.get("retry-after", "")
    waits = (
        milliseconds and milliseconds / 1000,
        _duration(after) or _until(after, headers.get("date", "")),
        _used_up(headers),
        _duration(headers.get("x-ratelimit-reset", "")),
    )
    return next((seconds for seconds in waits if seconds), None)


def _next_call(headers: Mapping[str, str]) -> float:
    """Seconds until the next call is allowed; 0 if it is now.

    For `-requests` and `-tokens` (OpenAI, Groq), `reset` is the time until the bucket is full
    again; the time for one more is that divided by the limit.
    """
    waits = []
    for kind in _KINDS:
        seconds = _reset(headers, kind)
        if seconds and kind in _BUCKETS:
            limit = _finite_number(headers.get(f"x-ratelimit-limit{kind}", ""))
            seconds = seconds / limit if limit else 0.0
        waits.append(seconds or 0.0)
    return max(waits)


def _rate(headers: Mapping[str, str], name: str, window: int) -> float | None:
    """A limit per second; if it also has a dynamic variant, the lower one."""
    values = [_finite_number(headers.get(header, "")) for header in (name, f"{name}-dynamic")]
    rates = [value / window for value in values if value]
    return min(rates, default=None)


def _used_up(headers: Mapping[str, str]) -> float | None:
    """Seconds until every exhausted limit has reset; `None` if no limit is exhausted."""
    resets = (_reset(headers, kind) for kind in _KINDS)
    return max((seconds for seconds in resets if seconds is not None), default=None)


def _reset(headers: Mapping[str, str], kind: str) -> float | None:
    """Seconds until an exhausted limit resets; `None` if it is not exhausted, or unknown."""
    if _finite_number(headers.get(f"x-ratelimit-remaining{kind}", "")) != 0:
        return None
    return _duration(headers.get(f"x-ratelimit-reset{kind}", ""))


def _finite_number(text: str) -> float | None:
    """A finite number that is not negative."""
    if not text:  # most headers are missing, and an exception takes longer
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _duration(text: str) -> float | None:
    """Seconds, from `2`, `2.5`, `350ms`, `1m12s`, or a time as seconds or ms since 1970."""
    if len(text) > _LONGEST:  # the pattern below is slow
        return None
    number = _finite_number(text)
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

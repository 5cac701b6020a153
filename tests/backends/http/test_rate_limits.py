"""Limits and waits in headers, in every form, valid or not."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mixmagic.backends.http.rate_limits import limits, wait
from mixmagic.core.values import RateLimits

NAMES = [
    "retry-after", "retry-after-ms", "date",
    *(f"x-ratelimit-{what}{kind}" for what in ("limit", "remaining", "reset")
      for kind in ("", "-dynamic", "-requests", "-tokens")),
    "x-tokenlimit-limit", "x-tokenlimit-remaining", "x-tokenlimit-limit-dynamic",
]  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=40),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    st.from_regex(r"[0-9]{1,4}(\.[0-9]+)?(ms|s|m|h|d)([0-9]+s)?", fullmatch=True),
)


def is_sensible(value):
    return value is None or (math.isfinite(value) and value >= 0)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.sampled_from([0, 1, 60]))
@example({"x-ratelimit-reset": "9" * 400 + "s", "x-ratelimit-remaining": "0"}, 0)
@example({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}, 0)
@example({"retry-after-ms": "nan", "retry-after": "inf", "x-ratelimit-reset": "-1"}, 0)
@example({"x-ratelimit-limit": "1e308"}, 1)
def test_no_header_raises_or_gives_an_invalid_value(headers, window):
    told = limits(headers, window)
    assert is_sensible(wait(headers))
    assert is_sensible(told.wait)
    assert is_sensible(told.requests)
    assert is_sensible(told.tokens)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "0"}, None),
        ({"retry-after": "0", "x-ratelimit-reset": "3"}, 3),
        ({"retry-after": "-0.0"}, None),
        ({"retry-after": "0s"}, None),
        ({"retry-after-ms": "0"}, None),
        ({"retry-after-ms": "0", "retry-after": "2"}, 2),
        ({"retry-after-ms": "-20"}, None),
        # Two limits are reached: the call needs room in both.
        (
            {
                f"x-ratelimit-{name}-{kind}": value
                for kind, reset in (("requests", "2s"), ("tokens", "7s"))
                for name, value in (("remaining", "0"), ("reset", reset))
            },
            7,
        ),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9),
        ({"x-ratelimit-reset": "3"}, 3),
        ({"retry-after": "4", "x-ratelimit-reset": "3"}, 4),
        ({"x-ratelimit-reset": "350ms"}, 0.35),
        ({"x-ratelimit-reset": "1m12s"}, 72),
        ({"x-ratelimit-reset": "2h"}, 7200),
        ({"x-ratelimit-reset": "7.66s"}, 7.66),
        ({"x-ratelimit-reset": "7 parsecs"}, None),
        # Of two that are reset, the one that is used up counts.
        (
            {
                "x-ratelimit-remaining-requests": "5",
                "x-ratelimit-reset-requests": "60s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "7s",
            },
            7,
        ),
        ({"x-ratelimit-remaining-dynamic": "0", "x-ratelimit-reset-dynamic": "2"}, 2),
    ],
)
def test_a_wait_in_every_form(headers, seconds):
    assert wait(headers) == (None if seconds is None else pytest.approx(seconds))


def test_a_date_is_read_by_the_servers_own_clock():
    theirs = datetime(2031, 5, 1, 12, 0, 0, tzinfo=UTC)
    later = format_datetime(theirs + timedelta(seconds=9), usegmt=True)
    assert wait({"retry-after": later, "date": format_datetime(theirs, usegmt=True)}) == 9
    earlier = format_datetime(theirs - timedelta(seconds=9), usegmt=True)
    assert wait({"retry-after": earlier, "date": format_datetime(theirs, usegmt=True)}) is None


def test_a_date_without_the_servers_clock_is_read_by_ours():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < wait({"retry-after": later}) <= 60


@pytest.mark.parametrize("unit", [1, 1000], ids=["seconds", "milliseconds"])
def test_a_unix_timestamp_is_the_time_until_then(unit):
    at = (time.time() + 20) * unit
    assert wait({"x-ratelimit-reset": str(at)}) == pytest.approx(20, abs=5)
    assert wait({"x-ratelimit-reset": str(at - 60 * unit)}) is None


@pytest.mark.parametrize(
    ("headers", "window", "told"),
    [
        ({}, 1, RateLimits()),
        ({"x-ratelimit-limit": "20"}, 1, RateLimits(requests=20)),
        ({"x-ratelimit-limit": "60"}, 60, RateLimits(requests=1)),
        ({"x-ratelimit-limit": "0"}, 1, RateLimits()),
        ({"x-ratelimit-limit": "20", "x-ratelimit-limit-dynamic": "5"}, 1, RateLimits(requests=5)),
        ({"x-ratelimit-limit-dynamic": "30"}, 1, RateLimits(requests=30)),
        ({"x-tokenlimit-limit": "4000"}, 1, RateLimits(tokens=4000)),
        ({"x-tokenlimit-limit": "9", "x-tokenlimit-limit-dynamic": "7"}, 1, RateLimits(tokens=7)),
        # Where the rate is known, it is enough to keep to it.
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9"}, 1, RateLimits()),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9"}, 0, RateLimits(wait=9)),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "9"}, 0, RateLimits()),
        ({"x-ratelimit-limit": "20"}, 0, RateLimits()),
    ],
)
def test_limits_in_every_form(headers, window, told):
    assert limits(headers, window) == told


@pytest.mark.parametrize(
    "value",
    ["1" * 100_000, "1m" * 50_000, "1" * 100_000 + "x"],
    ids=["digits", "minutes", "a letter behind digits"],
)
@pytest.mark.parametrize("name", ["x-ratelimit-reset", "retry-after", "retry-after-ms"])
def test_a_header_of_any_length_is_read_at_once(name, value):
    """No pattern is slow on text that is not a duration."""
    assert wait({name: value}) is None

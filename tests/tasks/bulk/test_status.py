"""The progress of a job in words."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from mixmagic.tasks.bulk.progress import Progress
from mixmagic.tasks.bulk.status import duration, speed, status_line

RUNNING = Progress(
    rows=5000, done=1240, reused=0, missing=0, failed=3, asked=1237, cost=Decimal("0.0123"),
    rate=31.0, seconds=40.0, limit=None,
)  # fmt: skip


def test_a_job_that_runs_has_a_rate_a_projection_and_a_time():
    line = "1,240 of 5,000 rows · 31 rows/s · $0.012 of about $0.050 · 3 failed · 2:01 left"
    assert status_line(RUNNING, "running") == line


@pytest.mark.parametrize(
    ("changes", "state", "line"),
    [
        ({"done": 5000, "failed": 0}, "done", "5,000 rows in 40 s · $0.012"),
        (
            {"done": 5000, "failed": 0, "reused": 4000, "missing": 7},
            "done",
            "5,000 rows in 40 s · $0.012 · 7 without a value · 4,000 answered before",
        ),
        ({"failed": 0, "cost": Decimal(0), "unpriced": 9}, "paused",
         "paused after 1,240 of 5,000 rows · price unknown. No more. The same call goes on."),
        ({"failed": 0, "unpriced": 9}, "stopped",
         "stopped after 1,240 of 5,000 rows, which are kept · at least $0.012. No more. The same call goes on."),  # noqa: E501
        ({"unit": "text", "cost": Decimal(0)}, "running",
         "1,240 of 5,000 texts · 31 texts/s · 3 failed · 2:01 left"),
        ({"failed": 0, "cost": Decimal(0), "rate": 0.0}, "running", "1,240 of 5,000 rows"),
    ],
)  # fmt: skip
def test_each_state_says_what_matters(changes, state, line):
    reason = "No more." if state in ("paused", "stopped") else ""
    assert status_line(replace(RUNNING, **changes), state, reason) == line


def test_times_and_rates_are_short():
    assert [duration(seconds) for seconds in (0.42, 9.96, 59.4)] == ["0.4 s", "10 s", "59 s"]
    assert [duration(seconds) for seconds in (59.6, 3725)] == ["1:00", "1:02:05"]
    speeds = ["4.0 s/row", "3.1 rows/s", "2,500 rows/s"]
    assert [speed(rate) for rate in (0.25, 3.14, 2500)] == speeds

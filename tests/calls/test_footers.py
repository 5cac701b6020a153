"""The footer of a replayed answer equals the one that was saved, but for times and prices."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from answers import ACME, ANSWER, MODEL, REQUEST

from mixmagic.calls.completion import Completion
from mixmagic.calls.footers import without_varying
from mixmagic.catalog import FREE
from mixmagic.core.money import Usage
from mixmagic.core.values import Model
from mixmagic.display.formats import FORMATS
from mixmagic.tasks.bulk.progress import Progress
from mixmagic.tasks.bulk.status import status_line
from mixmagic.text.escape import as_text

BEFORE = datetime.now(UTC) - timedelta(days=12)
FREE_REQUEST = replace(REQUEST, model=Model("m", replace(ACME, free=True), price=FREE))
UNPRICED = replace(REQUEST, model=replace(MODEL, price=None))
THINKING = Usage(9, 5, reasoning_tokens=3)
LIVE = {
    "paid": ANSWER,
    "free": replace(ANSWER, request=FREE_REQUEST, cost=Decimal(0)),
    "unknown price": replace(ANSWER, request=UNPRICED, cost=None),
    "estimated": replace(ANSWER, usage=Usage(10, 5, counted="estimate")),
    "upper limit": replace(ANSWER, billed_tries=1),
    "expensive": replace(ANSWER, cost=Decimal("1234.5"), usage=Usage(10**9, 10**9)),
    "thought": replace(ANSWER, reasoning="Hm.", thinking=12.0, usage=THINKING),
    "cut off": replace(ANSWER, finish="length"),
    "noted": replace(ANSWER, notes=("the cheapest of 2 providers with a key",)),
    "at once": replace(ANSWER, ttft=None),
    "several": replace(ANSWER, others=("Hello.",)),
}  # fmt: skip
ROWS = Progress(
    rows=500, done=500, reused=0, missing=3, failed=1, asked=400, cost=Decimal("0.0123"),
    rate=31.0, seconds=40.0, limit=None,
)  # fmt: skip
SESSIONS = ["$0", "$0.00081", "at least $12.30", "$0.10 of $0.50", "unknown", ""]


def sanitized(completion: Completion, session: str = "$0") -> dict[str, str]:
    """Return the bundles of an answer in all formats, as nbval compares them."""
    shown = {}
    for name, form in FORMATS.items():
        for mime, text in form.whole(completion, session, with_thoughts=True).items():
            shown[f"{name} {mime}"] = without_varying(text)
    return shown


def replayed(live: Completion, **changes) -> Completion:
    """Return an answer as a cassette has it: other times, no cost."""
    return replace(
        live,
        origin="cassette",
        recorded=BEFORE,
        cost=Decimal(0),
        billed_tries=0,
        elapsed=live.elapsed * 7,
        ttft=live.ttft and live.ttft * 3,
        thinking=live.thinking and 1234.0,
        **changes,
    )


@pytest.mark.parametrize("kind", LIVE)
def test_a_replay_equals_the_paid_answer(kind):
    live = LIVE[kind]
    first = sanitized(live, "$0.12")
    assert sanitized(replayed(live)) == first
    assert sanitized(replace(replayed(live), recorded=None)) == first
    assert sanitized(replace(replayed(live), origin="cache")) == first
    assert sanitized(replace(replayed(live), origin="cache", recorded=datetime.now(UTC))) == first


@pytest.mark.parametrize("session", SESSIONS)
def test_the_total_of_the_session_does_not_count(session):
    assert sanitized(ANSWER, session) == sanitized(ANSWER)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "Hi."},
        {"usage": Usage(1235, 56)},
        {"usage": Usage(1234, 57)},
        {"finish": "length"},
        {"notes": ("sales cut to 20 of 36 rows",)},
        {"others": ("Hello.",)},
        {"request": FREE_REQUEST},
    ],
)
def test_everything_else_is_compared(changes):
    assert sanitized(replayed(ANSWER, **changes)) != sanitized(ANSWER)


def test_an_answer_that_speaks_of_money_and_time_is_compared():
    first = replace(ANSWER, text="It costs $5.00 and takes 3 s, session $1.")
    assert sanitized(first) != sanitized(replace(first, text="It costs $6.00 and takes 3 s."))
    assert "$5.00 and takes 3 s, session $1" in sanitized(first)["text text/plain"]


@pytest.mark.parametrize(
    "saved",
    [
        {"cost": Decimal("0.0123")}, {"cost": Decimal("1.2")}, {"unpriced": 9, "seconds": 3725.0},
        {"reused": 1400}, {"cost": Decimal("0.01"), "unpriced": 9, "reused": 3, "seconds": 0.04},
    ],
    ids=", ".join,
)  # fmt: skip
@pytest.mark.parametrize("state", ["done", "paused", "preview"])
def test_the_progress_of_a_job_is_that_of_its_replay(saved, state):
    now = replace(ROWS, cost=Decimal(0), seconds=1.0)
    lines = [status_line(progress, state, "No more") for progress in (replace(ROWS, **saved), now)]
    for shown in (lines, [as_text(line) for line in lines]):
        assert shown[0] != shown[1]
        assert without_varying(shown[0]) == without_varying(shown[1])
    other = status_line(replace(now, failed=2), state, "No more")
    assert without_varying(other) != without_varying(lines[1])


def test_the_line_below_a_translation_is_that_of_its_replay():
    saved = "English → French · 8x7b · 1,203 calls · $1.20 · 4 answered before · 3 from memory"
    now = "English → French · 8x7b · 3 calls · free · 3 from memory"
    assert without_varying(saved) == without_varying(now)
    assert without_varying(as_text(saved)) == without_varying(as_text(now))
    assert "3 from memory" in without_varying(now)

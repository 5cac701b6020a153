"""What a call came to is the same in its row, in its cell and for whoever asked."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from decimal import Decimal

import pytest
from server import CUT, HANG, Answer, chunk, frames, refusal, usage

from mixmagic.calls.collector import Collector, finalize
from mixmagic.core.money import NANO
from mixmagic.display.live import show
from mixmagic.display.renderers import SingleOutputRenderer
from mixmagic.errors import MixmagicError, Stopped
from mixmagic.sessions import Session

TOKEN = Decimal("600e-9")
# A piece of several tokens, as from a provider whose tokenizer is not ours.
LONG = "internationalisation internationalisation "
UNTOLD = [*[frames(chunk(LONG), done=False)] * 16, frames(chunk("", "length"))]
# Whatever a usage has in place of a count, or a count of something else.
NO_COUNTS = [None, -5, 199.5, "many", "-5", "2e2", "", 2_000_000_000, "2000000000", 0, "0"]


class Quiet(SingleOutputRenderer):
    """A screen that keeps what it is to show."""

    interval = 0.01

    def draw(self, text, progress):
        pass

    def finish(self, completion, session):
        self.completion = completion


@pytest.fixture
def patient(together, monkeypatch):
    """A session that tries again."""
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "4")
    made = Session()
    yield made
    made.close()


def row(session):
    (found,) = session.ledger.database.rows("SELECT * FROM calls")
    return found


def stop_soon(server):
    """Interrupt half a second after the server has received the question."""

    def interrupt():
        deadline = time.monotonic() + 20
        while not server.received and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()


@pytest.mark.parametrize(
    ("answer", "stream", "came"),
    [
        (refusal(429, {"error": "no"}, retry_after="20"), True, (0, "0 → 0 tokens · $0 · ")),
        (Answer([HANG]), False, ((9 + 24 + 96 + 40) * 600, "≈ 9 → 0 tokens · ≤ $0.00010")),
        (Answer([UNTOLD[0], HANG]), True, (14 * 600, "≈ 9 → 5 tokens · ≈ $0.0000084")),
        (Answer(UNTOLD), True, (49 * 600, "≈ 9 → 40 tokens · ≈ $0.000029")),
        (Answer([*UNTOLD[:-1], CUT]), True, (49 * 600, "≈ 9 → 40 tokens · ≈ $0.000029")),
    ],
    ids=["not answered", "not seen", "stopped", "not counted", "broken off"],
)
def test_the_row_and_the_cell_agree(patient, together, answer, stream, came):
    together.plan = [answer]
    request, screen = patient.request("Hi", max_tokens=40, stream=stream), Quiet(None)
    if answer.status == 429 or HANG in answer.steps:
        stop_soon(together)
    try:
        completion = show(patient, request, screen)
    except Stopped as stopped:
        completion = stopped.completion
    except MixmagicError as error:
        completion = error.partial
    nanodollars, shown = came
    assert row(patient)["cost_nanodollars"] == nanodollars
    assert completion.cost == screen.completion.cost == Decimal(nanodollars) / NANO
    assert shown in screen.completion.footer()
    assert row(patient)["completion_tokens"] == completion.usage.completion_tokens


@pytest.mark.parametrize("count", NO_COUNTS)
def test_an_invalid_count_is_replaced_by_ours(session, together, count):
    told = frames(chunk("", "stop", usage={"prompt_tokens": 9, "completion_tokens": count}))
    together.plan = [Answer([*UNTOLD[:-1], told])]
    with closing(session.stream(session.request("Hi"))) as deltas:
        list(deltas)
    assert row(session)["counted"] == "exact"
    assert row(session)["completion_tokens"] > 40
    assert row(session)["cost_nanodollars"] > 49 * 600


def test_a_count_of_the_first_chunk_is_not_the_count_of_the_answer(session, together):
    first = frames(chunk("A", **usage(9, 1)), done=False)
    together.plan = [Answer([first, *UNTOLD])]
    with closing(session.stream(session.request("Hi"))) as deltas:
        list(deltas)
    assert row(session)["completion_tokens"] > 40


def test_our_own_count_exceeds_no_budget(session, together):
    """A server that keeps `max_tokens`, and says nothing of its tokens."""
    together.plan = [Answer(UNTOLD)]
    request = session.request("Hi", max_tokens=8)
    session.budget(session.plan(request).worst_case.cost)
    with closing(session.stream(request)) as deltas:
        list(deltas)
    assert (row(session)["completion_tokens"], row(session)["counted"]) == (8, "estimate")
    assert row(session)["cost_nanodollars"] == (9 + 8) * 600
    (left,) = session.budgets()
    assert left.remaining >= 0


def test_a_call_to_a_tool_is_counted(session, together):
    said = {"index": 0, "function": {"name": "find", "arguments": '{"city": "Rome"}'}}
    piece = {"choices": [{"index": 0, "delta": {"tool_calls": [said]}}]}
    end = frames(chunk("", "tool_calls"))
    together.plan = [Answer([*[frames(piece, done=False)] * 30, end])]
    with closing(session.stream(session.request("Hi"))) as deltas:
        list(deltas)
    assert (row(session)["completion_tokens"], row(session)["counted"]) == (180, "estimate")


def test_ctrl_c_while_a_call_waits_for_its_next_try_costs_nothing(patient, together):
    together.plan = [refusal(429, {"error": "no"}, retry_after="20")]
    request = patient.request("Hi")
    collector = Collector(request)
    stop_soon(together)
    with closing(patient.stream(request)) as deltas, pytest.raises(KeyboardInterrupt) as caught:
        list(map(collector.add, deltas))
    assert row(patient)["cost_nanodollars"] == 0
    assert finalize(collector, "stopped", sent=caught.value.sent).cost == 0


def test_all_ways_to_ask_agree_on_the_cost(patient, together):
    together.plan = [Answer(UNTOLD)]
    assert patient.ask("Hi", max_tokens=8).cost == 17 * TOKEN
    together.plan = [refusal(429, {"error": "no"}, retry_after="20")]
    stop_soon(together)
    with pytest.raises(Stopped, match=r"^Stopped: 0 tokens kept") as caught:
        patient.ask("Hi")
    assert caught.value.message.endswith(" in mixmagic.stopped(), priced as $0.")
    assert caught.value.completion.cost == 0


def test_an_unknown_price_stays_unknown(session, together, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", together.url)
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-4711")
    collector = Collector(session.request("Hi", model="openai:m", stream=False))
    assert finalize(collector, "stopped").cost is None
    assert finalize(collector, "stopped", sent=False).cost == 0


@pytest.fixture
def unpriced(session, together, monkeypatch):
    """Ask a model of unknown price, until the call ends in whatever way; its completion."""
    monkeypatch.setenv("OPENAI_BASE_URL", together.url)
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-4711")

    def unpriced(*steps, **params):
        together.plan = [Answer([*steps])]
        try:
            return session.ask("Hi", model="openai:m", **params)
        except MixmagicError as error:
            return error.partial

    return unpriced


CHARGE = {"prompt_tokens": 9, "completion_tokens": 5, "cost": 0.0042}


@pytest.mark.parametrize(
    "steps",
    [
        [frames(chunk("Hi"), chunk("", "stop", usage=CHARGE))],
        [frames(chunk("Hi"), {"choices": [], "usage": CHARGE}, done=False), CUT],
        [frames({"choices": [], "usage": CHARGE}, chunk("Hi"), chunk(" there"), done=False), CUT],
        [frames(chunk("Hi"), {"choices": [], "usage": {"cost": "0.0042"}}, done=False), CUT],
        [frames({**chunk("Hi", "stop"), "usage": {**CHARGE, "cost": {"total_cost": "0.0042"}}})],
    ],
)
def test_a_reported_charge_is_the_cost_at_any_price(session, together, unpriced, steps):
    completion = unpriced(*steps)
    assert completion.cost == Decimal("0.0042")
    assert " · $0.0042 · " in completion.footer()
    assert row(session)["cost_nanodollars"] == 4_200_000
    together.plan = [Answer(steps)]
    try:
        answer = session.ask("Hi", model="8x7b", max_tokens=1)
    except MixmagicError as error:
        answer = error.partial
    assert answer.cost == Decimal("0.0042")


def test_a_low_reported_charge_is_the_cost(session, together):
    """Whatever its tokens, which we counted, would cost at the list price."""
    told = frames({"choices": [], "usage": {"cost": "0.000000010"}})
    together.plan = [Answer([*UNTOLD[:-1], frames(chunk("", "stop"), done=False), told])]
    assert session.ask("Hi", max_tokens=8).cost == Decimal("1e-8")
    assert row(session)["cost_nanodollars"] == 10


def test_a_broken_answer_of_unknown_price_has_an_unknown_cost(session, unpriced):
    completion = unpriced(frames(chunk("Hi"), done=False), CUT)
    assert completion.cost is None
    assert "price unknown" in completion.footer()
    assert row(session)["cost_nanodollars"] is None


@pytest.mark.parametrize("status", [400, 401, 429, 503])
def test_a_refused_call_has_no_count(session, together, status):
    together.plan = [refusal(status, {"error": "no"})]
    with pytest.raises(MixmagicError):
        session.ask("Hi")
    assert (row(session)["counted"], row(session)["cost_nanodollars"]) == (None, 0)


def test_a_refused_call_does_not_make_a_sum_an_estimate(session, together):
    together.plan = [
        refusal(429, {"error": "no"}),
        Answer([frames(chunk("A", "stop"), usage(9, 1))]),
    ]
    with pytest.raises(MixmagicError):
        session.ask("Hi")
    session.ask("Hi")
    (spent,) = session.ledger.spent()
    assert (spent.calls, spent.failed, spent.estimated) == (2, 1, 0)


def test_the_cell_counts_the_usage_of_an_error(session, together):
    """Its answer has begun, and the error says what it came to."""
    told = {"prompt_tokens": 9, "completion_tokens": 50}
    error = {"error": {"message": "why"}, "usage": told}
    together.plan = [Answer([frames(chunk("Hi"), error)])]
    screen = Quiet(None)
    with pytest.raises(MixmagicError, match="why"):
        show(session, session.request("Hi"), screen)
    assert " · 9 → 50 tokens · $0.000035 · " in screen.completion.footer()


def test_a_call_of_unknown_price_that_was_not_sent_shows_no_cost(session, unpriced):
    request = session.request("Hi", model="openai:m")
    completion = finalize(Collector(request), "stopped", sent=False)
    assert "$" not in completion.footer()
    assert "price" not in completion.footer()
    sent = finalize(Collector(request), "stopped", sent=True)
    assert "price unknown" in sent.footer()

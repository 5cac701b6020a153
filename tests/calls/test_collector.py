"""Pieces of a stream add up to one answer, with its tokens, times and cost."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from answers import ACME, ANSWER, MODEL, REQUEST

from mixmagic.calls.collector import Collector, finalize, stopped_with
from mixmagic.calls.completion import Completion
from mixmagic.catalog import FREE
from mixmagic.core.money import Price, Usage
from mixmagic.core.values import Delta, Model, Request, Timing

# Stopped before the provider had reported any count.
UNSEEN = replace(
    ANSWER,
    usage=Usage(9, 56, counted="estimate"),
    request=replace(REQUEST, stream=False),
    finish="stopped",
)


def on(model: Model, **changes) -> Completion:
    return replace(ANSWER, request=replace(REQUEST, model=model), **changes)


def test_collector_joins_the_pieces():
    collector = Collector(REQUEST)
    assert not collector.begun
    collector.add(Delta(progress="loading"))
    assert not collector.begun
    collector.add(Delta(reasoning="Hm. "))
    assert collector.begun
    for delta in (Delta("Hi"), Delta(" there", note="slow"), Delta(".", finish="length")):
        collector.add(delta)
    collector.add(Delta(usage=Usage(9, 3)))
    done = collector.completion()
    assert (done.text, done.reasoning, done.finish) == ("Hi there.", "Hm. ", "length")
    assert (done.usage, done.notes, done.origin) == (Usage(9, 3), ("slow",), "live")
    assert done.cost == Decimal("0.000009")
    assert 0 < done.ttft <= done.elapsed


def test_last_usage_wins():
    """Some servers count along: each piece's count replaces the one before."""
    collector = Collector(REQUEST)
    for tokens in (1, 2, 3):
        collector.add(Delta("x", usage=Usage(9, tokens)))
    collector.add(Delta(finish="stop"))
    assert collector.completion().usage == Usage(9, 3)


EIGHT = [Delta(f"{number} ") for number in range(8)]


LAST = Delta(finish="stop")


@pytest.mark.parametrize(
    ("deltas", "usage"),
    [
        ([*EIGHT, LAST, Delta(usage=Usage(9, 8, 5))], Usage(9, 8, 5)),
        ([*EIGHT, Delta(finish="stop", usage=Usage(9, 8))], Usage(9, 8)),
        ([*EIGHT, Delta("!", finish="stop", usage=Usage(9, 2))], Usage(9, 2)),
        ([*EIGHT, LAST._replace(usage=Usage(9, 2)), Delta("held back")], Usage(9, 2)),
        ([each._replace(usage=Usage(9, 2)) for each in EIGHT] + [LAST], Usage(9, 2)),
        ([Delta(usage=Usage(9, 0)), LAST], Usage(9, 0)),
        # Counts that are none, or of something else.
        ([*EIGHT, LAST, Delta(usage=Usage(9, 0))], Usage(9, 8, 0, "estimate")),
        ([*EIGHT, LAST, Delta(usage=Usage(0, 2))], Usage(6, 2, 0, "estimate")),
        ([*EIGHT, LAST, Delta(usage=Usage(0, 0))], Usage(6, 8, 0, "estimate")),
        ([Delta("x", usage=Usage(9, 1)), *EIGHT, LAST], Usage(9, 9, 0, "estimate")),
        ([Delta(usage=Usage(9, 50)), *EIGHT, LAST], Usage(9, 50)),
        (
            [Delta("x", usage=Usage(9, 5)), *EIGHT, LAST, Delta(usage=Usage(9, 2))],
            Usage(9, 9, 0, "estimate"),
        ),
    ],
)
def test_the_providers_count_is_used_if_it_is_of_the_whole_answer(deltas, usage):
    collector = Collector(REQUEST)
    for delta in deltas:
        collector.add(delta)
    assert collector.completion().usage == usage


CHARGE = Decimal("0.0042")


TOLD = Usage(9, 8, charge=CHARGE)


@pytest.mark.parametrize(
    ("deltas", "usage"),
    [
        ([*EIGHT, LAST, Delta(usage=TOLD)], TOLD),
        ([*EIGHT, Delta(usage=TOLD)], TOLD),  # broken off later
        ([*EIGHT, Delta(usage=TOLD), *EIGHT], Usage(9, 16, 0, "estimate", charge=CHARGE)),
        ([*EIGHT, Delta(usage=Usage(0, 0, charge=CHARGE))],
         Usage(6, 8, 0, "estimate", charge=CHARGE)),
        ([Delta(usage=Usage(9, 0, charge=CHARGE)), *EIGHT, LAST, Delta(usage=Usage(9, 8))], TOLD),
        # What has come since costs more than was charged until then.
        ([Delta("x", usage=Usage(9, 1, charge=Decimal("1e-8"))), *EIGHT],
         Usage(9, 9, 0, "estimate")),
    ],
)  # fmt: skip
def test_a_reported_charge_is_kept(deltas, usage):
    collector = Collector(REQUEST)
    for delta in deltas:
        collector.add(delta)
    finish = "" if collector.finish else "broken off"
    assert collector.completion(finish).usage == usage
    assert collector.completion(finish).cost == (usage.charge or MODEL.price.cost(usage))


def test_a_charge_is_the_cost_if_the_price_is_unknown():
    collector = Collector(replace(REQUEST, model=replace(MODEL, price=None)))
    for delta in (Delta("Hi"), Delta(usage=TOLD), Delta("more")):
        collector.add(delta)
    assert collector.completion("broken off").cost == CHARGE


def test_an_answer_without_a_count_is_added_to_the_others():
    """A count of the first alone, with thoughts that nobody has seen; ours of the second."""
    collector = Collector(replace(REQUEST, params={"n": 2}))
    collector.add(Delta("word " * 72, choice=1))
    collector.add(Delta("Hi", choice=0))
    collector.add(Delta(finish="stop", choice=0, usage=Usage(9, 5000)))
    collector.add(Delta(finish="stop", choice=1))
    usage = collector.completion().usage
    assert usage == Usage(9, 5100, counted="estimate")


def test_extra_body_can_ask_for_several_answers():
    for params in ({"n": 2}, {"extra_body": {"n": 2}}, {"extra_body": {"best_of": 2}}):
        collector = Collector(replace(REQUEST, params=params))
        for choice, finish in enumerate(("stop", "length")):
            told = Usage(9, 5 + choice)
            collector.add(Delta("Hi", choice=choice))
            collector.add(Delta(finish=finish, choice=choice, usage=told))
        done = collector.completion()
        assert (done.usage, done.finish, done.others) == (Usage(9, 11), "length", ("Hi",))


def test_tokens_of_tool_calls_are_counted():
    collector = Collector(REQUEST)
    for _ in range(3):
        collector.add(Delta(usage=Usage(0, 4, counted="estimate")))
    assert collector.completion("stopped").usage == Usage(6, 12, counted="estimate")
    collector.add(Delta(finish="tool_calls", usage=Usage(9, 10)))
    assert collector.completion().usage == Usage(9, 10)


def test_tokens_are_estimated_if_the_provider_counts_none():
    """At least one token for each piece, at least what the length suggests."""
    pieces = Collector(REQUEST)
    for _ in range(10):
        pieces.add(Delta("x"))
    assert pieces.completion().usage.completion_tokens == 10
    lump = Collector(REQUEST)
    lump.add(Delta("word " * 72))
    usage = lump.completion().usage
    assert usage == Usage(usage.prompt_tokens, 100, counted="estimate")
    assert 2 <= usage.prompt_tokens <= 12


def test_cost_follows_from_the_price():
    """No price, no cost: not even of an answer without tokens."""
    unpriced = Collector(replace(REQUEST, model=replace(MODEL, price=None)))
    unpriced.add(Delta("Hi", usage=Usage(1, 1)))
    assert unpriced.completion().cost is None
    free = Collector(replace(REQUEST, model=replace(MODEL, price=FREE)))
    free.add(Delta("Hi", usage=Usage(1, 1)))
    assert free.completion().cost == 0


def test_the_caller_may_give_the_reason_of_the_end():
    collector = Collector(REQUEST)
    assert collector.completion().finish == "stop"
    assert collector.completion("stopped").finish == "stopped"
    assert collector.completion("stopped").ttft is None


@pytest.mark.parametrize(
    ("answer", "price"),
    [
        (ANSWER, "priced as $0.00081"),
        (replace(ANSWER, usage=Usage(9, 56, counted="exact")), "priced as ≈ $0.00081"),
        (replace(ANSWER, cost=Decimal(0)), "priced as $0"),
        (UNSEEN, "priced as ≤ $0.00081: it may be billed in full"),
        (replace(UNSEEN, cost=None), "price unknown"),
        (replace(ANSWER, cost=None), "price unknown"),
        (on(replace(MODEL, provider=replace(ACME, free=True)), cost=Decimal(0)), "free"),
    ],
)
def test_the_message_of_a_stop_has_the_tokens_and_the_cost(answer, price):
    stopped = stopped_with(answer)
    assert stopped.message == f"Stopped: 56 tokens kept, {price}."
    assert stopped.completion is answer


def test_repeated_notes_appear_once():
    collector = Collector(REQUEST)
    for _ in range(3):
        collector.add(Delta(note="the key travels unencrypted"))
    assert collector.completion().notes == ("the key travels unencrypted",)


def test_a_piece_after_the_end_reopens_the_answer_and_its_count():
    collector = Collector(REQUEST)
    collector.add(Delta("x", finish="length", usage=Usage(9, 1)))
    for _ in range(20):
        collector.add(Delta("more ", resumed=True))
    assert collector.finish is None
    assert collector.completion().usage.completion_tokens >= 20
    collector.add(Delta(finish="stop", usage=Usage(9, 30)))
    assert collector.finish == "stop"
    assert collector.completion().usage == Usage(9, 30)


def test_text_can_become_thinking():
    collector = Collector(REQUEST)
    for delta in (Delta("a draft</think>"), Delta("Hi"), Delta(instead=("Hi", "a draft"))):
        collector.add(delta)
    answer = collector.completion()
    assert (answer.text, answer.reasoning, answer.thought) == ("Hi", "a draft", "Thought")


def collected(*deltas: Delta, request: Request = REQUEST) -> Collector:
    collector = Collector(request)
    for delta in deltas:
        collector.add(delta)
    return collector


@pytest.mark.parametrize("ends", [("content_filter", "length"), ("length", "content_filter")])
def test_of_several_answers_the_one_that_was_cut_off_decides(ends):
    request = replace(REQUEST, params={"n": 3})
    finishes = [Delta(finish=end, choice=choice) for choice, end in enumerate(("stop", *ends))]
    assert collected(*finishes, request=request).finish == "length"


def test_of_one_answer_only_its_own_end_counts():
    assert collected(Delta("Hi", finish="stop"), Delta(finish="length", choice=1)).finish == "stop"


def test_a_later_smaller_count_does_not_lower_the_usage():
    """Neither of the prompt nor of the answer: some servers count the last piece alone."""
    usage = (
        collected(Delta("Hi", usage=Usage(20, 1)), Delta(finish="stop", usage=Usage(9, 2)))
        .completion()
        .usage
    )
    assert (usage.prompt_tokens, usage.completion_tokens) == (20, 2)


def test_the_model_that_answers_is_the_completions():
    other = replace(MODEL, id="org/Model-2", price=Price(Decimal(6), Decimal(12)))
    request = replace(REQUEST, asked="one")
    answer = collected(Delta(model=other), Delta("Hi"), LAST, request=request).completion()
    assert (answer.model, answer.request.asked) == (other, "one")
    assert answer.cost == other.price.cost(answer.usage)


RECORDED = datetime.now(UTC) - timedelta(days=12, hours=1)
TIMING = Timing(elapsed=3.0, ttft=0.5, thinking=0.25, recorded=RECORDED)
SAVED = Decimal("0.0008076")


def replayed(origin="cache", usage=ANSWER.usage, *, request=REQUEST, **more) -> Collector:
    return collected(
        Delta("Hi there.", origin=origin, **more),
        Delta(finish="stop", usage=usage, timing=TIMING, origin=origin),
        request=request,
    )


class TestNotLive:
    """An answer from a cache or a cassette costs nothing, and keeps what was recorded."""

    @pytest.mark.parametrize("origin", ["cache", "cassette"])
    def test_it_costs_nothing_and_knows_what_it_saved(self, origin):
        answer = replayed(origin).completion()
        assert (answer.cost, answer.saved, answer.origin) == (Decimal(0), SAVED, origin)
        assert (answer.text, answer.usage, answer.finish) == ("Hi there.", ANSWER.usage, "stop")

    def test_its_times_are_the_recorded_ones(self):
        answer = replayed().completion()
        assert (answer.elapsed, answer.ttft, answer.thinking) == (3.0, 0.5, 0.25)
        assert answer.recorded == RECORDED
        assert answer.tokens_per_second == pytest.approx(22)

    @pytest.mark.parametrize("late", [Delta(note="slow disk"), Delta(progress="saving"), Delta()])
    def test_a_late_note_does_not_change_its_origin(self, late):
        collector = replayed()
        collector.add(late)
        assert collector.completion().origin == "cache"
        assert collector.completion().cost == 0

    @pytest.mark.parametrize(
        "early", [Delta(note="cheapest of 2"), Delta(progress="looking"), Delta(model=MODEL)]
    )
    def test_an_early_note_does_not_make_it_live(self, early):
        answer = collected(early, Delta("Hi", origin="cache"), LAST._replace(origin="cache"))
        assert answer.completion().origin == "cache"

    def test_an_empty_answer_has_its_origin_too(self):
        assert collected(LAST._replace(origin="cassette")).completion().origin == "cassette"

    def test_a_live_answer_stays_live(self):
        collector = collected(Delta("Hi"), Delta("!", note="kept", origin="cache"), LAST)
        answer = collector.completion()
        assert (answer.origin, answer.saved) == ("live", 0)
        assert answer.cost > 0

    @pytest.mark.parametrize("counted", ["exact", "estimate"])
    def test_its_count_is_the_recorded_one_whoever_counted(self, counted):
        usage = Usage(7, 1, counted=counted)
        answer = replayed(usage=usage).completion()
        assert answer.usage == usage
        assert "≈ $" in answer.footer()

    @pytest.mark.parametrize("finish", ["stopped", "broken off"])
    @pytest.mark.parametrize("stream", [True, False])
    def test_it_costs_nothing_if_it_is_stopped(self, finish, stream):
        request = replace(REQUEST, stream=stream)
        collector = collected(Delta("Hi", origin="cassette"), request=request)
        answer = finalize(collector, finish, unseen=True)
        assert (answer.cost, answer.billed_tries, answer.at_most) == (0, 0, False)
        assert answer.finish == finish

    def test_an_unknown_price_saves_an_unknown_amount(self):
        request = replace(REQUEST, model=replace(MODEL, price=None))
        answer = replayed(request=request).completion()
        assert (answer.cost, answer.saved) == (0, None)
        assert "saved" not in answer.footer()

    def test_a_free_model_saves_nothing(self):
        free = replace(MODEL, provider=replace(ACME, free=True), price=FREE)
        answer = replayed(request=replace(REQUEST, model=free)).completion()
        assert answer.saved == 0
        assert " · free · " in answer.footer()
        assert answer.footer().endswith(" · cached 12 days ago")

    def test_a_reported_charge_is_the_amount_saved(self):
        answer = replayed(usage=replace(ANSWER.usage, charge=Decimal("0.5"))).completion()
        assert (answer.cost, answer.saved) == (0, Decimal("0.5"))

    def test_no_wall_clock_is_in_it(self, monkeypatch):
        monkeypatch.setattr(time, "perf_counter", iter([0.0, 7.0]).__next__)
        assert replayed().completion().elapsed == 3.0


@pytest.mark.parametrize(
    ("origin", "recorded", "source"),
    [
        ("cache", timedelta(days=12, hours=5), "cached 12 days ago, saved $0.00081"),
        ("cache", timedelta(days=1), "cached 1 day ago, saved $0.00081"),
        ("cache", timedelta(hours=2.5), "cached 2 hours ago, saved $0.00081"),
        ("cache", timedelta(minutes=1), "cached 1 minute ago, saved $0.00081"),
        ("cache", timedelta(seconds=-5), "cached just now, saved $0.00081"),
        ("cache", None, "cached, saved $0.00081"),
        ("cassette", None, "replayed, saved $0.00081"),
        ("cassette", datetime(2026, 11, 18, 9, tzinfo=UTC), "recorded 2026-11-18, saved $0.00081"),
        ("live", None, ""),
    ],
)
def test_the_footer_has_the_origin_of_an_answer(origin, recorded, source):
    if isinstance(recorded, timedelta):
        recorded = datetime.now(UTC) - recorded
    answer = replace(ANSWER, origin=origin, recorded=recorded, cost=Decimal(0))
    line = f"{' · ' * bool(source)}{source}"
    assert answer.footer() == (
        f"acme:one · 1,234 → 56 tokens · $0 · first token 0.50 s · 22 tokens/s{line}"
    )

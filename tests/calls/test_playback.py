"""The pieces of a recorded answer add up to that answer."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from answers import ANSWER, REQUEST
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmagic.calls.collector import Collector
from mixmagic.calls.completion import Completion
from mixmagic.calls.playback import deltas
from mixmagic.core.logprobs import Logprobs, TokenLogprob
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta, Request
from mixmagic.errors import Stopped

ONE = st.builds(TokenLogprob, st.text(max_size=3), st.floats(-1e6, 0), st.just(()))
TOKEN = st.builds(
    TokenLogprob, st.text(max_size=3), st.floats(-1e6, 0), st.lists(ONE, max_size=2).map(tuple)
)
TOKENS = st.lists(TOKEN, max_size=3).map(Logprobs)

DAY = datetime(2026, 11, 18, 9, 30, tzinfo=UTC)
TEXTS = st.text(max_size=60)
SECONDS = st.floats(0, 1e6)
USAGES = st.builds(
    Usage,
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.sampled_from(["server", "exact", "estimate", None]),
    charge=st.none() | st.decimals(0, 1000, places=9),
    reasoning_tokens=st.integers(0, 10**9),
)
COMPLETIONS = st.builds(
    Completion,
    text=TEXTS,
    usage=USAGES,
    cost=st.none() | st.decimals(0, 1000, places=9),
    finish=st.sampled_from(["stop", "length", "tool_calls", "refusal", "stopped", "broken off"]),
    request=st.builds(
        lambda stream, n: replace(REQUEST, stream=stream, params={"n": n}),
        st.booleans(),
        st.integers(1, 5),
    ),
    elapsed=SECONDS,
    ttft=st.none() | SECONDS,
    reasoning=TEXTS.map(lambda text: text.strip("\n")),
    thinking=st.none() | SECONDS,
    notes=st.lists(st.text(min_size=1, max_size=9), max_size=3, unique=True).map(tuple),
    others=st.lists(TEXTS, max_size=3).map(tuple),
    logprobs=TOKENS,
    billed_tries=st.integers(0, 9),
    recorded=st.none() | st.datetimes(timezones=st.just(UTC)),
)


def collected(pieces, request: Request) -> Completion:
    collector = Collector(request)
    for piece in pieces:
        collector.add(piece)
    return collector.completion()


@settings(deadline=None)
@given(COMPLETIONS, st.sampled_from(["cache", "cassette"]), st.none() | st.just(DAY))
def test_collected_they_are_the_same_answer_for_nothing(completion, origin, recorded):
    again = collected(deltas(completion, origin, recorded), completion.request)
    free = replace(completion, cost=Decimal(0), billed_tries=0, origin=origin, recorded=recorded)
    assert again == free
    assert again.usage.reasoning_tokens == completion.usage.reasoning_tokens


@settings(deadline=None)
@given(COMPLETIONS)
def test_the_model_that_answered_is_named(completion):
    asked = replace(completion.request, model=replace(completion.model, id="another"))
    assert collected(deltas(completion, "cassette", None), asked).model == completion.model


@settings(deadline=None)
@given(st.text(max_size=5000), st.text(max_size=5000), st.booleans())
def test_each_text_comes_in_at_most_twenty_pieces(text, thoughts, stream):
    request = replace(REQUEST, stream=stream)
    answer = replace(ANSWER, text=text, reasoning=thoughts, others=(text,), request=request)
    pieces = list(deltas(answer, "cache", None))
    most = 20 if stream else 1
    for shown in (
        [piece.reasoning for piece in pieces if piece.reasoning],
        [piece.text for piece in pieces if piece.text and not piece.choice],
        [piece.text for piece in pieces if piece.text and piece.choice],
    ):
        assert len(shown) <= most


def test_every_piece_has_the_origin():
    answer = replace(ANSWER, notes=("a note",), others=("",), reasoning="Hm.")
    assert {piece.origin for piece in deltas(answer, "cassette", DAY)} == {"cassette"}


def test_a_stop_ends_them():
    answer = replace(ANSWER, text="word " * 40, request=ANSWER.request.again())
    pieces = deltas(answer, "cassette", None)
    first = next(piece.text for piece in pieces if piece.text)
    answer.request.control.stop.set()
    with pytest.raises(Stopped) as stopped:
        next(pieces)
    assert not stopped.value.sent
    assert answer.text.startswith(first)


def test_with_a_pace_they_come_as_they_came(monkeypatch):
    """The clock is virtual: waiting moves it."""
    now, waited = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    request = ANSWER.request.again()
    answer = replace(ANSWER, text="x" * 100, reasoning="", elapsed=9.0, request=request)

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        now[0] += seconds
        return False

    monkeypatch.setattr(type(request.control.stop), "wait", lambda _stop, seconds: wait(seconds))
    times = {}
    received = 0
    for piece in deltas(answer, "cassette", None, pace=[(1.0, 10), (3.0, 50), (8.0, 100)]):
        received += len(piece.text)
        times.setdefault(received, now[0])
    assert (times[5], times[10], times[50], times[100]) == (1.0, 1.0, 3.0, 8.0)
    assert times[30] == pytest.approx(2.0)
    assert now[0] == pytest.approx(9.0)


def test_a_stop_ends_the_wait_for_a_piece():
    answer = replace(ANSWER, text="Hi", request=ANSWER.request.again())
    stopper = threading.Timer(0.05, answer.request.control.stop.set)
    stopper.start()
    with pytest.raises(Stopped):
        list(deltas(answer, "cassette", None, pace=[(3600.0, 2)]))
    stopper.join(timeout=60)


@pytest.mark.parametrize("pace", [[], [(0.0, 1)], [(0.0, 0), (0.0, 0)]])
def test_a_pace_that_knows_too_little_does_no_harm(pace):
    answer = replace(ANSWER, text="Hi there", elapsed=0.0)
    assert collected(deltas(answer, "cassette", None, pace), REQUEST).text == "Hi there"


def test_without_a_pace_nothing_waits(monkeypatch):
    monkeypatch.setattr(type(REQUEST.control.stop), "wait", lambda *_: pytest.fail("it waited"))
    assert Delta(note="n", origin="cache") in list(
        deltas(replace(ANSWER, notes=("n",)), "cache", DAY)
    )

"""A call is retried only if nothing of an answer has arrived, and for a limited time."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from patience import soon
from server import Answer, refusal
from server import together as pieces
from virtual_clock import Clock

from mixmagic.catalog import Catalog
from mixmagic.core.control import Control
from mixmagic.core.money import Usage
from mixmagic.core.settings import Settings
from mixmagic.core.values import Delta, Message, Request
from mixmagic.errors import MixmagicError, RateLimited, Stopped, Unavailable
from mixmagic.layers import retry as module
from mixmagic.layers.retry import retry
from mixmagic.layers.throttle import throttle
from mixmagic.sessions import Session

REQUEST = Request(Catalog().resolve("8x7b"), (Message("user", "Hi"),))
LIMITED = RateLimited("slow down", "wait", status=429, retryable=True, retry_after=0.0)


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "4")
    return Settings.load()


class Fake:
    """A stream that raises or yields what `plan` holds, in turn."""

    def __init__(self, *plan):
        self.plan, self.tries = list(plan), 0

    def __call__(self, request):
        self.tries += 1
        for step in self.plan.pop(0):
            if isinstance(step, BaseException):
                raise step
            yield step


def drain(stream, request=REQUEST):
    with closing(stream(request)) as deltas:
        return list(deltas)


def test_a_call_is_retried_and_the_footer_says_so(settings):
    fake = Fake([LIMITED], [LIMITED], [Delta("Hi"), Delta(finish="stop")])
    deltas = drain(retry(settings)(fake))
    assert "".join(map(str, deltas)) == "Hi"
    assert [delta.note for delta in deltas if delta.note] == ["after 2 retries"]
    assert fake.tries == 3


def test_the_number_of_retries_is_limited(settings):
    fake = Fake(*[[LIMITED]] * 9)
    with pytest.raises(RateLimited):
        drain(retry(settings)(fake))
    assert fake.tries == 5


def limited(wait, *, others_accepted=False):
    error = RateLimited("slow down", "wait", status=429, retryable=True, retry_after=wait)
    error.others_accepted = others_accepted
    return error


def test_a_429_does_not_count_if_other_calls_are_accepted(settings):
    fake = Fake(*[[limited(0.001, others_accepted=True)]] * 30, [Delta("Hi"), Delta(finish="stop")])
    deltas = drain(retry(settings)(fake))
    assert fake.tries == 31
    assert [delta.note for delta in deltas if delta.note] == ["after 30 retries"]


def test_a_429_counts_if_no_other_call_is_accepted_or_no_wait_is_asked_for(settings):
    for error in (limited(0.001), limited(0.0, others_accepted=True)):
        fake = Fake(*[[error]] * 9)
        with pytest.raises(RateLimited):
            drain(retry(settings)(fake))
        assert fake.tries == 5


def test_other_errors_count_beside_429s_that_do_not(settings):
    error = Unavailable("no", "no", status=503, retryable=True, retry_after=0.0)
    fake = Fake(*[[limited(0.001, others_accepted=True)], [error]] * 9)
    with pytest.raises(Unavailable):
        drain(retry(settings)(fake))
    assert fake.tries == 10


def test_retry_timeout_limits_429s_that_do_not_count(settings):
    fake = Fake(*[[limited(0.06, others_accepted=True)]] * 9)
    with pytest.raises(RateLimited):
        drain(retry(replace(settings, retry_timeout=0.15))(fake))
    assert fake.tries == 3


def test_max_retries_of_zero_means_none_after_a_429_either(settings):
    fake = Fake([limited(0.001, others_accepted=True)])
    with pytest.raises(RateLimited):
        drain(retry(replace(settings, max_retries=0))(fake))
    assert fake.tries == 1


def test_bulk_work_lends_its_slot_during_each_wait_and_only_then(settings):
    seen = []

    @contextmanager
    def pause():
        seen.append("lent")
        yield
        seen.append("taken")

    def inner(request):
        seen.append("sent")
        if seen.count("sent") < 3:
            raise limited(0.001)
        yield Delta("Hi")

    for delta in retry(settings)(inner)(replace(REQUEST, control=Control(pause=pause))):
        seen.append("progress" if delta.progress else str(delta))  # noqa: PERF401
    again = ["sent", "lent", "progress", "taken"]
    assert seen == [*again, *again, "sent", "Hi", ""]


def test_a_stop_during_the_wait_takes_the_slot_back(settings):
    seen = []

    @contextmanager
    def pause():
        try:
            yield
        finally:
            seen.append("taken")

    request = replace(REQUEST, control=Control(pause=pause))
    deltas = retry(settings)(Fake([limited(30.0)]))(request)
    assert next(deltas).progress
    request.control.stop.set()
    with pytest.raises(Stopped):
        next(deltas)
    assert seen == ["taken"]


def test_an_error_that_is_not_temporary_is_not_retried(settings):
    fake = Fake([Unavailable("no", "no", status=503)])
    with pytest.raises(Unavailable):
        drain(retry(settings)(fake))
    assert fake.tries == 1


@pytest.mark.parametrize(
    "begun",
    [Delta("Hi"), Delta(reasoning="hm"), Delta(finish="stop"), Delta(usage=Usage(1, 1))],
    ids=["text", "reasoning", "finish", "usage"],
)
def test_nothing_is_retried_once_an_answer_has_begun(settings, begun):
    fake = Fake([begun, LIMITED], [Delta("twice")])
    with pytest.raises(RateLimited):
        drain(retry(settings)(fake))
    assert fake.tries == 1


def test_progress_and_notes_are_not_an_answer(settings):
    fake = Fake([Delta(progress="…"), Delta(note="n"), LIMITED], [Delta("Hi")])
    assert "Hi" in map(str, drain(retry(settings)(fake)))


@pytest.mark.parametrize("wait", [0.0, 0.125, 0.5, 30.25])
def test_the_providers_wait_is_kept_exactly(settings, monkeypatch, wait):
    monkeypatch.setattr(random, "uniform", lambda low, high: 1 / 0)
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    started, tries = clock.monotonic(), []

    def inner(request):
        tries.append(clock.monotonic() - started)
        if len(tries) == 1:
            raise limited(wait)
        yield Delta("Hi")

    request = replace(REQUEST, control=Control(stop=clock.stop()))
    clock.run(lambda: drain(retry(settings)(inner), request))
    assert tries == [0, wait]


def test_without_retry_after_the_wait_is_random_up_to_a_bound_that_doubles(settings, monkeypatch):
    asked = []
    monkeypatch.setattr(random, "uniform", lambda low, high: asked.append((low, high)) or 0.0)
    error = Unavailable("no", "no", status=503, retryable=True)
    many = replace(settings, max_retries=7)
    drain(retry(many)(Fake(*[[error]] * 7, [Delta("Hi")])))
    assert asked == [(0, bound) for bound in (0.5, 1, 2, 4, 8, 8, 8)]


def test_a_wait_beyond_retry_timeout_is_not_begun(settings):
    error = RateLimited("no", "no", status=429, retryable=True, retry_after=0.06)
    fake = Fake(*[[error]] * 9)
    with pytest.raises(RateLimited):
        drain(retry(replace(settings, retry_timeout=0.15))(fake))
    assert fake.tries == 3


def test_a_wait_beyond_the_deadline_is_not_begun(settings):
    error = RateLimited("no", "no", status=429, retryable=True, retry_after=30)
    started = time.monotonic()
    control = Control(deadline=started + 5)
    with pytest.raises(RateLimited):
        drain(retry(settings)(Fake([error])), replace(REQUEST, control=control))
    assert time.monotonic() - started < soon(3)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (LIMITED, "rate limited by Together AI"),
        (Unavailable("no", "no", status=503, retryable=True), "Together AI answered 503"),
        (Unavailable("no", "no", retryable=True), "Together AI cannot be reached"),
    ],
)
def test_a_user_sees_a_wait_count_down(settings, monkeypatch, error, says):
    clock, seen = Clock(), []
    monkeypatch.setattr(module, "time", clock)
    request = replace(REQUEST, control=Control(stop=clock.stop()))
    started = clock.monotonic()

    def wait():
        for delta in module._waiting(request, error, 3.5):
            seen.append((clock.monotonic() - started, delta.progress))  # noqa: PERF401

    clock.run(wait)
    assert seen == [
        (second, f"{says}: next try in {n} s")
        for second, n in ((0, 4), (0.5, 3), (1.5, 2), (2.5, 1))
    ]
    assert clock.monotonic() - started == 3.5


def waiting(settings, wait=30.0):
    """A stream in the middle of its wait, and what it would send next."""
    error = RateLimited("no", "no", status=429, retryable=True, retry_after=wait)
    fake = Fake([error], [Delta("Hi")])
    return retry(settings)(fake), fake


def test_a_stop_ends_the_wait_at_once(settings):
    stream, fake = waiting(settings)
    request = REQUEST.again()
    at = []
    threading.Timer(0.2, lambda: (at.append(time.monotonic()), request.control.stop.set())).start()
    with pytest.raises(Stopped) as caught:
        drain(stream, request)
    print(f"stopped within {(time.monotonic() - at[0]) * 1000:.1f} ms")
    assert not caught.value.sent
    assert fake.tries == 1


def test_a_stream_that_is_closed_or_interrupted_during_the_wait_sends_nothing_more(settings):
    request = Request(REQUEST.model, REQUEST.messages)
    stream, fake = waiting(settings)
    with closing(stream(request)) as deltas:
        assert next(deltas).progress
    stream, other = waiting(settings)
    deltas = stream(request)
    next(deltas)
    with pytest.raises(KeyboardInterrupt):
        deltas.throw(KeyboardInterrupt)
    assert (fake.tries, other.tries) == (1, 1)


def test_a_call_that_waits_for_a_retry_holds_no_slot(settings):
    provider = replace(REQUEST.model.provider, max_in_flight=1, free=True)
    request = Request(replace(REQUEST.model, provider=provider), REQUEST.messages)
    error = Unavailable("no", "no", status=503, retryable=True, retry_after=30)
    fake = Fake([error], [Delta("the other's")])
    stream = retry(settings)(throttle()(fake))
    with closing(stream(request)) as first:
        assert next(first).progress
        assert [str(delta) for delta in drain(stream, request)] == ["the other's"]


@pytest.fixture
def patient(together, monkeypatch):
    """A session that tries again, with waits of nothing."""
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "2")
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.0)
    made = Session()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("status", "headers", "tries"),
    [
        *[(status, {}, 2) for status in (408, 409, 429, 500, 502, 503, 504, 524, 529)],
        *[(status, {}, 1) for status in (400, 401, 402, 403, 404, 422)],
        *[(status, {"x_should_retry": "true"}, 1) for status in (400, 401, 402, 403, 404, 422)],
        (418, {"x_should_retry": "true"}, 2),
        (503, {"x_should_retry": "false"}, 1),
    ],
)
def test_which_statuses_are_retried(together, patient, status, headers, tries):
    together.plan = [refusal(status, {"error": "no"}, **headers), Answer(pieces("Hi"))]
    if tries == 1:
        with pytest.raises(MixmagicError):
            patient.ask("Hi")
    else:
        answer = patient.ask("Hi")
        assert answer.text == "Hi"
        assert "after 1 retry" in answer.footer()
    assert len(together.received) == tries


def test_retry_after_is_kept_between_two_requests(together, patient):
    together.plan = [refusal(429, {"error": "no"}, retry_after_ms="300"), Answer(pieces("Hi"))]
    patient.ask("Hi")
    first, second = together.received
    assert second.at - first.at >= 0.3

"""The real retry, throttle and pace against scripted limits, on a virtual clock.

Threads are real, but only one runs at a time, and each call takes CPU time. Figures are counts and
multiples of the shortest possible time; pytest's option -rP shows them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace

import pytest
from limiters import Bucket, Fixed, Sliding, Strict
from virtual_clock import Clock, Core

from mixmagic.catalog import Catalog
from mixmagic.core.control import Control
from mixmagic.core.settings import Settings
from mixmagic.core.values import Delta, Message, RateLimits, Request
from mixmagic.errors import ProviderError, RateLimited, Unavailable
from mixmagic.layers import retry as retry_module
from mixmagic.layers import stack
from mixmagic.layers import throttle as throttle_module
from mixmagic.layers.pace import Pace, Tuning
from mixmagic.layers.retry import retry
from mixmagic.layers.throttle import throttle

MODEL = Catalog().resolve("together:8x7b")
NOTHING = RateLimits()
CPU = 0.0006  # seconds that a call takes


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    for module in (throttle_module, retry_module):
        monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(throttle_module, "Wakeup", made.wakeup)
    monkeypatch.setattr(random, "uniform", random.Random(1).uniform)
    return made


def refusal(retry_after=1.0, limits=NOTHING):
    return RateLimited(
        "no", "no", status=429, retryable=True, retry_after=retry_after, limits=limits
    )


@dataclass
class Server:
    """A provider that accepts a call if `take(now)` is true.

    Attributes:
        clock: Its clock.
        take: Returns True if it accepts a call now.
        latency: Seconds until it answers; a refusal takes 1 ms.
        limits: The limits that it announces.
        retry_after: Seconds that a refusal asks to wait; `None` if it does not say.
        fails: The errors that a prompt meets first.
    """

    clock: Clock
    take: Callable[[float], bool] = lambda now: True
    latency: float = 0.05
    limits: Callable[[float], RateLimits] = lambda now: NOTHING
    retry_after: Callable[[], float] | float | None = 1.0
    fails: dict[str, list[ProviderError]] = field(default_factory=dict)

    def __post_init__(self):
        self.accepted, self.refused, self.early = [], [], 0
        self._not_before = {}

    def stream(self, request):
        name, now = request.messages[0].text, self.clock.monotonic()
        self.early += now < self._not_before.get(name, 0.0)
        error = self.fails[name].pop() if self.fails.get(name) else None
        if error is None and not self.take(now):
            wait = self.retry_after() if callable(self.retry_after) else self.retry_after
            error = refusal(wait, self.limits(now))
        if error is not None:
            self.refused.append(now)
            self.clock.sleep(0.001)
            self._not_before[name] = self.clock.monotonic() + (error.retry_after or 0.0)
            raise error
        self.accepted.append(now)
        self.clock.sleep(self.latency)
        yield Delta(limits=self.limits(now))
        yield Delta("Hi", finish="stop")


@dataclass
class Result:
    """What became of the calls of one or several processes."""

    seconds: float
    lost: int
    refused: int


def run(clock, server, calls, *, threads=64, processes=1, slots=1024):
    """Make `calls` calls from `threads` threads in each of some processes, and count."""
    started, answered, lost = clock.monotonic(), [], []
    provider = replace(MODEL.provider, max_in_flight=slots)
    model, settings = replace(MODEL, provider=provider), replace(Settings.load(), max_retries=4)

    def process(number):
        core = Core(clock)
        stream = stack([retry(settings), busy(core), throttle()], server.stream)
        names = iter(range(calls))

        def work():
            for name in names:
                control = Control(stop=clock.stop(), deadline=clock.monotonic() + 900)
                asked = Request(model, (Message("user", f"{number}:{name}"),), control=control)
                try:
                    with closing(stream(asked)) as deltas:
                        assert "Hi" in map(str, deltas)
                except ProviderError:
                    lost.append(name)
                else:
                    answered.append(name)

        return [work] * threads

    clock.run(*itertools.chain(*map(process, range(processes))))
    assert len(answered) + len(lost) == calls * processes
    assert server.early == 0
    result = Result(clock.monotonic() - started, len(lost), len(server.refused))
    print(result)
    return result


def busy(core):
    """A layer that takes CPU for each try."""

    def layer(inner):
        def stream(request):
            core.work(CPU)
            yield from inner(request)

        return stream

    return layer


def begun(limiter, clock):
    """The limiter, with its full burst available."""
    limiter.take(clock.monotonic() - 100)
    return limiter


# The limiter and its calls per second; calls; the most refusals; the longest time, as a multiple of
# the shortest.
HIDDEN = {
    "20 a second": (Bucket, 20, 400, 80, 1.05),
    "500 a second": (Bucket, 500, 2000, 150, 1.05),
    "evenly spaced": (Strict, 20, 400, 40, 1.10),
    "in each second": (Fixed, 20, 400, 90, 1.10),
    "in any second": (Sliding, 20, 400, 90, 1.15),
    "2 a second": (Bucket, 2, 100, 60, 1.10),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_limit_is_found_and_nothing_is_lost(clock, name):
    kind, rate, calls, most_refused, factor = HIDDEN[name]
    result = run(clock, Server(clock, begun(kind(rate), clock).take), calls)
    assert result.lost == 0
    assert result.refused <= most_refused
    assert result.seconds <= factor * calls / rate


def test_a_window_of_a_minute_that_is_used_up_is_waited_for(clock):
    limit = Fixed(600)

    def rest():
        return 60 - clock.monotonic() % 60

    first, server = rest(), Server(clock, lambda now: limit.take(now / 60), retry_after=rest)
    result = run(clock, server, 1500)
    assert (result.lost, result.refused <= 150) == (0, True)
    assert result.seconds <= first + 60 + 5


def test_a_hidden_limit_with_slow_answers(clock):
    server = Server(clock, begun(Bucket(20), clock).take, latency=2.0)
    result = run(clock, server, 400)
    assert (result.lost, result.refused <= 80) == (0, True)
    assert result.seconds <= 1.10 * 19 + 2


def test_a_hidden_limit_without_retry_after(clock):
    server = Server(clock, begun(Bucket(20), clock).take, retry_after=None)
    result = run(clock, server, 400)
    assert (result.lost, result.refused <= 80) == (0, True)
    assert result.seconds <= 1.10 * 19


def test_256_threads_under_a_hidden_limit(clock):
    result = run(clock, Server(clock, begun(Bucket(500), clock).take), 4000, threads=256)
    assert (result.lost, result.refused <= 400) == (0, True)
    assert result.seconds <= 1.15 * 7


def test_three_processes_under_one_hidden_limit_all_finish(clock):
    server = Server(clock, begun(Bucket(100), clock).take)
    result = run(clock, server, 400, processes=3)
    assert (result.lost, result.refused <= 280) == (0, True)
    assert result.seconds <= 1.5 * 11


@pytest.mark.parametrize(("rate", "calls"), [(20, 400), (500, 2000)])
@pytest.mark.parametrize("kind", [Bucket, Fixed, Sliding])
def test_an_announced_limit_is_kept_to_and_used(clock, kind, rate, calls):
    # As many calls as a limit of 20 allows leave before its first head comes.
    server = Server(
        clock, begun(kind(rate), clock).take, limits=lambda now: RateLimits(requests=rate)
    )
    result = run(clock, server, calls, threads=16 if rate == 20 else 64)
    assert (result.lost, result.refused) == (0, 0)
    assert result.seconds <= 1.10 * calls / rate


def test_an_announced_limit_that_changes_is_followed_down_and_up(clock):
    limiter, started = begun(Bucket(20), clock), clock.monotonic()

    def allowed(now):
        return 5 if 20 <= now - started < 40 else 20

    def take(now):
        limiter.rate = allowed(now)
        return limiter.take(now)

    server = Server(clock, take, limits=lambda now: RateLimits(requests=allowed(now)))
    result = run(clock, server, 900, threads=16)
    assert (result.lost, result.refused <= 5) == (0, True)
    for start, rate in ((0, 20), (20, 5), (40, 20)):
        accepted = sum(start <= at - started < start + 20 for at in server.accepted)
        assert accepted >= 0.88 * 20 * rate


def test_below_an_announced_limit_that_others_use_too_a_lower_one_is_learned(clock):
    server = Server(
        clock, begun(Bucket(10), clock).take, limits=lambda now: RateLimits(requests=20 + now % 1)
    )
    result = run(clock, server, 300, threads=16)
    assert (result.lost, result.refused <= 60) == (0, True)
    assert result.seconds <= 1.15 * 29


def test_random_failures_do_not_slow_anything_down(clock):
    # Half of 5 % are refused and wait 2 s, half fail on the server and back off.
    names, fails = random.Random(7).sample(range(4000), 200), {}
    for number, name in enumerate(names):
        error = Unavailable("no", "no", status=500, retryable=True)
        fails[f"0:{name}"] = [refusal(2.0) if number % 2 else error]
    result = run(clock, Server(clock, fails=fails), 4000)
    assert (result.lost, result.refused) == (0, 200)
    # 64 threads take 50 ms for a call; those of refused calls sleep for 100 x 2 s in all.
    assert result.seconds <= 1.25 * (4000 * 0.0506 + 100 * 2) / 64 + 2


def test_without_a_limit_no_call_waits(clock):
    result = run(clock, Server(clock), 2000)
    assert (result.lost, result.refused) == (0, 0)
    assert result.seconds <= 1.02 * 2000 * 0.0506 / 64 + 0.05


def test_a_limit_of_calls_in_flight_loses_nothing(clock):
    server, inside = Server(clock, retry_after=1.0), []

    def take(now):
        inside[:] = [end for end in inside if end > now]
        if len(inside) >= 8:
            return False
        inside.append(now + 0.05)
        return True

    server.take = take
    result = run(clock, server, 2000)
    assert (result.lost, result.refused <= 200) == (0, True)
    assert result.seconds <= 1.40 * 2000 * 0.05 / 8


def test_few_calls_are_sent_during_an_outage_and_it_is_soon_forgotten(clock):
    started = clock.monotonic()
    server = Server(clock, lambda now: not 1 <= now - started < 11, retry_after=5.0)
    result = run(clock, server, 4000)
    assert (result.lost, result.refused <= 64 * 3) == (0, True)
    assert result.seconds <= 11 + 5 + 5


def test_a_limit_that_is_lifted_is_forgotten_within_twenty_seconds(clock):
    limiter, started = begun(Bucket(20), clock), clock.monotonic()
    server = Server(clock, lambda now: now - started >= 10 or limiter.take(now))
    run(clock, server, 4000)
    assert clock.monotonic() - started <= 35


# The rules one by one, on the pace alone.


def sent(pace, *times, tokens=0):
    for at in times:
        pace.on_sent(at, tokens)


def refused(pace, now, *times, retry_after=1.0):
    return [pace.on_refused(now, at, retry_after) for at in times]


def every(seconds, count, start=0.0):
    return [start + seconds * number for number in range(count)]


def test_calls_are_not_delayed_until_a_limit_is_announced_or_learned():
    pace = Pace()
    for number in range(1000):
        assert pace.delay(0.001 * number) == 0
        pace.on_sent(0.001 * number, 2000)
    assert pace.rate(1.0) == math.inf


def test_an_announced_limit_spaces_calls_evenly_and_makes_up_for_a_little_lateness():
    pace = Pace(Tuning(announced_share=1.0))
    pace.on_limits(0.0, RateLimits(requests=10))
    sent(pace, 100.0)
    assert pace.delay(100.0) == pytest.approx(0.1 - 0.04)
    sent(pace, 100.06, 100.16)
    assert pace.delay(100.16) == pytest.approx(0.1)


def test_an_announced_limit_is_not_used_up():
    pace = Pace()
    pace.on_limits(0.0, RateLimits(requests=100))
    assert pace.rate(0.0) == pytest.approx(95)


def test_announced_tokens_stretch_the_distance():
    pace = Pace(Tuning(announced_share=1.0))
    pace.on_limits(0.0, RateLimits(requests=100, tokens=1000))
    sent(pace, 1.0, tokens=2000)
    assert pace.delay(1.0) == pytest.approx(2.0 - 0.04)


def test_an_announced_wait_holds_for_all_calls_for_a_minute_at_most():
    pace = Pace()
    pace.on_limits(5.0, RateLimits(wait=7))
    assert pace.delay(5.0) == pace.blocked(5.0) == 7
    pace.on_limits(5.0, RateLimits(wait=1))
    assert pace.delay(5.0) == 7
    pace.on_limits(5.0, RateLimits(wait=1e9))
    assert pace.delay(5.0) == 60


def test_calls_that_were_sent_before_a_limit_is_announced_count():
    pace = Pace(Tuning(announced_share=1.0))
    sent(pace, *[0.0] * 15)
    pace.on_limits(0.1, RateLimits(requests=20))
    assert pace.delay(0.1) == pytest.approx(0.75 - 0.1)
    pace = Pace(Tuning(announced_share=1.0))
    sent(pace, *[0.0] * 150)
    pace.on_limits(0.1, RateLimits(requests=20))
    assert pace.delay(0.1) == 1  # the second is over then


def test_an_announced_limit_replaces_one_that_was_learned_before():
    pace = piled(Pace())
    assert pace.rate(1.0) < 40
    pace.on_limits(1.0, RateLimits(requests=100))
    assert pace.rate(1.0) == 95


def test_a_limit_that_was_learned_below_an_announced_one_outlives_its_changes():
    pace = Pace()
    pace.on_limits(0.0, RateLimits(requests=100))
    piled(pace)
    before = pace.rate(1.0)
    pace.on_limits(1.0, RateLimits(requests=101))
    assert pace.rate(1.0) == before < 40


def test_an_absurdly_low_limit_lets_a_call_through_each_minute():
    pace = Pace()
    pace.on_limits(0.0, RateLimits(requests=1e-9, tokens=1e-9))
    sent(pace, 0.0, tokens=1000)
    assert pace.delay(0.0) <= 60


def test_an_announced_limit_that_rises_is_used_at_once():
    pace = Pace(Tuning(announced_share=1.0))
    pace.on_limits(0.0, RateLimits(requests=0.01))
    sent(pace, 0.0)
    assert pace.delay(0.0) > 50
    pace.on_limits(1.0, RateLimits(requests=10))
    assert pace.delay(1.0) < 0.2


def piled(pace, now=1.0):
    """Let 40 calls leave within a second, of which the last 14 are refused; the rate was 26."""
    times = every(0.025, 40)
    sent(pace, *times)
    refused(pace, now, *times[-14:])
    return pace


def test_four_refusals_that_are_a_quarter_of_the_calls_reveal_a_limit():
    times = every(0.05, 12)
    pace = Pace()
    sent(pace, *times)
    refused(pace, 0.6, *times[-3:])
    assert pace.rate(0.6) == math.inf
    refused(pace, 0.6, times[-4])
    assert pace.rate(0.6) == pytest.approx(0.9 * 8 / (8 * 0.05))


def test_four_refusals_among_many_calls_are_chance():
    times = every(0.01, 100)
    pace = Pace()
    sent(pace, *times)
    refused(pace, 1.0, *times[-4:])
    assert pace.rate(1.0) == math.inf
    assert pace.delay(1.0) == 0


def test_refusals_of_more_than_a_second_ago_do_not_count():
    pace = Pace()
    for start in (0.0, 2.0, 4.0):
        sent(pace, *every(0.05, 4, start))
        refused(pace, start + 0.2, start + 0.1, start + 0.15)
    assert pace.rate(4.2) == math.inf


def test_refusals_of_calls_that_were_on_their_way_at_a_cut_cut_no_further():
    pace, other = Pace(), Pace()
    times = every(0.01, 40)
    for each in (pace, other):
        sent(each, *times)
        refused(each, 0.4, *times[20:30])
    refused(pace, 0.41, *times[30:])
    assert pace.rate(0.5) == other.rate(0.5) < math.inf


def test_one_refusal_below_a_learned_limit_lowers_it_by_a_tenth():
    pace = piled(Pace())
    sent(pace, 3.0, 3.1)
    before = pace.rate(3.2)
    refused(pace, 3.2, 3.1)
    assert pace.rate(3.2) == pytest.approx(0.9 * before)


def test_one_refusal_soon_after_a_cut_changes_nothing():
    pace = Pace()
    pace.on_limits(0.0, RateLimits(requests=30))
    piled(pace)
    sent(pace, 1.3, 1.4)
    before = pace.rate(1.5)
    refused(pace, 1.5, 1.4)
    assert pace.rate(1.5) == before


def test_a_rate_doubles_every_second_after_a_deep_cut_and_grows_slowly_after_another():
    deep = piled(Pace())  # from no limit at all
    assert deep.rate(3.0) == pytest.approx(4 * deep.rate(1.0))
    pace = Pace()
    pace.on_limits(0.0, RateLimits(requests=1000))
    pace._learned = 30.0
    pace._cut(1.0, 27.0, 30.0)
    assert pace.rate(2.0) == pytest.approx(27 * 2**0.03)
    assert pace.rate(11.0) == pytest.approx(27 * 2**3)
    assert pace.rate(21.0) == 950  # the announced limit


def test_a_deep_cut_that_is_refused_again_grows_slowly_from_then_on():
    pace = piled(Pace())
    sent(pace, 1.2, 1.3)
    refused(pace, 1.4, 1.3)
    rate = pace.rate(1.4)
    assert pace.rate(2.4) == pytest.approx(rate * 2**0.03)


def test_if_nothing_gets_through_all_wait_as_the_provider_says():
    pace = Pace()
    sent(pace, *every(0.01, 4))
    assert refused(pace, 0.1, *every(0.01, 4), retry_after=3.0)[-1] is False
    assert pace.blocked(0.1) == 3
    pace = Pace()
    sent(pace, *every(0.01, 4))
    refused(pace, 0.1, *every(0.01, 4), retry_after=None)
    assert pace.blocked(0.1) == 1


def test_a_refused_call_does_not_make_others_wait_if_some_get_through():
    pace = piled(Pace())
    assert pace.blocked(1.0) == 0


def test_others_get_through_if_calls_before_it_were_not_refused():
    pace = Pace()
    sent(pace, 0.0, 0.1, 0.2)
    assert refused(pace, 0.3, 0.0) == [False]  # the later ones may be refused, too
    assert refused(pace, 0.3, 0.2) == [True]
    sent(pace, 2.0)
    assert refused(pace, 2.1, 2.0) == [False]  # the last one was two seconds ago


def test_a_refusal_that_comes_late_is_compared_with_the_calls_of_its_time():
    pace = Pace()
    times = every(0.05, 24)
    sent(pace, *times, 3.9)
    assert all(refused(pace, 4.0, *times[-8:]))
    assert pace.blocked(4.0) == 0
    assert pace.rate(4.0) == pytest.approx(0.9 * 16 / 0.95, rel=0.2)


def test_a_rate_is_measured_over_a_tenth_of_a_second_at_least():
    pace = Pace()
    times = every(0.001, 20)
    sent(pace, *times)
    refused(pace, 0.02, *times[5:])
    assert pace.rate(0.02) <= 0.9 * 8 / 0.1


def test_a_cut_never_raises_the_rate():
    pace = Pace()
    pace.on_limits(0.0, RateLimits(requests=10))
    times = every(0.01, 20)
    sent(pace, *times)
    refused(pace, 0.2, *times[-8:])
    assert pace.rate(0.2) <= 0.9 * 9.5


def test_the_memory_of_calls_is_bounded():
    pace = Pace()
    for number in range(10_000):
        pace.on_sent(0.1 * number, 1)
        pace.on_refused(0.1 * number, 0.1 * number - 0.05, None)
    assert len(pace._sent) <= 101
    assert len(pace._refused) <= 11

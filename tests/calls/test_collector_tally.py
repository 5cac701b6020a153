"""Counts of one call, told in pieces, together are what the provider bills."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.calls.collector import Tally
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta


def tallied(deltas, answers=3) -> tuple[Usage, bool]:
    """What is made of the deltas, and whether it is of everything that came."""
    tally, begun = Tally(answers), set()
    for delta in deltas:
        if delta.text:
            begun.add(delta.choice)
            if delta.usage is None and delta.choice not in tally.ended:
                tally.behind.add(delta.choice)
        tally.add(delta)
    return tally.usage, not (tally.behind or tally.missing(begun))


def text(choice=0, usage=None, **more):
    return Delta("word", choice=choice, usage=usage, **more)


def end(choice=0, usage=None, **more):
    return Delta(finish="stop", choice=choice, usage=usage, **more)


def count(*tokens, **more):
    return Delta(usage=Usage(*tokens, **more))


ORDERS = list(permutations((0, 1, 2)))
THREE = [text(choice) for choice in (0, 1, 2, 2, 1, 0)]


@pytest.mark.parametrize("order", ORDERS)
def test_counts_on_the_end_of_each_answer_are_added(order):
    ends = [end(choice, Usage(9, (5, 7, 6)[choice])) for choice in order]
    assert tallied([*THREE, *ends]) == (Usage(9, 18), True)


@pytest.mark.parametrize("order", ORDERS)
def test_counts_after_the_end_of_each_answer_are_added(order):
    """As llama.cpp has them: under no answer's number."""
    ends = [each for choice in order for each in (end(choice), count(9, (5, 7, 6)[choice]))]
    assert tallied([*THREE, *ends]) == (Usage(9, 18), True)


def test_growing_counts_of_one_answer_are_not_added():
    """As vLLM has them: with each piece, and the whole call's at the end."""
    pieces = [text(choice, Usage(9, n)) for n in (1, 2, 3) for choice in (0, 1, 2)]
    ends = [end(choice, Usage(9, 3)) for choice in (0, 1, 2)]
    assert tallied([*pieces, *ends]) == (Usage(9, 9), True)
    assert tallied([*pieces, *ends, count(9, 9)]) == (Usage(9, 9), True)
    assert tallied([*pieces, *ends, count(9, 10), count(9, 10)]) == (Usage(9, 10), True)


def test_counts_that_are_marked_as_of_one_answer_are_added():
    frames = [end(choice, Usage(9, 5), alone=True) for choice in (0, 1)]
    for answers in (1, 2):
        assert tallied([text(0), text(1), *frames], answers) == (Usage(9, 10), True)
    again = [end(0, Usage(9, 5), alone=True)] * 3
    assert tallied([text(0), *again], 1) == (Usage(9, 5), True)
    assert tallied([text(0), *again, count(9, 5)], 1) == (Usage(9, 5), True)
    assert tallied([text(0), text(1), *again], 2) == (Usage(9, 5), False)


def test_a_count_of_the_whole_call_is_not_added():
    ends = [end(0), end(1), end(2)]
    assert tallied([*THREE, *ends, count(9, 18)]) == (Usage(9, 18), True)
    assert tallied([*THREE, end(0), end(1), end(2, Usage(9, 18))]) == (Usage(9, 18), True)
    own = [end(choice, Usage(9, 6), alone=True) for choice in (0, 1, 2)]
    assert tallied([*THREE, *own, count(9, 18)]) == (Usage(9, 18), True)
    running = [end(choice, Usage(9, 6 * choice + 6), alone=False) for choice in (0, 1, 2)]
    assert tallied([*THREE, *running]) == (Usage(9, 18), True)


def test_a_final_count_of_the_whole_call_replaces_the_sum():
    """What was told with the pieces were not counts of each answer, but of all until then."""
    running = [text(choice, Usage(9, 1 + choice)) for choice in (0, 1, 2)]
    assert tallied([*running, end(0), end(1), end(2), count(9, 3)]) == (Usage(9, 3), True)


def test_a_sum_has_an_upper_limit():
    ends = [end(choice, Usage(9, 10**9 - choice)) for choice in (0, 1, 2)]
    assert tallied([*THREE, *ends]) == (Usage(9, 10**9), True)


@pytest.mark.parametrize(
    "deltas",
    [
        [text(0), end(0, Usage(9, 2)), *THREE[1:3], end(1), end(2)],
        [*THREE, end(0, Usage(9, 2)), end(1), end(2)],
        [*THREE, end(0), count(9, 2), end(1), end(2)],
        [*THREE, end(0, Usage(9, 2)), end(1, Usage(9, 2)), end(2)],
        [*THREE, end(0), end(1), end(2, Usage(9, 2), alone=True)],
    ],
)
def test_answers_without_a_count_are_missing(deltas):
    assert not tallied(deltas)[1]


def test_counts_complete_each_other():
    dear = Usage(1000, 5, 900, charge=Decimal("0.5"))
    for told in ([dear, Usage(1000, 5)], [Usage(1000, 0), dear, Usage(0, 5)], [dear, dear]):
        assert tallied([Delta(usage=each) for each in told], 1) == (dear, True)
    written = Usage(1000, 5, cache_write_tokens=900)
    both = Usage(1000, 5, 900, cache_write_tokens=100, charge=dear.charge)
    assert tallied([Delta(usage=dear), Delta(usage=written)], 1)[0] == both


def test_charges_of_answers_are_added_and_charges_of_the_call_are_not():
    half = Usage(9, 5, charge=Decimal("0.1"))
    ends = [end(choice, half) for choice in (0, 1)]
    assert tallied([text(0), text(1), *ends], 2)[0].charge == Decimal("0.2")
    assert tallied([text(0), text(0, half), end(0, half)], 1)[0].charge == Decimal("0.1")


def test_a_smaller_count_than_before_is_not_trusted():
    assert tallied([text(0, Usage(9, 5)), end(0), count(9, 2)], 1) == (Usage(9, 5), False)
    assert tallied([end(0, Usage(9, 5), alone=True), count(9, 2)], 1) == (Usage(9, 5), False)


USAGES = st.none() | st.builds(
    Usage,
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    charge=st.none() | st.decimals(1, 9, places=2),
)
DELTAS = st.lists(
    st.builds(
        Delta,
        st.sampled_from(["", "word"]),
        finish=st.sampled_from([None, "stop"]),
        usage=USAGES,
        choice=st.integers(0, 2),
        alone=st.sampled_from([None, True, False]),
        timing=st.none(),
        model=st.none(),
    ),
    max_size=12,
)


@given(DELTAS, st.integers(1, 3))
def test_no_count_decreases_or_exceeds_the_sum(deltas, answers):
    tally = Tally(answers)
    greatest, every = Usage(0, 0), []
    for delta in deltas:
        tally.add(delta)
        every += [delta.usage] if delta.usage else []
        now = tally.usage or Usage(0, 0)
        assert now.completion_tokens >= max((each.completion_tokens for each in every), default=0)
        assert now.prompt_tokens == max((each.prompt_tokens for each in every), default=0)
        assert (now.charge or 0) >= max((each.charge or 0 for each in every), default=0)
        assert now.completion_tokens <= max(10**9, greatest.completion_tokens)
        greatest = now
    assert greatest.completion_tokens <= sum(each.completion_tokens for each in every)

"""A collector tells whole answers, and begins again where a shared call ended early."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from answers import REQUEST

from mixmagic.calls.collector import Collector
from mixmagic.core.logprobs import TokenLogprob
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta

COUNT = Usage(9, 5)
END = Delta(finish="stop", usage=COUNT)


def collected(*deltas: Delta, **params) -> Collector:
    collector = Collector(replace(REQUEST, params=params))
    for delta in deltas:
        collector.add(delta)
    return collector


@pytest.mark.parametrize(
    ("deltas", "params", "whole"),
    [
        ([Delta("a"), END], {}, True),
        ([Delta("a"), Delta(finish="tool_calls", usage=COUNT)], {}, True),
        ([Delta("a"), Delta(finish="stop"), Delta(usage=COUNT)], {}, True),
        ([Delta("a"), Delta(finish="stop")], {}, False),
        ([Delta("a"), Delta(usage=COUNT)], {}, False),
        ([Delta("a"), Delta(finish="length", usage=COUNT)], {}, False),
        ([Delta("a", refusal=True), END], {}, False),
        ([Delta("a"), END, Delta("b", choice=1)], {"n": 2}, False),
        ([Delta("a"), END, Delta("b", choice=1), END._replace(choice=1)], {"n": 2}, True),
        ([Delta("a"), END, Delta("b", choice=1, finish="length")], {"n": 2}, False),
        ([Delta("a"), END, Delta("b", resumed=True)], {}, False),
        ([], {}, False),
    ],
)
def test_an_answer_is_whole_if_all_have_ended_and_were_counted(deltas, params, whole):
    assert collected(*deltas, **params).whole is whole


def test_what_came_before_a_restart_does_not_count():
    shared = [
        Delta("Hel", "hm", origin="cache", logprobs=(TokenLogprob("a", -1.0),)),
        Delta(note="a note", origin="cache"),
        Delta("x", choice=1, finish="length", origin="cache", tool="look", refusal=True),
        Delta(restarted=True),
    ]
    live = [Delta("Hello"), END]
    again, alone = collected(*shared, *live).completion(), collected(*live).completion()
    times = {"elapsed": 0.0, "ttft": 0.0, "notes": ()}
    assert replace(again, **times) == replace(alone, **times)
    assert (again.origin, again.notes) == ("live", ("a note",))
    assert again.cost > Decimal(0)

"""Layers fold around a stream, the first one outermost."""

from __future__ import annotations

from contextlib import closing

from mixmagic.catalog import Catalog
from mixmagic.core.values import Delta, Message, Request
from mixmagic.layers import stack

REQUEST = Request(Catalog().resolve("8x7b"), (Message("user", "Hi"),))


def named(name: str, seen: list[str]):
    """A layer that notes when it is entered and left."""

    def layer(inner):
        def stream(request):
            seen.append(f"+{name}")
            try:
                yield from inner(request)
            finally:
                seen.append(f"-{name}")

        return stream

    return layer


def two(request):
    yield Delta("one")
    yield Delta("two")


def test_without_layers_the_stream_is_itself():
    assert stack([], two) is two


def test_the_first_layer_is_entered_first_and_left_last():
    seen: list[str] = []
    stream = stack([named("a", seen), named("b", seen)], two)
    assert [str(delta) for delta in stream(REQUEST)] == ["one", "two"]
    assert seen == ["+a", "+b", "-b", "-a"]


def test_leaving_early_leaves_every_layer_from_the_inside():
    seen: list[str] = []
    stream = stack([named("a", seen), named("b", seen)], two)
    with closing(stream(REQUEST)) as deltas:
        next(deltas)
    assert seen == ["+a", "+b", "-b", "-a"]


def test_a_stack_can_be_used_again_and_nothing_runs_before_it_is_read():
    seen: list[str] = []
    stream = stack([named("a", seen)], two)
    stream(REQUEST)
    assert seen == []
    for _ in range(2):
        assert len(list(stream(REQUEST))) == 2

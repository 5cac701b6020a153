"""What leaves a sealed block: the same exception, without a key in its frames or its words."""

from __future__ import annotations

import sys

import pytest
from canary import KEY, leaks, shown
from raised import HIDDEN, RAISED

from mixmagic.core.sealed import sealed
from mixmagic.keys.redact import Fingerprints

REDACT = Fingerprints([KEY]).redact


def deep(error: BaseException) -> None:
    """Raise it where a key is at hand, out of another error that knows it."""
    key = HIDDEN
    try:
        raise LookupError(key)
    except LookupError as before:
        for each in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            each.__cause__ = before
        raise error from before


def block(name: str) -> None:
    with sealed(REDACT):
        deep(RAISED[name]())


@pytest.mark.parametrize("name", RAISED)
def test_no_exception_takes_a_key_along(name):
    expected = RAISED[name]()
    with pytest.raises(type(expected)) as caught:
        block(name)
    error = caught.value
    assert type(error) is type(expected)
    assert leaks(shown(error)) == []
    assert error.__context__ is error.__cause__ is None
    while error.__traceback__ is not None:
        assert error.__traceback__.tb_frame.f_code.co_name != "deep"
        error.__traceback__ = error.__traceback__.tb_next


@pytest.mark.parametrize("name", RAISED)
def test_type_and_words_stay(name):
    expected = RAISED[name]()
    with pytest.raises(type(expected)) as caught:
        block(name)
    assert str(caught.value) == REDACT(str(expected))
    assert getattr(caught.value, "__notes__", []) == REDACT(getattr(expected, "__notes__", []))
    if isinstance(expected, BaseExceptionGroup):
        assert [*map(repr, caught.value.exceptions)] == REDACT([*map(repr, expected.exceptions)])


@pytest.mark.parametrize("kind", [ValueError, OSError, SystemExit, ExceptionGroup])
def test_an_exception_without_a_key_is_left_as_it_is(kind):
    error = kind("x", [ValueError("y")]) if kind is ExceptionGroup else kind("x")
    before = error.args
    with pytest.raises(kind) as caught, sealed(REDACT):
        raise error
    assert caught.value is error
    assert error.args is before


def test_without_a_way_to_redact_the_frames_go_all_the_same():
    def run() -> None:
        with sealed():
            deep(ValueError("x"))

    with pytest.raises(ValueError, match="x") as caught:
        run()
    assert leaks(shown(caught.value)) == []


def test_a_block_that_ends_well_returns_what_it_returns():
    def run() -> str:
        with sealed(REDACT):
            return "well"

    assert run() == "well"


def test_a_generator_that_is_closed_or_thrown_into_is_as_without_it():
    ended = []

    def pieces():
        with sealed(REDACT):
            try:
                yield HIDDEN
                yield HIDDEN
            finally:
                ended.append(1)

    running = pieces()
    next(running)
    running.close()
    thrown = pieces()
    next(thrown)
    with pytest.raises(ValueError, match=r"It was \[key\]\.") as caught:
        thrown.throw(ValueError(HIDDEN))
    assert ended == [1, 1]
    assert leaks(shown(caught.value)) == []


def test_close_to_the_recursion_limit_no_frame_stays():
    """At each depth at which it can fail, the redaction among them."""

    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        else:
            run()

    def run() -> None:
        with sealed(REDACT):
            lower(KEY)

    def lower(key: str) -> None:
        lowest(key)

    def lowest(key: str) -> None:
        raise ValueError(key)

    limit, seen = sys.getrecursionlimit(), set()
    for depth in range(limit - 200, limit):
        with pytest.raises((RecursionError, ValueError)) as caught:
            dive(depth)
        error = caught.value
        seen.add(type(error))
        frame, error.__traceback__ = error.__traceback__, None
        while frame is not None:
            assert frame.tb_frame.f_code.co_name not in ("lower", "lowest")
            frame = frame.tb_next
        assert leaks(str(error), repr(error), repr(error.__context__)) == []
    assert seen == {RecursionError, ValueError}

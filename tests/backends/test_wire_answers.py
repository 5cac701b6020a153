"""Several answers to one question, and their log probabilities, in JSON."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server import chunk, usage

from mixmagic.backends import wire
from mixmagic.calls.collector import Collector
from mixmagic.core.logprobs import TokenLogprob
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta, Dialect, Message, Model, Provider, Request
from mixmagic.errors import MixmagicError, StreamBroken
from mixmagic.sessions import Session

MODEL = Model("org/Model-1", Provider("acme", "Acme"))


def encode(dialect=None, **params):
    model = Model("org/Model-1", Provider("acme", "Acme", dialect=dialect or Dialect()))
    return wire.encode(Request(model, (Message("user", "Hello"),), params))


def test_several_answers_are_asked_for():
    assert encode(n=3)["n"] == 3


def test_together_accepts_only_the_number():
    """Its `logprobs` is OpenAI's `top_logprobs`."""
    params = {"logprobs": True, "top_logprobs": 5}
    assert encode(**params).items() >= params.items()
    body = encode(dialect=Dialect(rename={"top_logprobs": "logprobs"}), **params)
    assert body["logprobs"] == 5
    assert "top_logprobs" not in body


def choice(index, text, finish=None, **more):
    return {"index": index, "delta": {"content": text}, "finish_reason": finish, **more}


def test_a_piece_says_which_answer_it_belongs_to():
    def delta(index, finish=None):
        return wire.decode(MODEL, {"choices": [choice(index, "a", finish)]})

    assert [delta(index).choice for index in (0, 1, 7)] == [0, 1, 7]
    assert [delta(index, "stop").choice for index in (0, 1, 7)] == [0, 1, 7]
    assert delta(2) == Delta("a", choice=2)


@pytest.mark.parametrize("index", [None, "1", -1, True, 1.0, 10**9, [1]])
def test_an_invalid_index_is_the_first_answer_s(index):
    assert wire.decode(MODEL, {"choices": [choice(index, "a")]}).choice == 0


def test_a_frame_with_several_answers_is_split():
    frame = {"object": "x", "choices": [choice(1, "a"), choice(0, "b", "stop")], **usage(3, 4)}
    deltas = [wire.decode(MODEL, each) for each in wire.answers(frame)]
    assert deltas == [
        Delta("a", choice=1),
        Delta("b", finish="stop", usage=Usage(3, 4)),
    ]
    assert len(frame["choices"]) == 2  # as it was


@pytest.mark.parametrize("frame", [None, [], "x", {}, {"choices": None}, {"choices": "ab"}])
def test_other_frames_are_unchanged(frame):
    assert wire.answers(frame) == [frame]
    assert wire.answers(chunk("a")) == [chunk("a")]


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=10))
def test_any_list_of_answers_becomes_pieces_or_our_errors(choices):
    def decoded(frame):
        try:
            return wire.decode(MODEL, frame)
        except MixmagicError as error:
            return error

    kinds = {type(decoded(frame)) for frame in wire.answers({"choices": choices})}
    assert kinds <= {Delta, StreamBroken}


OPENAI = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"logprob": -9}]}]}
LLAMA = {
    "content": [
        {
            "id": 7, "token": "a", "bytes": [97], "logprob": -0.5,
            "top_logprobs": [{"id": 7, "token": "a", "logprob": -0.5},
                             {"id": 8, "token": "b", "logprob": -1.0}],
        }
    ]
}  # fmt: skip
TOGETHER = {
    "token_ids": [7, 8], "tokens": ["a", "b"], "token_logprobs": [-1.5, None],
    "top_logprobs": [{"a": -1.5, "c": -3}, None],
}  # fmt: skip
A, B, C = TokenLogprob("a", -0.5), TokenLogprob("b", -1.0), TokenLogprob("c", -3.0)


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        (OPENAI, [("a", -0.5, (TokenLogprob("", -9.0),))]),
        (LLAMA, [("a", -0.5, (A, B))]),
        (
            {"content": [{"logprob": 0}, {"logprob": -9999.0}], "refusal": None},
            [("", 0.0, ()), ("", -9999.0, ())],
        ),
        (-0.25, [("a", -0.25, ())]),  # Together's, of a streamed piece
        (TOGETHER, [("a", -1.5, (TokenLogprob("a", -1.5), C))]),  # of a whole answer
        ({"tokens": ["a"], "token_logprobs": [-1.0, -2.0]}, [("", -1.0, ()), ("", -2.0, ())]),
        ({"content": [{"token": 7, "logprob": -1.0, "top_logprobs": "key"}]}, [("", -1.0, ())]),
        (None, ()),
        ({}, ()),
        ({"content": None}, ()),
        ({"content": ["key", {"logprob": "key"}, {"logprob": True}]}, ()),
        ({"token_logprobs": "key"}, ()),
        ([-1.0], ()),
        ("key", ()),
        (10**400, ()),
        (float("nan"), ()),
    ],
)
def test_the_tokens_of_a_piece_with_their_probabilities(told, tokens):
    delta = wire.decode(MODEL, {"choices": [choice(0, "a", logprobs=told)]})
    assert delta == Delta("a", logprobs=tuple(tokens))


def test_the_embedded_model_gives_several_and_their_probabilities(session: Session):
    """llama.cpp sends the answers in turns, and counts each separately."""
    params = {"temperature": 1, "max_tokens": 4, "seed": 1, "n": 2, "logprobs": True}
    request = session.request("Name three colours.", model="local", **params)
    with contextlib.closing(session.stream(request)) as deltas:
        came = list(deltas)
    assert {each.choice for each in came if each.text} == {0, 1}
    assert sum(each.finish is not None for each in came) == 2
    collector = Collector(request)
    list(map(collector.add, came))
    assert collector.completion().usage.completion_tokens == 8, "of both together"
    told = [each.logprobs for each in came if each.logprobs]
    assert len(told) >= 2
    assert all(len(each) == 1 and each[0].logprob <= 0 for each in told)
    completion = collector.completion()
    assert "".join(each.token for each in completion.logprobs) == completion.text

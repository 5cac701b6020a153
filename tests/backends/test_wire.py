from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server import chunk, usage

from mixmagic.backends import wire
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta, Dialect, Image, Message, Model, Provider, Request, Text
from mixmagic.errors import MixmagicError, RateLimited, StreamBroken

MODEL = Model("org/Model-1", Provider("acme", "Acme"))
HELLO = (Message("system", "Be brief."), Message("user", "Hello"))
CATALOG = Catalog()


def encode(model=MODEL, *, stream=True, dialect=None, **params):
    if dialect:
        model = replace(model, provider=replace(model.provider, dialect=dialect))
    return wire.encode(Request(model, HELLO, params, stream=stream))


def test_a_plain_request():
    assert encode(temperature=0, stop=["END"]) == {
        "model": "org/Model-1",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ],
        "temperature": 0,
        "stop": ["END"],
        "stream": True,
    }
    assert "stream" not in encode(stream=False)


@pytest.mark.parametrize(
    ("name", "asks"),
    [
        ("together:8x7b", True),
        ("fireworks:8x7b", True),
        ("ollama:8x7b", True),
        ("openai:gpt-oss-20b", True),
        ("local", True),
        ("mistral:8x7b", False),
        ("openrouter:8x7b", False),
    ],
)
def test_streamed_usage_is_requested_from_providers_that_need_it(name, asks):
    model = CATALOG.resolve(name)
    body = encode(model)
    assert body.get("stream_options") == ({"include_usage": True} if asks else None)
    assert "stream_options" not in encode(model, stream=False)


def test_mistral_has_another_name_for_the_seed():
    body = encode(CATALOG.resolve("mistral:8x7b"), seed=7, max_tokens=5)
    assert (body["random_seed"], body["max_tokens"]) == (7, 5)
    assert "seed" not in body


def test_a_dialect_s_own_fields():
    dialect = Dialect({"max_tokens": "n"}, {"safe": True}, {"streaming": 1})
    body = encode(dialect=dialect, max_tokens=5)
    assert (body["n"], body["safe"], body["streaming"]) == (5, True, 1)
    assert "max_tokens" not in body
    assert "streaming" not in encode(dialect=dialect, stream=False)


def test_extra_body_overrides_and_is_not_consumed():
    extra = {"temperature": 0.1, "safe": False, "reasoning": {"enabled": False}}
    request = Request(
        replace(MODEL, provider=replace(MODEL.provider, dialect=Dialect(always={"safe": True}))),
        HELLO,
        {"temperature": 0.9, "extra_body": extra},
    )
    for _ in range(2):
        body = wire.encode(request)
        assert {name: body[name] for name in extra} == extra
        assert "extra_body" not in body


@pytest.mark.parametrize(
    ("frame", "delta"),
    [
        (chunk("Hi"), Delta("Hi")),
        (chunk(""), Delta()),
        (chunk(), Delta()),
        (chunk("Hi", "stop"), Delta("Hi", finish="stop")),
        (chunk("", "stop", **usage(9, 2)), Delta(finish="stop", usage=Usage(9, 2))),
        (chunk("Hi", usage=None), Delta("Hi")),
        (chunk("Hi", **usage(9, 1)), Delta("Hi", usage=Usage(9, 1))),
        ({"choices": [], **usage(9, 2)}, Delta(usage=Usage(9, 2))),
        ({**usage(9, 2)}, Delta(usage=Usage(9, 2))),
        ({"choices": []}, Delta()),
        ({"choices": None}, Delta()),
        ({}, Delta()),
        ({"x_groq": {"id": "req_1"}, **chunk("")}, Delta()),
        (
            {"x_groq": {"id": "1", **usage(9, 2)}, **chunk(None, "stop")},
            Delta(finish="stop", usage=Usage(9, 2)),
        ),
        ({"choices": [{"delta": {"content": None}}]}, Delta()),
        ({"choices": [{"delta": None, "finish_reason": "stop"}]}, Delta(finish="stop")),
        ({"choices": [{"text": "Hi", "finish_reason": None}]}, Delta("Hi")),
        ({"choices": [{"message": {"content": "Hi"}}]}, Delta("Hi")),
        ({"choices": [{"delta": {"reasoning": "hm"}}]}, Delta(reasoning="hm")),
        ({"choices": [{"delta": {"content": None, "reasoning_content": "hm"}}]}, Delta("", "hm")),
        ({"choices": [{"delta": {"content": "", "reasoning": "hm"}}]}, Delta("", "hm")),
        ({"choices": [{"delta": {"content": "Hi", "reasoning": "hm"}}]}, Delta("Hi", "hm")),
        ({"choices": [{"delta": {"content": "Hi", "reasoning": None}}]}, Delta("Hi")),
        (
            {"choices": [{"delta": {"content": "", "reasoning_content": "hm"}}]},
            Delta(reasoning="hm"),
        ),
    ],
)
def test_frames(frame, delta):
    assert wire.decode(MODEL, frame) == delta


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("something new", "something new"),
        ("", None),
        (None, None),
    ],
)
def test_words_for_the_same_finish_reason(said, meant):
    assert wire.decode(MODEL, chunk("x", said)).finish == meant


@pytest.mark.parametrize(
    ("content", "delta"),
    [
        ([{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}], Delta("Hi!")),
        (["Hi", "!"], Delta("Hi!")),
        ([], Delta()),
        ([{"type": "text", "text": None}], Delta()),
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "Hi"},
            ],
            Delta("Hi", reasoning="hm"),
        ),
        ([{"type": "thinking", "thinking": "hm"}], Delta(reasoning="hm")),
        ([{"type": "reference", "reference_ids": [1]}], Delta()),
    ],
)
def test_mistral_s_content_may_be_a_list(content, delta):
    assert wire.decode(MODEL, {"choices": [{"delta": {"content": content}}]}) == delta


@pytest.mark.parametrize(
    ("counts", "known"),
    [
        ({"prompt_tokens": 9, "completion_tokens": None}, Usage(9, 0)),
        ({"completion_tokens": 2}, Usage(0, 2)),
        ({"prompt_tokens": 9.0, "completion_tokens": 2.0}, Usage(9, 2)),
        ({"prompt_tokens": 9.5}, None),
        ({"prompt_tokens": float("inf")}, None),
        ({"prompt_tokens": "nine"}, None),
        ({"total_tokens": 11}, None),
        ({}, None),
    ],
)
def test_a_count_may_be_incomplete_or_missing(counts, known):
    assert wire.decode(MODEL, chunk("Hi", usage=counts)) == Delta("Hi", usage=known)


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ({"tool_calls": [{"index": 0, "function": {"name": "find", "arguments": ""}}]}, 2),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Rome"}'}}]}, 5),
        ({"tool_calls": [{"function": {"name": "f", "arguments": {"city": "Rome"}}}] * 2}, 10),
        ({"function_call": {"name": "find", "arguments": "12345678"}}, 4),
        ({"tool_calls": []}, None),
        ({"tool_calls": None}, None),
        ({"tool_calls": [None, "x", {"function": None}, {"function": {"arguments": ""}}]}, None),
        ({"tool_calls": 5}, None),
    ],
)
def test_tool_calls_are_estimated_if_the_frame_has_no_count(part, tokens):
    frame = {"choices": [{"delta": {"content": "Hi", **part}}]}
    told = None if tokens is None else Usage(0, tokens, counted="estimate")
    assert wire.decode(MODEL, frame)[:4] == Delta("Hi", usage=told)[:4]
    assert wire.decode(MODEL, {**frame, **usage(9, 2)})[:4] == Delta("Hi", usage=Usage(9, 2))[:4]


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ({"tool_calls": [{"function": {"name": "find", "arguments": ""}}]}, "find"),
        ({"tool_calls": [{"function": {"name": name}} for name in "abab"]}, "a, b"),
        ({"function_call": {"name": "a\nb", "arguments": "{}"}}, "a b"),
        ({"tool_calls": [{"function": {"arguments": "{"}}]}, ""),
        ({"tool_calls": [{"function": {"name": "x" * 1000}}]}, "x" * 59 + "…"),
        ({"tool_calls": [{"function": {"name": 5}}, None, {"name": "flat"}]}, "flat"),
    ],
)
def test_the_tools_that_are_called_are_named(part, names):
    assert wire.decode(MODEL, {"choices": [{"delta": part}]}).tool == names


@pytest.mark.parametrize(
    ("said", "cached"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 7, "audio_tokens": 0}}, 7),
        ({"cached_tokens": 7}, 7),
        ({"prompt_cache_hit_tokens": 7, "prompt_cache_miss_tokens": 2}, 7),
        ({"prompt_tokens_details": {"cached_tokens": 7}, "cached_tokens": 5}, 7),
        ({"prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 7}, 7),
        ({"prompt_tokens_details": {"cached_tokens": 7.0}}, 7),
        ({"prompt_tokens_details": {"cached_tokens": 10}}, 9),
        ({"cached_tokens": "7"}, 7),
        ({"prompt_tokens_details": None}, 0),
        ({"prompt_tokens_details": {"cached_tokens": None}}, 0),
        ({"prompt_tokens_details": {"cached_tokens": float("nan")}}, 0),
        ({"prompt_tokens_details": "7"}, 0),
        ({"cached_tokens": {"cached_tokens": 7}}, 0),
        ({"prompt_cache_miss_tokens": 9}, 0),
    ],
)
def test_cached_tokens_are_a_part_of_the_prompt(said, cached):
    counts = {"prompt_tokens": 9, "completion_tokens": 2, **said}
    assert wire.decode(MODEL, chunk("", usage=counts)).usage == Usage(9, 2, cached)


@pytest.mark.parametrize("prompt", [{}, {"prompt_tokens": None}, {"prompt_tokens": 0}])
def test_a_prompt_without_a_count_has_no_cached_tokens(prompt):
    counts = {**prompt, "completion_tokens": 2, "cached_tokens": 7}
    assert wire.decode(MODEL, chunk("", usage=counts)).usage == Usage(0, 2)


@pytest.mark.parametrize(
    ("frame", "kind", "words"),
    [
        ({"error": {"message": "broke"}}, StreamBroken, "broke"),
        ({"error": "broke"}, StreamBroken, "broke"),
        ({"error": {"code": None, "message": "broke"}, "choices": []}, StreamBroken, "broke"),
        ({"error": {"code": 429, "message": "slow"}, **chunk("", "error")}, RateLimited, "slow"),
        ({"error": {"code": "429", "message": "slow"}}, RateLimited, "slow"),
        ({"x_groq": {"error": "over capacity"}, **chunk()}, StreamBroken, "over capacity"),
        ({"object": "error", "message": "broke", "code": "1300"}, StreamBroken, "broke"),
        ({"object": "error", "message": {"detail": [{"msg": "bad"}]}}, StreamBroken, "bad"),
        (chunk("", "error"), StreamBroken, "finish_reason: error"),
        ("broke", StreamBroken, "'broke'"),
        (None, StreamBroken, "None"),
        ([], StreamBroken, r"\[\]"),
    ],
)
def test_errors_in_frames(frame, kind, words):
    with pytest.raises(kind, match=words) as caught:
        wire.decode(MODEL, frame)
    assert type(caught.value) is kind
    assert "\n" not in caught.value.message


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 600) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "message", "content", "text", "type", "thinking", "usage",
             "error", "code", "x_groq", "finish_reason", "object", "prompt_tokens", "reasoning",
             "prompt_tokens_details", "cached_tokens"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def is_a_piece_or_an_error_of_ours(frame):
    try:
        delta = wire.decode(MODEL, json.loads(json.dumps(frame)))
    except MixmagicError:
        return
    assert (type(delta.text), type(delta.reasoning)) == (str, str)
    assert delta.finish is None or type(delta.finish) is str
    assert delta.usage is None or type(delta.usage.total_tokens) is int
    assert delta.usage is None or 0 <= delta.usage.cached_tokens <= delta.usage.prompt_tokens


@given(ODD)
def test_no_json_raises_a_foreign_error(frame):
    """No response of a server causes an AttributeError or KeyError."""
    is_a_piece_or_an_error_of_ours(frame)


@pytest.mark.parametrize(
    "frame",
    [
        {"choices": {"delta": {}}},
        {"choices": "x"},
        {"choices": [None]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"delta": {}, "finish_reason": ["stop"]}]},
        {"choices": [{"delta": {"content": [None]}}]},
        {"choices": [{"delta": {"content": [{"type": "text", "text": 5}]}}]},
        {"choices": [{"delta": {"reasoning": ["hm"]}}]},
        {"choices": [], "usage": [1]},
        {"choices": [], "usage": 5},
        {"choices": [], "x_groq": "x"},
    ],
    ids=json.dumps,
)
def test_odd_frames_are_pieces_or_our_errors(frame):
    is_a_piece_or_an_error_of_ours(frame)


def test_an_image_is_a_data_url_between_texts():
    content = (Text("Left: "), Image(b"\x89PNG"), Image(b"\xff\xd8", "image/jpeg"), Text("?"))
    body = wire.encode(Request(MODEL, (Message("user", content), Message("user", "Hi"))))
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Left: "},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9g="}},
                {"type": "text", "text": "?"},
            ],
        },
        {"role": "user", "content": "Hi"},
    ]

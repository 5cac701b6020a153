"""What we send is what the official `together` and `openai` packages could have sent."""

from __future__ import annotations

import base64
import io
import typing
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any

import openai.types.chat.completion_create_params as openai_params
import PIL.Image
import pytest
import together.types.chat.completion_create_params as together_params
import typing_extensions
from official import HELLO, MODEL, NAMES, send
from server import Answer, whole
from server import together as pieces

from mixmagic.prompting.images import encoded

TYPES = {"together": together_params, "openai": openai_params}
# Together's package does not know the field that has some of its models count what they stream
# (vercel/ai PR 17986); OpenAI's does not know what its own models do not take.
UNTYPED = {
    "together": {"stream_options"},
    "openai": {"top_k", "min_p", "repetition_penalty", "reasoning"},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
STRICT = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {**SCHEMA, "additionalProperties": False},
        "strict": True,
    },
}
# Our parameters, and theirs if they differ.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "temperature": ({"temperature": 0.7}, {}),
    "temperature 0": ({"temperature": 0}, {}),
    "top_p": ({"top_p": 0.9}, {}),
    "top_k": ({"top_k": 40}, {}),
    "min_p": ({"min_p": 0.05}, {}),
    "seed": ({"seed": 7}, {}),
    "max_tokens": ({"max_tokens": 100}, {}),
    "presence_penalty": ({"presence_penalty": -0.5}, {}),
    "frequency_penalty": ({"frequency_penalty": 1.5}, {}),
    "repetition_penalty": ({"repetition_penalty": 1.1}, {}),
    "stop, a text": ({"stop": "END"}, {"stop": ["END"]}),
    "stop, a list": ({"stop": ["END", "\n\n"]}, {}),
    "schema": ({"schema": SCHEMA}, {"schema": None, "response_format": STRICT}),
    "JSON mode": ({"response_format": {"type": "json_object"}}, {}),
    "text mode": ({"response_format": {"type": "text"}}, {}),
    "extra_body": ({"extra_body": {"reasoning": {"enabled": False}, "n": 1}}, {}),
    "extra_body over a parameter": ({"temperature": 0, "extra_body": {"temperature": 1}}, {}),
    "all at once": (
        {
            "temperature": 1, "top_p": 1.0, "top_k": 1, "min_p": 0, "seed": 0, "max_tokens": 1,
            "stop": ["a"], "presence_penalty": 0, "frequency_penalty": -2,
            "repetition_penalty": 1, "schema": SCHEMA, "extra_body": {"logit_bias": {"42": -100}},
        },
        {"schema": None, "response_format": STRICT},
    ),
}  # fmt: skip
CONVERSATION = [
    *HELLO,
    {"role": "assistant", "content": "Hi!"},
    {"role": "user", "content": "世界"},
]


@pytest.fixture(autouse=True)
def answering(both):
    both.plan = [lambda got: Answer(pieces("Hi")) if got.body.get("stream") else whole("Hi")]


def misfits(value: Any, kind: Any, where: str = "") -> list[str]:
    """Return the places where a JSON value does not fit a package's type, or is unknown."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (Any, object):
        return []
    if origin in (typing.Required, typing_extensions.Required):
        return misfits(value, arguments[0], where)
    if origin in (typing.Union, UnionType):
        each = [misfits(value, argument, where) for argument in arguments]
        return [] if [] in each else max(each, key=len)
    if origin in (typing.Literal, typing_extensions.Literal):
        return [] if value in arguments else [f"{where} = {value!r}, not {arguments}"]
    if typing_extensions.is_typeddict(kind):
        if not isinstance(value, dict):
            return [f"{where} is no {kind.__name__}"]
        fields = typing_extensions.get_type_hints(kind)
        missing = sorted(kind.__required_keys__ - value.keys())
        found = [f"{where}.{name} is missing" for name in missing]
        for name, inner in value.items():
            path = f"{where}.{name}"
            found += misfits(inner, fields[name], path) if name in fields else [f"{path} unknown"]
        return found
    if origin is dict:
        return [m for k, v in value.items() for m in misfits(v, arguments[1], f"{where}.{k}")]
    if arguments:  # an Iterable, a List, a SequenceNotStr
        assert issubclass(origin, Iterable) or origin.__name__ == "SequenceNotStr", kind
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [m for n, v in enumerate(value) for m in misfits(v, arguments[0], f"{where}[{n}]")]
    assert kind in (str, bool, int, float, NoneType), kind
    fits = type(value) is kind or (kind is float and type(value) is int)
    return [] if fits else [f"{where} = {value!r} is no {kind.__name__}"]


def ours(session, server, name: str, *, stream: bool, **call: Any) -> dict[str, Any]:
    """The body that we send."""
    session.ask(CONVERSATION, model=f"{name}:{MODEL}", stream=stream, **call)
    return server.received[-1].body


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stream", [True, False])
def test_a_body_fits_the_package_s_own_types(session, server, name, case, stream):
    kinds = TYPES[name]
    kind = (
        kinds.CompletionCreateParamsStreaming
        if stream
        else kinds.CompletionCreateParamsNonStreaming
    )
    body = ours(session, server, name, stream=stream, **CASES[case][0])
    typed = {key: value for key, value in body.items() if key not in UNTYPED[name]}
    assert misfits(typed, kind) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stream", [True, False])
def test_a_body_is_the_one_that_the_package_sends(session, server, name, case, stream):
    said, otherwise = CASES[case]
    theirs = {key: value for key, value in (said | otherwise).items() if value is not None}
    if stream:
        theirs |= {"stream": True, "stream_options": {"include_usage": True}}
    # What the package does not type goes the way that it has for such things.
    extra = {key: theirs.pop(key) for key in UNTYPED[name] & theirs.keys()}
    send(name, messages=CONVERSATION, **theirs | {"extra_body": extra | said.get("extra_body", {})})
    body = ours(session, server, name, stream=stream, **said)
    official, own = server.received
    assert body == own.body == official.body
    assert (own.method, own.path) == (official.method, official.path)
    assert own.path == "/v1/chat/completions"
    for header in ("authorization", "content-type"):
        assert own.headers[header] == official.headers[header]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [True, False])
def test_images_are_sent_as_the_package_sends_them(session, server, name, stream):
    """The same messages in OpenAI's form, given to both, and as a list of texts and images."""
    image = PIL.Image.new("RGB", (40, 30), "red")
    written = io.BytesIO()
    image.save(written, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(encoded(image, 'x').image.data).decode()}"
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is "},
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": "?"},
            ],
        }
    ]
    extra = {"stream_options": {"include_usage": True}} if stream else {}
    send(name, messages=messages, stream=stream, extra_body=extra)
    for prompt in (messages, ["What is ", written.getvalue(), "?"], ("What is ", image, "?")):
        session.ask(prompt, model=f"{name}:{MODEL}", stream=stream)
    official, *own = (each.body for each in server.received)
    official = {key: value for key, value in official.items() if value is not False}
    assert own == [official] * 3
    kinds = TYPES[name]
    kind = kinds.CompletionCreateParamsNonStreaming
    if stream:
        kind = kinds.CompletionCreateParamsStreaming
    typed = {key: value for key, value in official.items() if key not in UNTYPED[name]}
    assert misfits(typed, kind) == []


@pytest.mark.parametrize("name", NAMES)
def test_fields_listed_as_untyped_are_untyped(name):
    fields = typing_extensions.get_type_hints(TYPES[name].CompletionCreateParamsStreaming)
    assert not UNTYPED[name] & fields.keys()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"temperature": "hot"}, ".temperature"),
        ({"max_tokens": 5.5}, ".max_tokens"),
        ({"seed": True}, ".seed"),
        ({"stop": [5]}, ".stop"),
        ({"messages": [{"role": "user", "text": "Hi"}]}, ".messages[0]"),
        ({"response_format": {"type": "json_schema", "schema": SCHEMA}}, ".response_format"),
        ({"tempature": 1}, ".tempature unknown"),
        ({"model": 5}, ".model"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_the_check_of_types_can_fail(name, wrong, says):
    body = {"model": MODEL, "messages": HELLO} | wrong
    found = misfits(body, TYPES[name].CompletionCreateParamsNonStreaming)
    assert any(says in each for each in found), found

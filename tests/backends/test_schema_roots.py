"""A schema whose root is not an object is wrapped in one, and the answer is unwrapped."""

from __future__ import annotations

import json

import jsonschema
import pytest
from server import CUT, Answer, chunk, frames, whole
from server import together as pieces

from mixmagic.errors import ProviderError

INT = {"type": "integer"}
NODE = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
            "required": ["next"],
        }
    },
}
NESTED = {"type": ["array", "null"], "items": {"$ref": "#"}}
INNER = {
    "type": "array",
    "items": {"anyOf": [INT, {"type": "array", "items": {"$ref": "#/items/anyOf/0"}}]},
}
CASES = [
    ({"type": "array", "items": INT}, [1, 2], "[1, [2]]"),
    (INT, 7, '"7"'),
    ({"enum": ["yes", "no"]}, "yes", '"maybe"'),
    ({"anyOf": [{"type": "object", "properties": {"a": INT}}, {"type": "null"}]}, {"a": 1}, "1"),
    ({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, "{}"),
    (NODE, {"next": {"next": None}}, '{"next": {}}'),
    (NESTED, [[], [[]]], "[1]"),
    (INNER, [1, [2]], '["x"]'),
    ({"type": ["object", "null"], "properties": {"answer": INT}}, {"answer": 1}, '"x"'),
]


def sent_schema(server) -> dict:
    return server.received[-1].body["response_format"]["json_schema"]["schema"]


def wrapped(server, written: str) -> str:
    """A text as the value of the property that was added to the schema."""
    (name,) = sent_schema(server)["properties"]
    return f'{{"{name}": {written}}}'


@pytest.mark.parametrize(("schema", "value", "other"), CASES)
def test_the_root_that_is_sent_is_an_object_with_the_same_values(
    session, together, schema, value, other
):
    together.plan = [Answer(pieces("x"))]
    session.ask("Hi", model="8x7b", schema=schema)
    root = sent_schema(together)
    assert root["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf", "enum", "$ref"} & root.keys()
    assert root["required"] == list(root["properties"])
    assert root["additionalProperties"] is False
    jsonschema.Draft202012Validator.check_schema(root)
    jsonschema.validate(json.loads(wrapped(together, json.dumps(value))), root)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(wrapped(together, other)), root)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", ["{}", " {}\n", "{}  "])
def test_the_answer_is_the_value_however_it_is_split(session, together, case, form, size):
    schema, value, _ = case

    def reply(received):
        text = form.format(wrapped(together, json.dumps(value)))
        return Answer(pieces(*(text[at : at + size] for at in range(0, len(text), size))))

    together.plan = [reply]
    answer = session.ask("Hi", model="8x7b", schema=schema)
    assert answer.text.strip() == json.dumps(value)
    assert answer.usage.counted == "server"


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", "```json\n[1, 2]\n```", '{"other": [1]}', "Sorry.", '{"answer', "{", '{"answer" 1}'],
)
def test_an_answer_without_the_object_is_unchanged(session, together, text):
    together.plan = [Answer(pieces(*text))]
    assert session.ask("Hi", model="8x7b", schema={"type": "array", "items": INT}).text == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"answer": [{"a": 1}', '[{"a": 1}'),
        ('{"answer": {"a": {"b": 1}', '{"a": {"b": 1}'),
        ('{"answer": "a }', '"a }'),
        ('{"answer": [1]', "[1]"),
    ],
)
def test_no_text_of_a_truncated_answer_is_lost(session, together, text, kept):
    together.plan = [Answer([frames(chunk(text), chunk("", "length"))])]
    answer = session.ask("Hi", model="8x7b", schema={"type": "array", "items": INT})
    assert answer.text == kept


def test_the_text_before_a_break_is_kept(session, together):
    together.plan = [Answer([frames(chunk('{"answer": [{"a": 1}'), done=False), CUT])]
    with pytest.raises(ProviderError) as caught:
        session.ask("Hi", model="8x7b", schema={"type": "array", "items": INT})
    assert caught.value.partial.text == '[{"a": 1}'


def test_several_answers_are_each_unwrapped(session, together):
    def choice(index, text, finish=None):
        return {"index": index, "delta": {"content": text}, "finish_reason": finish}

    answers = {
        "choices": [choice(0, '{"answer": [1]}', "stop"), choice(1, '{"answer":[2]}', "stop")]
    }
    together.plan = [Answer([frames(answers)])]
    answer = session.ask("Hi", model="8x7b", schema={"type": "array", "items": INT}, n=2)
    assert [answer.text, *answer.others] == ["[1]", "[2]"]


def test_an_answer_that_is_not_streamed_is_unwrapped(session, together):
    together.plan = [whole('{"answer": [1, 2]}')]
    schema = {"type": "array", "items": INT}
    assert session.ask("Hi", model="8x7b", schema=schema, stream=False).text == "[1, 2]"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"answer": INT}, "required": ["answer"]},
        {"$id": "https://example.com/list", "type": "array", "items": INT},
    ],
)
def test_an_object_is_sent_and_answered_unchanged(session, together, schema):
    text = '{"answer": 1}'
    together.plan = [Answer(pieces(*text))]
    assert session.ask("Hi", model="8x7b", schema=schema).text == text
    assert sent_schema(together)["type"] == schema["type"]


def test_no_root_is_wrapped_if_any_is_accepted(session, server, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    server.plan = [Answer(pieces("[1]"))]
    schema = {"type": "array", "items": INT}
    assert session.ask("Hi", model="ollama:x", schema=schema).text == "[1]"
    assert sent_schema(server) == schema


def test_the_user_s_own_response_format_is_wrapped_too(session, together):
    together.plan = [Answer(pieces('{"answer": [1]}'))]
    form = {
        "type": "json_schema",
        "json_schema": {"name": "list", "schema": {"type": "array", "items": INT}},
    }
    assert session.ask("Hi", model="8x7b", response_format=form).text == "[1]"
    assert sent_schema(together)["properties"] == {"answer": {"type": "array", "items": INT}}
    extra = {"response_format": form}
    assert session.ask("Hi", model="8x7b", extra_body=extra).text == "[1]"

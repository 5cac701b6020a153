"""Schemas as OpenAI's strict mode takes them."""

from __future__ import annotations

import copy

import jsonschema
import pytest

from mixmagic.structured.openai_strict import strict

INT = {"type": "integer"}
NULL = {"type": "null"}


def thing(*required: str, **properties) -> dict:
    return {"type": "object", "properties": properties, "required": list(required)}


def closed(**properties) -> dict:
    return {**thing(*properties, **properties), "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (thing("a", a=INT), closed(a=INT)),
        (thing("a", a={**INT, "default": 3, "title": "A"}), closed(a={**INT, "title": "A"})),
        (INT, INT),
        ({"type": "array", "items": thing("b", b=INT)}, {"type": "array", "items": closed(b=INT)}),
        ({"$ref": "#/$defs/x", "$defs": {"x": thing("b", b=INT)}},
         {"$ref": "#/$defs/x", "$defs": {"x": closed(b=INT)}}),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema", **thing("a", a=INT)},
         closed(a=INT)),
        (thing("a", a={**INT, "minimum": 1, "readOnly": True}), closed(a={**INT, "minimum": 1})),
        (thing("a", a={"type": "string", "format": "date-time"}),
         closed(a={"type": "string", "format": "date-time"})),
        (thing("a", a={"type": "array", "items": INT, "maxItems": 3}),
         closed(a={"type": "array", "items": INT, "maxItems": 3})),
        (thing("a", a=thing("b", b=INT)), closed(a=closed(b=INT))),
        (thing("a", a={"type": "array", "items": thing("b", b=INT)}),
         closed(a={"type": "array", "items": closed(b=INT)})),
        (thing(a={"anyOf": [thing("b", b=INT), NULL], "default": None}),
         closed(a={"anyOf": [closed(b=INT), NULL]})),
        ({**thing("a", a={"$ref": "#/$defs/x", "description": "d"}),
          "$defs": {"x": thing("b", b=INT)}},
         {**closed(a={"$ref": "#/$defs/x"}), "$defs": {"x": closed(b=INT)}}),
        ({**thing("a", a=INT), "additionalProperties": True}, closed(a=INT)),
        (thing(v={"anyOf": [{"$ref": "#"}, NULL]}), closed(v={"anyOf": [{"$ref": "#"}, NULL]})),
    ],
)  # fmt: skip
def test_a_strict_copy_is_closed_and_whole(schema, sent):
    before = copy.deepcopy(schema)
    assert strict(schema) == (sent, True)
    assert schema == before


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array"},
        {"type": "object"},
        thing("a", a={"type": "string", "format": "uri"}),
        thing("a", a={"type": "string", "format": "password", "writeOnly": True}),
        thing("a", a={"type": "string", "format": "binary"}),
        thing("a", a={"type": "string", "maxLength": 3}),
        thing("a", a={"type": "string", "minLength": 1}),
        thing("a", a={"type": "string", "contentEncoding": "base64"}),
        thing("a", a={"type": "string", "pattern": "^(?!x)"}),
        thing("a", a={**thing("b", b=INT), "minProperties": 1}),
        thing("a", a={"enum": [str(n) for n in range(1001)]}),
        {"$id": "https://example.com/x", **thing("a", a=INT)},
        {"type": "object", "additionalProperties": INT},
        thing("a", a={}),
        thing("a", a={"title": "A", "description": "Anything."}),
        thing("a", a={"minimum": 3}),
        thing("a", a={"type": "array", "items": {"title": "A"}}),
        thing("a", a=True),
        thing("b", a=INT),
        thing("a", a={"oneOf": [INT]}),
        thing("a", a={"type": "object", "patternProperties": {"a": INT}}),
        thing("a", a={"type": ["object", "null"]}),
        {**thing("a", a={"$ref": "#/$defs/x", "minimum": 3}), "$defs": {"x": INT}},
        {**thing("v", v=INT, next={"$ref": "#"}), "$defs": {}},
        {**thing("v", v=INT, next=thing("x", x={"$ref": "#"}))},
    ],
)
def test_a_schema_without_a_strict_copy_is_sent_unchanged(schema):
    assert strict(schema) == (schema, False)


@pytest.mark.parametrize(
    ("optional", "may_be_null"),
    [
        (INT, False),
        ({"type": ["integer", "null"]}, True),
        ({"anyOf": [INT, {"type": ["string", "null"]}]}, True),
        ({"anyOf": [INT, {"type": "string"}]}, False),
        ({"anyOf": [INT, NULL], "type": "integer"}, False),
        ({"enum": ["a", None]}, True),
        ({"enum": ["a", None], "type": "string"}, False),
        ({"enum": ["a"], "type": ["string", "null"]}, False),
        ({"const": None}, True),
        ({"const": 1}, False),
        ({"$ref": "#/$defs/x"}, False),
    ],
)
def test_optional_properties_are_required_only_if_they_allow_null(optional, may_be_null):
    schema = {**thing("a", a=INT, b=optional), "$defs": {"x": NULL}}
    assert strict(schema)[1] == may_be_null
    validator = jsonschema.Draft202012Validator(schema)
    if may_be_null:
        assert validator.is_valid({"a": 1, "b": None})
        assert strict(schema)[0]["required"] == ["a", "b"]
    assert strict({**schema, "required": ["a", "b"]})[1]


def test_values_valid_for_the_copy_are_valid_for_the_schema():
    schema = thing("a", "c", a=INT, b={"anyOf": [INT, NULL]}, c=thing("d", d=INT))
    sent, _ = strict(schema)
    value = {"a": 1, "b": None, "c": {"d": 1}}
    jsonschema.validate(value, sent)
    jsonschema.validate(value, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"a": 1}, sent)

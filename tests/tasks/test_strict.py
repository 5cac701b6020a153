"""Schemas as OpenAI's strict mode takes them."""

from __future__ import annotations

import copy

import jsonschema
import pytest

from mixmagic.tasks.strict import strict

INT = {"type": "integer"}


def thing(*required: str, **properties) -> dict:
    return {"type": "object", "properties": properties, "required": list(required)}


def closed(**properties) -> dict:
    return {**thing(*properties, **properties), "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (thing("a", a=INT), closed(a=INT)),
        (thing(a={**INT, "default": 3, "title": "A"}), closed(a={**INT, "title": "A"})),
        (thing("a", a=thing(b=INT)), closed(a=closed(b=INT))),
        (thing(a={"type": "array", "items": thing(b=INT)}),
         closed(a={"type": "array", "items": closed(b=INT)})),
        (thing(a={"anyOf": [thing(b=INT), {"type": "null"}], "default": None}),
         closed(a={"anyOf": [closed(b=INT), {"type": "null"}]})),
        ({**thing("a", a={"$ref": "#/$defs/x", "description": "d"}), "$defs": {"x": thing(b=INT)}},
         {**closed(a={"$ref": "#/$defs/x"}), "$defs": {"x": closed(b=INT)}}),
        ({**thing("a", a=INT), "additionalProperties": True}, closed(a=INT)),
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
        INT,
        {"type": "array", "items": INT},
        {"type": "object"},
        {"type": "object", "additionalProperties": INT},
        thing(a={}),
        thing(a=True),
        thing("b", a=INT),
        thing(a={"oneOf": [INT]}),
        thing(a={"type": "object", "patternProperties": {"a": INT}}),
        thing("a", a={"type": ["object", "null"]}),
        {**thing("a", a={"$ref": "#/$defs/x", "minimum": 3}), "$defs": {"x": INT}},
        {**thing("v", v=INT, next={"$ref": "#"}), "$defs": {}},
        {**thing("v", v=INT, next=thing("x", x={"$ref": "#"}))},
    ],
)
def test_what_has_no_strict_copy_is_sent_as_it_is(schema):
    assert strict(schema) == (schema, False)


def test_what_fits_the_copy_fits_the_schema():
    schema = thing("a", a=INT, b={"anyOf": [INT, {"type": "null"}]}, c=thing(d=INT))
    sent, _ = strict(schema)
    value = {"a": 1, "b": None, "c": {"d": 1}}
    jsonschema.validate(value, sent)
    jsonschema.validate(value, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"a": 1}, sent)

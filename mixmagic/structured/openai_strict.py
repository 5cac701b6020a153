"""A JSON Schema as OpenAI's strict mode takes it: a copy, for sending alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# All that strict mode knows: with anything else, a schema is sent as it is.
_KNOWN = frozenset({
    "$defs", "$ref", "additionalProperties", "anyOf", "const", "definitions", "description", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maximum", "minItems",
    "minimum", "multipleOf", "pattern", "properties", "required", "title", "type",
})  # fmt: skip
_FORMATS = frozenset({
    "date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid",
})  # fmt: skip
# What says something about a value, and nothing about what it may be; the second are left out.
_WORDS = frozenset({"title", "description"})
_LEFT_OUT = frozenset({
    "$comment", "$schema", "default", "deprecated", "examples", "readOnly", "writeOnly",
})  # fmt: skip
# How deep objects may be nested, and how many properties and values of enums there may be.
_DEEPEST, _MOST_PROPERTIES, _MOST_VALUES = 10, 5000, 1000
# A pattern that looks around is not compiled there.
_LOOKS_AROUND = ("(?=", "(?!", "(?<")
# One of these says what a value may be; without any it may be anything.
_KINDS = frozenset({"type", "anyOf", "enum", "const"})


class _NotStrictError(Exception):
    """There is no strict schema that is as good."""


def response_format(schema: Mapping[str, Any], name: str = "answer") -> dict[str, Any]:
    """What asks a provider for an answer of a form, as OpenAI, Together and llama.cpp take it.

    Where a copy of the schema can be made that keeps to OpenAI's strict rules, that copy is sent.

    Args:
        schema: A JSON Schema.
        name: What the provider is to call it: letters, digits, `_` and `-`, 64 at the most.

    Example:
        >>> response_format({"type": "integer"})["json_schema"]["strict"]
        False
    """
    sent, is_strict = strict(schema)
    named = {"name": name, "schema": sent, "strict": is_strict}
    return {"type": "json_schema", "json_schema": named}


def strict(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """A schema to send, and whether it keeps to OpenAI's strict rules.

    Strict are objects all of whose properties are required, and no others allowed. Every value of
    the strict copy fits the schema itself too. Where it loses what the schema says, or would make
    up what may be left out (a property that is neither required nor may be null), the schema is
    sent as it is. Its root may be anything: a backend wraps it where only objects are taken.

    Args:
        schema: A JSON Schema.

    Returns:
        The copy, and whether it is strict.

    Example:
        >>> strict({"type": "object", "properties": {"a": {"type": "integer"}}})[1]
        False
    """
    try:
        copy = _copied(dict(schema))
        if _depth(copy) > _DEEPEST or any(
            sum(map(len, _all(copy, name))) > most
            for name, most in (("properties", _MOST_PROPERTIES), ("enum", _MOST_VALUES))
        ):
            raise _NotStrictError
    except _NotStrictError:
        return dict(schema), False
    return copy, True


def _copied(schema: Any) -> Any:
    """A strict copy of a part of a schema."""
    if not isinstance(schema, dict):
        raise _NotStrictError
    copy = {key: value for key, value in schema.items() if key not in _LEFT_OUT}
    if copy.keys() - _KNOWN or copy.get("format", "date") not in _FORMATS:
        raise _NotStrictError
    if any(each in copy.get("pattern", "") for each in _LOOKS_AROUND):
        raise _NotStrictError
    if "$ref" in copy:
        if copy.keys() - _WORDS - {"$ref", "$defs", "definitions"}:
            raise _NotStrictError
        return {"$ref": copy["$ref"], **_definitions(copy)}
    if not _KINDS & copy.keys() or ("array" in _types(copy) and "items" not in copy):
        raise _NotStrictError
    if "anyOf" in copy:
        copy["anyOf"] = [_copied(each) for each in copy["anyOf"]]
    if "items" in copy:
        copy["items"] = _copied(copy["items"])
    if "properties" in copy or "object" in _types(copy):
        copy |= _object(copy)
    return copy | _definitions(copy)


def _definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The strict copies of what a schema defines."""
    return {
        key: {name: _copied(each) for name, each in schema[key].items()}
        for key in ("$defs", "definitions")
        if key in schema
    }


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    """What an object's schema has to say to be strict."""
    properties = schema.get("properties", {})
    if not properties or schema.get("additionalProperties", False) not in (False, True):
        raise _NotStrictError  # a dict of any keys
    required = schema.get("required", [])
    if set(required) - properties.keys():
        raise _NotStrictError
    copies = {name: _copied(each) for name, each in properties.items()}
    if not all(name in required or _may_be_null(each) for name, each in copies.items()):
        raise _NotStrictError
    return {"properties": copies, "required": list(properties), "additionalProperties": False}


def _all(schema: Any, name: str) -> Iterator[Any]:
    """Yield the values of a keyword in a strict copy."""
    for each in _inner(schema):
        yield from _all(each, name)
    if name in schema:
        yield schema[name]


def _depth(schema: Any) -> int:
    """How many objects and arrays of a strict copy are nested in one another."""
    deepest = max(map(_depth, _inner(schema)), default=0)
    return deepest + ("properties" in schema or "items" in schema)


def _inner(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the schemas that stand in a strict copy."""
    for name in ("properties", "$defs", "definitions"):
        yield from schema.get(name, {}).values()
    yield from schema.get("anyOf", ())
    if "items" in schema:
        yield schema["items"]


def _may_be_null(schema: Mapping[str, Any]) -> bool:
    """Whether null is a value of a strict copy; of what is defined elsewhere it is not known."""
    if "$ref" in schema or "null" not in _types(schema):
        return False
    values = schema.get("enum", [schema.get("const")])
    return None in values and ("anyOf" not in schema or any(map(_may_be_null, schema["anyOf"])))


def _types(schema: Mapping[str, Any]) -> list[str]:
    """The types that a schema allows; `null` where it does not speak of types."""
    kinds = schema.get("type", "null")
    return kinds if isinstance(kinds, list) else [kinds]

"""Convert JSON Schemas to the subset that OpenAI's strict mode accepts, for sending only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Keywords of strict mode: a schema with any others is sent unchanged.
_KNOWN = frozenset({
    "$defs", "$ref", "additionalProperties", "anyOf", "const", "definitions", "description", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maximum", "minItems",
    "minimum", "multipleOf", "pattern", "properties", "required", "title", "type",
})  # fmt: skip
_FORMATS = frozenset({
    "date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid",
})  # fmt: skip
# Annotations: those that strict mode accepts, and those that are left out.
_ANNOTATIONS = frozenset({"title", "description"})
_LEFT_OUT = frozenset({
    "$comment", "$schema", "default", "deprecated", "examples", "readOnly", "writeOnly",
})  # fmt: skip
# Limits of strict mode: nesting, properties, enum values.
_DEEPEST, _MOST_PROPERTIES, _MOST_VALUES = 10, 5000, 1000
# Strict mode does not support lookaround in patterns.
_LOOKAROUND = ("(?=", "(?!", "(?<")
# Without any of these, a schema allows any value.
_CONSTRAINTS = frozenset({"type", "anyOf", "enum", "const"})


class _NotStrictError(Exception):
    """The schema has no equivalent in strict mode."""


def response_format(schema: Mapping[str, Any], name: str = "answer") -> dict[str, Any]:
    """Return the `response_format` parameter, as OpenAI, Together and llama.cpp accept it.

    It has a strict copy of the schema if there is one.

    Args:
        schema: A JSON Schema.
        name: The provider's name for it: letters, digits, `_` and `-`, at most 64.

    Example:
        >>> response_format({"type": "integer"})["json_schema"]["strict"]
        False
    """
    sent, is_strict = strict(schema)
    named = {"name": name, "schema": sent, "strict": is_strict}
    return {"type": "json_schema", "json_schema": named}


def strict(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return a schema to send, and True if it follows OpenAI's strict rules.

    In a strict schema all properties of an object are required, and no others are allowed. Every
    value that is valid for the copy is valid for the schema. If the copy would lose a constraint,
    or require a property that is optional and cannot be null, the schema is sent unchanged. The
    root can have any type: a backend wraps it for providers that accept only objects.

    Returns:
        The copy, and True if it is strict.

    Example:
        >>> strict({"type": "object", "properties": {"a": {"type": "integer"}}})[1]
        False
    """
    try:
        copy = _copy(dict(schema))
        if _depth(copy) > _DEEPEST or any(
            sum(map(len, _values(copy, name))) > most
            for name, most in (("properties", _MOST_PROPERTIES), ("enum", _MOST_VALUES))
        ):
            raise _NotStrictError
    except _NotStrictError:
        return dict(schema), False
    return copy, True


def _copy(schema: Any) -> Any:
    """Return a strict copy of a part of a schema."""
    if not isinstance(schema, dict):
        raise _NotStrictError
    copy = {key: value for key, value in schema.items() if key not in _LEFT_OUT}
    if copy.keys() - _KNOWN or copy.get("format", "date") not in _FORMATS:
        raise _NotStrictError
    if any(sign in copy.get("pattern", "") for sign in _LOOKAROUND):
        raise _NotStrictError
    if "$ref" in copy:
        if copy.keys() - _ANNOTATIONS - {"$ref", "$defs", "definitions"}:
            raise _NotStrictError
        return {"$ref": copy["$ref"], **_definitions(copy)}
    if not _CONSTRAINTS & copy.keys() or ("array" in _types(copy) and "items" not in copy):
        raise _NotStrictError
    if "anyOf" in copy:
        copy["anyOf"] = [_copy(part) for part in copy["anyOf"]]
    if "items" in copy:
        copy["items"] = _copy(copy["items"])
    if "properties" in copy or "object" in _types(copy):
        copy |= _object_keywords(copy)
    return copy | _definitions(copy)


def _definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return strict copies of a schema's definitions."""
    return {
        key: {name: _copy(part) for name, part in schema[key].items()}
        for key in ("$defs", "definitions")
        if key in schema
    }


def _object_keywords(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords that make an object's schema strict."""
    properties = schema.get("properties", {})
    if not properties or schema.get("additionalProperties", False) not in (False, True):
        raise _NotStrictError  # a dict with any keys
    required = schema.get("required", [])
    if set(required) - properties.keys():
        raise _NotStrictError
    copies = {name: _copy(part) for name, part in properties.items()}
    if not all(name in required or _allows_null(part) for name, part in copies.items()):
        raise _NotStrictError
    return {"properties": copies, "required": list(properties), "additionalProperties": False}


def _values(schema: Any, name: str) -> Iterator[Any]:
    """Yield all values of a keyword in a strict copy."""
    for part in _subschemas(schema):
        yield from _values(part, name)
    if name in schema:
        yield schema[name]


def _depth(schema: Any) -> int:
    """Return the nesting depth of objects and arrays in a strict copy."""
    deepest = max(map(_depth, _subschemas(schema)), default=0)
    return deepest + ("properties" in schema or "items" in schema)


def _subschemas(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the schemas directly inside of a strict copy."""
    for name in ("properties", "$defs", "definitions"):
        yield from schema.get(name, {}).values()
    yield from schema.get("anyOf", ())
    if "items" in schema:
        yield schema["items"]


def _allows_null(schema: Mapping[str, Any]) -> bool:
    """Return True if a strict copy allows null; False if it refers to a definition."""
    if "$ref" in schema or "null" not in _types(schema):
        return False
    values = schema.get("enum", [schema.get("const")])
    return None in values and ("anyOf" not in schema or any(map(_allows_null, schema["anyOf"])))


def _types(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that a schema allows; `null` if it has no `type`."""
    types = schema.get("type", "null")
    return types if isinstance(types, list) else [types]

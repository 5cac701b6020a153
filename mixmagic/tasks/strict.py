"""A JSON Schema as OpenAI's strict mode takes it: a copy, for sending alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What strict mode does not know: with one of these, a schema is sent as it is.
_FOREIGN = frozenset({
    "allOf", "contains", "dependentRequired", "dependentSchemas", "else", "if", "not", "oneOf",
    "patternProperties", "prefixItems", "propertyNames", "then", "unevaluatedItems",
    "unevaluatedProperties", "uniqueItems",
})  # fmt: skip
# What says something about a value, and nothing about what it may be.
_WORDS = ("title", "description", "default", "examples")


class _NotStrictError(Exception):
    """There is no strict schema that is as good."""


def strict(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """A schema to send, and whether it keeps to OpenAI's strict rules.

    Strict are objects all of whose properties are required, and no others allowed. Every value of
    the strict copy fits the schema itself too. Where it would have no finite values, or loses what
    the schema says, the schema is sent as it is.

    Args:
        schema: A JSON Schema.

    Returns:
        The copy, and whether it is strict.

    Example:
        >>> strict({"type": "object", "properties": {"a": {"type": "integer"}}})[0]["required"]
        ['a']
    """
    try:
        copy = _copied(dict(schema))
        if copy.get("type") != "object":
            raise _NotStrictError
    except _NotStrictError:
        return dict(schema), False
    return copy, True


def _copied(schema: Any) -> Any:
    """A strict copy of a part of a schema."""
    if not isinstance(schema, dict) or not schema or _FOREIGN & schema.keys():
        raise _NotStrictError  # true, false or {}: anything
    if "$ref" in schema:
        if schema.keys() - {"$ref", *_WORDS, "$defs"}:
            raise _NotStrictError
        return {"$ref": schema["$ref"], **_definitions(schema)}
    copy = {key: value for key, value in schema.items() if key not in ("default", "examples")}
    if "anyOf" in copy:
        copy["anyOf"] = [_copied(each) for each in copy["anyOf"]]
    if "items" in copy:
        copy["items"] = _copied(copy["items"])
    kinds = copy.get("type")
    if "properties" in copy or "object" in (kinds if isinstance(kinds, list) else [kinds]):
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
    for name, each in properties.items():
        # An optional one that leads back to itself would, if required, never end.
        if name not in required and isinstance(each, dict) and _leads_on(each):
            raise _NotStrictError
    return {
        "properties": {name: _copied(each) for name, each in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


def _leads_on(schema: dict[str, Any]) -> bool:
    """Whether every value of a schema may have to hold another one that is defined elsewhere."""
    if "anyOf" in schema:
        return all(isinstance(each, dict) and _leads_on(each) for each in schema["anyOf"])
    inner = schema.get("properties", {}).values()
    return "$ref" in schema or any(isinstance(each, dict) and _leads_on(each) for each in inner)

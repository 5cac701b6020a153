"""Schemas of answers: from dicts and types, as sent to providers, and validating values."""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from mixmagic.core.extras import install
from mixmagic.core.params import is_json
from mixmagic.errors import AnswerUnusable, BadArguments, MissingPackage, one_line
from mixmagic.structured.openai_strict import response_format

# Number of validation errors in a message, and the length of each.
_MOST, _LONGEST = 4, 140
_REFUSED = "Its text is kept. Ask again in other words, or with a looser schema."
_ACCEPTED = "Use a JSON Schema (a dict), a pydantic model, a dataclass or a TypedDict."
_IMPORT = "Run `from typing_extensions import TypedDict` and define the type again."
# A dict without any of these is an example of an answer rather than a schema.
_KEYWORDS = frozenset({
    "$ref", "$dynamicRef", "allOf", "anyOf", "const", "contains", "dependentRequired", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "if", "items", "maxItems", "maxLength", "maximum",
    "minItems", "minLength", "minimum", "multipleOf", "not", "oneOf", "pattern",
    "patternProperties", "prefixItems", "properties", "propertyNames", "required", "type",
    "uniqueItems", "additionalProperties",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of an answer.

    Attributes:
        name: The user's name for it.
        json: The JSON Schema (2020-12, unless it names another dialect).
        instance: Returns an instance for a parsed JSON value, in which a number that a float would
            round may be a `Decimal`; raises `AnswerUnusable` with the path of an invalid value.
    """

    name: str
    json: Mapping[str, Any]
    instance: Callable[[Any], Any]

    @classmethod
    def of(cls, source: Any, name: str) -> Schema:
        """Return the schema for an object of the notebook.

        Args:
            source: A JSON Schema as a dict, a pydantic model, a dataclass, a `TypedDict`, or a
                type built from these, such as `list[Person]`.
            name: The user's name for it.

        Raises:
            BadArguments: It is none of these, or one of its references cannot be resolved.
            MissingPackage: jsonschema or pydantic is not installed.

        Example:
            >>> Schema.of({"type": "integer"}, "age").instance(31)
            31
        """
        if isinstance(source, dict):
            return _of_dict(source, name)
        if not isinstance(source, type) and typing.get_origin(source) is None:
            is_instance = dataclasses.is_dataclass(source) or hasattr(source, "model_fields_set")
            hint = f"Use its class: --schema {type(source).__name__}." if is_instance else _ACCEPTED
            found = "None" if source is None else f"of type {type(source).__name__}"
            raise BadArguments(f"{name} is {found}, which is not a schema.", hint)
        return _of_type(source, name)

    def response_format(self) -> dict[str, Any]:
        """Return the request parameter for it: see `openai_strict.response_format`."""
        # Providers allow no other characters in a name.
        return response_format(
            self.json, re.sub(r"[^A-Za-z0-9_-]", "_", self.name)[:64] or "answer"
        )


def _missing_package(feature: str, package: str) -> MissingPackage:
    return MissingPackage(
        f"{feature} needs {package}, which is not installed.",
        f"Run {install('schema')}.",
    )


def _of_dict(source: dict[str, Any], name: str) -> Schema:
    """Return the schema for a dict."""
    try:
        import jsonschema  # type: ignore[import-untyped]  # has no types
        from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # has no types
        from referencing.exceptions import Unresolvable
    except ImportError:
        raise _missing_package("A JSON Schema", "jsonschema") from None
    if not is_json(source):
        raise BadArguments(
            f"{name} is not JSON: it has keys or values that JSON cannot represent.", _ACCEPTED
        )
    if source and not _KEYWORDS & source.keys():
        raise BadArguments(
            f"{name} is a dict, but not a JSON Schema: it has neither `type` nor `properties`.",
            'A schema looks like {"type": "object", "properties": {"age": {"type": "integer"}}}.',
        )
    kind: Any = jsonschema.validators.validator_for(source, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(source)
    except jsonschema.SchemaError as error:
        problem = f"{error.json_path}: {one_line(error.message, _LONGEST)}"
        raise BadArguments(
            f"{name} is not a valid JSON Schema: {problem}.",
            "Fix the schema there.",
        ) from None
    _check_references(source, name, kind, REGISTRY)
    # With this registry it never fetches a reference over the network.
    validator = kind(source, registry=REGISTRY)

    def instance(value: Any) -> Any:
        value = json.loads(json.dumps(value, default=float))
        try:
            errors = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
        except RecursionError:
            raise AnswerUnusable(
                f"{name} refers to itself endlessly.", "Fix the schema; the text is kept."
            ) from None
        except Unresolvable as error:  # relative to an `$id` inside of the schema
            raise AnswerUnusable(
                f"{name} has a reference that is not in it: {one_line(error, _LONGEST)}.",
                "Put it into the schema, under `$defs`; the text is kept.",
            ) from None
        if errors:
            _refuse(name, [(error.json_path, error.message) for error in errors])
        return value

    return Schema(name, json.loads(json.dumps(source)), instance)


def _check_references(source: dict[str, Any], name: str, kind: Any, registry: Any) -> None:
    """Raise `BadArguments` for an unresolvable reference, before anything is paid for."""
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, specification_with

    dialect = specification_with(kind.META_SCHEMA["$schema"], default=DRAFT202012)
    resolver = registry.resolver_with_root(dialect.create_resource(source))
    for reference in _references(source):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise BadArguments(
                f"{name} refers to {one_line(reference, 80)}, which is not in it.",
                "Put it into the schema, under `$defs`; nothing is fetched.",
            ) from None


def _references(schema: Any) -> Iterator[str]:
    """Yield the references in a schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _of_type(source: Any, name: str) -> Schema:
    """Return the schema for a type."""
    try:
        import pydantic
    except ImportError:
        raise _missing_package("A schema made of a type", "pydantic") from None
    try:
        adapter: Any = pydantic.TypeAdapter(_modern(source, {}))
        adapter.rebuild(raise_errors=True)
        json_schema = adapter.json_schema()
        decimals = "'type': 'decimal'" in str(adapter.core_schema)
    except NameError as error:  # or pydantic's subclass of it
        raise BadArguments(
            f"{name} refers to {error.name}, which is not defined.", f"Define {error.name} first."
        ) from None
    except (pydantic.errors.PydanticUserError, TypeError) as error:
        reason = one_line(str(error).partition("\n")[0], _LONGEST)
        is_old = getattr(error, "code", None) == "typed-dict-version"
        hint = _IMPORT if is_old else _ACCEPTED
        raise BadArguments(f"{name} is not a schema: {reason}", hint) from None

    def instance(value: Any) -> Any:
        exact: list[Decimal] = []

        def rounded(number: Decimal) -> float:
            exact.append(number)
            return float(number)

        try:
            # From JSON, where dates are strings and tuples are lists, whatever the model's config.
            result = adapter.validate_json(json.dumps(value, default=rounded))
            return _with_all_digits(adapter, value, result) if exact and decimals else result
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            _refuse(name, [(_json_path(problem["loc"]), problem["msg"]) for problem in found])
        except Exception as error:  # noqa: BLE001  # the user's class may raise anything
            _refuse(name, [("$", f"{type(error).__name__}: {error}")])

    return Schema(name, json_schema, instance)


def _with_all_digits(adapter: Any, value: Any, result: Any) -> Any:
    """Return the result with all digits of its Decimals: pydantic reads JSON numbers as floats."""
    try:
        return adapter.validate_python(value, strict=False)
    except (TypeError, ValueError):  # the user's validators expect floats
        return result


def _json_path(location: tuple[int | str, ...]) -> str:
    """Return a path in a JSON value, such as `$.people[0].age`."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)


def _refuse(name: str, problems: list[tuple[str, str]]) -> NoReturn:
    """Raise an error about invalid values, given their paths and messages."""
    listed = [f"{path}: {_shortened(message)}" for path, message in problems[:_MOST]]
    if len(problems) > _MOST:
        listed.append(f"and {len(problems) - _MOST} more")
    raise AnswerUnusable(f"The answer does not match {name}: {'; '.join(listed)}.", _REFUSED)


def _shortened(message: str) -> str:
    """Cut the middle of a message: a long value may stand at either end of it."""
    message = one_line(message, sys.maxsize)
    half = _LONGEST // 2
    return message if len(message) <= _LONGEST else f"{message[:half]}…{message[-half:]}"


def _modern(source: Any, known: dict[Any, Any]) -> Any:
    """Return a type with `TypedDict`s that pydantic accepts on Python 3.11.

    There, those of `typing` do not tell which keys are required.
    """
    if sys.version_info >= (3, 12):
        return source
    if source in known:
        return known[source]
    if typing.is_typeddict(source) and type(source).__module__ == "typing":
        from typing_extensions import TypedDict  # a dependency of pydantic

        known[source] = source  # a recursive type stays as it is
        keys: dict[str, Any] = {}
        for key, hint in typing.get_type_hints(source, include_extras=True).items():
            marker = typing.Required if key in source.__required_keys__ else typing.NotRequired
            # With string annotations, `__required_keys__` is wrong.
            if (own := typing.get_origin(hint)) in (typing.Required, typing.NotRequired):
                marker, (hint,) = own, typing.get_args(hint)  # noqa: PLW2901
            keys[key] = marker[_modern(hint, known)]
        known[source] = TypedDict(source.__name__, keys)  # type: ignore[operator]
        known[source].__doc__ = source.__doc__
        return known[source]
    origin, args = typing.get_origin(source), typing.get_args(source)
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, (_modern(arg, known) for arg in args))
    if origin in (list, dict, tuple, set, frozenset):
        return origin[tuple(_modern(arg, known) for arg in args)]
    return source

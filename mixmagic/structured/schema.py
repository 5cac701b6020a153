"""Where a schema comes from, what is sent of it, and what it makes of a JSON value."""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from mixmagic.core.params import is_json
from mixmagic.errors import AnswerUnusable, BadArguments, MissingPackage, one_line
from mixmagic.structured.openai_strict import response_format

# How many complaints are told, and how long each may be.
_MOST, _LONGEST = 4, 140
_REFUSED = "Its text is kept: ask again, in other words, or with a looser schema."
_TAKES = "It takes a JSON Schema (a dict), a pydantic model, a dataclass or a TypedDict."
_IMPORT = "Run `from typing_extensions import TypedDict`, then define it and what uses it again."
# A dict without any of these is an example of what is wanted rather than its schema.
_KEYWORDS = frozenset({
    "$ref", "$dynamicRef", "allOf", "anyOf", "const", "contains", "dependentRequired", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "if", "items", "maxItems", "maxLength", "maximum",
    "minItems", "minLength", "minimum", "multipleOf", "not", "oneOf", "pattern",
    "patternProperties", "prefixItems", "properties", "propertyNames", "required", "type",
    "uniqueItems", "additionalProperties",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schema:
    """What an answer is to be.

    Attributes:
        name: What the user calls it.
        json: It as a JSON Schema (2020-12, unless it names another one).
        instance: Makes an instance of a parsed JSON value, in which a number may be a `Decimal`
            where a float would lose digits; raises `AnswerUnusable` where the value does not fit,
            and says where.
    """

    name: str
    json: Mapping[str, Any]
    instance: Callable[[Any], Any]

    @classmethod
    def of(cls, source: Any, name: str) -> Schema:
        """The schema that an object of the notebook is.

        Args:
            source: A JSON Schema as a dict, a pydantic model, a dataclass, a `TypedDict`, or a
                type made of them, such as `list[Person]`.
            name: What the user calls it.

        Raises:
            BadArguments: It is none of these, or what it refers to cannot be found.
            MissingPackage: What reads it is not installed.

        Example:
            >>> Schema.of({"type": "integer"}, "age").instance(31)
            31
        """
        if isinstance(source, dict):
            return _of_dict(source, name)
        if not isinstance(source, type) and typing.get_origin(source) is None:
            made = dataclasses.is_dataclass(source) or hasattr(source, "model_fields_set")
            hint = f"Give its class: --schema {type(source).__name__}." if made else _TAKES
            raise BadArguments(f"{name} is {_kind(source)}, which is no schema.", hint)
        return _of_type(source, name)

    def response_format(self) -> dict[str, Any]:
        """What asks a provider for it: see `strict.response_format`."""
        return response_format(self.json, _letters(self.name))


def _kind(value: object) -> str:
    """What something is, for people."""
    return "None" if value is None else f"of type {type(value).__name__}"


def _letters(name: str) -> str:
    """A name as OpenAI allows it."""
    kept = "".join(
        sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in name
    )
    return kept[:64] or "answer"


def _missing(what: str, package: str) -> MissingPackage:
    return MissingPackage(
        f"{what} needs {package}, which is not installed.", 'Run `pip install "mixmagic[schema]"`.'
    )


def _of_dict(source: dict[str, Any], name: str) -> Schema:
    """The schema that a dict is."""
    try:
        import jsonschema  # type: ignore[import-untyped]  # has no types
        from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # nor this
    except ImportError:
        raise _missing("A JSON Schema", "jsonschema") from None
    if not is_json(source):
        raise BadArguments(f"{name} is no JSON: it has keys or values that JSON has not.", _TAKES)
    if source and not _KEYWORDS & source.keys():
        raise BadArguments(
            f"{name} is a dict, but no JSON Schema: it has neither `type` nor `properties`.",
            'A schema looks like {"type": "object", "properties": {"age": {"type": "integer"}}}.',
        )
    kind: Any = jsonschema.validators.validator_for(source, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(source)
    except jsonschema.SchemaError as error:
        raise BadArguments(
            f"{name} is no JSON Schema: {error.json_path}: {one_line(error.message, _LONGEST)}.",
            "Mend it there.",
        ) from None
    _check_references(source, name, kind, REGISTRY)
    # With a registry of its own it fetches nothing over the network.
    validator = kind(source, registry=REGISTRY)

    def instance(value: Any) -> Any:
        value = json.loads(json.dumps(value, default=float))
        try:
            errors = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
        except RecursionError:
            raise AnswerUnusable(
                f"{name} refers to itself without an end.", "Mend the schema; the text is kept."
            ) from None
        if errors:
            _refuse(name, [(error.json_path, error.message) for error in errors])
        return value

    return Schema(name, json.loads(json.dumps(source)), instance)


def _check_references(source: dict[str, Any], name: str, kind: Any, registry: Any) -> None:
    """Refuse a reference that leads nowhere, before anything is paid for.

    Raises:
        BadArguments: One does.
    """
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
    """The references within a schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _of_type(source: Any, name: str) -> Schema:
    """The schema that a type is."""
    try:
        import pydantic
    except ImportError:
        raise _missing("A schema made of a type", "pydantic") from None
    try:
        adapter: Any = pydantic.TypeAdapter(_modern(source, {}))
        adapter.rebuild(raise_errors=True)
        made = adapter.json_schema()
        decimals = "'type': 'decimal'" in str(adapter.core_schema)
    except NameError as error:  # pydantic's own is one too
        raise BadArguments(
            f"{name} refers to {error.name}, which is not defined.", f"Define {error.name} first."
        ) from None
    except (pydantic.errors.PydanticUserError, TypeError) as error:
        said = one_line(str(error).partition("\n")[0], _LONGEST)
        old = getattr(error, "code", None) == "typed-dict-version"
        raise BadArguments(f"{name} is no schema: {said}", _IMPORT if old else _TAKES) from None

    def instance(value: Any) -> Any:
        exact: list[Decimal] = []

        def rounded(number: Decimal) -> float:
            exact.append(number)
            return float(number)

        try:
            # From JSON, where dates are texts and tuples are lists, whatever the model's config.
            made = adapter.validate_json(json.dumps(value, default=rounded))
            return _exactly(adapter, value, made) if exact and decimals else made
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            _refuse(name, [(_path(each["loc"]), each["msg"]) for each in found])
        except Exception as error:  # noqa: BLE001  # the class is the user's own, the answer paid for
            _refuse(name, [("$", f"{type(error).__name__}: {error}")])

    return Schema(name, made, instance)


def _exactly(adapter: Any, value: Any, made: Any) -> Any:
    """`made`, with all digits of its Decimals: from JSON, numbers go through a float into them."""
    try:
        return adapter.validate_python(value, strict=False)
    except (TypeError, ValueError):  # validators of the user's, which know floats
        return made


def _path(place: tuple[int | str, ...]) -> str:
    """A place in a JSON value, as `$.people[0].age`."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)


def _refuse(name: str, complaints: list[tuple[str, str]]) -> NoReturn:
    """Raise what is wrong with a value, and where."""
    told = [f"{place}: {_short(said)}" for place, said in complaints[:_MOST]]
    if len(complaints) > _MOST:
        told.append(f"and {len(complaints) - _MOST} more")
    raise AnswerUnusable(f"The answer is no {name}: {'; '.join(told)}.", _REFUSED)


def _short(said: str) -> str:
    """A complaint without the middle of a long value, which may stand on either side of it."""
    said = one_line(said, sys.maxsize)
    half = _LONGEST // 2
    return said if len(said) <= _LONGEST else f"{said[:half]}…{said[-half:]}"


def _modern(source: Any, known: dict[Any, Any]) -> Any:
    """A type whose `TypedDict`s are such as pydantic takes before Python 3.12.

    Those of `typing` do not tell it there which keys are required.
    """
    if sys.version_info >= (3, 12):
        return source
    if source in known:
        return known[source]
    if typing.is_typeddict(source) and type(source).__module__ == "typing":
        from typing_extensions import TypedDict  # pydantic has it

        known[source] = source  # one that holds itself stays as it is
        keys: dict[str, Any] = {}
        for key, hint in typing.get_type_hints(source, include_extras=True).items():
            needed = typing.Required if key in source.__required_keys__ else typing.NotRequired
            # Where annotations are texts, its own list of them is not right.
            if (said := typing.get_origin(hint)) in (typing.Required, typing.NotRequired):
                needed, (hint,) = said, typing.get_args(hint)  # noqa: PLW2901
            keys[key] = needed[_modern(hint, known)]
        known[source] = TypedDict(source.__name__, keys)  # type: ignore[operator]
        known[source].__doc__ = source.__doc__
        return known[source]
    origin, args = typing.get_origin(source), typing.get_args(source)
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, (_modern(each, known) for each in args))
    if origin in (list, dict, tuple, set, frozenset):
        return origin[tuple(_modern(each, known) for each in args)]
    return source

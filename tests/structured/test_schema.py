"""Schemas of dicts and types, and the instances that they make of values."""

from __future__ import annotations

import dataclasses
import datetime
import sys
import typing
from decimal import Decimal
from typing import Any

import pydantic
import pytest
from server import whole
from typing_extensions import TypedDict

from mixmagic.errors import AnswerUnusable, BadArguments, MissingPackage
from mixmagic.structured.schema import Schema


class Address(typing.TypedDict):
    street: str
    number: typing.NotRequired[int]


class Person(typing.TypedDict, total=False):
    """A person."""

    name: typing.Required[str]
    homes: list[Address]
    work: Address | None


@dataclasses.dataclass
class Street:
    houses: list[Address]


class Node(TypedDict):
    value: int
    next: typing.NotRequired[Node]


@dataclasses.dataclass
class Book:
    title: str
    published: datetime.date
    pages: int = 0

    def __post_init__(self) -> None:
        if self.pages == 13:
            raise KeyError(self.pages)


class Shelf(pydantic.BaseModel):
    books: list[Book]
    place: tuple[int, int] = (0, 0)


class Unknown(pydantic.BaseModel):
    what: Nowhere  # noqa: F821  # what is tested


class Plain:
    pass


AGE = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
BOOK = {"title": "Emma", "published": "1815-12-23"}
EMMA = Book("Emma", datetime.date(1815, 12, 23))
LOOP = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}


def refused(source: Any) -> list[str]:
    with pytest.raises(BadArguments) as caught:
        Schema.of(source, "S")
    return [caught.value.message, caught.value.hint]


def problem(source: Any, value: Any) -> str:
    with pytest.raises(AnswerUnusable) as caught:
        Schema.of(source, "S").instance(value)
    return caught.value.message


@pytest.mark.parametrize(
    ("source", "value", "instance"),
    [
        (AGE, {"age": 31}, {"age": 31}),
        ({"type": "array", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": AGE}}, [], []),
        ({}, [1], [1]),
        (Book, BOOK, EMMA),
        (Shelf, {"books": [BOOK], "place": [1, 2]}, Shelf(books=[EMMA], place=(1, 2))),
        (list[Book], [BOOK], [EMMA]),
        (Person, {"name": "A"}, {"name": "A"}),
        (Person, {"name": "A", "homes": [{"street": "s"}], "work": None},
         {"name": "A", "homes": [{"street": "s"}], "work": None}),
        (Node, {"value": 1, "next": {"value": 2}}, {"value": 1, "next": {"value": 2}}),
    ],
)  # fmt: skip
def test_a_value_becomes_an_instance(source, value, instance):
    made = Schema.of(source, "S").instance(value)
    assert made == instance
    assert type(made) is type(instance)


@pytest.mark.parametrize(
    ("source", "value", "said"),
    [
        (
            AGE,
            {"age": "old"},
            "The answer does not match S: $.age: 'old' is not of type 'integer'.",
        ),
        (AGE, {}, "$: 'age' is a required property"),
        (AGE, 7, "$: 7 is not of type 'object'"),
        ({"type": "array", "maxItems": 1, "items": AGE}, [{}, 3], "$[1]: 3 is not of type"),
        (Book, {"title": "E"}, "The answer does not match S: $.published: Field required."),
        (Shelf, {"books": [{**BOOK, "pages": "x"}]}, "$.books[0].pages: Input should be a valid"),
        (Person, {"homes": [{"number": 1}]}, "$.name: Field required; $.homes[0].street: Field"),
        (Book, {**BOOK, "pages": 13}, "$: KeyError: 13"),
        (LOOP, 1, "S refers to itself endlessly."),
    ],
)
def test_an_invalid_value_is_reported_with_its_path(source, value, said):
    assert said in problem(source, value)


class Item(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    price: Decimal
    weight: float
    sold: datetime.date


LONG = Decimal("12345678901234567890.12")


def test_a_decimal_keeps_its_digits():
    value = {"price": LONG, "weight": LONG, "sold": "2020-01-02"}
    made = Schema.of(Item, "S").instance(value)
    assert made == Item(price=LONG, weight=float(LONG), sold=datetime.date(2020, 1, 2))
    assert type(made.weight) is float
    assert "$.sold: Input" in problem(Item, {**value, "sold": "soon"})
    number = Schema.of({"type": "number", "multipleOf": 2.0}, "S").instance(LONG)
    assert (number, type(number)) == (float(LONG), float)


def test_numbers_of_many_digits_are_floats_without_a_decimal_type():
    class Doubled(pydantic.BaseModel):
        x: float
        more: dict[str, Any]

        @pydantic.field_validator("x", mode="before")
        @classmethod
        def doubled(cls, value: float) -> float:
            return value * 2.0

    made = Schema.of(Doubled, "S").instance({"x": LONG, "more": {"y": LONG}})
    assert made == Doubled.model_construct(x=2 * float(LONG), more={"y": float(LONG)})
    assert type(made.more["y"]) is float

    class Both(Doubled):
        price: Decimal

    both = Schema.of(Both, "S").instance({"x": LONG, "more": {}, "price": "1.5"})
    assert (both.x, both.price) == (2 * float(LONG), Decimal("1.5"))


def test_a_validation_error_is_short():
    said = problem(AGE, {"age": "x" * 5000})
    assert said.endswith("x' is not of type 'integer'.")
    assert len(said) < 300
    many = problem({"type": "array", "items": {"type": "null"}}, list(range(9)))
    assert many.count("is not of type 'null'") == 4
    assert many.endswith("; and 5 more.")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"age": "integer"}, "S is a dict, but not a JSON Schema"),
        ({"type": "objekt"}, "S is not a valid JSON Schema: $.type: 'objekt' is not valid"),
        ({"properties": {"a": {"pattern": "("}}}, "$.properties.a.pattern"),
        ({"type": {1}}, "S is not JSON"),
        ({"$ref": "#/$defs/a"}, "S refers to #/$defs/a, which is not in it."),
        ({"$ref": "http://127.0.0.1:9/a"}, "S refers to http://127.0.0.1:9/a"),
        (Unknown, "S refers to Nowhere, which is not defined."),
        (Plain, "S is not a schema: Unable to generate pydantic-core schema"),
        (7, "S is of type int, which is not a schema."),
        ("Book", "S is of type str, which is not a schema."),
        (None, "S is None, which is not a schema."),
        (EMMA, "S is of type Book, which is not a schema."),
    ],
)
def test_other_objects_are_refused_as_schemas(source, said):
    assert said in refused(source)[0]


def test_an_instance_is_refused_with_its_class_as_hint():
    assert refused(Shelf(books=[]))[1] == "Use its class: --schema Shelf."
    assert refused(EMMA)[1] == "Use its class: --schema Book."


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes typing's there")
def test_an_old_typed_dict_inside_another_type_is_refused_with_a_hint():
    said, hint = refused(Street)
    assert "S is not a schema: Please use `typing_extensions.TypedDict`" in said
    assert hint.startswith("Run `from typing_extensions import TypedDict`")
    names: dict[str, Any] = {}
    exec(f"{hint.split('`')[1]}\nclass Address(TypedDict):\n    street: str", names)
    new = dataclasses.make_dataclass("Street", [("houses", list[names["Address"]])])
    made = Schema.of(new, "S").instance({"houses": [{"street": "s"}]})
    assert made == new([{"street": "s"}])


@pytest.mark.parametrize(
    ("source", "package"), [(AGE, "jsonschema"), (Book, "pydantic"), (Person, "pydantic")]
)
def test_a_missing_package_is_named_before_a_call(source, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=package) as caught:
        Schema.of(source, "S")
    assert "[schema]" in caught.value.hint


def test_the_sent_name_is_valid_for_providers():
    sent = Schema.of(AGE, "größe[0]").response_format()
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == "gr__e_0_"
    assert sent["json_schema"]["strict"] is True


class Contact(typing.TypedDict):
    name: str
    phone: typing.NotRequired[str]


class Entry(pydantic.BaseModel):
    name: str
    phone: str | None = None


class Loose(pydantic.BaseModel):
    what: Any


@pytest.mark.parametrize(("source", "strict"), [(Contact, False), (Entry, True), (Loose, False)])
def test_optional_or_untyped_properties_are_not_strict(source, strict):
    sent = Schema.of(source, "S").response_format()["json_schema"]
    assert sent["strict"] == strict
    required = ["name", "phone"] if strict else Schema.of(source, "S").json["required"]
    assert sent["schema"]["required"] == required


def test_later_changes_do_not_affect_a_schema():
    source = {"type": "object", "properties": {"a": {"type": "integer"}}}
    schema = Schema.of(source, "S")
    source["properties"]["b"] = {}
    assert list(schema.json["properties"]) == ["a"]


def test_a_reference_is_never_fetched_even_relative_to_an_inner_id(server):
    """A check of the whole schema's references cannot see what an inner `$id` makes of them."""
    server.plan = [lambda _: whole("true")]
    inner = {"$id": f"{server.url}/inner", "$ref": "other"}
    schema = Schema.of({"$defs": {"a": {"$id": "other"}}, "properties": {"x": inner}}, "S")
    with pytest.raises(AnswerUnusable, match="S has a reference that is not in it"):
        schema.instance({"x": 1})
    assert not server.received

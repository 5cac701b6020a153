"""The columns of results, and their types in each library, by the schema of the answers."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from decimal import Decimal
from typing import Literal, TypedDict

import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest

from mixmagic.structured.schema import Schema
from mixmagic.tasks.bulk.forms import plain
from mixmagic.tasks.tables import table
from mixmagic.tasks.tables.columns import Columns

UTC = datetime.UTC


class Label(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Part(pydantic.BaseModel):
    page: int
    on: datetime.date


class Review(pydantic.BaseModel):
    label: Label
    stars: int
    share: float | None
    sure: bool
    why: str
    day: datetime.date
    at: datetime.datetime
    clock: datetime.time
    price: Decimal
    tags: list[str]
    parts: list[Part]
    anything: dict
    mode: Literal["a", "b"] | None = None


VALUE = {
    "label": "good", "stars": 5, "share": 1, "sure": True, "why": "it is", "day": "2026-11-30",
    "at": "2026-11-30T10:00:00+02:00", "clock": "10:30:00", "price": "1.50", "tags": ["x"],
    "parts": [{"page": 1, "on": "2026-01-02"}], "anything": {"a": [1]}, "mode": None,
}  # fmt: skip
KINDS = [
    "enum", "integer", "number", "boolean", "string", "date", "datetime", "time", "decimal",
    "list", "list", "any", "enum",
]  # fmt: skip


def of(source) -> Columns:
    return Columns.of(Schema.of(source, "it").json)


def kinds(source) -> list[str]:
    return [column.kind for column in of(source).columns]


def test_each_field_of_a_model_is_a_column_with_its_type():
    assert kinds(Review) == KINDS
    assert of(Review).columns[0].choices == ("good", "bad")
    schema = Schema.of(Review, "Review")
    assert plain(schema.instance(VALUE)) == {
        **VALUE,
        "share": 1.0,
        "at": "2026-11-30T10:00:00+02:00",
    }


def test_dataclasses_typed_dicts_and_schemas_have_the_same_columns():
    @dataclasses.dataclass
    class Data:
        label: Literal["good", "bad"]
        day: datetime.date | None

    class Typed(TypedDict):
        label: Literal["good", "bad"]
        day: datetime.date | None

    schema = {
        "type": "object",
        "properties": {"label": {"$ref": "#/$defs/a~1b"}, "day": {"$ref": "#/$defs/day"}},
        "$defs": {
            "a/b": {"enum": ["good", "bad", None]},
            "day": {"type": ["string", "null"], "format": "date"},
        },
    }
    assert of(Data).columns == of(Typed).columns == of(schema).columns
    value = Schema.of(Data, "Data").instance({"label": "good", "day": "2026-11-30"})
    assert plain(value) == {"label": "good", "day": "2026-11-30"}
    assert plain(Schema.of(list[Part], "parts").instance(VALUE["parts"])) == VALUE["parts"]


def test_answers_that_are_not_objects_are_one_column():
    assert [(c.name, c.kind) for c in of({"type": "integer"}).columns] == [("answer", "integer")]
    assert kinds({"enum": ["a", "b"]}) == ["enum"]
    assert kinds({"const": 3}) == ["integer"]
    assert kinds({"enum": [1, "a"]}) == ["any"]
    assert kinds(dict[str, int]) == ["any"]
    assert kinds(list[int]) == ["list"]
    assert not of(list[Part]).are_fields


def test_objects_of_several_types_have_the_fields_of_all():
    class Cat(pydantic.BaseModel):
        name: str
        lives: int

    class Dog(pydantic.BaseModel):
        name: str
        lives: str

    found = of(Cat | Dog)
    assert [(c.name, c.kind) for c in found.columns] == [("name", "string"), ("lives", "any")]


def test_a_schema_that_refers_to_itself_has_columns():
    class Tree(pydantic.BaseModel):
        name: str
        children: list[Tree] = []

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    assert kinds(Tree) == ["string", "any"]
    assert kinds({"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}}) == ["any"]


def test_columns_of_a_schema_that_branches_into_itself_are_found_at_once():
    children = {f"child{n}": {"type": ["object", "null"], "$ref": "#/$defs/node"} for n in range(9)}
    node = {"type": "object", "properties": {"name": {"type": "string"}, **children}}
    schema = {"$ref": "#/$defs/node", "$defs": {"node": node}}
    assert [column.kind for column in Columns.of(schema).columns] == ["string", *["any"] * 9]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": True, "b": False}, "type": "object"},
        {"properties": {"a": {"enum": [[1], {"b": 2}]}}, "type": "object"},
        {"properties": {"a": {"$ref": "#/nowhere"}, "b": {"$ref": "other.json"}}, "type": "object"},
        {"properties": {"a": {"type": "array", "items": False}}, "type": "object"},
        {"properties": {"a": {"type": "array", "prefixItems": [{}]}}, "type": "object"},
        {"properties": {"a": {"allOf": [{}, {}]}, "b": {"type": "null"}}, "type": "object"},
        {"properties": {"a": {"type": []}, "b": {"const": None}}, "type": "object"},
        {"anyOf": [{"type": "null"}]},
        {"not": {}},
    ],
)
def test_values_of_any_schema_have_columns(schema):
    columns = Columns.of(schema)
    value = {"a": [1, {"x": "y"}], "b": None} if columns.are_fields else [1]
    for frame in (pd.DataFrame({"i": [0]}), pl.DataFrame({"i": [0]}), pa.table({"i": [0]})):
        assert len(table(frame).result([value], columns)) == 1


def results(source, values):
    columns = of(source)
    frames = pd.DataFrame({"i": values}), pl.DataFrame({"i": [0] * len(values)})
    arrow = pa.table({"i": [0] * len(values)})
    return [table(each).result(values, columns) for each in (*frames, arrow)]


def test_cells_are_typed_in_each_library():
    pandas, polars, arrow = results(Review, [VALUE, None])
    assert pandas.dtypes.astype(str).to_dict() == {
        "label": "category", "stars": "Int64", "share": "Float64", "sure": "boolean",
        "why": "string", "day": "datetime64[us]", "at": "datetime64[us, UTC]", "clock": "object",
        "price": "object", "tags": "object", "parts": "object", "anything": "object",
        "mode": "category",
    }  # fmt: skip
    assert pandas.label.cat.categories.tolist() == ["good", "bad"]
    assert polars.schema == {
        "label": pl.Enum(["good", "bad"]), "stars": pl.Int64, "share": pl.Float64,
        "sure": pl.Boolean, "why": pl.String, "day": pl.Date, "at": pl.Datetime("us", "UTC"),
        "clock": pl.Time, "price": polars.schema["price"], "tags": pl.List(pl.String),
        "parts": pl.List(pl.Struct({"page": pl.Int64, "on": pl.String})), "anything": pl.String,
        "mode": pl.Enum(["a", "b"]),
    }  # fmt: skip
    assert polars.schema["price"].is_decimal()
    expected = {
        **VALUE, "share": 1.0, "day": datetime.date(2026, 11, 30),
        "at": datetime.datetime(2026, 11, 30, 8, tzinfo=UTC), "clock": datetime.time(10, 30),
        "price": Decimal("1.50"), "anything": '{"a": [1]}',
    }  # fmt: skip
    assert polars.to_dicts() == [expected, dict.fromkeys(VALUE)]
    assert arrow.to_pylist() == [expected, dict.fromkeys(VALUE)]
    assert pa.types.is_date32(arrow.schema.field("day").type)
    assert pandas.iloc[1].isna().all()


BIG = 2**63


@pytest.mark.parametrize("number", [BIG, -BIG - 1, 10**30, 10**60])
def test_integers_of_any_size_are_kept(number):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    pandas, polars, arrow = results(schema, [{"n": number}, {"n": 1}, None])
    assert pandas.n.tolist()[:2] == [number, 1]
    assert [int(cell) for cell in polars["n"].to_list()[:2]] == [number, 1]
    assert [int(cell) for cell in arrow["n"].to_pylist()[:2]] == [number, 1]
    assert pandas.n.isna()[2]
    assert polars["n"].to_list()[2] is arrow["n"].to_pylist()[2] is None


def test_times_without_a_zone_stay_so_unless_another_has_one():
    schema = {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}}
    naive = datetime.datetime.fromisoformat("2026-11-30T10:00:00")
    for found in results(schema, [{"at": "2026-11-30T10:00:00"}]):
        assert next(iter(found["at"])) in (naive, pa.scalar(naive))
    for found in results(schema, [{"at": "2026-11-30T10:00:00"}, {"at": "2026-11-30T10:00:00Z"}]):
        first, second = found["at"].to_pylist() if hasattr(found, "to_pylist") else found["at"]
        assert first == second == naive.replace(tzinfo=UTC)


@pytest.mark.parametrize("kind", ["date", "date-time", "time"])
@pytest.mark.parametrize("text", ["soon", "11/12/2026", "30.11.2026"])
def test_what_is_not_of_its_type_is_kept_as_it_is(kind, text):
    schema = {"type": "object", "properties": {"it": {"type": "string", "format": kind}}}
    pandas, polars, arrow = results(schema, [{"it": text}, None])
    assert pandas.it[0] == polars["it"][0] == arrow["it"][0].as_py() == text


def test_a_whole_number_with_a_point_is_an_integer():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    pandas, polars, arrow = results(schema, [{"n": 3.0}, {"n": 4}])
    assert (str(pandas.n.dtype), polars["n"].dtype) == ("Int64", pl.Int64)
    assert polars["n"].to_list() == arrow["n"].to_pylist() == [3, 4]


def test_half_of_a_surrogate_pair_breaks_no_table():
    pandas, polars, arrow = results(
        {"type": "object", "properties": {"it": {}}}, [{"it": "\ud83d"}]
    )
    assert pandas.it[0] in ("\ud83d", "?")
    assert polars["it"][0] == arrow["it"][0].as_py() == "?"

"""The columns of results: their names and types, by the JSON Schema of the answers.

A value is JSON; a cell is the value of Python that its column's type calls for.
"""

from __future__ import annotations

import datetime
import decimal
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mixmagic.calls import codec

# The name of the results of a prompt without a schema, or whose schema has no fields.
ANSWER = "answer"

Kind = Literal[
    "integer", "number", "boolean", "string", "enum", "date", "datetime", "time", "decimal",
    "list", "object", "any",
]  # fmt: skip
_OF_VALUES: Mapping[type, Kind] = {
    bool: "boolean", int: "integer", float: "number", str: "string",
}  # fmt: skip
_FORMATS: Mapping[Any, Kind] = {"date": "date", "date-time": "datetime", "time": "time"}
_TYPES: Mapping[str, Kind] = {
    "integer": "integer", "number": "number", "boolean": "boolean", "array": "list",
    "object": "object",
}  # fmt: skip
# References that are followed from one to the next, and levels of lists and objects with a type.
_LONGEST_WAY, _DEEPEST = 50, 8

_Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of results.

    Attributes:
        name: Its name.
        kind: The type of its cells; `any` for a mixture of types.
        choices: All texts that a cell can be, for an `enum`.
        inner: The items of a `list`, or the fields of an `object`.
    """

    name: str
    kind: Kind = "string"
    choices: tuple[str, ...] = ()
    inner: tuple[Column, ...] = ()

    @property
    def is_json(self) -> bool:
        """True if its cells are JSON values themselves."""
        return self.kind not in ("date", "datetime", "time", "decimal")

    def check(self, cells: Iterable[Any]) -> None:
        """Raise `ValueError` for a text among dates: libraries would guess if 11/12 is in November.

        A cell of another type is refused by the libraries themselves.
        """
        if not self.is_json and any(isinstance(cell, str) for cell in cells):
            raise ValueError

    def cells(self, values: Iterable[Any]) -> list[Any]:
        """Return the cells of JSON values; a value of another type stays as is.

        Example:
            >>> Column("day", "date").cells(["2026-11-30", None])
            [datetime.date(2026, 11, 30), None]
        """
        read = _READERS.get(self.kind)
        if read is None:
            return list(values)
        return [value if value is None else _read(read, value) for value in values]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that answers are split into.

    Attributes:
        columns: The columns, in order.
        are_fields: True if they are the fields of objects, False if the one is the whole answer.

    Example:
        >>> Columns.of({"type": "object", "properties": {"stars": {"type": "integer"}}}).columns
        (Column(name='stars', kind='integer', choices=(), inner=()),)
    """

    columns: tuple[Column, ...] = (Column(ANSWER),)
    are_fields: bool = False

    @classmethod
    def of(cls, schema: _Json | None) -> Columns:
        """Return the columns of answers that match a schema; of texts if there is none."""
        if schema is None:
            return cls()
        fields = _fields(schema, schema)
        if not fields:
            return cls((_column(ANSWER, schema, schema),))
        return cls(
            tuple(_column(name, _either(found), schema) for name, found in fields.items()), True
        )

    def parts(self, values: Sequence[Any]) -> Iterator[tuple[Column, Sequence[Any]]]:
        """Yield each column with its JSON values, given the answers of all rows."""
        for column in self.columns:
            if not self.are_fields:
                yield column, values
                continue
            objects = (value if isinstance(value, Mapping) else {} for value in values)
            yield column, [value.get(column.name) for value in objects]

    def split(self, values: Sequence[Any]) -> Iterator[tuple[Column, list[Any]]]:
        """Yield each column with its cells, given the answers of all rows."""
        return ((column, column.cells(parts)) for column, parts in self.parts(values))


def _fields(schema: Any, root: _Json) -> dict[str, list[Any]]:
    """Return the schemas of each field; none if some of the values are not objects."""
    fields: dict[str, list[Any]] = {}
    for each in _alternatives(schema, root):
        if _type(each) not in ("object", "") or not isinstance(each.get("properties"), dict):
            return {}
        for name, found in each["properties"].items():
            fields.setdefault(name, []).append(found)
    return fields


def _column(name: str, schema: Any, root: _Json, inside: frozenset[int] = frozenset()) -> Column:
    """Return the column of values that match a schema, which is inside of others."""
    alternatives = _alternatives(schema, root)
    kinds = [_kind(each) for each in alternatives]
    distinct = set(kinds)
    if len(alternatives) == 1 and kinds[0] in ("list", "object"):
        return _nested(name, alternatives[0], root, inside)
    if distinct == {"enum"}:
        each = (value for each in alternatives for value in _choices(each))
        return Column(name, "enum", tuple(dict.fromkeys(each)))
    if distinct == {"integer", "number"}:
        return Column(name, "number")
    if sorted(kinds) == ["number", "string"]:  # pydantic's schema of a Decimal
        return Column(name, "decimal")
    if distinct and distinct <= {"string", "enum"}:
        return Column(name, "string")
    return Column(name, kinds[0] if len(distinct) == 1 and not _is_nested(kinds[0]) else "any")


def _nested(name: str, schema: _Json, root: _Json, inside: frozenset[int]) -> Column:
    """Return the column of lists or objects: with the types inside, if all of them have one."""
    inner: list[Column] = []
    if id(schema) not in inside and len(inside) < _DEEPEST:  # it may refer to itself
        within = inside | {id(schema)}
        items, properties = schema.get("items"), schema.get("properties") or {}
        if _type(schema) == "array" and isinstance(items, dict):
            inner = [_column("item", items, root, within)]
        elif _type(schema) == "object":
            inner = [_column(key, found, root, within) for key, found in properties.items()]
    if not inner or any(each.kind == "any" for each in inner):
        return Column(name, "any")
    return Column(name, _kind(schema), inner=tuple(inner))


def _is_nested(kind: Kind) -> bool:
    return kind in ("list", "object")


def _kind(schema: _Json) -> Kind:
    """Return the kind of values that match a schema without alternatives."""
    if choices := _choices(schema):
        if all(isinstance(value, str) for value in choices):
            return "enum"
        kinds = {_OF_VALUES.get(type(value)) for value in choices}
        return kinds.pop() or "any" if len(kinds) == 1 else "any"
    if _type(schema) == "string":
        return _FORMATS.get(schema.get("format"), "string")
    return _TYPES.get(_type(schema), "any")


def _choices(schema: _Json) -> list[Any]:
    """Return the values that a schema lists, without null."""
    if "const" in schema:
        return [schema["const"]]
    choices = schema.get("enum")
    return [value for value in choices if value is not None] if isinstance(choices, list) else []


def _alternatives(schema: Any, root: _Json, depth: int = 0) -> list[_Json]:
    """Return the schemas that a value can match one of, without references and null."""
    if not isinstance(schema, dict) or depth > _LONGEST_WAY:
        return [{}]
    if isinstance(schema.get("$ref"), str):
        return _alternatives(_target(schema["$ref"], root), root, depth + 1)
    either = schema.get("anyOf") or schema.get("oneOf")
    if not either and len(schema.get("allOf", ())) == 1:
        either = schema["allOf"]
    if either:
        return [found for each in either for found in _alternatives(each, root, depth + 1)]
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return [{**schema, "type": kind} for kind in kinds if kind != "null"]
    return [] if kinds == "null" else [schema]


def _target(reference: str, root: Any) -> Any:
    """Return the schema that a reference points to; one that allows anything if it is not found."""
    pointer = urllib.parse.unquote(reference.removeprefix("#"))
    for step in pointer.split("/")[1:]:
        root = root.get(step.replace("~1", "/").replace("~0", "~")) if type(root) is dict else None
    return root if reference.startswith("#") else None


def _type(schema: _Json) -> str:
    kind = schema.get("type")
    return kind if isinstance(kind, str) else ""


def _either(schemas: Sequence[Any]) -> Any:
    """Return the schema of values that match one of some schemas."""
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _read(read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except (TypeError, ValueError, ArithmeticError):
        return value


_READERS: Mapping[Kind, Callable[[Any], Any]] = {
    # 3.0 is an integer in JSON Schema.
    "integer": lambda value: int(value) if type(value) is float and value.is_integer() else value,
    "number": lambda value: value if isinstance(value, str | bool) else float(value),
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "time": datetime.time.fromisoformat,
    "decimal": lambda value: decimal.Decimal(str(value)),
}


def in_utc(cells: Sequence[Any]) -> list[datetime.datetime] | None:
    """Return times in UTC if one of them has a zone; those without one are read as UTC.

    Returns:
        `None` if none of them has a zone.

    Raises:
        TypeError: One of them is not a time.
    """
    if not all(cell is None or isinstance(cell, datetime.datetime) for cell in cells):
        raise TypeError
    if all(cell is None or cell.tzinfo is None for cell in cells):
        return None
    utc = datetime.UTC
    return [
        cell and (cell.replace(tzinfo=utc) if cell.tzinfo is None else cell.astimezone(utc))
        for cell in cells
    ]


def as_text(cell: Any) -> str | None:
    """Return a cell as a text in UTF-8, JSON for a list or an object; `None` if it is missing.

    Example:
        >>> as_text([1, "é"])
        '[1, "é"]'
    """
    if cell is None:
        return None
    if isinstance(cell, list | tuple | dict | bool):
        cell = codec.dumps(cell)
    elif not isinstance(cell, str):
        cell = cell.isoformat() if hasattr(cell, "isoformat") else str(cell)
    try:
        cell.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return str(cell).encode("utf-8", "replace").decode()
    return str(cell)


def unique(names: Iterable[Any]) -> tuple[str, ...]:
    """Return a different text for each name; the levels of a tuple are joined.

    Example:
        >>> unique(["a", "a", 1, ("b", "x"), ""])
        ('a', 'a_2', '1', 'b_x', 'column_5')
    """
    found: dict[str, None] = {}
    for number, name in enumerate(names, 1):
        levels = name if isinstance(name, tuple) else (name,)
        base = "_".join(str(level) for level in levels if level is not None and level != "")
        other, count = base or f"column_{number}", 1
        while other in found:
            count += 1
            other = f"{base}_{count}"
        found[other] = None
    return tuple(found)

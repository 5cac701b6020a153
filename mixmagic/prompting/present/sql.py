"""Results of SQL: rows of sqlite3 and SQLAlchemy, jupysql's results, relations of DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mixmagic.errors import BadArguments
from mixmagic.prompting.present.data import rows_excerpts
from mixmagic.prompting.present.opaque import braces, is_a
from mixmagic.prompting.present.plain import plain_excerpts
from mixmagic.prompting.truncate import Excerpt

_CURSORS = (
    ("sqlite3", "Cursor"),
    ("sqlalchemy.engine", "Result"),
    ("sqlalchemy.engine", "MappingResult"),
    ("sqlalchemy.engine", "ScalarResult"),
)


def sql_excerpts(value: Any, name: str) -> Iterator[Excerpt] | None:
    """Return the excerpts of a result of SQL; `None` for other values.

    Raises:
        BadArguments: Reading the value would run a query, or use its rows up.
    """
    if any(is_a(value, *cursor) for cursor in _CURSORS):
        raise BadArguments(
            f"`{name}` is a cursor ({type(value).__name__}): reading its rows would use them up.",
            f"Write {braces(name, '{}.fetchall()')}, or keep the rows in a variable.",
        )
    if is_a(value, "duckdb", "DuckDBPyRelation"):
        columns = ", ".join(value.columns[:10])
        raise BadArguments(
            f"`{name}` is a relation of DuckDB ({columns}): a query that has not been run.",
            f"Write {braces(name, '{}.limit(20).df()')}, or {braces(name, '{}.df()')}.",
        )
    if is_a(value, "sql.run.resultset", "ResultSet"):
        rows = list(value)
        return rows_excerpts("SQL result", list(value.keys), [tuple(row) for row in rows])
    if (names := _columns(value)) is not None:
        if len(set(names)) < len(names):  # as of a join
            return rows_excerpts("SQL row", names, [tuple(value)])
        return plain_excerpts(dict(zip(names, value, strict=True)), name)
    names = _columns(value[0]) if isinstance(value, list) and value else None
    if names is not None and all(_columns(row) == names for row in value):
        return rows_excerpts("SQL rows", names, [tuple(row) for row in value])
    return None


def _columns(row: Any) -> list[str] | None:
    """Return the names of a row's columns; `None` for other values."""
    if is_a(row, "sqlite3", "Row"):
        return list(row.keys())
    if is_a(row, "sqlalchemy.engine", "Row"):
        return list(row._fields)
    return None

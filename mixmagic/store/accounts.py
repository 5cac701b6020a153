"""The ledger's rows and running totals, inside a transaction. For `store.ledger`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mixmagic.money import Counted
from mixmagic.store.budgets import Cap
from mixmagic.store.holds import Key

Status = Literal["ok", "stopped", "failed", "lost", "resolved"]

ROW = "SELECT * FROM calls WHERE id = ?"


class Ending(NamedTuple):
    """How a row is closed: its columns."""

    status: Status
    error: str | None = None
    cost_nanodollars: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    counted: Counted | None = None
    latency_ms: float | None = None
    first_token_ms: float | None = None


def spending(
    rows: Callable[[str, Sequence[object]], Iterable[sqlite3.Row]], caps: Sequence[Cap]
) -> list[tuple[int, int]]:
    """Nanodollars that are spent and held of what each cap limits; `rows` runs a query."""
    if not caps:
        return []
    query = " UNION ALL ".join(_SPENDING[cap.per] for cap in caps)
    return [tuple(row) for row in rows(query, [cap.key for cap in caps for _ in range(2)])]


_COLUMNS = ", ".join(f"{name} = ?" for name in Ending._fields)
_ENDING = f"UPDATE calls SET owner = NULL, {_COLUMNS} WHERE id = ?"  # noqa: S608  # names of ours
_SETTLED = f"{_ENDING} AND started_at = ? AND status = 'open'"


def insert(connection: sqlite3.Connection, row: Mapping[str, Any]) -> int:
    """Add a row; return its number."""
    cursor = connection.execute(
        f"INSERT INTO calls ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608  # names of ours
        tuple(row.values()),
    )
    return int(cursor.lastrowid or 0)


def settle(
    connection: sqlite3.Connection, key: Key, row: Mapping[str, Any], ending: Ending
) -> None:
    """Close the row of a call, or `row` in its place where the file has none: it is another one."""
    if connection.execute(_SETTLED, (*ending, *key[:2])).rowcount:
        connection.execute(_TOTALS, {"id": key.number, "sign": 1})
        return
    found = connection.execute(f"{ROW} AND started_at = ?", key[:2]).fetchone()
    if found is None:
        found = connection.execute(ROW, (insert(connection, row),)).fetchone()
    close(connection, found, ending)


def close(connection: sqlite3.Connection, row: sqlite3.Row, ending: Ending) -> None:
    """Close a row, whatever it is now: open, or closed in another way."""
    number = row["id"]
    if row["status"] != "open":
        connection.execute(_TOTALS, {"id": number, "sign": -1})
    connection.execute(_ENDING, (*ending, number))
    connection.execute(_TOTALS, {"id": number, "sign": 1})


# What is spent of a limit, and what is held of it.
_SPENT = "SELECT COALESCE(SUM(cost_nanodollars), 0) FROM"
_HELD = "SELECT COALESCE(SUM(held_nanodollars), 0) FROM calls WHERE status = 'open' AND"
_SPENDING = {
    per: f"SELECT ({_SPENT} {spent} = ?), ({_HELD} {column} = ?)"
    for per, column, spent in (
        ("session", "session", "totals WHERE session"),
        ("notebook", "notebook", "totals WHERE session = 'notebooks' AND day = '' AND notebook"),
        ("day", "day", "totals WHERE session = 'days' AND day"),
        ("month", "substr(day, 1, 7)", "totals WHERE session = 'months' AND day"),
        ("cell", "cell", "calls WHERE cell"),
    )
}
# The sums that a call belongs to: session, day, notebook, provider, model. See `store.schema`.
_SUMS = (
    "session, day, COALESCE(notebook, ''), provider, model",
    "'', day, '', provider, model",
    "'days', day, '', '', ''",
    "'months', substr(day, 1, 7), '', provider, model",
    "'notebooks', day, COALESCE(notebook, ''), provider, model",
    "'notebooks', '', COALESCE(notebook, ''), '', ''",
)
# A call's own row, added to them, or taken out of them.
_SUMMED = """SELECT {}, status, :sign,
    :sign * COALESCE(prompt_tokens, 0), :sign * COALESCE(cached_tokens, 0),
    :sign * COALESCE(completion_tokens, 0), :sign * COALESCE(cost_nanodollars, 0),
    :sign * COALESCE(MIN(cached_tokens, prompt_tokens)
        * (input_price_nanodollars - cached_price_nanodollars) / 1000000, 0),
    :sign * (cost_nanodollars IS NULL), :sign * COALESCE(counted != 'server', 0)
    FROM calls WHERE id = :id"""
_TOTALS = f"""INSERT INTO totals {" UNION ALL ".join(map(_SUMMED.format, _SUMS))}
    ON CONFLICT DO UPDATE SET calls = calls + excluded.calls,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    cost_nanodollars = cost_nanodollars + excluded.cost_nanodollars,
    saved_nanodollars = saved_nanodollars + excluded.saved_nanodollars,
    unpriced = unpriced + excluded.unpriced, estimated = estimated + excluded.estimated"""

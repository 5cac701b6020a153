"""The ledger's rows and running totals, inside a transaction. For `store.ledger`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from mixmagic.money import Counted, dollars
from mixmagic.store.budgets import Cap, Left

Status = Literal["ok", "stopped", "failed", "lost", "resolved"]

ROW = "SELECT * FROM calls WHERE id = ?"
SPENDING = "SELECT spent, held FROM spending WHERE scope = ?"


@dataclass(frozen=True, slots=True)
class Ending:
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


def left(rows: Sequence[sqlite3.Row], cap: Cap) -> Left:
    """What `cap` has left, by the rows of `SPENDING`."""
    spent, held = rows[0] if rows else (0, 0)
    return Left(cap, dollars(spent), dollars(held))


_COLUMNS = [each.name for each in fields(Ending)]
_ENDING = f"UPDATE calls SET owner = NULL, {', '.join(f'{n} = ?' for n in _COLUMNS)} WHERE id = ?"  # noqa: S608  # names of ours


def insert(connection: sqlite3.Connection, row: Mapping[str, Any]) -> int:
    """Add a row; return its number."""
    cursor = connection.execute(
        f"INSERT INTO calls ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608  # names of ours
        tuple(row.values()),
    )
    spend(connection, row, held=row["held_nanodollars"] or 0)
    return int(cursor.lastrowid or 0)


def close(connection: sqlite3.Connection, number: int, ending: Ending) -> None:
    """Close a row, whatever it was before: open, or closed in another way."""
    row = connection.execute(ROW, (number,)).fetchone()
    spent, held = ending.cost_nanodollars or 0, 0
    if row["status"] == "open":
        held = -(row["held_nanodollars"] or 0)
    else:
        spent -= row["cost_nanodollars"] or 0
        connection.execute(_TOTALS, {"id": number, "sign": -1})
    connection.execute(_ENDING, (*(getattr(ending, name) for name in _COLUMNS), number))
    spend(connection, row, spent, held)
    connection.execute(_TOTALS, {"id": number, "sign": 1})


def spend(
    connection: sqlite3.Connection,
    row: Mapping[str, Any] | sqlite3.Row,
    spent: int = 0,
    held: int = 0,
) -> None:
    """Add to what has been spent and is held in all scopes of a call."""
    if not (spent or held):
        return
    scopes = [f"session:{row['session']}", f"day:{row['day']}", f"month:{str(row['day'])[:7]}"]
    scopes += [f"{name}:{row[name]}" for name in ("notebook", "cell") if row[name] is not None]
    connection.executemany(
        "INSERT INTO spending (scope, spent, held) VALUES (?, ?, ?) ON CONFLICT (scope)"
        " DO UPDATE SET spent = spent + excluded.spent, held = held + excluded.held",
        [(scope, spent, held) for scope in scopes],
    )


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

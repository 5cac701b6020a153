"""The ledger's rows and running totals, inside a transaction. For the modules of this package."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mixmagic.calls.completion import Completion
from mixmagic.core.money import Counted, nano
from mixmagic.store.ledger.budgets import Limit
from mixmagic.store.ledger.reservations import Entry, encodable

Status = Literal["ok", "stopped", "failed", "lost", "resolved"]

ROW = "SELECT * FROM calls WHERE id = ?"

Query = Callable[[str, Sequence[object]], Iterable[sqlite3.Row]]


class Ending(NamedTuple):
    """Columns of a row when it is closed."""

    status: Status
    error: str | None = None
    cost_nanodollars: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    completion_tokens: int | None = None
    counted: Counted | None = None
    charge_nanodollars: int | None = None
    billed_tries: int = 0
    latency_ms: float | None = None
    first_token_ms: float | None = None


def ending(status: Status, completion: Completion, error: str | None) -> Ending:
    """Return how the row of a call is closed, by what the call came to and why it failed."""
    usage, cost, first = completion.usage, completion.cost, completion.ttft
    return Ending(
        status,
        None if error is None else encodable(error),
        None if cost is None else nano(cost),
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.completion_tokens,
        usage.counted,
        None if usage.charge is None else nano(usage.charge),
        completion.billed_tries,
        completion.elapsed * 1000,
        None if first is None else first * 1000,
    )


def spending(query: Query, limits: Sequence[Limit]) -> list[tuple[int, int]]:
    """Return the nanodollars that are spent, and reserved, of what each limit is for."""
    if not limits:
        return []
    values = [limit.key for limit in limits for _ in range(3)]
    return [tuple(row) for row in query(_spending(tuple(each.per for each in limits)), values)]


@functools.lru_cache(64)
def _spending(pers: tuple[str, ...]) -> str:
    """Return the query for what is spent, and reserved, of some periods."""
    return " UNION ALL ".join(map(_SPENDING.__getitem__, pers))


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


def settle(connection: sqlite3.Connection, entry: Entry, ending: Ending | None) -> int | None:
    """Close the row of a call, or erase it if `ending` is `None`: the call was never sent.

    Returns:
        The row's number. It is another one if the file is not the one that the call began in, or
        had no row of it.
    """
    key = (entry.number, entry.row["started_at"])
    if ending is not None and connection.execute(_SETTLED, (*ending, *key)).rowcount:
        connection.execute(_TOTALS, {"id": entry.number, "sign": 1})
        return entry.number
    found = connection.execute(f"{ROW} AND started_at = ?", key).fetchone()
    if ending is None:
        if found is not None:
            _take_out(connection, found)
            connection.execute("DELETE FROM calls WHERE id = ?", key[:1])
        return None
    if found is None:
        found = connection.execute(ROW, (insert(connection, entry.row),)).fetchone()
    if ending.status != "lost" or found["status"] == "open":  # whoever has closed it knows more
        close(connection, found, ending)
    return int(found["id"])


def close(connection: sqlite3.Connection, row: sqlite3.Row, ending: Ending) -> None:
    """Close a row, whatever it is now: open, or closed in another way."""
    _take_out(connection, row)
    connection.execute(_ENDING, (*ending, row["id"]))
    connection.execute(_TOTALS, {"id": row["id"], "sign": 1})


def _take_out(connection: sqlite3.Connection, row: sqlite3.Row) -> None:
    """Take a row out of the totals, if it is in them."""
    if row["status"] != "open":
        connection.execute(_TOTALS, {"id": row["id"], "sign": -1})


def move(connection: sqlite3.Connection, before: str, after: str) -> None:
    """Give the calls of a notebook another path, and add their sums to those that are there."""
    names = {"before": before, "after": after}
    connection.execute("UPDATE calls SET notebook = :after WHERE notebook = :before", names)
    connection.execute("UPDATE reservations SET notebook = :after WHERE notebook = :before", names)
    connection.execute(_MOVED, names)
    connection.execute("DELETE FROM totals WHERE notebook = :before", names)


# What is spent of a limit, and what is reserved of it: by calls, and for jobs.
_SPENT = "SELECT COALESCE(SUM(cost_nanodollars), 0) FROM"
_HELD = "SELECT COALESCE(SUM(held_nanodollars), 0) FROM"
_SPENDING: dict[str, str] = {
    per: f"SELECT ({_SPENT} {spent} = ?), ({_HELD} calls WHERE status = 'open' AND {column} = ?)"
    f" + ({_HELD} reservations WHERE {column} = ?)"
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
# A call's own row, added to them, or taken out of them. What the provider's cache has saved is
# what its tokens cost less, and what putting them there cost more.
_SUMMED = """SELECT {}, status, :sign,
    :sign * COALESCE(prompt_tokens, 0), :sign * COALESCE(cached_tokens, 0),
    :sign * COALESCE(completion_tokens, 0), :sign * COALESCE(cost_nanodollars, 0),
    :sign * (COALESCE(MIN(cached_tokens, prompt_tokens)
        * (input_price_nanodollars - cached_price_nanodollars) / 1000000, 0)
        + COALESCE(MIN(cache_write_tokens, prompt_tokens)
        * (input_price_nanodollars - cache_write_price_nanodollars) / 1000000, 0)),
    :sign * (cost_nanodollars IS NULL), :sign * COALESCE(counted != 'server', 0)
    FROM calls WHERE id = :id"""
_ADDED = """ON CONFLICT DO UPDATE SET calls = calls + excluded.calls,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    cost_nanodollars = cost_nanodollars + excluded.cost_nanodollars,
    saved_nanodollars = saved_nanodollars + excluded.saved_nanodollars,
    unpriced = unpriced + excluded.unpriced, estimated = estimated + excluded.estimated"""
_TOTALS = f"INSERT INTO totals {' UNION ALL '.join(map(_SUMMED.format, _SUMS))} {_ADDED}"
# The columns are named in their order: their names are those of `store.schema`.
_MOVED = f"""INSERT INTO totals
    SELECT session, day, :after, provider, model, status, calls, prompt_tokens, cached_tokens,
        completion_tokens, cost_nanodollars, saved_nanodollars, unpriced, estimated
    FROM totals WHERE notebook = :before
    {_ADDED}"""  # noqa: S608  # its words are ours

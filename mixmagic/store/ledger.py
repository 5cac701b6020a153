"""The spend record: one row for every call, whole, stopped or failed.

A row is opened before the call is sent and closed when it ends, so that the row of a killed
kernel stays behind as `open`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from mixmagic.completion import Completion
from mixmagic.store.db import Database
from mixmagic.values import Request

Status = Literal["open", "ok", "stopped", "failed"]

_NANO = 1_000_000_000

MIGRATIONS = (
    # Money in nanodollars, times in milliseconds. A cost of NULL is unknown, never 0.
    # The price is kept beside the cost, so that history stays when a price changes.
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        started_at REAL NOT NULL,
        session TEXT NOT NULL,
        notebook TEXT,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('open', 'ok', 'stopped', 'failed')),
        error TEXT,
        prompt_tokens INTEGER,
        completion_tokens INTEGER,
        estimated INTEGER NOT NULL DEFAULT 0,
        input_price_nanodollars INTEGER,
        output_price_nanodollars INTEGER,
        cost_nanodollars INTEGER,
        latency_ms REAL,
        first_token_ms REAL
    );
    CREATE INDEX calls_by_session ON calls (session);
    CREATE INDEX calls_by_time ON calls (started_at)
    """,
)


@dataclass(frozen=True, slots=True)
class Spent:
    """What one model, or all of them, has cost.

    Attributes:
        model: `provider:API-string`, or `total`.
        calls: Calls, of any status.
        stopped: Calls that the user stopped.
        failed: Calls that failed.
        prompt_tokens: Tokens in.
        completion_tokens: Tokens out.
        cost: US dollars of the calls whose price is known.
        unpriced: Calls that ended with tokens but without a known price.
        estimated: Calls whose tokens we counted, not the provider.
    """

    model: str
    calls: int
    stopped: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal
    unpriced: int
    estimated: int


class Ledger:
    """The calls of all sessions of this user, in `ledger.db`."""

    def __init__(self, data_dir: Path, session: str) -> None:
        self.database = Database(data_dir / "ledger.db", MIGRATIONS)
        self.session = session

    def open(self, request: Request, notebook: str | None) -> int:
        """Add a row for a call that is about to be sent; return its number.

        Raises:
            StoreError: The ledger cannot be written.
        """
        model = request.model
        prices = (model.price.input, model.price.output) if model.price else (None, None)
        with self.database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO calls (started_at, session, notebook, provider, model, status,"
                " input_price_nanodollars, output_price_nanodollars)"
                " VALUES (?, ?, ?, ?, ?, 'open', ?, ?)",
                (
                    time.time(),
                    self.session,
                    notebook,
                    model.provider.name,
                    model.id,
                    *(None if price is None else int(price * _NANO) for price in prices),
                ),
            )
            return int(cursor.lastrowid or 0)

    def settle(
        self, row: int, status: Status, completion: Completion | None, error: str | None = None
    ) -> None:
        """Close a call's row with what it came to; `completion` is `None` where nothing was sent.

        Raises:
            StoreError: The ledger cannot be written; the row stays open.
        """
        values: tuple[object, ...] = (0, 0, False, 0, None, None)
        if completion is not None:
            usage, cost, first = completion.usage, completion.cost, completion.ttft
            values = (
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.estimated,
                None if cost is None else int(cost * _NANO),
                completion.elapsed * 1000,
                None if first is None else first * 1000,
            )
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE calls SET status = ?, error = ?, prompt_tokens = ?, completion_tokens = ?,"
                " estimated = ?, cost_nanodollars = ?, latency_ms = ?, first_token_ms = ?"
                " WHERE id = ?",
                (status, error, *values, row),
            )

    def spent(self) -> list[Spent]:
        """What this session's calls have cost: a row for each model, in the order of use.

        Raises:
            StoreError: The ledger cannot be read.
        """
        rows = self.database.rows(
            "SELECT provider || ':' || model, COUNT(*), SUM(status = 'stopped'),"
            " SUM(status = 'failed'), COALESCE(SUM(prompt_tokens), 0),"
            " COALESCE(SUM(completion_tokens), 0), COALESCE(SUM(cost_nanodollars), 0),"
            " SUM(status != 'open' AND cost_nanodollars IS NULL), SUM(estimated)"
            " FROM calls WHERE session = ? GROUP BY provider, model ORDER BY MIN(id)",
            (self.session,),
        )
        return [
            Spent(
                model=name,
                calls=calls,
                stopped=stopped,
                failed=failed,
                prompt_tokens=prompt,
                completion_tokens=completion,
                cost=Decimal(cost) / _NANO,
                unpriced=unpriced,
                estimated=estimated,
            )
            for name, calls, stopped, failed, prompt, completion, cost, unpriced, estimated in rows
        ]


def total(rows: list[Spent]) -> Spent:
    """The sum of `rows`."""
    return Spent(
        "total",
        sum(row.calls for row in rows),
        sum(row.stopped for row in rows),
        sum(row.failed for row in rows),
        sum(row.prompt_tokens for row in rows),
        sum(row.completion_tokens for row in rows),
        sum((row.cost for row in rows), Decimal(0)),
        sum(row.unpriced for row in rows),
        sum(row.estimated for row in rows),
    )

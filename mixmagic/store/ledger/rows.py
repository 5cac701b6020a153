"""The ledger's rows and running totals, and the writer of this process's rows.

A row that cannot be written when its call begins or ends is written as soon as possible.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mixmagic.calls.completion import Completion
from mixmagic.core.money import Counted, to_nano
from mixmagic.core.values import Origin
from mixmagic.errors import StoreBusy, StoreDamaged, StoreError
from mixmagic.store.ledger.budgets import Limit
from mixmagic.store.ledger.processes import own_process_id
from mixmagic.store.ledger.reservations import Entry, Query, Reservation
from mixmagic.store.sqlite.database import Database

Status = Literal["ok", "stopped", "failed", "lost", "resolved"]

BY_ID = "SELECT * FROM calls WHERE id = ?"

# Seconds that a call without a budget waits, twice at most, for a file that is locked.
_BRIEFLY = 0.4
# Seconds between two tries to write what is owed, at first and at most, and how long a process
# that ends keeps trying.
_FIRST_PAUSE, _LONGEST_PAUSE, _AT_EXIT = 0.25, 4.0, 10.0
# Seconds after which a call that is over, and has not been recorded, is lost.
_GRACE = 2.0
# Seconds between two notes to other processes which calls go on.
_NOTED = 2.0


class Outcome(NamedTuple):
    """The columns of a row that are known when its call has ended."""

    status: Status
    error: str | None = None
    cost_nanodollars: int | None = None
    origin: Origin = "live"
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    completion_tokens: int | None = None
    counted: Counted | None = None
    charge_nanodollars: int | None = None
    billed_tries: int = 0
    latency_ms: float | None = None
    first_token_ms: float | None = None


def outcome(status: Status, completion: Completion, error: str | None) -> Outcome:
    """Return the outcome of a call, by its completion and the reason why it failed."""
    usage, cost, first = completion.usage, completion.cost, completion.ttft
    return Outcome(
        status,
        None if error is None else encodable(error),
        None if cost is None else to_nano(cost),
        completion.origin,
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.completion_tokens,
        usage.counted,
        None if usage.charge is None else to_nano(usage.charge),
        completion.billed_tries,
        completion.elapsed * 1000,
        None if first is None else first * 1000,
    )


_COLUMNS = (
    "started_at, day, session, notebook, cell, job, tag, origin, provider, model, status, owner,"
    " held_nanodollars, moved_at, input_price_nanodollars, cached_price_nanodollars,"
    " cache_write_price_nanodollars, output_price_nanodollars, price_since, price_source"
)
_INSERT = f"INSERT INTO calls ({_COLUMNS}) VALUES ({', '.join('?' * len(_COLUMNS.split(',')))})"  # noqa: S608  # names of ours


def new_row(reservation: Reservation, session: str) -> dict[str, Any]:
    """Return the columns of a call that is about to be sent, in the order of `_COLUMNS`."""
    request, most = reservation.request, reservation.most
    control, model, price = request.control, request.model, request.model.price
    cached = write = since = None
    if price is not None:
        cached = None if price.cached is None else to_nano(price.cached)
        write = None if price.cache_write is None else to_nano(price.cache_write)
        since = price.since.isoformat() if price.since else None
    return {
        "started_at": reservation.started_at,
        "day": reservation.day,
        "session": session,
        "notebook": reservation.notebook,
        "cell": control.budget.id if control.budget else None,
        "job": encodable(control.job) or None,
        "tag": encodable(control.tag) or None,
        "origin": "live",
        "provider": model.provider.name,
        "model": encodable(model.id),
        "status": "open",
        "owner": own_process_id(),
        "held_nanodollars": None if most is None else to_nano(most),
        "moved_at": time.time(),
        "input_price_nanodollars": None if price is None else to_nano(price.input),
        "cached_price_nanodollars": cached,
        "cache_write_price_nanodollars": write,
        "output_price_nanodollars": None if price is None else to_nano(price.output),
        "price_since": since,
        "price_source": (price.source or None) if price is not None else None,
    }


def encodable(text: str) -> str:
    """Return a text without lone surrogates, which SQLite does not take."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def insert(connection: sqlite3.Connection, row: Mapping[str, Any]) -> int:
    """Add a row; return its id."""
    return int(connection.execute(_INSERT, tuple(row.values())).lastrowid or 0)


_ASSIGNMENTS = ", ".join(f"{name} = ?" for name in Outcome._fields)
_CLOSE = f"UPDATE calls SET owner = NULL, {_ASSIGNMENTS} WHERE id = ?"  # noqa: S608  # names of ours
_CLOSE_OPEN = f"{_CLOSE} AND started_at = ? AND status = 'open'"


def close_entry(
    connection: sqlite3.Connection, entry: Entry, outcome: Outcome | None
) -> int | None:
    """Close a call's row, or delete it if there is no outcome: the call was never sent.

    Returns:
        The row's id. It is a new one if the file was replaced since the call began, or had no row
        of it.
    """
    key = (entry.number, entry.row["started_at"])
    if outcome is not None and connection.execute(_CLOSE_OPEN, (*outcome, *key)).rowcount:
        connection.execute(_ADD_TO_TOTALS, {"id": entry.number, "sign": 1})
        return entry.number
    row = connection.execute(f"{BY_ID} AND started_at = ?", key).fetchone()
    if outcome is None:
        if row is not None:
            _take_out(connection, row)
            connection.execute("DELETE FROM calls WHERE id = ?", key[:1])
        return None
    if row is None:
        row = connection.execute(BY_ID, (insert(connection, entry.row),)).fetchone()
    if outcome.status != "lost" or row["status"] == "open":  # who has closed it knew more
        close(connection, row, outcome)
    return int(row["id"])


def close(connection: sqlite3.Connection, row: sqlite3.Row, outcome: Outcome) -> None:
    """Close a row, whether it is open or has been closed with another outcome."""
    _take_out(connection, row)
    connection.execute(_CLOSE, (*outcome, row["id"]))
    connection.execute(_ADD_TO_TOTALS, {"id": row["id"], "sign": 1})


def _take_out(connection: sqlite3.Connection, row: sqlite3.Row) -> None:
    """Take a row out of the totals, if it is in them."""
    if row["status"] != "open":
        connection.execute(_ADD_TO_TOTALS, {"id": row["id"], "sign": -1})


def rename_notebook(connection: sqlite3.Connection, before: str, after: str) -> None:
    """Give the calls of a notebook its new path, and add its totals to those of that path."""
    names = {"before": before, "after": after}
    connection.execute("UPDATE calls SET notebook = :after WHERE notebook = :before", names)
    connection.execute("UPDATE reservations SET notebook = :after WHERE notebook = :before", names)
    connection.execute(_RENAME_TOTALS, names)
    connection.execute("DELETE FROM totals WHERE notebook = :before", names)


def spent_and_reserved(query: Query, limits: Sequence[Limit]) -> list[tuple[int, int]]:
    """Return the nanodollars that are spent, and reserved, of each limit."""
    if not limits:
        return []
    values = [limit.key for limit in limits for _ in range(3)]
    return [tuple(row) for row in query(_sums_query(tuple(limit.per for limit in limits)), values)]


@functools.lru_cache(64)
def _sums_query(pers: tuple[str, ...]) -> str:
    return " UNION ALL ".join(map(SPENT_AND_RESERVED.__getitem__, pers))


# The amounts that are spent of a limit, and reserved: by calls, and for jobs.
_SPENT = "SELECT COALESCE(SUM(cost_nanodollars), 0) FROM"
_HELD = "SELECT COALESCE(SUM(held_nanodollars), 0) FROM"
SPENT_AND_RESERVED: dict[str, str] = {
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
# The totals that a call belongs to: session, day, notebook, provider, model. See `schema`.
_KEYS = (
    "session, day, COALESCE(notebook, ''), provider, model",
    "'', day, '', provider, model",
    "'days', day, '', '', ''",
    "'months', substr(day, 1, 7), '', provider, model",
    "'notebooks', day, COALESCE(notebook, ''), provider, model",
    "'notebooks', '', COALESCE(notebook, ''), '', ''",
)
# A call's row, added to them or taken out. The provider's cache has saved the price difference of
# the tokens that were in it, less what it cost to put tokens there.
_OF_ONE_CALL = """SELECT {}, status, :sign,
    :sign * COALESCE(prompt_tokens, 0), :sign * COALESCE(cached_tokens, 0),
    :sign * COALESCE(completion_tokens, 0), :sign * COALESCE(cost_nanodollars, 0),
    :sign * (COALESCE(MIN(cached_tokens, prompt_tokens)
        * (input_price_nanodollars - cached_price_nanodollars) / 1000000, 0)
        + COALESCE(MIN(cache_write_tokens, prompt_tokens)
        * (input_price_nanodollars - cache_write_price_nanodollars) / 1000000, 0))
        * (origin = 'live'),
    :sign * (cost_nanodollars IS NULL), :sign * COALESCE(counted != 'server', 0)
    FROM calls WHERE id = :id"""
_ADD = """ON CONFLICT DO UPDATE SET calls = calls + excluded.calls,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    cost_nanodollars = cost_nanodollars + excluded.cost_nanodollars,
    saved_nanodollars = saved_nanodollars + excluded.saved_nanodollars,
    unpriced = unpriced + excluded.unpriced, estimated = estimated + excluded.estimated"""
_ADD_TO_TOTALS = f"INSERT INTO totals {' UNION ALL '.join(map(_OF_ONE_CALL.format, _KEYS))} {_ADD}"
# The columns are in the order of `schema`.
_RENAME_TOTALS = f"""INSERT INTO totals
    SELECT session, day, :after, provider, model, status, calls, prompt_tokens, cached_tokens,
        completion_tokens, cost_nanodollars, saved_nanodollars, unpriced, estimated
    FROM totals WHERE notebook = :before
    {_ADD}"""  # noqa: S608  # words of ours


class RowWriter:
    """Writes the rows of this process's calls.

    Args:
        database: The ledger's file.
        under_way: The calls under way, by the number of their row: it is kept up to date.
        freed: Called after calls have been closed: the money that they held is free.

    Attributes:
        damage: Damage that was found when a call ended: the next call reports it.
    """

    def __init__(
        self, database: Database, under_way: dict[int, Entry], freed: Callable[[], None]
    ) -> None:
        self._database, self._under_way, self._freed = database, under_way, freed
        self.damage: StoreDamaged | None = None
        # Outcomes that are not written yet: `None` for a call that was never sent.
        self._owed: dict[Entry, Outcome | None] = {}
        self._presumed: dict[Entry, float] = {}  # calls that are over, since when
        self._missing: dict[Entry, None] = {}  # calls under way whose rows are not in the file yet
        self._thread: threading.Thread | None = None
        self._noted = 0.0  # when other processes were told which calls go on

    @property
    def timeout(self) -> float:
        """Seconds that a call without a budget waits for the file: a known lock is not tried."""
        return 0.0 if self._database.locked else _BRIEFLY

    @property
    def owes(self) -> bool:
        """True if something is not written yet."""
        own = os.getpid()  # a forked child has copies of its parent's entries
        entries = (*self._owed, *self._missing, *self._presumed)
        return any(entry.process == own for entry in entries)

    def add(self, connection: sqlite3.Connection, entry: Entry) -> None:
        """Add a call's row, within a transaction."""
        entry.number = insert(connection, entry.row)
        self._under_way[entry.number] = entry

    def add_later(self, entry: Entry) -> None:
        """Add a call's row as soon as it can be done."""
        self._missing[entry] = None
        self._write_later()

    def drop(self, entry: Entry) -> None:
        """Delete a call's row, in the file or not: the call is not made."""
        self._under_way.pop(entry.number or 0, None)
        self._owed[entry] = None

    def record(self, entry: Entry, outcome: Outcome | None) -> None:
        """Close a call's row, or delete it if there is no outcome, now or as soon as possible.

        Raises:
            StoreError: It cannot be done yet.
        """
        self._presumed.pop(entry, None)
        self._owed[entry] = outcome
        try:
            if not self._recorded_at_once(entry):
                with self.transaction(self.timeout):
                    pass  # its prelude writes what is owed
        except StoreDamaged as damage:
            self.damage = damage  # for the next call: this one is over
            raise
        except StoreError:
            self._write_later()
            raise

    def _recorded_at_once(self, entry: Entry) -> bool:
        """Try to write what is owed; return True if the entry is written.

        With many threads, the transaction of another one has mostly written it before this thread
        gets the lock.
        """
        with self._database.lock, contextlib.suppress(StoreBusy):
            if entry in self._owed:
                with self.transaction(0.0):
                    pass
            return True
        return False

    def presume_lost(self, entry: Entry) -> None:
        """Let a call that is over count as lost, unless `record` is called within a moment.

        Until then its money stays reserved: others wait for it, and do not take it for spent.
        """
        self._presumed[entry] = time.monotonic()

    def lose(self, entry: Entry) -> None:
        """Let a call count as lost until `record` is called."""
        self._owed.setdefault(entry, Outcome("lost", None, entry.row["held_nanodollars"]))

    def note_progress(self, entry: Entry) -> None:
        """Note that a call has received a piece of its answer; at times, tell other processes."""
        entry.move()
        if entry.budgeted and entry.moved - max(entry.began, self._noted) > _NOTED:
            before, self._noted = self._noted, entry.moved
            calls = dict(self._under_way).items()
            numbers = ", ".join(str(number) for number, call in calls if call.moved >= before)
            self.write(0.0, f"UPDATE calls SET moved_at = {time.time()} WHERE id IN ({numbers})")  # noqa: S608  # numbers

    def write(self, timeout: float, statement: str | None = None) -> None:
        """Write what is owed, and a statement's change, if that takes less than the timeout."""
        if not (self.owes or statement):
            return
        try:
            with self.transaction(timeout) as connection:
                if statement is not None:
                    connection.execute(statement)
        except StoreDamaged as damage:
            self.damage = damage
        except StoreError:
            pass

    def transaction(
        self, timeout: float | None = None
    ) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        """Return a transaction that also writes what is owed: see `Database.transaction`."""
        return self._database.transaction(timeout, self._write_owed)

    def _write_owed(self, connection: sqlite3.Connection) -> Callable[[], None] | None:
        """Write what is owed, within a transaction; return what to call after the commit."""
        if not (self._owed or self._missing or self._presumed):
            return None
        own, now = os.getpid(), time.monotonic()
        for entry, since in self._presumed.copy().items():
            if now - since >= _GRACE and self._presumed.pop(entry, None) is not None:
                self.lose(entry)
        ended: dict[Entry, tuple[Outcome | None, int | None]] = {}
        begun: dict[Entry, int] = {}
        for entry, outcome in self._owed.copy().items():
            if entry.process == own:
                ended[entry] = outcome, close_entry(connection, entry, outcome)
        for entry in self._missing.copy():
            if entry.process == own and entry not in ended:
                begun[entry] = insert(connection, entry.row)

        def committed() -> None:
            for entry, (outcome, number) in ended.items():
                self._written(entry, number)
                if self._owed.get(entry, outcome) is outcome:  # nothing better is known meanwhile
                    self._owed.pop(entry, None)
            for entry, number in begun.items():
                self._written(entry, number)
                self._under_way[number] = entry
            if ended:
                self._freed()

        return committed

    def _written(self, entry: Entry, number: int | None) -> None:
        """Note which row a call has now, if any."""
        self._missing.pop(entry, None)
        self._under_way.pop(entry.number or 0, None)
        entry.number = number

    def _write_later(self) -> None:
        """Write what is owed as soon as possible, in a thread; also when the process ends."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._keep_writing, name="mixmagic-ledger", daemon=True
            )
            self._thread.start()
            atexit.register(_at_exit, weakref.ref(self), os.getpid())

    def _keep_writing(self) -> None:
        pause = _FIRST_PAUSE
        while self.owes:
            time.sleep(pause)
            self.write(0.0)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _at_exit(reference: weakref.ref[RowWriter], process: int) -> None:
    """Write what a process that ends has not written yet."""
    writer = reference()
    if writer is not None and process == os.getpid():
        writer.write(_AT_EXIT)

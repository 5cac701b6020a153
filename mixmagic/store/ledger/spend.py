"""Reports of spending, from the ledger's running totals."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from itertools import accumulate
from typing import Any, Literal

from mixmagic.core.money import exact_sum, from_nano, to_nano
from mixmagic.store.ledger.processes import has_exited
from mixmagic.store.sqlite.database import Database

Period = Literal["session", "notebook", "today", "month", "all"]
By = Literal["model", "day", "notebook", "status"]

# A group's name, and the columns that make it.
_GROUPS: dict[By, tuple[str, str]] = {
    "model": ("provider || ':' || model", "provider, model"),
    "day": ("day", "day"),
    "notebook": ("notebook", "notebook"),
    "status": ("status", "status"),
}
# The calls that have ended, from the totals; and the few rows of calls under way, of amounts that
# jobs have reserved, and of calls with tries that may have been billed.
_QUERY = """
    SELECT {name} AS name, SUM(calls) AS calls, SUM(open), SUM(calls * (status = 'stopped')),
        SUM(calls * (status = 'failed')), SUM(calls * (status = 'lost')), SUM(prompt_tokens),
        SUM(cached_tokens), SUM(completion_tokens), SUM(unpriced), SUM(estimated),
        SUM(cost_nanodollars) AS cost, SUM(saved_nanodollars), SUM(held_nanodollars),
        SUM(billed_tries)
    FROM (
        SELECT day, notebook, provider, model, status, calls, 0 AS open, 0 AS billed_tries,
            prompt_tokens, cached_tokens, completion_tokens, cost_nanodollars, saved_nanodollars,
            0 AS held_nanodollars, unpriced, estimated
        FROM totals WHERE session = :totals AND day BETWEEN :first AND :until AND calls
        UNION ALL SELECT day, COALESCE(notebook, ''), provider, model, status, 1, 1, 0, 0, 0, 0, 0,
            0, COALESCE(held_nanodollars, 0), 0, 0
        FROM calls INDEXED BY calls_open
        WHERE status = 'open' AND :session IN ('', session) AND day BETWEEN :first AND :last
        UNION ALL SELECT day, COALESCE(notebook, ''), provider, model, 'open', 0, 0, 0, 0, 0, 0, 0,
            0, held_nanodollars, 0, 0
        FROM reservations
        WHERE :session IN ('', session) AND day BETWEEN :first AND :last
        UNION ALL SELECT day, COALESCE(notebook, ''), provider, model, status, 0, 0, billed_tries,
            0, 0, 0, 0, 0, 0, 0, 0
        FROM calls INDEXED BY calls_tried
        WHERE billed_tries > 0 AND status != 'open' AND :session IN ('', session)
            AND day BETWEEN :first AND :last
    ) WHERE :notebook IN ('', notebook) GROUP BY {columns} ORDER BY {order}"""
_LOST = """SELECT id, started_at, provider || ':' || model AS model, notebook, owner, status,
    COALESCE(cost_nanodollars, held_nanodollars) AS most FROM calls WHERE status"""
# Newest calls that are read for a curve, and its number of points.
_READ, _POINTS = 10_000, 500
# Days that are shown one by one; a longer time is shown by month.
_DAYS = 62
# Newest lost calls that are listed.
_LISTED = 100


@dataclass(frozen=True, slots=True)
class Spent:
    """Cost of a group of calls.

    Attributes:
        name: The model (`provider:API-string`, or its short name), day, notebook or status; or
            `total`.
        calls: Calls, of any status.
        open: Calls that are under way.
        stopped: Calls that the user stopped.
        failed: Calls that failed.
        lost: Calls whose process ended before they did, and that have not been resolved since.
        prompt_tokens: Tokens of the prompts.
        cached_tokens: Those of them that a provider had in its cache.
        completion_tokens: Tokens of the answers.
        unpriced: Calls that ended with tokens but without a known price.
        estimated: Calls whose tokens we counted, not the provider.
        cost: US dollars of the calls whose price is known; lost ones, and tries that may have been
            billed, at their worst case.
        saved: US dollars that were not paid for cached tokens; below 0 if those cost more.
        held: US dollars that the calls under way may cost at most, and that jobs have reserved.
        billed_tries: Failed tries that the provider may bill.
    """

    name: str
    calls: int
    open: int
    stopped: int
    failed: int
    lost: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    unpriced: int
    estimated: int
    cost: Decimal
    saved: Decimal
    held: Decimal
    billed_tries: int = 0


@dataclass(frozen=True, slots=True)
class Timeline:
    """Cost of a period's calls over time, for a plot.

    Attributes:
        groups: The groups (models, notebooks, …) and their cost in US dollars, the most expensive
            first.
        by: Grouping; `model` for days, whose bars are stacked by model.
        points: For a session or today: seconds since 1970, and US dollars until then. At most
            500, of the newest 10,000 calls.
        days: For other periods, and by day: the day (or the month, if there are many days), the
            group, and US dollars.
    """

    groups: list[tuple[str, Decimal]]
    by: By = "model"
    points: list[tuple[float, Decimal]] = field(default_factory=list)
    days: list[tuple[str, str, Decimal]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lost:
    """A call of unknown cost: it was lost, or had tries that may have been billed.

    Attributes:
        number: The call's row.
        started_at: Seconds since 1970.
        model: The model, as `provider:API-string`.
        notebook: The notebook's path, if known.
        most: US dollars that it may have cost at most; `None` if unknown.
        status: Its status in the ledger.
    """

    number: int
    started_at: float
    model: str
    notebook: str | None
    most: Decimal | None
    status: str

    @property
    def open(self) -> bool:
        """True if it may still be under way, on another host."""
        return self.status == "open"


MONEY = ("cost", "saved", "held")


def spent(
    database: Database,
    session: str,
    period: Period,
    by: By,
    timeout: float | None = None,
    *,
    notebook: str = "",
) -> list[Spent]:
    """Return the cost of calls, in groups: the most expensive first, days in their order.

    Args:
        database: The ledger's.
        session: The session, if that is the period.
        period: Period of the calls.
        by: Column that makes the groups.
        timeout: Seconds to wait if another process keeps the ledger locked.
        notebook: The notebook's path, if that is the period.

    Raises:
        StoreError: The ledger cannot be read.
    """
    name, columns = _GROUPS[by]
    order = "name" if by == "day" else "cost DESC, calls DESC, name"
    first, last = days_of(period)
    totals, until = _totals(session, period, by)
    rows = database.rows(
        _QUERY.format(name=name, columns=columns, order=order),
        {
            "totals": totals,
            "first": first,
            "until": until,
            "last": last,
            "session": session if period == "session" else "",
            "notebook": notebook if period == "notebook" else "",
        },
        timeout,
    )
    money = slice(-4, -1)
    values = ([*row[:-4], *map(from_nano, row[money]), row[-1]] for row in map(tuple, rows))
    return [Spent(*row) for row in values]


def timeline(
    database: Database, session: str, period: Period, by: By = "model", notebook: str = ""
) -> Timeline:
    """Return the cost of calls over time.

    Args:
        database: The ledger's.
        session: The session, if that is the period.
        period: Period of the calls.
        by: Grouping of the calls.
        notebook: The notebook's path, if that is the period.

    Raises:
        StoreError: The ledger cannot be read.
    """
    group: By = "model" if by == "day" else by
    spent_by_group = spent(database, session, period, group, notebook=notebook)
    groups = [(row.name, row.cost) for row in spent_by_group if row.cost]
    if by == "day" or period not in ("session", "today"):
        return Timeline(groups, group, days=_by_day(database, session, period, group, notebook))
    rows = database.rows(
        "SELECT started_at, COALESCE(cost_nanodollars, 0) FROM calls"  # noqa: S608  # names of ours
        f" WHERE {'session' if period == 'session' else 'day'} = ?"
        f" ORDER BY started_at DESC LIMIT {_READ}",
        (session if period == "session" else day(),),
    )
    times = [row[0] for row in reversed(rows)]
    costs = [row[1] for row in reversed(rows)]
    before = sum(to_nano(row.cost) for row in spent_by_group) - sum(costs)
    sums = list(accumulate(costs, initial=max(before, 0)))[1:]
    step = -(-len(times) // (_POINTS - 1)) or 1
    kept = [*range(0, len(times) - 1, step), len(times) - 1] if times else []
    return Timeline(groups, group, points=[(times[i], from_nano(sums[i])) for i in kept])


def lost(database: Database) -> list[Lost]:
    """Return the newest 100 calls of unknown cost.

    Lost calls, open ones of other hosts, and calls with tries that may have been billed.

    Raises:
        StoreError: The ledger cannot be read.
    """
    newest = f"ORDER BY id DESC LIMIT {_LISTED}"
    rows = {
        row["id"]: row
        for condition in ("= 'lost'", "!= 'open' AND billed_tries > 0")
        for row in database.rows(f"{_LOST} {condition} {newest}")
    }
    for row in database.rows(f"{_LOST} = 'open'"):
        if has_exited(row["owner"]) is None:
            rows[row["id"]] = row
    return [
        Lost(
            row["id"],
            row["started_at"],
            row["model"],
            row["notebook"],
            None if row["most"] is None else from_nano(row["most"]),
            row["status"],
        )
        for row in sorted(rows.values(), key=lambda row: -int(row["id"]))[:_LISTED]
    ]


def total(rows: Iterable[Spent]) -> Spent:
    """Return the sum of rows."""
    listed = list(rows)
    sums: dict[str, Any] = {}
    for name in (column.name for column in fields(Spent)[1:]):
        add = exact_sum if name in MONEY else sum
        sums[name] = add(getattr(row, name) for row in listed)
    return Spent("total", **sums)


def day(seconds: float | None = None) -> str:
    """Return the local day of a time, or of now: `2026-11-24`."""
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def days_of(period: Period) -> tuple[str, str]:
    """Return the first and the last day of a period, or texts before and after all days."""
    today = day()
    periods = {"today": (today, today), "month": (today[:7], f"{today[:7]}-99")}
    periods["notebook"] = ("0", "~")  # its totals of all days have an empty one
    return periods.get(period, ("", "~"))


def _totals(session: str, period: Period, by: By) -> tuple[str, str]:
    """Return the smallest set of totals for a report: its `session` column, and its last day."""
    if period == "session":
        return session, "~"
    last = days_of(period)[1]
    if by == "notebook" or period == "notebook":
        return "notebooks", "" if period == "all" else last
    if period == "all":
        return "days" if by == "day" else "months", last
    return "", last


def _by_day(
    database: Database, session: str, period: Period, by: By, notebook: str
) -> list[tuple[str, str, Decimal]]:
    """Return the cost by group of each day, or of each month if there are many days."""
    totals, _ = _totals(session, period, "notebook" if by == "notebook" else "day")
    by_day = {"days": ""}.get(totals, totals)  # whose totals have the models, too
    first, last = days_of(period)
    condition = "session = :totals AND day BETWEEN :first AND :last AND :notebook IN ('', notebook)"
    names = {"totals": by_day, "first": max(first, "0"), "last": last, "notebook": ""}
    if period == "notebook":
        names["notebook"] = notebook
    edges = f"SELECT MIN(day), MAX(day) FROM totals WHERE {condition}"  # noqa: S608  # words of ours
    ends = database.rows(edges, names)[0]
    if None in tuple(ends):
        return []
    begin, end = map(date.fromisoformat, ends)
    unit = "substr(day, 1, 7)" if (end - begin).days > _DAYS else "day"
    name, columns = _GROUPS[by]
    rows = database.rows(
        f"""SELECT {unit}, {name}, SUM(cost_nanodollars) FROM totals WHERE {condition}
        GROUP BY 1, {columns} HAVING SUM(cost_nanodollars) > 0 ORDER BY 1""",  # noqa: S608  # words of ours
        names,
    )
    return [(row[0], row[1], from_nano(row[2])) for row in rows]

"""Reports of the spend record: their sums equal those of the calls."""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.core.money import Price, Usage
from mixmagic.core.values import Message, Model, Provider, Request
from mixmagic.store.ledger import rows as store_rows
from mixmagic.store.ledger import spend
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation
from mixmagic.store.ledger.schema import MIGRATIONS
from mixmagic.store.ledger.spend import By, Period, day, lost, timeline, total
from mixmagic.store.sqlite.database import Database

CHEAP = Model("cheap", Provider("x", "X"), price=Price(Decimal("0.6"), Decimal("1.2")))
DEAR = Model(
    "a/dear", Provider("y", "Y"), price=Price(Decimal("3.1"), Decimal(9), cached=Decimal("0.3"))
)
UNKNOWN = Model("unknown", Provider("y", "Y"))
MODELS = (CHEAP, DEAR, UNKNOWN)
NOON = time.mktime((*date.today().timetuple()[:3], 12, 0, 0, 0, 0, -1))  # noqa: DTZ011  # ours
DAY = 86_400.0


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "data", "this-session")
    yield ledger
    ledger.database.close()


def begin(
    ledger: Ledger, model: Model = CHEAP, at: float = NOON, notebook="a.ipynb"
) -> Reservation:
    request = Request(model, (Message("user", "Hi"),), {"max_tokens": 50})
    reservation = Reservation(request, notebook, worst_case(request), at)
    ledger.reserve(reservation)
    return reservation


def end(
    ledger: Ledger, reservation: Reservation, status="ok", prompt=1000, answer=100, **more
) -> None:
    usage, price = Usage(prompt, answer, **more), reservation.request.model.price
    cost = None if price is None else price.cost(usage)
    ledger.record(
        reservation, status, Completion("", usage, cost, "stop", reservation.request, 1.0, None)
    )


def call(ledger: Ledger, model: Model = CHEAP, at: float = NOON, notebook="a.ipynb", **more):
    end(ledger, begin(ledger, model, at, notebook), **more)


def lose(ledger: Ledger, *reservations: Reservation) -> None:
    """Make calls those of a process that has ended."""
    with ledger.database.transaction() as connection:
        for reservation in reservations:
            connection.execute("UPDATE calls SET owner = NULL WHERE id = ?", (reservation.number,))
    ledger.sweep()


ACTIONS = st.tuples(
    st.sampled_from(["ok", "stopped", "failed", "open", "lost", "resolved", "late"]),
    st.sampled_from(MODELS),
    st.sampled_from([0, 1, 40, 400]),
    st.sampled_from([None, "a.ipynb", "b.ipynb"]),
    st.booleans(),
    st.integers(0, 5000),
    st.integers(0, 5000),
    st.sampled_from(["server", "exact", "estimate"]),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(ACTIONS, max_size=12))
def test_sums_over_any_groups_are_those_of_the_calls(actions):
    with tempfile.TemporaryDirectory() as folder:
        mine, other = Ledger(Path(folder), "mine"), Ledger(Path(folder), "other")
        for what, model, age, notebook, own, prompt, answer, counted in actions:
            ledger = mine if own else other
            reservation = begin(ledger, model, NOON - age * DAY, notebook)
            counts = {"prompt": prompt, "answer": answer, "counted": counted}
            if what in ("ok", "stopped", "failed"):
                end(ledger, reservation, what, cached_tokens=prompt // 2, **counts)
            elif what != "open":
                lose(ledger, reservation)
            if what == "resolved":
                ledger.resolve(reservation.number, Decimal("0.5"))
                ledger.resolve(reservation.number, Decimal("0.25"))
            elif what == "late":  # it was not lost after all
                end(ledger, reservation, **counts)
        for period in get_args(Period):
            expected = of_the_calls(mine, period)
            for by in get_args(By):
                groups = mine.spent(period, by, notebook="a.ipynb")
                assert len({group.name for group in groups}) == len(groups)
                sums = total(groups)
                assert {name: getattr(sums, name) for name in expected} == expected, (period, by)
            check_timeline(mine, period, expected["cost"])
        check_budgets(mine)
        mine.database.close()
        other.database.close()


def check_budgets(ledger: Ledger) -> None:
    """Budgets use the same sums as the rows."""
    for per in ("session", "notebook", "day", "month"):
        ledger.set_limit(per, Decimal(1000), "a.ipynb")
    lefts = ledger.balances("a.ipynb")
    rows = ledger.database.rows("SELECT *, substr(day, 1, 7) AS month FROM calls")
    for left in lefts:
        mine = [row for row in rows if row[left.limit.per] == left.limit.key]
        assert left.spent == sum(dollars(row["cost_nanodollars"] or 0) for row in mine)
        still = [row for row in mine if row["status"] == "open"]
        assert left.reserved == sum(dollars(row["held_nanodollars"] or 0) for row in still)


def of_the_calls(ledger: Ledger, period: Period) -> dict[str, object]:
    """The sums, from every row of `calls`."""
    rows = ledger.database.rows("SELECT * FROM calls")
    wanted = {
        "session": lambda row: row["session"] == ledger.session,
        "notebook": lambda row: row["notebook"] == "a.ipynb",
        "today": lambda row: row["day"] == day(),
        "month": lambda row: row["day"][:7] == day()[:7],
        "all": lambda row: True,
    }[period]
    rows = [row for row in rows if wanted(row)]
    closed = [row for row in rows if row["status"] != "open"]
    return {
        "calls": len(rows),
        **{s: sum(row["status"] == s for row in rows) for s in ("open", "stopped", "failed")},
        "lost": sum(row["status"] == "lost" for row in rows),
        **{
            f"{name}_tokens": sum(row[f"{name}_tokens"] or 0 for row in rows)
            for name in ("prompt", "cached", "completion")
        },
        "unpriced": sum(row["cost_nanodollars"] is None for row in closed),
        "estimated": sum(row["counted"] in ("exact", "estimate") for row in rows),
        "cost": dollars(sum(row["cost_nanodollars"] or 0 for row in rows)),
        "held": dollars(
            sum(row["held_nanodollars"] or 0 for row in rows if row["status"] == "open")
        ),
    }


def dollars(nanodollars: int) -> Decimal:
    return Decimal(nanodollars) / 10**9


def check_timeline(ledger: Ledger, period: Period, cost: Decimal) -> None:
    """Every curve ends at the amount that was spent, and bars add up to it by any group."""
    for by in get_args(By):
        bars = timeline(ledger.database, ledger.session, period, by, "a.ipynb")
        assert sum((c for _, c in bars.groups), Decimal(0)) == cost
        if by == "day" or period not in ("session", "today"):
            assert sum((c for *_, c in bars.days), Decimal(0)) == cost
    drawn = timeline(ledger.database, ledger.session, period, notebook="a.ipynb")
    assert sum((c for _, c in drawn.groups), Decimal(0)) == cost
    assert all(c > 0 for _, c in drawn.groups)
    if period not in ("session", "today"):
        assert sum((c for *_, c in drawn.days), Decimal(0)) == cost
        assert drawn.points == []
    else:
        assert drawn.days == []
        assert [c for _, c in drawn.points] == sorted(c for _, c in drawn.points)
        assert not drawn.points or drawn.points[-1][1] == cost


def test_sums_of_a_ledger_of_the_first_form_are_made_when_it_is_opened(tmp_path):
    path = tmp_path / "data" / "ledger.db"
    first = Database(path, MIGRATIONS[:1])
    calls = [(age, f"s{age % 2}", notebook, f"m{age % 3}") for age in (0, 1, 40, 400) for notebook
             in (None, "a.ipynb")]  # fmt: skip
    with first.transaction() as connection:
        connection.executemany(
            "INSERT INTO calls (started_at, session, notebook, provider, model, status,"
            " prompt_tokens, completion_tokens, cost_nanodollars)"
            " VALUES (?, ?, ?, 'x', ?, 'ok', 10, 5, 700)",
            [(NOON - age * DAY, *rest) for age, *rest in calls],
        )
    first.close()
    ledger = Ledger(tmp_path / "data", "s0")
    for period in get_args(Period):
        expected = of_the_calls(ledger, period)
        for by in get_args(By):
            sums = total(ledger.spent(period, by, notebook="a.ipynb"))
            assert {name: getattr(sums, name) for name in expected} == expected, (period, by)
        check_timeline(ledger, period, expected["cost"])
    call(ledger)
    assert total(ledger.spent("all", "notebook")).calls == len(calls) + 1
    ledger.database.close()


def test_groups_are_the_dearest_first_and_days_in_their_order(ledger):
    call(ledger, CHEAP, NOON)
    call(ledger, DEAR, NOON - DAY)
    call(ledger, CHEAP, NOON - 2 * DAY, None)
    days = [day(NOON - age * DAY) for age in (2, 1, 0)]
    assert [row.name for row in ledger.spent("all")] == ["y:a/dear", "x:cheap"]
    assert [row.name for row in ledger.spent("all", "day")] == days
    assert [row.name for row in ledger.spent("all", "notebook")] == ["a.ipynb", ""]
    assert [row.name for row in ledger.spent("all", "status")] == ["ok"]


def test_a_resolved_call_does_not_count_as_lost(ledger):
    held = begin(ledger, DEAR)
    lose(ledger, held)
    (before,) = ledger.spent()
    assert (before.lost, before.cost) == (1, held.worst_case.cost)
    ledger.resolve(held.number, Decimal("0.000001"))
    (after,) = ledger.spent()
    assert (after.calls, after.lost, after.cost) == (1, 0, Decimal("0.000001"))


def test_what_the_cache_saved_is_the_difference_of_the_prices(ledger):
    call(ledger, DEAR, prompt=1000, cached_tokens=400)
    (row,) = ledger.spent()
    assert row.cached_tokens == 400
    assert row.saved == 400 * (Decimal("3.1") - Decimal("0.3")) / 10**6


def test_a_curve_is_thinned_and_keeps_its_end(ledger):
    with ledger.database.transaction() as connection:
        connection.executemany(
            "INSERT INTO calls (started_at, day, session, provider, model, status,"
            " cost_nanodollars) VALUES (?, ?, 'this-session', 'x', 'm', 'ok', 1000)",
            [(NOON + i, day()) for i in range(12_000)],
        )
        connection.execute(
            "INSERT INTO totals SELECT session, day, '', provider, model, status, COUNT(*), 0, 0,"
            " 0, SUM(cost_nanodollars), 0, 0, 0 FROM calls"
        )
    points = timeline(ledger.database, "this-session", "session").points
    assert 400 < len(points) <= 500
    assert points[0] == (NOON + 2000, Decimal("0.002001")), "the oldest are summed up"
    assert points[-1] == (NOON + 11_999, Decimal("0.012"))


def test_many_days_are_summed_up_by_month(ledger):
    for age in (0, 30, 70, 71):
        call(ledger, CHEAP, NOON - age * DAY)
    days = timeline(ledger.database, ledger.session, "all").days
    today = date.fromisoformat(day(NOON))
    months = [f"{today - timedelta(age):%Y-%m}" for age in (0, 30, 70, 71)]
    assert [name for name, _, _ in days] == sorted(set(months))
    few = Ledger(ledger.database.path.parent.with_name("few"), "few")
    for age in (0, 30):
        call(few, CHEAP, NOON - age * DAY)
    drawn = timeline(few.database, "few", "all").days
    assert [name for name, _, _ in drawn] == [day(NOON - 30 * DAY), day(NOON)]
    few.database.close()


def test_nothing_is_an_empty_timeline(ledger):
    for period in get_args(Period):
        drawn = timeline(ledger.database, ledger.session, period)
        assert (drawn.groups, drawn.points, drawn.days) == ([], [], [])


def test_lost_calls_are_listed_the_newest_first_with_other_hosts_open_ones(ledger):
    first, second = begin(ledger, CHEAP), begin(ledger, UNKNOWN, notebook=None)
    lose(ledger, first, second)
    ours = begin(ledger)  # under way
    elsewhere = begin(ledger, DEAR, time.time())
    with ledger.database.transaction() as connection:
        connection.execute(
            "UPDATE calls SET owner = 'another-host/7@1.00' WHERE id = ?", (elsewhere.number,)
        )
    ledger.sweep()
    listed = lost(ledger.database)
    assert [row.number for row in listed] == [elsewhere.number, second.number, first.number]
    assert [row.open for row in listed] == [True, False, False]
    assert [row.most for row in listed] == [elsewhere.worst_case.cost, None, first.worst_case.cost]
    assert [row.notebook for row in listed] == ["a.ipynb", None, "a.ipynb"]
    assert listed[2].model == "x:cheap"
    assert ours.number not in [row.number for row in listed]
    ledger.resolve(first.number, Decimal(0))
    assert [row.number for row in lost(ledger.database)] == [elsewhere.number, second.number]


_CURVE = "SELECT started_at, cost_nanodollars FROM calls WHERE {} = 'x' ORDER BY started_at DESC"


@pytest.mark.parametrize(
    "query",
    [
        f"{spend._LOST} = 'lost' ORDER BY id DESC LIMIT 100",
        f"{spend._LOST} = 'open'",
        "SELECT id, owner, started_at FROM calls WHERE status = 'open'",  # `Ledger.sweep`
        _CURVE.format("session"),
        _CURVE.format("day"),
    ],
)
def test_reports_use_indexes(ledger, query):
    plan = [row["detail"] for row in ledger.database.rows(f"EXPLAIN QUERY PLAN {query}")]
    assert all("INDEX calls_" in step for step in plan), plan


@pytest.mark.parametrize("per", store_rows.SPENT_AND_RESERVED)
def test_a_budget_is_checked_by_indexes_alone(ledger, per):
    rows = ledger.database.rows(
        f"EXPLAIN QUERY PLAN {store_rows.SPENT_AND_RESERVED[per]}", ("x", "x", "x")
    )
    plan = [row["detail"] for row in rows if "calls" in row["detail"] or "totals" in row["detail"]]
    assert len(plan) == 2
    spent = "calls USING INDEX calls_by_cell" if per == "cell" else "totals USING PRIMARY KEY"
    assert spent in plan[0]
    assert "calls USING COVERING INDEX calls_open" in plan[1]


@pytest.mark.parametrize("by", get_args(By))
def test_sums_read_totals_by_their_key_and_open_calls_by_their_index(ledger, by):
    name, columns = spend._GROUPS[by]
    query = spend._QUERY.format(name=name, columns=columns, order="1")
    rows = ledger.database.rows(
        f"EXPLAIN QUERY PLAN {query}", dict.fromkeys(re.findall(r":(\w+)", query), "")
    )
    plan = [row["detail"] for row in rows if "calls" in row["detail"] or "totals" in row["detail"]]
    assert any(step.startswith("SEARCH totals USING PRIMARY KEY (session=?") for step in plan)
    assert any("calls USING INDEX calls_open" in step for step in plan)


def test_the_total_of_nothing_is_nothing():
    sums = total([])
    assert (sums.name, sums.calls, sums.cost, sums.held) == ("total", 0, Decimal(0), Decimal(0))
    assert replace(sums, name="x").name == "x"


def test_a_total_is_exact_whatever_the_notebook_has_set(ledger):
    for model in (CHEAP, DEAR):
        call(ledger, model, prompt=123_457, answer=654_321)
    with localcontext(prec=3):
        added = total(ledger.spent()).cost
    assert added == Decimal("0.8592594") + Decimal("6.2716057")


def test_a_saving_is_negative_if_cached_tokens_cost_more(ledger):
    odd = replace(DEAR, price=replace(DEAR.price, cached=Decimal(5)))
    call(ledger, odd, prompt=1000, cached_tokens=400)
    (row,) = ledger.spent()
    assert row.saved == Decimal("-0.00076")


def test_cached_tokens_beyond_the_prompt_save_nothing_more(ledger):
    call(ledger, DEAR, prompt=1000, cached_tokens=5000)
    (row,) = ledger.spent()
    assert row.saved == 1000 * (Decimal("3.1") - Decimal("0.3")) / 10**6


def test_two_months_are_shown_day_by_day(ledger):
    for age in (0, 62):
        call(ledger, CHEAP, NOON - age * DAY)
    names = [name for name, _, _ in timeline(ledger.database, ledger.session, "all").days]
    assert names == [day(NOON - 62 * DAY), day(NOON)]


def test_a_curve_never_starts_below_zero(ledger):
    """A call may end between the query for the totals and the one for the calls."""
    with ledger.database.transaction() as connection:
        connection.execute(
            "INSERT INTO calls (started_at, day, session, provider, model, status,"
            " cost_nanodollars) VALUES (?, ?, 'this-session', 'x', 'm', 'ok', 1000)",
            (NOON, day()),
        )
    points = timeline(ledger.database, "this-session", "session").points
    assert points == [(NOON, Decimal("0.000001"))]


def test_of_many_lost_calls_the_newest_are_listed(ledger):
    with ledger.database.transaction() as connection:
        connection.executemany(
            "INSERT INTO calls (started_at, day, session, provider, model, status)"
            " VALUES (?, ?, 's', 'x', 'm', 'lost')",
            [(NOON, day())] * 120,
        )
    assert [row.number for row in lost(ledger.database)] == list(range(120, 20, -1))


def test_an_answer_from_a_cache_saves_no_tokens_at_its_provider(ledger):
    reservation, usage = begin(ledger, DEAR), Usage(1000, 100, cached_tokens=400)
    asked = reservation.request
    cached = Completion("", usage, Decimal(0), "stop", asked, 1.0, None, origin="cache")
    ledger.record(reservation, "ok", cached)
    (row,) = ledger.spent()
    assert (row.cost, row.saved) == (0, 0)

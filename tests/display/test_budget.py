"""The table of what the budgets have left."""

from __future__ import annotations

from decimal import Decimal

from mixmagic.display.budget import budgets_table
from mixmagic.store.ledger.budgets import Balance, Limit


def test_points_stand_below_each_other_and_nothing_is_rounded():
    limits = (Decimal("0.5"), Decimal("20.123"))
    left = [
        Balance(Limit("day", "", limit, "a", "`b`"), Decimal("1e-9"), Decimal(0))
        for limit in limits
    ]
    assert [row[1:5] for row in budgets_table(left).rows] == [
        ["$0.500", "$0.000000001", "$0.00", "$0.499999999"],
        ["$20.123", "$0.000000001", "$0.00", "$20.122999999"],
    ]


def test_no_budget_is_a_table_without_rows():
    assert budgets_table([]).rows == []

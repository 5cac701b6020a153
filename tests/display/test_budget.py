"""The table of what the budgets have left."""

from __future__ import annotations

from decimal import Decimal

from mixmagic.display.budget import budget_line, budgets_table
from mixmagic.store.ledger.budgets import Balance, Limit


def test_amounts_have_the_same_decimals_and_limits_stay_as_they_were_set():
    limits = (Decimal("0.5"), Decimal("20.123"))
    left = [
        Balance(Limit("day", "", limit, "a", "`b`"), Decimal("1e-9"), Decimal(0))
        for limit in limits
    ]
    assert [row[1:5] for row in budgets_table(left).rows] == [
        ["$0.50", "$0.000000001", "$0.499999999"],
        ["$20.123", "$0.000000001", "$20.122999999"],
    ]


def test_reserved_money_has_a_column_if_there_is_any():
    limit = Limit("day", "", Decimal("0.5"), "today's budget", "`b`")
    balance = Balance(limit, Decimal("0.0007524"), Decimal("0.0197"))
    table = budgets_table([balance])
    assert table.columns == ["budget", "limit", "spent", "reserved", "remaining"]
    assert table.rows == [["today's budget", "$0.50", "$0.00075", "$0.01970", "$0.47955"]]
    assert table.caption == "reserved: the most that running calls can cost"
    assert budget_line(balance) == (
        "Today's budget is $0.50: $0.00075 spent, $0.01970 reserved, $0.47955 remaining."
    )


def test_no_budget_is_a_table_without_rows():
    assert budgets_table([]).rows == []

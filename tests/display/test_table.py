"""Tables: columns of text, and HTML that no model's name can break."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from mixmagic.catalog import FREE
from mixmagic.commands.doctor import doctor_table
from mixmagic.core.money import Price
from mixmagic.core.values import Model, Provider
from mixmagic.display.prices import models_table
from mixmagic.display.spend import spend_table
from mixmagic.display.table import Table
from mixmagic.store.ledger.spend import MONEY, Spent
from mixmagic.tasks.doctor import Check

TOGETHER = Provider("together", "Together AI")
OLLAMA = Provider("ollama", "Ollama", free=True)


def cells(table: Table, tag: str = "td") -> list[str]:
    """The cells of the table's HTML, as they stand there."""
    return re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", table._repr_mimebundle_()["text/html"])


def test_columns_of_text_are_aligned_and_numbers_stand_on_the_right():
    table = Table(["name", "cost>"], [["a", "1"], ["longer", "1,000"]], "a caption")
    assert str(table).splitlines() == [
        "name     cost",
        "a           1",
        "longer  1,000",
        "a caption",
    ]
    assert table._repr_mimebundle_()["text/plain"] == str(table)


def test_html_sets_numbers_to_the_right_and_words_to_the_left():
    long = "many words " * 3
    html = Table(["name", "cost>"], [["a", "1"], [long, "$2"]])._repr_mimebundle_()["text/html"]
    assert '<th style="text-align: left">name</th><th style="text-align: right">cost</th>' in html
    short = "; white-space: nowrap"
    assert f'<td style="text-align: left{short}">a</td>' in html
    assert f'<td style="text-align: right{short}">1</td>' in html
    assert f'<td style="text-align: left">{long}</td>' in html
    assert "$" not in html, "two of them would be mathematics"
    assert html.endswith("</table>")


def test_html_escapes_heads_cells_and_caption():
    evil = "<script>alert('x')</script> & \""
    table = Table([evil], [[evil]], evil)
    html = table._repr_mimebundle_()["text/html"]
    assert "<script>" not in html
    assert html.count("&lt;script>alert('x')&lt;/script> & ") == 3
    assert evil in str(table), "text is text"


def test_a_table_without_rows_shows_its_heads():
    assert str(Table(["a", "b>"], [])) == "a  b"


def test_models_are_listed_with_prices_context_and_the_default_marked():
    priced = Model("big", TOGETHER, ("8x7b",), 32_768, Price(Decimal("0.6"), Decimal("1.234")))
    unknown = Model("other", TOGETHER, note="a note")
    free = Model("mixtral", OLLAMA, price=FREE, caveat="small")
    table = models_table([priced, unknown, free], unknown)
    assert [row[0] for row in table.rows] == ["", "→", ""]
    assert [row[1] for row in table.rows] == ["together:8x7b", "together:other", "ollama:mixtral"]
    assert [row[3] for row in table.rows] == ["32,768", "?", "?"]
    assert [row[4:6] for row in table.rows] == [
        ["0.60", "1.234"],
        ["unknown", "unknown"],
        ["free", "free"],
    ]
    assert table.caption.splitlines() == [
        "→ used by default",
        "together:other: a note",
        "ollama:mixtral: small",
    ]
    assert cells(table)[2] == "big"


def spent(name: str, **values) -> Spent:
    """A row of the spend record, empty but for `values`."""
    empty = dict.fromkeys(Spent.__slots__, 0) | dict.fromkeys(MONEY, Decimal(0))
    return Spent(**{**empty, "name": name, **values})


def test_spend_adds_up_and_marks_uncertain_costs():
    known = spent("a:x", calls=3, stopped=1, estimated=1, prompt_tokens=1200, cost=Decimal("0.5"))
    unpriced = spent("b:y", calls=1, failed=1, unpriced=1, completion_tokens=7)
    table = spend_table([known, unpriced], "model", "this session")
    heads = ["model", "calls", "stopped", "failed", "tokens in", "tokens out", "cost"]
    assert table.columns == heads
    assert table.rows == [
        ["a:x", "3", "1", "0", "1,200", "0", "≈ $0.50"],
        ["b:y", "1", "0", "1", "0", "7", "price unknown"],
    ]
    assert table.foot == ["total", "4", "1", "1", "1,200", "7", "≥ ≈ $0.50"]
    assert table.caption == (
        "this session · ≥: some calls have no known price · ≈: some tokens are estimated"
    )


def test_spend_of_nothing_is_a_total_of_nothing():
    table = spend_table([], "day", "today")
    assert (table.rows, table.foot) == ([], ["total", "0", "0", "0", "$0"])
    assert table.columns == ["day", "calls", "tokens in", "tokens out", "cost"]
    assert table.caption == "today"


def test_spend_shows_savings_and_reservations_only_if_there_are_any():
    row = spent(
        "a:x",
        calls=2,
        open=1,
        cached_tokens=4000,
        cost=Decimal("0.5"),
        saved=Decimal("0.25"),
        held=Decimal("0.03"),
    )
    table = spend_table([row], "model", "all")
    heads = ["calls", "running", "tokens in", "cached", "tokens out", "cost", "saved"]
    assert table.columns == ["model", *heads]
    assert table.rows == [["a:x", "2", "1", "0", "4,000", "0", "$0.50", "$0.25"]]
    assert table.caption == "all · $0.030 is reserved for the running call"


@pytest.mark.parametrize(
    ("values", "cost", "note"),
    [
        ({"unpriced": 1}, "price unknown", ""),
        ({"unpriced": 1, "cost": Decimal(1)}, "≥ $1.00", "≥: some calls"),
        ({"lost": 1, "cost": Decimal(1)}, "≤ $1.00", "≤: lost calls count with their worst case"),
        ({"lost": 1, "unpriced": 1, "cost": Decimal(1)}, "≥ $1.00", " · lost calls count"),
        ({"lost": 1}, "$0", ""),
        ({"estimated": 1, "cost": Decimal(1)}, "≈ $1.00", "≈: some tokens"),
        ({"estimated": 1}, "$0", ""),
    ],
)
def test_marks_say_what_a_cost_is_and_the_caption_explains_only_those(values, cost, note):
    table = spend_table([spent("m", calls=1, **values)], "model", "about")
    assert (table.rows[0][-1], table.foot[-1]) == (cost, cost)
    assert note in table.caption
    if not note:
        assert table.caption == "about"
    for mark in set("≥≤≈") - set(cost):
        assert mark not in table.caption


def test_a_free_models_estimate_does_not_mark_the_others_cost():
    rows = [spent("local", calls=1, estimated=1), spent("a:x", calls=1, cost=Decimal(1))]
    assert spend_table(rows, "model", "about").foot[-1] == "$1.00"


def test_costs_of_a_column_have_the_same_decimals_and_add_up():
    costs = {"a:x": "0.6000186", "b:y": "0.0001248", "c:z": "1234", "d:free": "0"}
    rows = [spent(name, calls=1, cost=Decimal(cost)) for name, cost in costs.items()]
    table = spend_table([*rows, spent("e:w", calls=1, unpriced=1)], "model", "about")
    assert [row[-1] for row in table.rows] == [
        *("$0.60002", "$0.00012", "$1,234.00000", "$0", "price unknown"),
    ]
    assert table.foot[-1] == "≥ $1,234.60014"
    assert len({line.index(".") for line in str(table).splitlines() if "." in line}) == 1


def test_a_negative_saving_is_noted():
    cached = {"calls": 1, "cached_tokens": 400, "cost": Decimal(1)}
    rows = [spent("a:x", saved=Decimal("0.0012"), **cached)]
    rows.append(spent("b:y", saved=Decimal("-0.0041"), **cached))
    table = spend_table(rows, "model", "about")
    assert [*(row[-1] for row in table.rows), table.foot[-1]] == ["$0.0012", "-$0.0041", "-$0.0029"]
    assert table.caption == "about · saved below $0: cached tokens cost more than others"
    assert spend_table([rows[0]], "model", "about").caption == "about"


def test_prices_are_shown_to_their_last_digit_and_never_as_powers():
    prices = [Price(Decimal("1E-7"), Decimal("0.6")), Price(Decimal("2E+3"), Decimal("1.20"))]
    table = models_table([Model("m", TOGETHER, price=price) for price in prices], None)
    assert [row[4:6] for row in table.rows] == [["0.0000001", "0.60"], ["2,000.0000000", "1.20"]]


def test_calls_of_no_known_notebook_are_named_so():
    assert spend_table([spent("", calls=1)], "notebook", "all").rows[0][0] == "no notebook known"


def test_the_foot_is_separated():
    table = Table(["a", "b>"], [["x", "1"]], "", ["total", "<1>"])
    html = table._repr_mimebundle_()["text/html"]
    assert html.endswith("</tfoot></table>")
    foot = html.partition("<tfoot>")[2]
    assert foot.count("border-top: 1px solid gray") == 2
    assert foot.count("font-weight: bold") == 1, "bold figures would stand beside those above"
    assert "&lt;1>" in foot
    assert str(table).splitlines()[-1] == "total  <1>"
    assert "<tfoot>" not in Table(["a"], [["x"]])._repr_mimebundle_()["text/html"]


def test_doctor_counts_the_problems():
    checks = [Check("a", True, "fine"), Check("b", False, "broken"), Check("c", None, "unused")]
    table = doctor_table(checks)
    assert [row[0] for row in table.rows] == ["ok", "✗", "-"]
    assert table.caption == "1 to fix"
    assert doctor_table([checks[0], checks[2]]).caption == "everything works"

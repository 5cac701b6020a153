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
from mixmagic.store.ledger.spend import MONEY, Spent
from mixmagic.tasks.doctor import Check
from mixmagic.text.table import Table

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
    short = "; white-space: nowrap"
    assert f'<th style="text-align: left{short}">name</th>' in html
    assert f'<th style="text-align: right{short}">cost</th>' in html
    assert f'<td style="text-align: left{short}">a</td>' in html
    assert f'<td style="text-align: right{short}">1</td>' in html
    assert f'<td style="text-align: left; min-width: 14em">{long}</td>' in html
    assert "$" not in html, "two of them would be mathematics"
    assert html.endswith("</table></div>")


def test_html_escapes_heads_cells_and_caption():
    evil = "<script>alert('x')</script> & \""
    table = Table([evil], [[evil]], evil)
    html = table._repr_mimebundle_()["text/html"]
    assert "<script>" not in html
    assert html.count("&lt;script>alert('x')&lt;/script> & ") == 3
    assert evil in str(table), "text is text"


def test_a_table_without_rows_is_its_caption():
    table = Table(["a", "b>"], [], "Nothing yet.", ["total", "0"])
    assert str(table) == "Nothing yet."
    html = table._repr_mimebundle_()["text/html"]
    assert "<table" not in html
    assert "Nothing yet." in html


WIDE = Table(
    ["name", "API string?", "price>", "good for", "more?"],
    [
        [
            "together:8x7b",
            "mistralai/Mixtral-8x7B-Instruct-v0.1",
            "1,000.50",
            "chat, code, low cost",
            "x" * 9,
        ],
        ["local", "SmolLM2", "free", "trying things out, offline, no bill", "y"],
    ],
    "a caption of several words that is longer than a narrow terminal",
)


@pytest.mark.parametrize("columns", [120, 110, 100, 90, 80, 70, 60, 50, 46])
def test_a_table_fits_into_a_terminal_without_breaking_a_word(columns):
    text = WIDE.text(columns)
    assert max(map(len, text.splitlines())) <= columns
    wide = set(WIDE.text().split())
    assert set(text.split()) <= wide, "no part of a word"
    for kept in ("together:8x7b", "1,000.50", "trying", "offline,"):
        assert kept in text.split()


def test_optional_columns_are_left_out_the_last_one_first():
    assert "more" in WIDE.text(109)
    assert "more" not in WIDE.text(108)
    assert "API" in WIDE.text(98)
    assert "API" not in WIDE.text(80)
    assert "good for" in WIDE.text(80)


def test_heads_are_wrapped_and_at_last_names_between_their_parts():
    names = ["together:8x7b", "together:some-vendor/a-model_name-that-goes-on-Instruct-v0.1"]
    table = Table(["model", "tokens in>", "price>"], [[name, "1,000", "free"] for name in names])
    lines = table.text(42).splitlines()
    assert lines[0].split() == ["model", "tokens", "price"]
    assert lines[1].split() == ["in"]
    assert all(len(line) <= 42 for line in lines)
    assert "together:8x7b" in lines[2], "it has room"
    name = "".join(line[:26].strip() for line in lines[3:])
    assert name.startswith(names[1][:20])
    whole = "".join(line.removesuffix("1,000   free").strip() for line in lines[3:])
    assert whole == names[1]
    assert all(line.split()[0][-1] in "/:-_" for line in lines[3:-1])


def test_on_the_right_words_are_wrapped_and_amounts_are_not():
    text = Table(["m", "cost>"], [["x", "not served"], ["y", "≈ $1.25"]]).text(8)
    assert text.splitlines() == ["m     cost", "x      not", "    served", "y  ≈ $1.25"]


def test_a_table_that_is_not_in_a_terminal_is_not_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert str(WIDE) == WIDE.text()


def test_html_marks_optional_columns_and_scrolls():
    html = WIDE._repr_mimebundle_()["text/html"]
    assert "overflow-x: auto" in html
    assert html.count('class="mixmagic-from-') == 6
    rules = re.findall(r"\(max-width: (\d+)em\) { \.mixmagic-from-(\d+) {", html)
    assert len(rules) == 2
    assert all(room == name and f'class="mixmagic-from-{name}"' in html for room, name in rules)
    last, first = (int(room) for room, _ in rules)
    assert last > first, "the last one is left out before others"
    assert "<style" not in Table(["a"], [["b"]])._repr_mimebundle_()["text/html"]


def test_models_are_listed_with_prices_context_and_the_default_marked():
    price = Price(Decimal("0.6"), Decimal("1.234"))
    priced = Model("big", TOGETHER, ("8x7b",), 32_768, price=price)
    unknown = Model("other", TOGETHER, note="a note")
    free = Model("mixtral", OLLAMA, price=FREE, caveat="small")
    table = models_table([priced, unknown, free], unknown)
    assert [row[0] for row in table.rows] == ["", "→", ""]
    assert [row[1] for row in table.rows] == ["together:8x7b", "together:other", "ollama:mixtral"]
    assert [row[3] for row in table.rows] == ["32,768", "?", "?"]
    assert [row[4:6] for row in table.rows] == [
        ["0.600", "1.234"],
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
    heads = ["model", "calls", "stopped", "failed", "unpriced", "tokens in", "tokens out", "cost"]
    assert table.columns == heads
    assert table.rows == [
        ["a:x", "3", "1", "0", "0", "1,200", "0", "≈ $0.50"],
        ["b:y", "1", "0", "1", "1", "0", "7", "price unknown"],
    ]
    assert table.foot == ["total", "4", "1", "1", "1", "1,200", "7", "≈ $0.50"]
    assert table.caption == (
        "this session · unpriced: calls whose price is not known, which the cost leaves out"
        " · ≈: some tokens are estimated"
    )


def test_spend_of_nothing_is_a_sentence():
    assert str(spend_table([], "day", "today")) == "No calls: today."


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


def test_spend_with_every_column_fits_into_80_columns():
    counts = ("calls", "open", "stopped", "failed", "lost", "unpriced", "cached_tokens")
    values = dict.fromkeys(counts, 1234) | {"prompt_tokens": 12_345_678}
    money = {"cost": Decimal("12.34"), "saved": Decimal("1.20")}
    text = spend_table([spent("openrouter:llama-3.3-70b", **values, **money)], "model", "").text(80)
    assert max(map(len, text.splitlines())) <= 80
    assert "failed" in text.splitlines()[0]
    assert "$12.34" in text


@pytest.mark.parametrize(
    ("values", "cost", "note"),
    [
        ({"unpriced": 1}, "price unknown", "unpriced: calls whose price"),
        ({"unpriced": 1, "cost": Decimal(1)}, "$1.00", "unpriced: calls whose price"),
        ({"lost": 1, "cost": Decimal(1)}, "≤ $1.00", "≤: lost calls count with their worst case"),
        ({"lost": 1, "unpriced": 1, "cost": Decimal(1)}, "≤ $1.00", "≤: lost calls count"),
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
    for mark in set("≤≈") - set(cost):
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
    assert table.foot[-1] == "$1,234.60014"
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
    assert [row[4:6] for row in table.rows] == [
        ["0.0000001", "0.6000000"],
        ["2,000.0000000", "1.2000000"],
    ]


def test_calls_of_no_known_notebook_are_named_so():
    assert spend_table([spent("", calls=1)], "notebook", "all").rows[0][0] == "no notebook known"


def test_the_foot_is_separated():
    table = Table(["a", "b>"], [["x", "1"]], "", ["total", "<1>"])
    html = table._repr_mimebundle_()["text/html"]
    assert html.endswith("</tfoot></table></div>")
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

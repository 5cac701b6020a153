"""Budgets: which apply, what they forbid, and that no damaged file removes one."""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.catalog import Catalog
from mixmagic.core.control import Control
from mixmagic.core.money import Budget, Usage, parse_dollars
from mixmagic.core.values import Message, Request
from mixmagic.errors import BadArguments, BudgetExceeded, StoreDamaged, StoreError
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation

CATALOG = Catalog()
TOKEN = Decimal("600e-9")


def request(model: str = "8x7b", budget: Budget | None = None, **params) -> Request:
    resolved = CATALOG.resolve(model)
    # Whose template is known holds what it counts: 9 tokens for the prompt, 100 in all.
    provider = replace(resolved.provider, counts_exactly=True)
    resolved = replace(resolved, provider=provider)
    params = {"max_tokens": 91, **params}
    return Request(resolved, (Message("user", "Hi"),), params, control=Control(budget=budget))


def reserve(ledger: Ledger, asked: Request, notebook: str | None = None) -> Reservation:
    reservation = Reservation(asked, notebook, worst_case(asked))
    ledger.reserve(reservation)
    return reservation


def settle(ledger: Ledger, reservation: Reservation, tokens: int) -> None:
    asked, usage = reservation.request, Usage(9, tokens - 9)
    cost = asked.model.price.cost(usage)
    ledger.record(reservation, "ok", Completion("text", usage, cost, "stop", asked, 1.0, 0.5))


@pytest.fixture
def make(tmp_path):
    made = []

    def make(name: str = "mine", /, **settings) -> Ledger:
        limits = {per: Decimal(limit) for per, limit in settings.items()}
        made.append(Ledger(tmp_path / "data", name, limits))
        return made[-1]

    yield make
    for ledger in made:
        ledger.database.close()


def test_the_worst_case_of_a_call_is_reserved_until_it_is_recorded(make):
    ledger = make()
    ledger.set_limit("session", 150 * TOKEN)
    reservation = reserve(ledger, request())
    (left,) = ledger.balances(None)
    assert (left.spent, left.reserved, left.remaining) == (0, 100 * TOKEN, 50 * TOKEN)
    with pytest.raises(BudgetExceeded) as caught:
        reserve(ledger, request())
    assert (caught.value.most, caught.value.remaining) == (100 * TOKEN, 50 * TOKEN)
    settle(ledger, reservation, 20)
    (left,) = ledger.balances(None)
    assert (left.spent, left.reserved, left.remaining) == (20 * TOKEN, 0, 130 * TOKEN)
    reserve(ledger, request())


def test_a_budget_is_exact_to_the_nanodollar(make):
    ledger = make()
    ledger.set_limit("session", 100 * TOKEN - Decimal("1e-9"))
    reservation = reserve(ledger, request())
    assert reservation.request.params["max_tokens"] == 90
    settle(ledger, reservation, 0)
    ledger.set_limit("session", 100 * TOKEN)
    assert reserve(ledger, request()).request.params["max_tokens"] == 91


def test_a_refusal_leaves_nothing_behind(make):
    ledger = make()
    ledger.set_limit("day", Decimal(0))
    with pytest.raises(BudgetExceeded):
        reserve(ledger, request())
    assert ledger.database.rows("SELECT * FROM calls") == []
    assert ledger.database.rows("SELECT * FROM totals") == []


def test_a_refusal_names_the_worst_case_the_remaining_budget_and_two_ways_out(make):
    ledger = make()
    ledger.set_limit("month", 60 * TOKEN)
    under_way = [reserve(ledger, request(max_tokens=1))]
    with pytest.raises(BudgetExceeded) as caught:
        reserve(ledger, request())
    assert caught.value.message == (
        "This call could cost up to $0.000060, and this month's budget of $0.000036 has"
        " $0.000030 left ($0.0000060 is reserved for calls under way), too little for a useful"
        " answer; nothing was sent."
    )
    assert caught.value.hint == (
        "Raise it (`%mixmagic budget DOLLARS --per month`), or ask for less: --max-tokens 41"
        " would fit."
    )
    under_way.append(reserve(ledger, request(max_tokens=41)))
    with pytest.raises(BudgetExceeded, match="left") as caught:
        reserve(ledger, request())
    assert caught.value.hint == "Raise it (`%mixmagic budget DOLLARS --per month`)."


def test_the_suggested_max_tokens_fit_the_tightest_budget(make):
    ledger = make()
    ledger.set_limit("session", 60 * TOKEN)
    ledger.set_limit("month", 50 * TOKEN)
    with pytest.raises(BudgetExceeded, match="this session's budget") as caught:
        reserve(ledger, request())
    fits = int(re.search(r"--max-tokens (\d+) would fit", caught.value.hint)[1])
    with pytest.raises(BudgetExceeded, match="this month's budget"):
        reserve(ledger, request(max_tokens=fits + 1))
    reserve(ledger, request(max_tokens=fits))


def test_each_budget_limits_its_own_calls(make):
    mine, other = make(), make("another")
    limit = 150 * TOKEN
    mine.set_limit("session", limit)
    mine.set_limit("notebook", limit, "/a.ipynb")
    settle(mine, reserve(mine, request(), "/a.ipynb"), 100)
    with pytest.raises(BudgetExceeded, match="this session's budget"):
        reserve(mine, request(), "/b.ipynb")
    with pytest.raises(BudgetExceeded, match="this notebook's budget"):
        reserve(other, request(), "/a.ipynb")
    settle(other, reserve(other, request(), "/b.ipynb"), 100)
    for per, name in (("day", "today's budget"), ("month", "this month's budget")):
        mine.set_limit(per, 250 * TOKEN)
        with pytest.raises(BudgetExceeded, match=name):
            reserve(other, request(), "/b.ipynb")
        mine.set_limit(per, None)
    reserve(other, request(), "/b.ipynb")


def test_a_cells_budget_is_shared_by_the_calls_that_carry_it(make):
    ledger, cell = make(), Budget(150 * TOKEN)
    settle(ledger, reserve(ledger, request(budget=cell)), 80)
    with pytest.raises(BudgetExceeded, match="its own budget") as caught:
        reserve(ledger, request(budget=cell))
    assert "a higher --budget" in caught.value.hint
    reserve(ledger, request(budget=Budget(150 * TOKEN)))
    reserve(ledger, request(budget=cell, max_tokens=61))


def test_limits_from_the_settings_apply_as_well(make):
    ledger = make(day="0.00006", session="1")
    ledger.set_limit("day", Decimal(5))
    reserve(ledger, request())
    with pytest.raises(BudgetExceeded) as caught:
        reserve(ledger, request())
    assert "budget_day in config.toml" in caught.value.hint
    assert ledger.budgets.session == 1
    ledger.set_limit("session", Decimal("0.5"))
    assert ledger.budgets.session == Decimal("0.5")


def test_a_limit_that_is_set_while_a_call_waits_applies_to_it(make):
    """It waits for the very transaction that sets the limit."""
    mine, other = make(), make("another")
    settle(other, reserve(other, request()), 20)
    said: list[Exception] = []

    def ask() -> None:
        try:
            reserve(other, request())
        except BudgetExceeded as error:
            said.append(error)

    thread = threading.Thread(target=ask)
    with mine.database.transaction():
        thread.start()
        thread.join(0.3)  # it is at the file's lock
        mine.budgets.set("day", Decimal(0), None)
    thread.join(timeout=60)
    assert len(said) == 1


def test_a_budget_is_seen_by_other_ledgers_at_once(make):
    mine, other = make(), make("another")
    reserve(other, request())
    mine.set_limit("day", Decimal(0))
    with pytest.raises(BudgetExceeded):
        reserve(other, request())
    mine.set_limit("day", None)
    reserve(other, request())


def test_free_calls_pass_any_budget_and_calls_of_unknown_price_none(make):
    ledger = make()
    ledger.set_limit("session", Decimal(0))
    reserve(ledger, request("local"))
    ledger.set_limit("session", Decimal(1_000))
    with pytest.raises(BudgetExceeded, match="The price of openai:some is not known") as caught:
        reserve(ledger, request("openai:some"))
    assert "catalog file" in caught.value.hint
    ledger.set_limit("session", None)
    reserve(ledger, request("openai:some"))


def test_a_budget_set_too_late_has_less_than_nothing_left(make):
    ledger = make()
    settle(ledger, reserve(ledger, request()), 100)
    ledger.set_limit("session", 10 * TOKEN)
    assert ledger.balances(None)[0].remaining == -90 * TOKEN
    with pytest.raises(BudgetExceeded, match=r"has \$0 left"):
        reserve(ledger, request())


def test_a_day_and_a_month_end(make, monkeypatch):
    ledger = make()
    ledger.set_limit("day", 150 * TOKEN)
    ledger.set_limit("month", 250 * TOKEN)
    asked = request()

    def on(seconds: float) -> Reservation:
        reservation = Reservation(asked, None, worst_case(asked), started_at=seconds)
        ledger.reserve(reservation)
        settle(ledger, reservation, 100)
        return reservation

    noon = 1_796_126_400.0  # 2026-12-01 12:00 UTC
    on(noon)
    with pytest.raises(BudgetExceeded, match="today's"):
        on(noon + 3600)
    on(noon + 86_400)
    with pytest.raises(BudgetExceeded, match="this month's"):
        on(noon + 2 * 86_400)
    on(noon + 40 * 86_400)
    with pytest.raises(BudgetExceeded, match="today's"):
        on(noon)  # the clock went back


def test_a_damaged_ledger_loses_no_limit(make):
    ledger = make()
    reserve(ledger, request("local"))
    ledger.set_limit("day", Decimal(0))
    ledger.close()
    ledger.database.path.write_bytes(b"no database at all, " * 300)
    with pytest.raises(StoreDamaged):  # whose spending is forgotten
        reserve(ledger, request("local"))
    with pytest.raises(BudgetExceeded):
        reserve(make("another"), request())
    reserve(ledger, request("local"))


DEEP = 200_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is not valid JSON"),
        ("{", "it is not valid JSON"),
        ("[]", "it is not an object"),
        ('"day"', "it is not an object"),
        ("null", "it is not an object"),
        ('{"day": "many"}', "An amount of dollars cannot be 'many'"),
        ('{"day": -1}', "cannot be '-1'"),
        ('{"day": null}', "cannot be None"),
        ('{"day": true}', "cannot be True"),
        ('{"day": NaN}', "cannot be 'NaN'"),
        ('{"day": -Infinity}', "cannot be '-Infinity'"),
        ('{"day": 1e400}', "cannot be '1e400'"),
        ('{"day": "1_0"}', "cannot be '1_0'"),
        ('{"day": ["1"]}', "cannot be ['1']"),
        ('{"day": {"limit": "1"}}', "cannot be {"),
        (f'{{"day": {"9" * 5000}}}', "cannot be '999"),
        ('{"day": "1", "day": "2"}', "it has the same name twice"),
        ('{"Day": "1"}', "'Day' is not a valid budget name"),
        ('{"week": "1"}', "'week' is not a valid budget name"),
        ('{"session": "1"}', "'session' is not a valid budget name"),
        ('{"notebook": "1"}', "'notebook' is not a valid budget name"),
        ('{"notebook:": "1"}', "'notebook:' is not a valid budget name"),
        ('{"day:2026-11-30": "1"}', "'day:2026-11-30' is not a valid budget name"),
        ('{"day": ' + "[" * DEEP + "]" * DEEP + "}", "it is not valid JSON"),
        ("[" * DEEP, "it is not valid JSON"),
        ('{"a":' * DEEP, "it is not valid JSON"),
        ('{"day": "1"}'.encode("utf-16"), "line 1 is not UTF-8"),
        (b'{\n"day": "\xff"}', "line 2 is not UTF-8"),
    ],
    ids=lambda value: f"{value!r:.30}",
)
def test_limits_that_cannot_be_read_forbid_every_call(make, text, why):
    ledger = make()
    ledger.set_limit("day", Decimal(1))
    content = text if isinstance(text, bytes) else text.encode()
    ledger.budgets.path.write_bytes(content)
    with pytest.raises(StoreError, match=r"budgets\.json cannot be read") as caught:
        reserve(ledger, request())
    assert why in caught.value.message
    assert len(caught.value._render_traceback_()) == 2
    for use in (lambda: ledger.balances(None), lambda: ledger.set_limit("day", Decimal(2))):
        with pytest.raises(StoreError, match="cannot be read"):
            use()
    assert ledger.budgets.path.read_bytes() == content
    ledger.budgets.path.unlink()
    reserve(ledger, request())


def test_limits_may_be_numbers_and_their_names_in_any_script(make):
    ledger = make()
    ledger.budgets.path.parent.mkdir(exist_ok=True)
    ledger.budgets.path.write_text('{"day": 0.1, "month": 3, "notebook:/ä.ipynb": "0.20"}', "utf-8")
    limits = {left.limit.per: left.limit.dollars for left in ledger.balances("/ä.ipynb")}
    assert limits == {"day": Decimal("0.1"), "month": 3, "notebook": Decimal("0.2")}
    ledger.set_limit("day", Decimal("1e-9"))
    assert {left.limit.dollars for left in ledger.balances(None)} == {Decimal("1e-9"), Decimal(3)}


def test_limits_may_begin_with_a_byte_order_mark(make):
    ledger = make()
    ledger.set_limit("day", Decimal(1))
    ledger.budgets.path.write_text('\N{BOM}{"day": 1e-3, "month": "$2"}', "utf-8")
    limits = [balance.limit.dollars for balance in ledger.balances(None)]
    assert limits == [Decimal("0.001"), 2]


def test_limits_in_a_folder_or_a_pipe_forbid_everything(make):
    """Reading a pipe would wait."""
    ledger = make()
    ledger.set_limit("day", Decimal(1))
    ledger.budgets.path.unlink()
    for make_it in (os.mkdir, os.mkfifo):
        make_it(ledger.budgets.path)
        with pytest.raises(StoreError, match="it is not a regular file"):
            reserve(ledger, request())
        ledger.budgets.path.rmdir() if ledger.budgets.path.is_dir() else None
        ledger.budgets.path.unlink(missing_ok=True)


def test_a_limit_that_cannot_be_written_stays_as_it_was(make, monkeypatch):
    ledger = make()
    ledger.set_limit("day", Decimal(1))
    monkeypatch.setattr(os, "urandom", bytes)
    part = ledger.budgets.path.with_name(".budgets.json.00000000.part")
    part.mkdir()
    with pytest.raises(StoreError, match="the budget stays as it was"):
        ledger.set_limit("day", Decimal(2))
    part.rmdir()
    assert json.loads(ledger.budgets.path.read_text()) == {"day": "1"}
    assert not part.exists()


def test_limits_set_at_once_are_all_kept(make):
    ledgers = [make(f"s{number}") for number in range(8)]

    def each(number: int) -> None:
        ledgers[number].set_limit("notebook", Decimal(number), f"/{number}.ipynb")

    threads = [threading.Thread(target=each, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    kept = json.loads(ledgers[0].budgets.path.read_text())
    assert kept == {f"notebook:/{number}.ipynb": str(number) for number in range(8)}


def test_an_unknown_notebook_cannot_have_a_budget(make):
    with pytest.raises(BadArguments, match="The notebook is not known"):
        make().set_limit("notebook", Decimal(1), None)


@pytest.mark.parametrize(
    ("given", "read"),
    [(0.1, "0.1"), ("0.50", "0.5"), ("$2", "2"), (0, "0"), (1_000_000, "1000000")],
)
def test_an_amount_is_what_is_written(given, read):
    assert parse_dollars(given) == Decimal(read)


@pytest.mark.parametrize("given", ["", "much", "-1", -0.01, float("nan"), "inf", True, 10**7, None])
def test_an_invalid_amount_is_refused(given):
    with pytest.raises(BadArguments, match="An amount of dollars cannot be"):
        parse_dollars(given)


def test_a_change_is_seen_whether_the_file_has_another_time_or_another_inode(make):
    """The new limit has as many characters as the old one."""
    mine, other = make(), make("another")
    mine.set_limit("day", Decimal(1))
    for limit in (1, 2):
        assert [left.limit.dollars for left in mine.balances(None)] == [limit]
        before = mine.budgets.path.stat()
        other.set_limit("day", Decimal(limit + 1))
        if limit == 2:  # as if the clock stood still
            os.utime(mine.budgets.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [left.limit.dollars for left in mine.balances(None)] == [3]
    mine.budgets.path.write_text('{"day": "4"}')  # by an editor: the inode stays
    assert [left.limit.dollars for left in mine.balances(None)] == [4]

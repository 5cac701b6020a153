"""Amounts of dollars are read as they are meant, or refused in two lines, in bounded time."""

from __future__ import annotations

import time
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from command_lines import shown

from mixmagic.core.money import parse_dollars
from mixmagic.core.settings import Settings
from mixmagic.errors import BadArguments

READ = {
    "0.50": "0.5",
    "$2": "2",
    "$ 0.50": "0.5",
    "  .5 ": "0.5",
    "5.": "5",
    "1e-3": "0.001",
    "1E3": "1000",
    "0": "0",
    "\N{NO-BREAK SPACE}0.5\n": "0.5",
}
REFUSED = [
    "",
    "   ",
    "$",
    ".",
    "much",
    "1_0",
    "1__0",
    "١",  # noqa: RUF001  # an Arabic-Indic 1
    "٠.٥",  # noqa: RUF001
    "１",  # noqa: RUF001  # a full-width 1
    "½",
    "0,50",
    "1,000.00",
    "50c",
    "50¢",
    "0.50€",
    "1 0",
    "0x10",
    "-0",
    "-1",
    "+1",
    "$-1",
    "−1",  # noqa: RUF001  # a minus
    "$$1",
    "1$",
    "nan",
    "NaN",
    "sNaN",
    "inf",
    "-Infinity",
    "1e7",
    "1e999999999",
    "1e-999999999",
    "9" * 5000,
    "0." + "0" * 5000 + "1",
    "1" + " " * 5000 + "1",
    "1\n2",
    "1\N{NULL}",
]  # fmt: skip
NUMBERS = [
    (0.1, "0.1"),
    (1e-7, "0.0000001"),
    (-0.0, "0"),
    (1_000_000, "1000000"),
    (Decimal("0.30"), "0.3"),
    (Decimal("-0"), "0"),
    (Decimal("1e-999999"), "0"),
    (Fraction(1, 4), "0.25"),
    (Fraction(1, 3), "0.333333333"),
    (Fraction(10**5000, 10**5001), "0.1"),
    (np.float64(0.1), "0.1"),
    (np.float32(0.1), "0.1"),
    (np.int64(3), "3"),
    (np.uint8(3), "3"),
]
ODD = [
    None,
    True,
    False,
    np.bool_(True),
    10**5000,
    -(10**5000),
    10**6 + 1,
    -1,
    -0.01,
    1e22,
    float("nan"),
    float("inf"),
    np.float64("nan"),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("1e999999"),
    Fraction(-1, 3),
    Fraction(10**5000, 3),
    1 + 0j,
    b"1",
    ["1"],
    {},
    object(),
]


@pytest.mark.parametrize(("text", "value"), READ.items())
def test_texts_are_read_as_they_are_meant(text, value):
    assert parse_dollars(text) == Decimal(value)


@pytest.mark.parametrize(("number", "value"), NUMBERS)
def test_numbers_of_any_kind_are_read_as_they_are_written(number, value):
    read = parse_dollars(number)
    assert (read, read.is_signed()) == (Decimal(value), False)
    assert parse_dollars(str(read)) == read, "a file of budgets can be read again"


@pytest.mark.parametrize("value", [*REFUSED, *ODD], ids=lambda value: f"{type(value).__name__}")
def test_whatever_else_there_is_is_refused_in_two_lines(value):
    started = time.process_time()
    with pytest.raises(BadArguments, match="An amount of dollars cannot be") as caught:
        parse_dollars(value)
    assert time.process_time() - started < 0.5
    lines = caught.value._render_traceback_()
    assert len(lines) == 2
    assert not any("\n" in line for line in lines)


def test_the_notebooks_own_precision_and_traps_are_not_ours():
    from decimal import Inexact, Rounded

    with localcontext(prec=2) as context:
        context.traps[Inexact] = context.traps[Rounded] = True
        assert parse_dollars("123.456789") == Decimal("123.456789")
        assert parse_dollars(Decimal("0.1234567891234")) == Decimal("0.123456789")


@pytest.mark.parametrize("text", REFUSED)
def test_every_way_to_give_an_amount_refuses_alike(session, home, text, monkeypatch):
    config = home / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    ways = [
        lambda: session.budget(text),
        lambda: session.request("Hi", model="local", budget=text),
        lambda: shown(session, "budget", text),
        lambda: shown(session, "spend", "--resolve", "1", text),
    ]
    if text.isprintable():
        config.write_text(f'budget_day = "{text}"', "utf-8")
        ways.append(Settings.load)
    for way in ways:
        with pytest.raises(BadArguments) as caught:
            way()
        assert len(caught.value._render_traceback_()) == 2
    config.unlink(missing_ok=True)
    if text and "\0" not in text:
        monkeypatch.setenv("MIXMAGIC_BUDGET_MONTH", text)
        with pytest.raises(BadArguments, match="'budget_month' cannot be") as caught:
            Settings.load()
        assert caught.value.hint == "It takes US dollars, from 0 to a million, written as in 0.50."


@pytest.mark.parametrize("text", ["0.50", "$ 0.50", "5e-1", " .5"])
def test_every_way_to_give_an_amount_reads_alike(session, home, text, monkeypatch):
    session.budget(text)
    assert session.ledger.budgets.session == Decimal("0.5")
    assert session.request("Hi", model="local", budget=text).control.budget.limit == Decimal("0.5")
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "config.toml").write_text(f'budget_day = "{text}"\nbudget_session = 0.5')
    monkeypatch.setenv("MIXMAGIC_BUDGET_MONTH", text)
    budgets = Settings.load().budgets
    assert budgets == dict.fromkeys(("session", "day", "month"), Decimal("0.5"))


def test_floats_of_the_settings_file_are_read_as_written(home):
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "config.toml").write_text("budget_day = 0.1\nbudget_month = 3")
    assert Settings.load().budgets == {"day": Decimal("0.1"), "month": Decimal(3)}

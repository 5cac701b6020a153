"""The spend as an object: what it shows, and that its exports say exactly what it holds."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from server import Answer
from server import together as words

from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.core.extras import install
from mixmagic.core.money import Price, Usage
from mixmagic.core.values import Message, Model, Provider, Request
from mixmagic.display import plots
from mixmagic.display.spend import _FIELDS, Spend, read_spend
from mixmagic.errors import BadArguments, StoreError
from mixmagic.sessions import Session
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation
from mixmagic.store.ledger.spend import MONEY, By, Period, Spent, Timeline

ODD = Decimal("0.123456789")
MODELS = ["together:a/<b>&amp;", "x:$y$_z", "local:free"]


def spent(name: str, **values) -> Spent:
    """A row of the spend record, empty but for `values`."""
    empty = dict.fromkeys(Spent.__slots__, 0) | dict.fromkeys(MONEY, Decimal(0))
    return Spent(**{**empty, "name": name, **values})


def timeline() -> Timeline:
    points = [(1.7e9 + 60 * i, i * ODD) for i in range(1, 4)]
    return Timeline([(MODELS[0], 2 * ODD), (MODELS[1], ODD)], points=points)


@pytest.fixture
def shown() -> Spend:
    rows = [spent(MODELS[0], calls=2, prompt_tokens=7, cost=2 * ODD, held=ODD, open=1)]
    rows += [spent(MODELS[1], calls=1, cost=ODD), spent(MODELS[2], calls=5)]
    return Spend(rows, "session", "model", timeline())


def test_it_holds_its_rows_and_their_total(shown):
    assert [row.name for row in shown] == MODELS
    assert (len(shown), shown.total.calls, shown.total.cost) == (3, 8, 3 * ODD)
    assert str(shown) == str(shown.table)
    assert repr(shown) == "<Spend of this session: 8 calls, $0.37>"


def test_it_shows_a_table_and_below_it_a_plot_in_the_pages_own_colour(shown):
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == str(shown)
    html = bundle["text/html"]
    assert (
        0 < html.index('<div style="overflow-x: auto') < html.index("<table") < html.index("<svg")
    )
    assert "&lt;b>" in html
    picture = html[html.index("<svg") :]
    root = ET.fromstring(picture)  # it is whole, and nothing of a name is a tag
    assert root.tag.endswith("svg")
    assert "currentColor" in picture
    assert plots.INK not in picture
    assert "<style" not in picture, "its rules would be the whole page's"
    assert "<script" not in picture
    assert len(picture) < 60_000


def test_colours_are_readable_on_white_and_on_black():
    def light(colour: str) -> float:
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [p / 12.92 if p <= 0.04 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in (*plots.COLORS, plots.INK, plots._GRAY):
        assert 1.05 / (light(colour) + 0.05) > 2.9, colour
        assert (light(colour) + 0.05) / (light("#111111") + 0.05) > 2.9, colour


def test_nothing_is_plotted_without_any_cost():
    free = Spend([spent("local:free", calls=3)], "session", "model", timeline())
    assert free.picture == ""
    assert free._repr_mimebundle_() == free.table._repr_mimebundle_()


@pytest.mark.parametrize("broken", ["raise RuntimeError", "raise ImportError", "1 / 0", "x = 1"])
def test_a_broken_matplotlib_leaves_the_table_alone(tmp_path, broken):
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text(broken)
    code = """
from decimal import Decimal
from mixmagic.display.spend import Spend
from mixmagic.store.ledger.spend import MONEY, Spent, Timeline
row = Spent("m", *[1] * 10, *[Decimal(1)] * 3)
drawn = Timeline([("m", Decimal(1))], [(0.0, Decimal(1))])
html = Spend([row], "session", "model", drawn)._repr_mimebundle_()["text/html"]
print("<svg" in html, "<table" in html)
"""
    assert fresh(code, PYTHONPATH=str(tmp_path)) == "False True"


def test_matplotlibs_messages_about_caches_are_not_in_cells():
    code = """
from decimal import Decimal
from mixmagic.display.spend import Spend
from mixmagic.store.ledger.spend import Spent, Timeline
row = Spent("m", *[1] * 10, *[Decimal(1)] * 3)
drawn = Timeline([("m", Decimal(1))], [(0.0, Decimal(1))])
spend = Spend([row], "session", "model", drawn)
import sys; sys.stderr = sys.stdout
print("<svg" in spend.picture)
"""
    assert fresh(code, MPLCONFIGDIR="/dev/null/nowhere") == "True"


def fresh(code: str, **env: str) -> str:
    """Return the output of `code` in a separate process."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_without_matplotlib_and_pandas_there_is_a_table_and_a_file():
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("matplotlib", "pandas", "numpy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from decimal import Decimal
from mixmagic.display.spend import Spend
from mixmagic.errors import MissingPackage
from mixmagic.store.ledger.spend import Spent
row = Spent("m", *[1] * 10, *[Decimal(1)] * 3)
spend = Spend([row], "session", "model", None)
print("<svg" in spend._repr_mimebundle_()["text/html"], spend.to_csv().splitlines()[1][:4])
for ask in (spend.frame, spend.plot):
    try:
        ask()
    except MissingPackage as error:
        print(error.message, error.hint)
"""
    assert fresh(code).splitlines() == [
        "False m,1,",
        f"A DataFrame needs pandas, which is not installed. Run {install('data')}.",
        f"The plot needs matplotlib, which is not installed. Run {install('data')}.",
    ]


def test_a_table_imports_neither_matplotlib_nor_pandas():
    code = "import sys, mixmagic; str(mixmagic.spend()); print({'matplotlib', 'pandas', 'numpy'}"
    assert fresh(f"{code} & set(sys.modules))") == "set()"


def test_a_plot_leaves_pyplot_alone_and_shows_itself(shown):
    code = """
import sys
from decimal import Decimal
from mixmagic.display.plots import draw
from mixmagic.store.ledger.spend import Timeline
figure = draw(Timeline([("m", Decimal(1))], days=[("2026-11-01", "m", Decimal(1))]))
print(type(figure).__mro__[1].__name__, "matplotlib.pyplot" in sys.modules)
"""
    assert fresh(code) == "Figure False"
    assert shown.plot()._repr_html_().startswith("<svg role")


@pytest.mark.parametrize(
    "drawn",
    [
        Timeline([("m", Decimal("1e-9"))], points=[(1.7e9, Decimal("1e-9"))]),
        Timeline([("m", Decimal(123_456))], days=[("2026-11-01", "m", Decimal(123_456))]),
        Timeline([("m", Decimal(1))], days=[("2023-01", "m", Decimal(1))]),
        Timeline(
            [(f"p:{i}" * 40, Decimal(9 - i)) for i in range(8)],
            days=[("2026-11-01", f"p:{i}" * 40, Decimal(9 - i)) for i in range(8)],
        ),
        Timeline([("模型:火", Decimal(1))], points=[(1.7e9, Decimal(1))]),
    ],
    ids=["a nanodollar", "a fortune", "one month", "many models", "no such letters"],
)
def test_any_costs_can_be_plotted(drawn):
    ET.fromstring(plots.svg(plots.draw(drawn)))


@pytest.mark.parametrize("period", sorted({*get_args(Period)} - {"notebook"}))
def test_a_plot_without_a_cost_says_so(session, period):
    """Nothing was called, or only what is free: `period` is empty, or its sums are 0."""
    for _ in range(2):
        (axes,) = read_spend(session, period).plot().axes
        assert [text.get_text() for text in axes.texts] == ["no cost to show"]
        assert not axes.axison
        call_for_nothing(session)


def call_for_nothing(session: Session) -> None:
    free = Model("m", Provider("x", "X"), price=Price(Decimal(0), Decimal(0)))
    request = Request(free, (Message("user", "Hi"),))
    reservation = Reservation(request, None, worst_case(request), time.time())
    session.ledger.reserve(reservation)
    answer = Completion("", Usage(10, 1), Decimal(0), "stop", request, 1.0, None)
    session.ledger.record(reservation, "ok", answer)


def test_table_and_plot_agree_whenever_they_are_shown(session, together):
    together.plan = [Answer(words("Hello", prompt=100_000)) for _ in range(3)]
    session.ask("Hi", model="8x7b")
    shown = read_spend(session)
    for _ in range(2):
        session.ask("Hi", model="8x7b")
    _, by_model = shown.plot().axes
    assert by_model.texts[1].get_text() == "$0.060" == shown.table.foot[-1]
    assert read_spend(session).total.cost > Decimal("0.18")


def test_a_curve_goes_on_while_the_clock_goes_back(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        begun = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()  # 02:30, half an hour before
        points = [(begun + 600 * i, i * ODD) for i in range(1, 12)]
        axes, _ = plots.draw(Timeline([("m", ODD)], points=points)).axes
        x = list(axes.lines[-1].get_xdata())
        assert x == sorted(x)
        assert x[0] == pytest.approx((begun + 600) / 86_400)
        shown = dict(zip(axes.get_xticks(), labels(axes), strict=True))
        assert shown[(begun + 90 * 60) / 86_400] == "03:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def labels(axes) -> list[str]:
    axes.figure.draw_without_rendering()
    return [label.get_text() for label in axes.get_xticklabels()]


def test_days_are_named_whatever_time_zone_matplotlib_has_been_told():
    days = [(f"2026-11-0{i}", "m", ODD) for i in range(1, 8)]
    with mpl.rc_context({"timezone": "America/New_York"}):
        axes, _ = plots.draw(Timeline([("m", 7 * ODD)], days=days)).axes
        assert all(tick == int(tick) for tick in axes.get_xticks())


def test_others_are_summed_up_in_the_plot():
    models = [(f"p:m{i}", Decimal(9 - i)) for i in range(8)]
    days = [("2026-11-01", name, cost) for name, cost in models]
    over_time, by_model = plots.draw(Timeline(models, days=days)).axes
    texts = [text.get_text() for text in by_model.texts]
    assert texts[::2] == [*(f"p:m{i}" for i in range(5)), "others"]
    assert texts[-1] == "$9.00"  # 4 + 3 + 2
    assert max(bar.get_y() + bar.get_height() for bar in over_time.patches) == 44


@pytest.mark.parametrize("by", get_args(By))
def test_a_plot_is_by_the_groups_of_its_table(session, together, monkeypatch, tmp_path, by):
    together.plan = [Answer(words("Hello", prompt=100_000)) for _ in range(2)]
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a.ipynb"))
    session.ask("Hi", model="8x7b")
    session.ask("Hi", model="8x22b")
    shown = read_spend(session, by=by)
    over_time, by_group = shown.plot().axes
    names = [text.get_text() for text in by_group.texts][::2]
    if by == "day":
        assert over_time.get_title(loc="left").startswith("cost of each day")
        assert names == ["together:8x22b", "together:8x7b"]
        assert labels(over_time) == [f"{date.today():%b} {date.today().day}"]  # noqa: DTZ011
    else:
        assert over_time.get_title(loc="left").startswith("cost so far")
        assert by_group.get_title(loc="left") == f"by {by}"
        assert [name[-9:] for name in names] == [row.name[-9:] for row in shown]
    assert f"by {'model' if by == 'day' else by}" in shown.picture[:200]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (["2026-11-30"], ["Nov 30"]),
        (["2026-11-28", "2026-11-30"], ["Nov 28", "Nov 29", "Nov 30"]),
        (["2026-11-01", "2026-11-30"], ["Nov 6", "Nov 12", "Nov 18", "Nov 24", "Nov 30"]),
        (["2026-11", "2026-12"], ["Nov 2026", "Dec 2026"]),
        (["2026-02-28", "2026-03-01"], ["Feb 28", "Mar 1"]),
    ],
)
def test_days_and_months_are_labelled_as_dates_the_last_one_too(days, expected):
    drawn = Timeline([("m", 2 * ODD)], days=[(name, "m", ODD) for name in days])
    axes, _ = plots.draw(drawn).axes
    assert labels(axes)[-len(expected) :] == expected
    assert len(labels(axes)) <= 6


@pytest.mark.parametrize(
    ("seconds", "pattern"),
    [
        (0, r"\d\d:\d\d:\d\d"),
        (2, r"\d\d:\d\d:\d\d"),
        (150, r"\d\d:\d\d"),
        (4_000, r"\d\d:\d\d"),
        (50_000, r"\d\d:\d\d"),
        (150_000, r"\w{3} \d+, \d\d:\d\d"),
        (900_000, r"\w{3} \d+"),
    ],
)
def test_times_are_labelled_as_times(seconds, pattern):
    points = [(1.7e9, ODD), (1.7e9 + seconds, 2 * ODD)]
    axes, _ = plots.draw(Timeline([("m", ODD)], points=points)).axes
    shown = [
        label
        for tick, label in zip(axes.get_xticks(), labels(axes), strict=True)
        if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]
    ]
    assert 2 <= len(shown) <= 6
    assert len(set(shown)) == len(shown)
    assert all(re.fullmatch(pattern, label) for label in shown)


def test_dollars_of_an_axis_have_the_decimals_they_need():
    for cost, expected in (("0.000107", "$0.000050"), ("3", "$1.00"), ("120", "$50.00")):
        points = [(1.7e9, Decimal(cost))]
        axes, _ = plots.draw(Timeline([("m", ODD)], points=points)).axes
        texts = [label.get_text() for label in axes.get_yticklabels()]
        assert texts[0] == "$0"
        assert expected in texts


def test_csv_is_exact_and_comes_back(shown, tmp_path):
    path = tmp_path / "spend.csv"
    text = shown.to_csv(path)
    assert path.read_text("utf-8") == text == shown.to_csv()
    head, *lines = csv.reader(io.StringIO(text))
    assert head[:2] == ["model", "calls"]
    back = [dict(zip(head, line, strict=True)) for line in lines]
    assert [row["model"] for row in back] == MODELS
    assert [Decimal(row["cost"]) for row in back] == [2 * ODD, ODD, Decimal(0)]
    tiny = Spend([spent("m", cost=Decimal("1e-9"))], "all", "model", timeline()).to_csv()
    assert "0.000000001" in tiny
    assert "E" not in tiny
    assert [each.name for each in tmp_path.iterdir() if "part" in each.name] == []


def test_a_file_that_cannot_be_written_stays_as_it_was(shown, tmp_path):
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    (folder / "kept").touch()
    for path in (folder, tmp_path / "nowhere" / "spend.csv", Path("/")):
        with pytest.raises(StoreError, match="cannot be written") as caught:
            shown.to_csv(path)
        assert str(path) in caught.value.message
    assert [each.name for each in tmp_path.iterdir() if "part" in each.name] == []


def test_a_frame_has_dollars(shown):
    frame = shown.frame()
    assert list(frame["model"]) == MODELS
    assert {str(frame[name].dtype) for name in ("cost", "saved", "reserved")} == {"float64"}
    assert (frame["cost"] * 1e9).round().astype(int).tolist() == [246913578, 123456789, 0]
    assert not any("nano" in name or "held" in name for name in frame.columns)
    assert list(frame.columns[:3]) == ["model", "calls", "prompt_tokens"]
    assert list(frame.columns[3:6]) == ["cached_tokens", "completion_tokens", "cost"]
    assert frame["calls"].sum() == 8
    days = Spend([spent("2026-11-24", cost=ODD)], "all", "day", timeline()).frame()
    assert days["day"].dtype.kind == "M"
    empty = Spend([], "all", "day", timeline()).frame()
    assert list(empty.columns) == list(days.columns)


@pytest.mark.parametrize(
    ("period", "by", "says", "hint"),
    [
        ("mont", "model", "There is no period 'mont'.", "Did you mean month?"),
        ("session", "notebok", "There is no grouping 'notebok'.", "Did you mean notebook?"),
        (7, "model", "There is no period 7.", "There are session, notebook, today, month, all."),
    ],
)
def test_wrong_words_are_refused_with_the_nearest(session, period, by, says, hint):
    with pytest.raises(BadArguments) as caught:
        read_spend(session, period, by)
    assert caught.value.message == says
    assert hint in caught.value.hint


def test_the_public_function_asks_the_session(together):
    together.plan = [Answer(words("Hello"))]
    code = """
import mixmagic
mixmagic.ask("Hi", model="8x7b")
spent = mixmagic.spend()
print(spent.period, spent.by, spent.total.calls, mixmagic.spend("all", by="status").rows[0].name)
"""
    assert fresh(code) == "session model 1 ok"


def test_a_ledger_that_cannot_be_written_still_reports():
    """Not even its open calls can be closed, of a process that is no more."""
    # pytest's own folders are not everybody's; the working folder is nobody's else.
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as private:
        folder = Path(name)
        ledger = Ledger(folder / "data", "a-session")
        open_call(ledger)
        ledger.database.close()
        for file in (folder / "data").iterdir():
            file.chmod(0o444)
        (folder / "data").chmod(0o555)
        folder.chmod(0o755)
        code = f"""
import os
from mixmagic.display.spend import read_spend
from mixmagic.sessions import Session
assert read_spend(Session(), "all").total.calls == 0, "and all that is needed is imported"
os.environ["MIXMAGIC_HOME"] = {name!r}
session = Session()
assert session.catalog.models, "read now: mixmagic's folder need not be everybody's"
if os.getuid() == 0:  # whom permissions do not bind
    os.chdir({private!r})
    os.setgroups([])
    os.setuid(65534)
print(read_spend(session, "all").total.open)
"""
        assert fresh(code) == "1"
        (folder / "data").chmod(0o755)


def open_call(ledger: Ledger) -> None:
    """Leave a call as a killed process does."""
    with ledger.database.transaction() as connection:
        connection.execute(
            "INSERT INTO calls (started_at, day, session, provider, model, status, owner,"
            " held_nanodollars) VALUES (1, '2026-11-24', 's', 'x', 'm', 'open', NULL, 7000000)"
        )


def test_calls_of_killed_processes_are_found_before_a_report(session):
    open_call(session.ledger)
    found = read_spend(session, "all")
    assert (found.total.open, found.total.lost, found.total.cost) == (0, 1, Decimal("0.007"))
    assert "≤ $0.0070" in str(found)


def test_every_field_of_a_group_is_in_the_frame_and_in_csv(shown):
    assert sorted(_FIELDS) == sorted(Spent.__slots__[1:])
    assert shown.to_csv().splitlines()[0].split(",") == list(shown.frame().columns)


def test_a_plot_leaves_matplotlibs_logger_as_it_was(shown):
    before = list(logging.getLogger("matplotlib").handlers)
    assert shown.picture
    assert logging.getLogger("matplotlib").handlers == before

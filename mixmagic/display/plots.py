"""The plot of costs; imports matplotlib, so it is imported only to draw one."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import matplotlib as mpl
from dateutil.tz import tzlocal  # type: ignore[import-untyped]  # matplotlib's own need
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from mixmagic.core.money import exact_sum, format_column
from mixmagic.store.ledger.spend import Timeline
from mixmagic.text.escape import plain

# Readable on white and on black. In a page it is replaced by the page's text color.
INK = "#808285"
COLORS = ("#1e88e5", "#e8710a", "#2e9e4f", "#a45fd6", "#d9487c")
_OTHERS, _GRAY = "others", "#90959a"
_SMALL = 7.5
_LONGEST = 36
# Labels of days at most; a longer axis leaves some out.
_LABELS = 5
_DAY = 86_400
# Seconds between the labels of times.
_STEPS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14_400,
    21_600,
    43_200,
    _DAY,
)
# Groups of settings that a user's configuration must not change.
_FIXED = ("text.", "font.", "svg.", "path.", "axes.", "lines.", "xtick.", "ytick.", "date.")

# Removed from the SVG: rules for the whole page, names, digits.
_REMOVED = {
    r"<style.*?</style>|<!--.*?-->": "",
    r'<g id="[^"]*"': "<g",
    r"(\.\d{3})\d+": r"\1",
    r"\s*\n\s*": " ",
}
_ABOUT = 'role="img" aria-label="cost over time and by {}"'
_STYLE = (
    'style="display: block; max-width: 100%; height: auto; margin-top: 8px;'
    ' stroke-linejoin: round; stroke-linecap: butt"'
)


class SpendFigure(Figure):
    """A Figure that a notebook shows without pyplot."""

    by = "model"

    def _repr_html_(self) -> str:
        return svg(self)


def draw(timeline: Timeline) -> SpendFigure:
    """Return a figure of the cost over time and by group."""
    with mpl.rc_context({k: v for k, v in mpl.rcParamsDefault.items() if k.startswith(_FIXED)}):
        shown = timeline.groups[: len(COLORS)]
        colors = {name: color for (name, _), color in zip(shown, COLORS, strict=False)}
        if rest := exact_sum(cost for _, cost in timeline.groups[len(COLORS) :]):
            shown = [*shown, (_OTHERS, rest)]
        height = max(1.9, 0.4 * len(shown) + 0.2)
        layout = ConstrainedLayoutEngine(wspace=0.06)
        figure = SpendFigure(figsize=(7.6, height), layout=layout)
        figure.by = timeline.by
        figure.patch.set_alpha(0)
        if not (timeline.groups and (timeline.points or timeline.days)):
            figure.set_figheight(0.6)
            axes = figure.subplots()
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no cost to show", ha="center", color=INK, fontsize=_SMALL)
            return figure
        over_time, by_group = figure.subplots(1, 2, width_ratios=(3, 2))
        if timeline.points:
            _curve(over_time, timeline.points)
        else:
            _bars(over_time, timeline.days, colors)
        _groups(by_group, shown, colors, timeline.by)
        for axes in (over_time, by_group):
            axes.patch.set_alpha(0)
            axes.tick_params(colors=INK, labelsize=_SMALL, length=0)
            axes.spines[:].set_visible(False)
    return figure


def svg(figure: SpendFigure) -> str:
    """Return the figure as an SVG element in the page's text color that fits a narrow cell."""
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    file = io.StringIO()
    with warnings.catch_warnings(), mpl.rc_context({"svg.fonttype": "path", "text.usetex": False}):
        warnings.simplefilter("ignore")  # about letters that the font lacks
        figure.savefig(file, format="svg", metadata=metadata)
    text = file.getvalue()
    element = text[text.index("<svg") :].replace(INK, "currentColor")
    for pattern, instead in _REMOVED.items():
        element = re.sub(pattern, instead, element, flags=re.DOTALL)
    return element.replace("<svg ", f"<svg {_ABOUT.format(figure.by)} {_STYLE} ", 1)


def _curve(axes: Axes, points: list[tuple[float, Decimal]]) -> None:
    """Draw the accumulated cost over time."""
    times = [date2num(datetime.fromtimestamp(seconds, UTC)) for seconds, _ in points]
    costs = [float(cost) for _, cost in points]
    span = points[-1][0] - points[0][0]
    margin = max(span * 0.04, 10) / _DAY
    if len(points) <= 40:
        axes.plot(times, costs, "o", color=COLORS[0], ms=3)
    times, costs = [*times, times[-1] + margin], [*costs, costs[-1]]
    axes.fill_between(times, costs, step="post", color=COLORS[0], alpha=0.18, linewidth=0)
    axes.plot(times, costs, color=COLORS[0], lw=1.6, drawstyle="steps-post")
    axes.set_xlim(times[0] - margin, times[-1])
    left, right = (value * _DAY for value in axes.get_xlim())
    edge = 0.05 * (right - left)  # a label there would touch that of the dollars
    axes.set_xticks(*_time_ticks(left + edge, right - edge))
    first, last = (datetime.fromtimestamp(points[i][0], tzlocal()).date() for i in (0, -1))
    days = _written(first) if first == last else f"{_written(first)} to {_written(last)}"
    _money(axes)
    _title(axes, f"cost so far ({days})")


def _time_ticks(left: float, right: float) -> tuple[list[float], list[str]]:
    """Return places and labels of local times, whole ones, between two of seconds since 1970."""
    step = next((step for step in _STEPS if right - left <= step * _LABELS), _STEPS[-1])
    step *= max(1, round((right - left) / step / _LABELS))
    clock = tzlocal()
    offset = (datetime.fromtimestamp(left, clock).utcoffset() or timedelta()).total_seconds()
    count = math.floor((right + offset) / step) - math.ceil((left + offset) / step) + 1
    ticks = [(math.ceil((left + offset) / step) + i) * step - offset for i in range(count)]
    times = [datetime.fromtimestamp(tick, clock) for tick in ticks]
    days = {time.date() for time in times}
    if step >= _DAY:
        labels = [f"{time:%b} {time.day}" for time in times]
    elif len(days) > 1:
        labels = [f"{time:%b} {time.day}, {time:%H:%M}" for time in times]
    else:
        labels = [f"{time:%H:%M:%S}" if step < 60 else f"{time:%H:%M}" for time in times]
    return [tick / _DAY for tick in ticks], labels


def _written(when: date, monthly: bool = False) -> str:
    """Return a day or a month as people write it."""
    return f"{when:%b %Y}" if monthly else f"{when:%b} {when.day}, {when.year}"


def _bars(axes: Axes, days: list[tuple[str, str, Decimal]], colors: dict[str, str]) -> None:
    """Draw the cost of each day or month, by group."""
    monthly = any(len(name) == len("2026-11") for name, _, _ in days)
    heights: dict[str, dict[date, float]] = defaultdict(lambda: defaultdict(float))
    for name, group, cost in days:
        when = date.fromisoformat(f"{name}-01" if monthly else name)
        heights[group if group in colors else _OTHERS][when] += float(cost)
    below: dict[date, float] = defaultdict(float)
    for group in [*colors, _OTHERS]:
        stack = heights[group]
        axes.bar(
            [date2num(when) for when in stack],
            list(stack.values()),
            bottom=[below[when] for when in stack],
            width=24 if monthly else 0.8,
            color=colors.get(group, _GRAY),
        )
        for when, height in stack.items():
            below[when] += height
    first, last = min(below), max(below)
    # A single bar would be as wide as the plot.
    margin = timedelta(75 if monthly else 3) - (last - first) / 2
    margin = max(margin, timedelta(20 if monthly else 1))
    axes.set_xlim(date2num(first - margin), date2num(last + margin))
    axes.set_xticks(*_day_ticks(first, last, monthly))
    _money(axes)
    one_year = first.year == last.year and not monthly
    year = f" ({first.year})" if one_year else ""
    _title(axes, ("cost of each month" if monthly else "cost of each day") + year)


def _day_ticks(first: date, last: date, monthly: bool) -> tuple[list[float], list[str]]:
    """Return places and labels of days, or of months: whole ones, at equal distances."""
    if monthly:
        count = (last.year - first.year) * 12 + last.month - first.month + 1
        starts = [first.year * 12 + first.month - 1 + i for i in range(count)]
        all_days = [date(month // 12, month % 12 + 1, 1) for month in starts]
    else:
        all_days = [first + timedelta(i) for i in range((last - first).days + 1)]
    step = -(-len(all_days) // _LABELS)
    kept = all_days[::-step][::-1]  # the last one is today
    labels = [_written(when, monthly) if monthly else f"{when:%b} {when.day}" for when in kept]
    return [date2num(when) for when in kept], labels


def _groups(axes: Axes, groups: list[tuple[str, Decimal]], colors: dict[str, str], by: str) -> None:
    """Draw the cost of each group: its name above its bar."""
    highest = float(max((cost for _, cost in groups), default=1))
    style: dict[str, Any] = {"fontsize": _SMALL, "color": INK, "parse_math": False}
    labels = format_column([cost for _, cost in groups])
    for row, ((name, cost), label) in enumerate(zip(groups, labels, strict=True)):
        axes.barh(row, float(cost), height=0.32, color=colors.get(name, _GRAY))
        short = plain(_short(name) or f"no {by} known")
        axes.text(0, row - 0.3, short, va="bottom", **style)
        axes.text(float(cost) + highest * 0.02, row, label, va="center", **style)
    axes.set_xlim(0, highest * 1.3)
    axes.set_ylim(max(len(groups), 3) - 0.6, -0.8)  # most expensive at the top
    axes.set_xticks([])
    axes.set_yticks([])
    _title(axes, f"by {by}")


def _short(name: str) -> str:
    """Return a name that fits: the ends of paths tell them apart."""
    return name if len(name) <= _LONGEST else f"…{name[-_LONGEST + 1 :]}"


def _money(axes: Axes) -> None:
    """Label the axis of dollars."""
    locator = MaxNLocator(4, steps=[1, 2, 5, 10])
    axes.set_ylim(bottom=0)
    ticks = [tick for tick in locator.tick_values(0, axes.get_ylim()[1]) if tick >= 0]
    ticks = [tick for tick in ticks if tick <= axes.get_ylim()[1]]
    axes.set_yticks(ticks, format_column([Decimal(f"{tick:.9g}") for tick in ticks]))
    axes.grid(axis="y", color=INK, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _title(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=_SMALL, color=INK, pad=4)

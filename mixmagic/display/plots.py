"""The plot of costs; imports matplotlib, so it is imported only to draw one."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

import matplotlib as mpl
from dateutil.tz import tzlocal  # type: ignore[import-untyped]  # matplotlib's own need
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mixmagic.core.money import exact_sum, format_column
from mixmagic.store.ledger.spend import Timeline
from mixmagic.text.escape import plain

# Readable on white and on black. In a page it is replaced by the page's text color.
INK = "#808285"
COLORS = ("#1e88e5", "#e8710a", "#2e9e4f", "#a45fd6", "#d9487c")
_OTHERS, _GRAY = "others", "#90959a"
_SMALL = 7.5
_LONGEST = 42
# Groups of settings that a user's configuration must not change.
_FIXED = ("text.", "font.", "svg.", "path.", "axes.", "lines.", "xtick.", "ytick.", "date.")

# Removed from the SVG: rules for the whole page, names, digits.
_REMOVED = {
    r"<style.*?</style>|<!--.*?-->": "",
    r'<g id="[^"]*"': "<g",
    r"(\.\d{3})\d+": r"\1",
    r"\s*\n\s*": " ",
}
_ABOUT = 'role="img" aria-label="cost over time and by model"'
_STYLE = (
    'style="display: block; max-width: 100%; height: auto; margin-top: 8px;'
    ' stroke-linejoin: round; stroke-linecap: butt"'
)


class SpendFigure(Figure):
    """A Figure that a notebook shows without pyplot."""

    def _repr_html_(self) -> str:
        return svg(self)


def draw(timeline: Timeline) -> SpendFigure:
    """Return a figure of the cost over time and by model."""
    with mpl.rc_context({k: v for k, v in mpl.rcParamsDefault.items() if k.startswith(_FIXED)}):
        shown = timeline.models[: len(COLORS)]
        colors = {name: color for (name, _), color in zip(shown, COLORS, strict=False)}
        if rest := exact_sum(cost for _, cost in timeline.models[len(COLORS) :]):
            shown = [*shown, (_OTHERS, rest)]
        height = max(1.9, 0.4 * len(shown) + 0.2)
        layout = ConstrainedLayoutEngine(wspace=0.06)
        figure = SpendFigure(figsize=(7.6, height), layout=layout)
        figure.patch.set_alpha(0)
        if not (timeline.models and (timeline.points or timeline.days)):
            figure.set_figheight(0.6)
            axes = figure.subplots()
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no cost to show", ha="center", color=INK, fontsize=_SMALL)
            return figure
        over_time, by_model = figure.subplots(1, 2, width_ratios=(3, 2))
        if timeline.points:
            _curve(over_time, timeline.points)
        else:
            _bars(over_time, timeline.days, colors)
        _models(by_model, shown, colors)
        for axes in (over_time, by_model):
            axes.patch.set_alpha(0)
            axes.tick_params(colors=INK, labelsize=_SMALL, length=0)
            axes.spines[:].set_visible(False)
    return figure


def svg(figure: Figure) -> str:
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
    return element.replace("<svg ", f"<svg {_ABOUT} {_STYLE} ", 1)


def _curve(axes: Axes, points: list[tuple[float, Decimal]]) -> None:
    """Draw the accumulated cost over time."""
    times = [date2num(datetime.fromtimestamp(seconds, UTC)) for seconds, _ in points]
    costs = [float(cost) for _, cost in points]
    margin = max((times[-1] - times[0]) * 0.04, 2 / 86_400)
    if len(points) <= 40:
        axes.plot(times, costs, "o", color=COLORS[0], ms=3)
    times, costs = [*times, times[-1] + margin], [*costs, costs[-1]]
    axes.fill_between(times, costs, step="post", color=COLORS[0], alpha=0.18, linewidth=0)
    axes.plot(times, costs, color=COLORS[0], lw=1.6, drawstyle="steps-post")
    axes.set_xlim(times[0] - margin, times[-1])
    _time_and_money(axes, tzlocal())
    _title(axes, "cost so far")


def _bars(axes: Axes, days: list[tuple[str, str, Decimal]], colors: dict[str, str]) -> None:
    """Draw the cost of each day or month, by model."""
    monthly = any(len(name) == len("2026-11") for name, _, _ in days)
    heights: dict[str, dict[date, float]] = defaultdict(lambda: defaultdict(float))
    for name, model, cost in days:
        when = date.fromisoformat(f"{name}-01" if monthly else name)
        heights[model if model in colors else _OTHERS][when] += float(cost)
    below: dict[date, float] = defaultdict(float)
    for model in [*colors, _OTHERS]:
        stack = heights[model]
        axes.bar(
            [date2num(when) for when in stack],
            list(stack.values()),
            bottom=[below[when] for when in stack],
            width=24 if monthly else 0.8,
            color=colors.get(model, _GRAY),
        )
        for when, height in stack.items():
            below[when] += height
    margin = timedelta(20 if monthly else 4)
    axes.set_xlim(date2num(min(below) - margin), date2num(max(below) + margin))
    _time_and_money(axes, UTC)  # days have no hours
    _title(axes, "cost of each month" if monthly else "cost of each day")


def _models(axes: Axes, models: list[tuple[str, Decimal]], colors: dict[str, str]) -> None:
    """Draw the cost of each model: its name above its bar."""
    highest = float(max((cost for _, cost in models), default=1))
    style: dict[str, Any] = {"fontsize": _SMALL, "color": INK, "parse_math": False}
    labels = format_column([cost for _, cost in models])
    for row, ((name, cost), label) in enumerate(zip(models, labels, strict=True)):
        axes.barh(row, float(cost), height=0.32, color=colors.get(name, _GRAY))
        provider, colon, model = name.partition(":")
        short = plain(provider + colon + model.rpartition("/")[2])
        short = short if len(short) <= _LONGEST else f"{short[: _LONGEST - 1]}…"
        axes.text(0, row - 0.3, short, va="bottom", **style)
        axes.text(float(cost) + highest * 0.02, row, label, va="center", **style)
    axes.set_xlim(0, highest * 1.3)
    axes.set_ylim(max(len(models), 3) - 0.6, -0.8)  # most expensive at the top
    axes.set_xticks([])
    axes.set_yticks([])
    _title(axes, "by model")


def _time_and_money(axes: Axes, clock: tzinfo) -> None:
    """Label the axes: time in the zone `clock`, and dollars."""
    locator = AutoDateLocator(clock, minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, clock))
    axes.xaxis.get_offset_text().set(color=INK, fontsize=_SMALL)
    amounts = MaxNLocator(4, steps=[1, 2, 5, 10])
    axes.yaxis.set_major_locator(amounts)
    axes.set_ylim(bottom=0)
    digits = -math.floor(math.log10(amounts.tick_values(0, axes.get_ylim()[1])[1]))
    digits = 0 if digits <= 0 else max(digits, 2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${value:,.{digits}f}"))
    axes.grid(axis="y", color=INK, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _title(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=_SMALL, color=INK, pad=4)

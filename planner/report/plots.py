"""A plan as matplotlib figures, for notebooks. Needs the extra ``report``.

The figures belong to the caller: none is shown, saved or registered with pyplot, so that nothing piles up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.report.drawing import Bar, device_bars, host_bars
from planner.report.text import reading_order
from planner.report.usage import placement_usage
from planner.report.words import gap_text
from planner.units import MICROUSD

_GIB = 2**30
_MOST_BARS = 60
# The page's light colours (report.css), which stay apart for colour-blind readers.
_COLOURS = {
    "fixed": "#8a929c",
    "foreign": "#d55e00",
    "base": "#b07aa1",
    "model-a": "#0072b2",
    "model-b": "#4da3d9",
    "model-rest": "#9cc7e4",
}
_FREE, _LIMIT = "#e4e8ec", "#c1121f"


def draw_shards(scenario: Scenario, plan: Plan, *, most_bars: int = _MOST_BARS) -> Figure:
    """Return a stacked bar for every GPU and every CPU shard, in GiB, with its capacity as a line.

    Parameters
    ----------
    most_bars
        Bars that are drawn at most; the title says so if there are more.
    """
    shards = sorted(placement_usage(scenario, plan.placement), key=reading_order)
    bars = [*device_bars(shards), *host_bars(shards)]
    drawn = bars[:most_bars]
    figure = Figure(figsize=(9, max(1.5, 0.28 * len(drawn) + 1)), layout="constrained")
    axes = figure.add_subplot()
    for row, bar in enumerate(drawn):
        _draw_bar(axes, row, bar)
    axes.set_yticks(range(len(drawn)), [bar.label for bar in drawn])
    axes.invert_yaxis()
    axes.set_xlabel("memory, GiB")
    more = f" (the first {len(drawn)} of {len(bars)} bars)" if len(bars) > len(drawn) else ""
    axes.set_title(f"{plan.name}: what fills the shards{more}")
    return figure


def _draw_bar(axes: Axes, row: int, bar: Bar) -> None:
    axes.barh(row, bar.total / _GIB, color=_FREE, height=0.7)
    starts = accumulate((part.size for part in bar.parts), initial=0)
    pieces = [(start / _GIB, part.size / _GIB) for start, part in zip(starts, bar.parts, strict=False)]
    axes.broken_barh(pieces, (row - 0.35, 0.7), facecolors=[_COLOURS[part.style] for part in bar.parts])
    axes.plot([bar.limit / _GIB] * 2, [row - 0.45, row + 0.45], color=_LIMIT, linewidth=1.5)


def draw_costs(plans: Sequence[tuple[str, Plan]]) -> Figure:
    """Return the cost of plans in USD an hour above their lower bounds, to compare what-ifs.

    Parameters
    ----------
    plans
        (label, plan), drawn in this order; a plan without a bound has no bar for it.
    """
    figure = Figure(figsize=(9, 0.7 * max(1, len(plans)) + 1), layout="constrained")
    axes = figure.add_subplot()
    for row, (_, plan) in enumerate(plans):
        cost = plan.cost_microusd_per_h / MICROUSD
        axes.barh(row - 0.2, cost, height=0.36, color=_COLOURS["model-a"], label="cost" if row == 0 else None)
        axes.annotate(f" gap {gap_text(plan)}" if plan.bound else " no bound", (cost, row - 0.2), va="center")
        if plan.bound is not None:
            bound = plan.bound.microusd_per_h / MICROUSD
            axes.barh(row + 0.2, bound, height=0.36, color=_COLOURS["fixed"])
    axes.set_yticks(range(len(plans)), [label for label, _ in plans])
    axes.invert_yaxis()
    axes.set_xlabel("USD an hour: cost above lower bound")
    axes.margins(x=0.15)
    return figure

"""DataFrames and figures for notebooks."""

from __future__ import annotations

import pytest

from planner.domain.plan import Bound, Plan, Refusal
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.report.plots import draw_costs, draw_shards
from planner.report.tables import (
    devices_frame,
    models_frame,
    placements_frame,
    refusals_frame,
    shard_types_frame,
    shards_frame,
)
from tests.support.builders import CPU, GIB, a_model, a_scenario, a_shard_type, an_option
from tests.support.plans import a_plan, a_shard, on


def a_framed_plan() -> tuple[Scenario, Plan]:
    scenario = a_scenario(
        a_model("a", an_option(gpu=4 * GIB), replicas=2),
        a_model("b", an_option(CPU, cpu=500, host=GIB)),
        a_model("c", an_option(gpu=99 * GIB)),
        types=(a_shard_type(price=526_000), a_shard_type("c", device_class=CPU, price=100_000)),
    )
    refusal = Refusal(
        model="c", replicas=1, rule=Rule.DEVICE_MEMORY, subject="gpu-16", need=99 * GIB, have=16 * GIB
    )
    placed = (on("a"), on("a", "t-1", replica=1), on("b", "c"))
    shards = (a_shard("c"), a_shard("t"), a_shard("t-1", "t"))
    return scenario, a_plan(scenario, *shards, *placed, refusals=(refusal,))


def test_shards() -> None:
    frame = shards_frame(*a_framed_plan())
    assert list(frame.index) == ["c", "t", "t-1"]
    assert frame.loc["t", "device_used_bytes"] == 4 * GIB
    assert frame.loc["t", "full_ratio"] == pytest.approx(0.25)
    assert frame.loc["t", "binding_rule"] == "device-memory"
    assert frame["price_usd_per_h"].sum() == pytest.approx(1.152)


def test_devices_leave_out_cpus() -> None:
    frame = devices_frame(*a_framed_plan())
    assert list(frame.index) == ["t/0", "t-1/0"]
    assert (frame["used_bytes"] + frame["left_bytes"] == frame["capacity_bytes"]).all()


def test_placements_models_types_and_refusals() -> None:
    scenario, plan = a_framed_plan()
    placements = placements_frame(scenario, plan)
    assert sorted(zip(placements["model"], placements["shard"], strict=True)) == [
        ("a", "t"),
        ("a", "t-1"),
        ("b", "c"),
    ]
    found = models_frame(scenario, plan)
    assert (found.loc["a", "placed"], found.loc["a", "shards"]) == (2, "t,t-1")
    assert (found.loc["c", "placed"], found.loc["c", "refused"]) == (0, 1)
    types = shard_types_frame(scenario, plan)
    assert types.loc["t", "opened"] == 2
    assert types["cost_usd_per_h"].sum() == pytest.approx(1.152)
    refusals = refusals_frame(plan)
    assert refusals.loc[0, "need"] == 99 * GIB
    assert refusals.loc[0, "unit"] == "bytes"


def test_frames_of_an_empty_plan_have_their_columns() -> None:
    scenario, plan = a_framed_plan()
    empty = a_plan(scenario, placement=type(plan.placement)(), cost_microusd_per_h=0)
    for frame in (
        shards_frame(scenario, empty),
        devices_frame(scenario, empty),
        placements_frame(scenario, empty),
        refusals_frame(empty),
    ):
        assert len(frame) == 0
        assert len(frame.columns) > 5


def test_a_figure_has_a_bar_a_device_and_says_what_it_leaves_out() -> None:
    scenario, plan = a_framed_plan()
    (axes,) = draw_shards(scenario, plan).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["t/0", "t-1/0", "c"]
    (short,) = draw_shards(scenario, plan, most_bars=2).axes
    assert "the first 2 of 3 bars" in short.get_title()


def test_costs_are_drawn_above_their_bounds() -> None:
    scenario, plan = a_framed_plan()
    bounded = a_plan(scenario, placement=plan.placement, bound=Bound(microusd_per_h=10**6, method="x"))
    (axes,) = draw_costs([("now", plan), ("then", bounded)]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["now", "then"]
    assert len(axes.patches) == 3
    assert [text.get_text().strip()[:3] for text in axes.texts] == ["no ", "gap"]

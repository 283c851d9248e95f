"""Staying close to an earlier plan."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from planner.domain.difference import count_moves
from planner.domain.model import Pin
from planner.domain.plan import Moves, Plan
from planner.domain.scenario import Scenario
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option, models

EIGHT = an_option(gpu=8 * GIB)
MOVES_FIRST = ("placed", "moves", "cost")
COST_FIRST = ("placed", "cost", "moves", "balance")


def plan_of(scenario: Scenario, base: Plan | None = None) -> Plan:
    return make_plan(scenario, SolveOptions(work=10), base=base)


def where(plan: Plan) -> dict[str, str]:
    return {item.model: item.shard for item in plan.placement.placed}


def test_a_new_model_moves_no_other() -> None:
    base = plan_of(a_scenario(*models(3, EIGHT)))
    plan = plan_of(a_scenario(*models(3, EIGHT), a_model("a-new", EIGHT)), base)
    assert where(plan).items() >= where(base).items()
    assert plan.base_sha256 is not None
    assert len(plan.placement.shards) == 2


def test_a_shard_that_became_empty_is_closed_and_the_others_keep_their_names() -> None:
    base = plan_of(a_scenario(*models(4, EIGHT)))
    gone = {item.model for item in base.placement.placed if item.shard == "t"}
    rest = [model for model in models(4, EIGHT) if model.name not in gone]
    plan = plan_of(a_scenario(*rest), base)
    assert [shard.name for shard in plan.placement.shards] == ["t-1"]
    assert count_moves(base.placement, plan.placement) == 0


def scattered(objective: tuple[str, ...]) -> tuple[Scenario, Plan]:
    """Two models that were put on two shards although one would do."""
    scenario = a_scenario(*models(4, EIGHT), objective=objective)
    base = plan_of(scenario)
    left = [min(name for name, shard in where(base).items() if shard == own) for own in ("t", "t-1")]
    return dataclasses.replace(
        scenario, models=tuple(model for model in scenario.models if model.name in left)
    ), base


def test_a_cheaper_fresh_plan_wins_where_cost_comes_first() -> None:
    scenario, base = scattered(COST_FIRST)
    plan = plan_of(scenario, base)
    assert len(plan.placement.shards) == 1
    assert count_moves(base.placement, plan.placement) == 1


def test_the_kept_plan_wins_where_moves_come_first() -> None:
    scenario, base = scattered(MOVES_FIRST)
    plan = plan_of(scenario, base)
    assert len(plan.placement.shards) == 2
    assert count_moves(base.placement, plan.placement) == 0


def test_an_overfull_shard_is_repaired_with_one_move() -> None:
    base = plan_of(a_scenario(*models(2, EIGHT), objective=MOVES_FIRST))
    grown = (a_model("m-000", an_option(gpu=9 * GIB)), a_model("m-001", EIGHT))
    plan = plan_of(a_scenario(*grown, objective=MOVES_FIRST), base)
    assert not plan.refusals
    assert count_moves(base.placement, plan.placement) == 1


def test_nodes_and_devices_are_kept_and_a_node_that_is_gone_is_left() -> None:
    types = (a_shard_type(provision="existing"),)
    nodes = (a_node("a", gpus=2), a_node("b", gpus=2))
    base = plan_of(a_scenario(*models(4, EIGHT), types=types, nodes=nodes[:1]))
    plan = plan_of(a_scenario(*models(4, EIGHT), types=types, nodes=nodes), base)
    assert plan.placement == base.placement
    left = plan_of(a_scenario(*models(4, EIGHT), types=types, nodes=nodes[1:]), base)
    assert {shard.node for shard in left.placement.shards} == {"b"}
    assert not left.refusals


@pytest.mark.parametrize("count", range(3, 8))
def test_models_are_added_until_a_new_shard_opens_and_no_resident_moves(count: int) -> None:
    three = an_option(gpu=3 * GIB)
    base = plan_of(a_scenario(*models(3, three), objective=MOVES_FIRST))
    added = models(count - 3, three, prefix="a")
    plan = plan_of(a_scenario(*models(3, three), *added, objective=MOVES_FIRST), base)
    assert count_moves(base.placement, plan.placement) == 0
    assert where(plan).items() >= where(base).items()
    assert len(plan.placement.shards) == (1 if count <= 5 else 2)
    assert not plan.refusals


@pytest.mark.parametrize(
    ("objective", "types", "moves"),
    [(MOVES_FIRST, ["small", "small"], 0), (COST_FIRST, ["large"], 2)],
    ids=["moves-first", "cost-first"],
)
def test_residents_move_to_a_cheaper_shard_only_where_cost_comes_first(
    objective: tuple[str, ...], types: list[str], moves: int
) -> None:
    offered = (a_shard_type("small", price=2), a_shard_type("large", price=3, device_count=2))
    base = plan_of(a_scenario(*models(2, EIGHT), types=offered, objective=objective))
    assert [shard.shard_type for shard in base.placement.shards] == ["small"]
    plan = plan_of(a_scenario(*models(4, EIGHT), types=offered, objective=objective), base)
    assert [shard.shard_type for shard in plan.placement.shards] == types
    assert count_moves(base.placement, plan.placement) == moves


@pytest.mark.parametrize(
    ("model", "devices"),
    [
        ({}, 2),
        ({"devices_per_replica": 2}, 4),
        ({"pin": Pin(shard="t", device=0)}, 4),
    ],
    ids=["fewer devices", "more of them wanted", "pinned to another"],
)
def test_who_may_not_be_on_his_devices_any_more_gets_others(model: dict[str, Any], devices: int) -> None:
    base = plan_of(a_scenario(*models(4, an_option(gpu=16 * GIB)), types=(a_shard_type(device_count=4),)))
    last = next(item.model for item in base.placement.placed if item.devices == (3,))
    changed = a_model(last, an_option(gpu=16 * GIB), **model)
    rest = (item for item in models(4, an_option(gpu=16 * GIB)) if item.name != last)
    plan = plan_of(a_scenario(*rest, changed, types=(a_shard_type(device_count=devices),)), base)
    assert plan.refusals == ()
    assert plan.moves is not None
    assert 1 <= plan.moves.at_least <= plan.moves.count


@pytest.mark.parametrize("devices", [(), (9,), (-1,), (0, 0), (0, 1)], ids=str)
def test_devices_that_a_shard_never_had_are_no_trouble(devices: tuple[int, ...]) -> None:
    scenario = a_scenario(*models(6, EIGHT))
    base = plan_of(scenario)
    first, *rest = base.placement.placed
    placed = (dataclasses.replace(first, devices=devices), *rest)
    broken = dataclasses.replace(base, placement=dataclasses.replace(base.placement, placed=placed))
    plan = plan_of(scenario, broken)
    assert plan.refusals == ()
    assert plan.moves == Moves(count=1, at_least=1)

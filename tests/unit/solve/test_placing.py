"""Where not all fit, rounds of search find room for more; limits of the whole plan are made the most of."""

from __future__ import annotations

import dataclasses
import time

import pytest

from planner.domain.fleet import Cluster
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.guide import make_advice
from planner.solve.heuristics import insert_all, largest_first, placed_by_priority
from planner.solve.keeping import packing_from
from planner.solve.options import SolveOptions
from planner.solve.packing import Packing
from planner.solve.placing import place_more
from planner.solve.portfolio import make_plan
from planner.solve.problem import make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option
from tests.support.fleets import a_fleet
from tests.support.hard_scenarios import too_large_everywhere

WATCH = Watch(time.monotonic)
SIZES = (6, 6, 5, 5, 5, 5)
"""In GiB: they fit on two GPUs of 16, but not the largest first."""


def packed(scenario: Scenario) -> Packing:
    """Everything put in, the largest first."""
    packing = Packing(make_problem(scenario))
    shares = make_advice(packing.problem).shares
    insert_all(packing, largest_first(shares), shares)
    return packing


def search(packing: Packing, *, seed: int = 0) -> tuple[int, ...]:
    """Look for more; returns what is placed, by priority."""
    place_more(packing, make_advice(packing.problem), rounds=40, seed=seed, watch=WATCH)
    assert verify_placement(packing.problem.scenario, placement_of(packing)) == ()
    return placed_by_priority(packing)


@pytest.mark.parametrize("on_nodes", [True, False], ids=["nodes", "bought"])
def test_what_is_left_out_by_the_largest_first_is_placed(*, on_nodes: bool) -> None:
    models = [a_model(f"m{number}", an_option(gpu=size * GIB)) for number, size in enumerate(SIZES)]
    if on_nodes:
        types = (a_shard_type(price=0, provision="existing"),)
        packing = packed(a_scenario(*models, types=types, nodes=(a_node(gpus=2),)))
    else:
        packing = packed(a_scenario(*models, types=(a_shard_type(max_count=2),)))
    assert placed_by_priority(packing) == (5,)
    assert search(packing) == (6,)


def test_an_important_model_takes_the_place_of_others() -> None:
    models = [a_model(f"m{number}", an_option(gpu=4 * GIB), priority=number) for number in range(5)]
    packing = Packing(make_problem(a_scenario(*models, types=(a_shard_type(max_count=1),))))
    shares = make_advice(packing.problem).shares
    insert_all(packing, sorted(range(5), key=lambda unit: packing.problem.level[unit], reverse=True), shares)
    assert placed_by_priority(packing) == (0, 1, 1, 1, 1)
    assert search(packing) == (1, 1, 1, 1, 0)


def test_nothing_gets_worse_and_no_rule_is_broken() -> None:
    packing = packed(a_fleet(60, seed=113, max_shards=2))
    found = [placed_by_priority(packing)]
    found += [search(packing, seed=seed) for seed in range(3)]
    assert found == sorted(found)
    assert sum(found[-1]) > sum(found[0])


def test_shards_with_a_name_stay_as_they_are() -> None:
    models = [a_model(f"m{number}", an_option(gpu=size * GIB)) for number, size in enumerate(SIZES)]
    packing = packed(a_scenario(*models, types=(a_shard_type(max_count=2),)))
    packing.names[:] = ["t", "t-1"]
    before = list(packing.row_of_unit)
    assert search(packing) == (5,)
    assert packing.row_of_unit == before


def test_what_fits_nowhere_is_not_tried() -> None:
    packing = packed(too_large_everywhere(5))
    assert search(packing) == (0,)
    assert packing.rows == 0


def _a100_alone(scenario: Scenario) -> Scenario:
    return dataclasses.replace(
        scenario, shard_types=tuple(item for item in scenario.shard_types if item.name == "a100")
    )


@pytest.mark.parametrize("limited", ["shards", "addresses"])
def test_few_shards_or_addresses_are_made_the_most_of(limited: str) -> None:
    """The largest shards, which nobody would buy but for the limit, hold everything."""
    limits = {"max_shards": 5} if limited == "shards" else {"cluster": Cluster(max_ips=5)}
    scenario = a_fleet(150, seed=101, **limits)
    alone, all_types = (make_plan(one) for one in (_a100_alone(scenario), scenario))
    assert alone.refusals == all_types.refusals == ()
    assert all_types.cost_microusd_per_h <= alone.cost_microusd_per_h


def test_of_what_money_is_too_little_for_the_smallest_are_placed() -> None:
    """Nine shards may be bought: four for the small models, and a large one in each of the others."""
    large = tuple(a_model(f"large-{i}", an_option(gpu=15 * GIB)) for i in range(30))
    small = tuple(a_model(f"small-{i}", an_option(gpu=GIB)) for i in range(60))
    scenario = a_scenario(*large, *small, max_usd_per_h_microusd=9_000_000)
    plan = make_plan(scenario, SolveOptions(work=4))
    names = [placed.model for placed in plan.placement.placed]
    assert sum(name.startswith("small") for name in names) == 60
    assert len(names) >= 65


def test_few_shards_go_to_the_highest_priorities_first() -> None:
    scenario = a_fleet(90, seed=102, max_shards=2)
    models = tuple(
        dataclasses.replace(model, priority=index % 3) for index, model in enumerate(scenario.models)
    )
    ranked = dataclasses.replace(scenario, models=models)
    alone, all_types = (make_problem(one) for one in (_a100_alone(ranked), ranked))
    placed = [
        placed_by_priority(packing_from(problem, make_plan(problem.scenario).placement))
        for problem in (alone, all_types)
    ]
    assert placed[1] >= placed[0]

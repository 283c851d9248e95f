"""Where not all fit, rounds of search find room for more."""

from __future__ import annotations

import time

import pytest

from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.guide import make_advice
from planner.solve.heuristics import insert_all, largest_first, placed_by_priority
from planner.solve.packing import Packing
from planner.solve.placing import place_more
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

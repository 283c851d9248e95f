"""The bound of whole shards is one, and a packing in another mix is legal, whatever the scenario."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import HealthCheck, given, settings

from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.construct import construct
from planner.solve.core.bridge import packing_of, state_of
from planner.solve.guide import make_advice
from planner.solve.mixes.annealing import anneal, make_luck
from planner.solve.mixes.crowd import HOME, make_crowd, make_setting, move_in, overload
from planner.solve.mixes.repack import Repacker
from planner.solve.mixes.search import search
from planner.solve.mixes.walk import Walker
from planner.solve.options import Effort
from planner.solve.problem import make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.core_states import bought_scenarios, without_nodes
from tests.support.small_scenarios import least_cost, tiny_scenarios

_SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
EFFORT = Effort(deterministic_time=1.0, workers=1, seed=0)


def searched(scenario: Scenario) -> tuple[int, int] | None:
    """Cost and bound of a search that starts from a complete packing; None where there is none."""
    problem = make_problem(scenario)
    advice, watch = make_advice(problem), Watch(time.monotonic)
    packing, _ = construct(problem, advice, seed=0, watch=watch)
    if not packing.row_of_unit or None in packing.row_of_unit:
        return None
    found = search(packing, advice, at_least=0, work=5_000, effort=EFFORT, watch=watch)
    assert verify_placement(scenario, placement_of(found.packing)) == ()
    assert None not in found.packing.row_of_unit
    assert found.packing.cost <= packing.cost
    return found.packing.cost, found.bound_microusd_per_h


@_SLOW
@given(bought_scenarios())
def test_what_annealing_calls_a_packing_is_one_and_what_it_counts_is_what_the_rules_count(
    scenario: Scenario,
) -> None:
    """With one shard less, after some changes: nothing is too much exactly where every rule allows it."""
    problem = make_problem(scenario)
    advice, watch = make_advice(problem), Watch(time.monotonic)
    packing, _ = construct(problem, advice, seed=0, watch=watch)
    repacker = Repacker(problem, advice, seed=0, watch=watch)
    tables, prices = repacker.tables, repacker.worth.prices
    walker = Walker(packing, tables, prices, watch)
    if None in packing.row_of_unit or not walker.suits():
        return
    setting = make_setting(tables, prices, walker.movable)
    homes = np.where(walker.homes == len(walker.types) - 1, -1, walker.homes)
    crowd = make_crowd(setting, walker.types[:-1].copy(), homes)
    if crowd is None:
        return
    book, heats = np.array([1]), np.full(3, 0.01 * float(problem.prices.max()))
    done = anneal(setting, crowd, book, make_luck(), heats, 0.5, 200)
    assert done == (overload(setting, crowd) <= 0)
    state = state_of(packing, tables, 0)
    homes = crowd.units[:, HOME].copy()
    assert done == move_in(
        tables, state, walker.movable, walker.rows, len(walker.rows), walker.types[:-1].copy(), homes
    )
    if done:
        found = packing_of(state, tables, packing)
        assert None not in found.row_of_unit
        assert verify_placement(scenario, placement_of(found)) == ()


@_SLOW
@given(bought_scenarios())
def test_a_packing_in_another_mix_breaks_no_rule(scenario: Scenario) -> None:
    found = searched(scenario)
    if found is not None:
        assert found[1] <= found[0]


@_SLOW
@given(tiny_scenarios())
def test_the_bound_of_whole_shards_is_never_above_the_least_cost(scenario: Scenario) -> None:
    bought = without_nodes(scenario)
    found, (placed, best) = searched(bought), least_cost(bought)
    if found is not None:
        assert placed == len(bought.models)
        assert found[1] <= best <= found[0]

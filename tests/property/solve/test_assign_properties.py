"""CP-SAT on small scenarios: its hint is a solution, its answer is legal, what it proves is true."""

from __future__ import annotations

import time

from hypothesis import HealthCheck, given, settings
from ortools.sat.python import cp_model

from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.construct import construct
from planner.solve.exact.assign import assign
from planner.solve.exact.draft import Draft
from planner.solve.exact.rules import add_rules
from planner.solve.exact.slots import make_slots
from planner.solve.guide import make_advice
from planner.solve.heuristics import placed_by_priority
from planner.solve.options import Effort
from planner.solve.packing import Packing
from planner.solve.problem import make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.small_scenarios import least_cost, scenarios, tiny_scenarios

_SLOW = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
EFFORT = Effort(deterministic_time=2, workers=1, seed=0)


def constructed(scenario: Scenario) -> Packing:
    problem = make_problem(scenario)
    return construct(problem, make_advice(problem), seed=0, watch=Watch(time.monotonic))[0]


@_SLOW
@given(scenarios())
def test_what_is_found_is_legal_and_never_worse(scenario: Scenario) -> None:
    known = constructed(scenario)
    found = assign(known, effort=EFFORT)
    if found is None:
        return
    assert verify_placement(scenario, placement_of(found.packing)) == ()
    before, after = placed_by_priority(known), placed_by_priority(found.packing)
    assert (after, -found.packing.cost) >= (before, -known.cost)
    if found.bound_microusd_per_h is not None:
        assert found.bound_microusd_per_h <= found.packing.cost


@_SLOW
@given(scenarios())
def test_the_hint_is_a_solution_whatever_rules_bind(scenario: Scenario) -> None:
    packing = constructed(scenario)
    if any(row is None for row in packing.row_of_unit):
        return  # the order of replicas may ask for others of a model's replicas
    draft = Draft(packing, make_slots(packing, most_cost=None))
    add_rules(draft)
    for index, value in enumerate(draft.hint):
        draft.model.add(draft.model.get_int_var_from_proto_index(index) == value)
    assert cp_model.CpSolver().solve(draft.model) == cp_model.OPTIMAL


@_SLOW
@given(tiny_scenarios())
def test_it_agrees_with_brute_force(scenario: Scenario) -> None:
    found = assign(Packing(make_problem(scenario)), effort=EFFORT)
    assert found is not None
    assert found.most_placed
    assert (sum(placed_by_priority(found.packing)), found.packing.cost) == least_cost(scenario)
    assert found.bound_microusd_per_h == found.packing.cost

"""Refusals: what is reckoned for all models at once is what is told of one, and proofs are true."""

from __future__ import annotations

import dataclasses

from hypothesis import HealthCheck, given, settings

from planner.domain.scenario import Scenario
from planner.solve.misses import _miss, nearest_miss, takes_alone
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.problem import make_problem
from tests.support.small_scenarios import scenarios, tiny_scenarios

_SLOW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@_SLOW
@given(scenarios())
def test_a_type_takes_a_model_alone_exactly_where_no_rule_is_missed(scenario: Scenario) -> None:
    apart = dataclasses.replace(
        scenario, models=tuple(dataclasses.replace(m, together=None, pin=None) for m in scenario.models)
    )
    problem = make_problem(apart)
    takes = takes_alone(problem)
    for unit, one in enumerate(problem.units):
        (model,) = one.members
        for index in range(len(problem.scenario.shard_types)):
            assert takes[model, index] == (_miss(problem, unit, index) is None)
        if not takes[model].any():
            assert nearest_miss(problem, unit).proven


@_SLOW
@given(tiny_scenarios())
def test_what_is_refused_with_proof_is_refused_in_every_order_of_the_models(scenario: Scenario) -> None:
    def proven(asked: Scenario) -> set[str]:
        return {item.model for item in make_plan(asked, SolveOptions(work=3)).refusals if item.proven}

    alone = {
        model.name for model in scenario.models if proven(dataclasses.replace(scenario, models=(model,)))
    }
    assert alone <= proven(scenario)

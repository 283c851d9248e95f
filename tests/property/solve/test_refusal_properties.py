"""Refusals: what is reckoned for all models at once is what the specification says, and proofs are true."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from hypothesis import HealthCheck, given, settings

from planner.domain.fleet import ShardType
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.rules import Rule, Violation
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.misses import Group, nearest_misses, takes_alone
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.problem import make_problem
from tests.support.small_scenarios import scenarios, tiny_scenarios

_SLOW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

_OF_THE_WHOLE = {
    Rule.MIN_COUNT,
    Rule.MAX_COUNT,
    Rule.IPS,
    Rule.MAX_SHARDS,
    Rule.MAX_COST,
    Rule.SPREAD,
}
"""Rules that are about more than one model alone on one shard."""


def alone(scenario: Scenario, model: Model, item: ShardType) -> Iterator[tuple[Violation, ...]]:
    """Yield what each way of placing a model alone on a shard of a type that is bought breaks."""
    count = max(model.devices_per_replica, 1)
    for option in range(len(model.footprints)):
        placement = Placement(
            shards=(Shard(name=item.name, shard_type=item.name),),
            placed=(
                Placed(
                    model=model.name, replica=0, shard=item.name, devices=tuple(range(count)), option=option
                ),
            ),
        )
        broken = verify_placement(scenario, placement)
        yield tuple(one for one in broken if one.rule not in _OF_THE_WHOLE)


def bought_and_apart(scenario: Scenario) -> Scenario:
    """Return a scenario without nodes, groups and pins, one replica a model."""
    models = tuple(dataclasses.replace(m, together=None, pin=None, replicas=1) for m in scenario.models)
    types = tuple(item for item in scenario.shard_types if item.provision == "new")
    return dataclasses.replace(scenario, models=models, shard_types=types, nodes=())


@_SLOW
@given(scenarios())
def test_a_type_takes_a_model_alone_exactly_where_it_may_be_placed(scenario: Scenario) -> None:
    asked = bought_and_apart(scenario)
    takes = takes_alone(make_problem(asked))
    for row, model in enumerate(asked.models):
        for column, item in enumerate(asked.shard_types):
            assert takes[row, column] == (() in alone(asked, model, item))


@_SLOW
@given(scenarios())
def test_the_nearest_miss_is_a_rule_that_placing_it_there_breaks(scenario: Scenario) -> None:
    asked = bought_and_apart(scenario)
    problem = make_problem(asked)
    takes = takes_alone(problem)
    lost = [Group((row,), None) for row in range(len(asked.models)) if not takes[row].any()]
    for group, reason in zip(lost, nearest_misses(problem, lost), strict=True):
        assert reason.proven
        if reason.need is None or reason.have is None:
            assert reason.rule in (Rule.DEVICE_CLASS, Rule.RUNTIME)
            continue
        assert reason.need > reason.have
        if reason.rule == Rule.EXCLUSIVE_DEVICES:  # a placement cannot name devices that a shard has not
            continue
        (item,) = (item for item in asked.shard_types if item.name == reason.subject)
        ways = alone(asked, asked.models[group.members[0]], item)
        assert any(reason.rule in {one.rule for one in broken} for broken in ways)


@_SLOW
@given(tiny_scenarios())
def test_what_is_refused_with_proof_is_refused_in_every_order_of_the_models(scenario: Scenario) -> None:
    def proven(asked: Scenario) -> set[str]:
        return {item.model for item in make_plan(asked, SolveOptions(work=3)).refusals if item.proven}

    by_itself = {
        model.name for model in scenario.models if proven(dataclasses.replace(scenario, models=(model,)))
    }
    assert by_itself <= proven(scenario)

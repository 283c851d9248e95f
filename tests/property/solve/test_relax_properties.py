"""Relaxations of small random scenarios: each places what it says, and one step less that is ruled out is."""

from __future__ import annotations

import dataclasses

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.domain.plan import Plan, Refusal
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.relax.lever import Lever
from planner.solve.relax.levers import levers_of
from planner.solve.relax.search import Change, Relaxed, relax
from tests.support.small_scenarios import least_cost, scenarios, tiny_scenarios

QUICK = SolveOptions(work=6)
_SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def applied(scenario: Scenario, plan: Plan, item: Relaxed) -> Scenario:
    """Return a scenario with the changes of a relaxation, found again by field and value."""
    refused = tuple(
        Refusal(model=model.name, replicas=model.replicas, rule=Rule.MAX_COUNT, subject="any")
        for model in scenario.models
    )
    levers = levers_of(scenario, dataclasses.replace(plan, refusals=refused))
    for change in item.changes:
        (lever,) = (one for one in levers if one.field == change.field and one.value(0) == change.before)
        scenario = lever.relaxed(scenario, _step(lever, change))
    return scenario


def _step(lever: Lever, change: Change) -> int:
    if lever.is_cost:
        assert isinstance(change.before, int)
        assert isinstance(change.after, int)
        return change.after - change.before
    return next(step for step in range(1, lever.steps + 1) if lever.value(step) == change.after)


@settings(_SLOW, max_examples=15)
@given(scenarios())
def test_what_is_found_places_what_it_says(scenario: Scenario) -> None:
    plan = make_plan(scenario, QUICK)
    found = relax(scenario, plan, QUICK)
    assert found.complete
    assert (found.trials == 0) == (not plan.refusals)
    assert found.possible is not None
    assert all(item.placed + item.refused == found.wanted for item in found.found)
    placed = [item.placed for item in found.found]
    assert placed == sorted(placed, reverse=True)
    assert max(placed, default=0) <= found.possible
    for item in found.found:
        relaxed = applied(scenario, plan, item)
        again = make_plan(relaxed, SolveOptions(work=30), base=plan)
        assert len(again.placement.placed) >= item.placed


@settings(_SLOW, max_examples=15)
@given(tiny_scenarios(), st.integers(0, 3))
def test_the_least_shards_are_those_of_brute_force(scenario: Scenario, allowed: int) -> None:
    """With every shard at one price the least cost is the least number of shards."""
    types = tuple(dataclasses.replace(item, price_microusd_per_h=1_000_000) for item in scenario.shard_types)
    free = dataclasses.replace(scenario, shard_types=types)
    placed, cost = least_cost(free)
    assume(placed and cost // 1_000_000 > allowed)
    tight = dataclasses.replace(free, policy=dataclasses.replace(free.policy, max_shards=allowed))
    found = relax(tight, None, SolveOptions(work=20))
    (item,) = (one for one in found.found if [c.field for c in one.changes] == ["policy.limits.maxShards"])
    assert (item.placed, item.proven) == (placed, True)
    assert item.changes[0].after == cost // 1_000_000


@_SLOW
@given(scenarios(), st.data())
def test_every_lever_is_monotone(scenario: Scenario, data: st.DataObject) -> None:
    """What is legal after some steps is legal after more: the earlier placement still verifies."""
    plan = make_plan(scenario, QUICK)
    levers = levers_of(scenario, plan)
    assume(plan.refusals and levers)
    lever = data.draw(st.sampled_from(levers))
    few = data.draw(st.integers(0, lever.steps - 1))
    more = data.draw(st.integers(few + 1, lever.steps))
    placement = make_plan(lever.relaxed(scenario, few) if few else scenario, QUICK).placement
    assert verify_placement(lever.relaxed(scenario, more), placement) == ()

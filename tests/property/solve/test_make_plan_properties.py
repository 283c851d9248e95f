"""What holds of every plan, on small random scenarios in which every rule may bind."""

from __future__ import annotations

import dataclasses

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.domain.canonical import canonical_json
from planner.domain.difference import count_moves
from planner.domain.scenario import Scenario
from planner.domain.services import used_services
from planner.domain.verify import verify, verify_placement
from planner.errors import InputError
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.small_scenarios import least_cost, scenarios, tiny_scenarios
from tests.support.transformers import a_transformer, with_transformers

QUICK = SolveOptions(work=6)
_SLOW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@_SLOW
@given(scenarios())
def test_every_plan_is_legal_and_its_bound_is_not_above_its_cost(scenario: Scenario) -> None:
    plan = make_plan(scenario, QUICK)
    assert verify(scenario, plan) == ()
    assert plan.bound is not None
    assert plan.bound.microusd_per_h <= plan.cost_microusd_per_h


@settings(_SLOW, max_examples=15)
@given(scenarios(), st.integers(0, 3))
def test_the_same_seed_gives_the_same_bytes(scenario: Scenario, seed: int) -> None:
    options = SolveOptions(seed=seed, work=6)
    assert canonical_json(make_plan(scenario, options)) == canonical_json(make_plan(scenario, options))


@_SLOW
@given(tiny_scenarios())
def test_the_bound_is_never_above_the_optimum_and_optimal_means_it(scenario: Scenario) -> None:
    plan, (placed, cost) = make_plan(scenario, QUICK), least_cost(scenario)
    assert plan.bound is not None
    assert len(plan.placement.placed) == placed
    assert plan.bound.microusd_per_h <= cost <= plan.cost_microusd_per_h
    if plan.status == "optimal":
        assert plan.cost_microusd_per_h == cost


@settings(_SLOW, max_examples=30)
@given(tiny_scenarios())
def test_larger_devices_never_cost_more_where_both_are_optimal(scenario: Scenario) -> None:
    wider = dataclasses.replace(
        scenario,
        device_classes=tuple(
            dataclasses.replace(item, memory_bytes=item.memory_bytes * 2) for item in scenario.device_classes
        ),
        shard_types=tuple(
            dataclasses.replace(item, device_memory_bytes=None) for item in scenario.shard_types
        ),
    )
    before, after = make_plan(scenario, QUICK), make_plan(wider, QUICK)
    assert len(after.placement.placed) >= len(before.placement.placed)
    if before.status == after.status == "optimal" and not before.refusals:
        assert after.cost_microusd_per_h <= before.cost_microusd_per_h


@settings(_SLOW, max_examples=80)
@given(scenarios(), st.data())
def test_a_plan_close_to_an_earlier_one_is_legal_and_keeps_it_where_moves_come_first(
    scenario: Scenario, data: st.DataObject
) -> None:
    base = make_plan(scenario, QUICK)
    kept = data.draw(st.lists(st.sampled_from(scenario.models), unique_by=id)) if scenario.models else []
    smaller = dataclasses.replace(scenario, models=tuple(sorted(kept, key=lambda model: model.name)))
    plan = make_plan(smaller, QUICK, base=base)
    assert verify(smaller, plan) == ()
    fresh = make_plan(smaller, QUICK)
    assert len(plan.placement.placed) >= len(fresh.placement.placed) or plan.refusals
    if scenario.policy.objective[1] == "moves" and not plan.refusals and not base.refusals:
        assert count_moves(base.placement, plan.placement) <= count_moves(base.placement, fresh.placement)


@settings(_SLOW, max_examples=80)
@given(scenarios(), st.integers(0, 3), st.data())
def test_a_legal_plan_is_never_changed_by_more_moves_than_are_allowed(
    scenario: Scenario, most: int, data: st.DataObject
) -> None:
    kept = data.draw(st.lists(st.sampled_from(scenario.models), unique_by=id)) if scenario.models else []
    smaller = dataclasses.replace(scenario, models=tuple(sorted(kept, key=lambda model: model.name)))
    base = make_plan(smaller, QUICK)
    plan = make_plan(scenario, SolveOptions(work=6, max_moves=most), base=base)
    assert verify(scenario, plan) == ()
    if not verify_placement(scenario, base.placement):
        assert count_moves(base.placement, plan.placement) <= most
        assert len(plan.placement.placed) >= len(base.placement.placed)


@settings(_SLOW, max_examples=25)
@given(scenarios())
def test_an_unchanged_scenario_moves_nothing_when_moves_come_before_cost(scenario: Scenario) -> None:
    policy = dataclasses.replace(scenario.policy, objective=("placed", "moves", "cost"))
    same = dataclasses.replace(scenario, policy=policy)
    base = make_plan(same, QUICK)
    again = make_plan(same, QUICK, base=base)
    if len(again.placement.placed) == len(base.placement.placed):
        assert again.placement == base.placement


@st.composite
def with_services(draw: st.DrawFn) -> Scenario:
    """A scenario some of whose models pass through transformers, of which some hardly fit onto a node."""
    scenario, names = draw(scenarios()), (None, "a", "b")
    models = tuple(
        dataclasses.replace(model, transformer=draw(st.sampled_from(names))) for model in scenario.models
    )
    transformers = (
        a_transformer(
            name,
            replicas=draw(st.integers(1, 2)),
            cpu_milli=draw(st.sampled_from((100, 2000))),
            price_microusd_per_h=draw(st.sampled_from((0, 300_000))),
        )
        for name in ("a", "b")
    )
    return with_transformers(dataclasses.replace(scenario, models=models), *transformers)


@settings(_SLOW, max_examples=100)
@given(with_services())
def test_plans_with_services_are_legal_and_their_bounds_hold(scenario: Scenario) -> None:
    try:
        plan = make_plan(scenario, QUICK)
    except InputError:  # there is no room for the services alone
        return
    assert verify(scenario, plan) == ()
    standing = tuple((item.group, item.transformer) for item in plan.services)
    assert standing == used_services(scenario, plan.placement)
    assert plan.bound is not None
    assert plan.bound.microusd_per_h <= plan.cost_microusd_per_h
    again = make_plan(scenario, QUICK, base=plan)
    where = {(item.group, item.transformer): item.nodes for item in plan.services}
    for item in again.services:
        assert item.nodes == where.get((item.group, item.transformer), item.nodes)

"""Whatever is asked, the answer is a verified plan that accounts for every replica, or a clear refusal."""

from __future__ import annotations

import itertools

import pytest

from planner.domain.canonical import canonical_json
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.solve.guide import make_advice
from planner.solve.heuristics import insert_all, price_shares
from planner.solve.options import SolveOptions
from planner.solve.packing import Packing
from planner.solve.portfolio import make_plan
from planner.solve.problem import make_problem
from tests.support.builders import GIB, a_model, a_scenario, a_shard_type, an_option, models
from tests.support.hard_scenarios import HARD, too_large_everywhere

QUICK = SolveOptions(work=8)


def accounted(scenario: Scenario, plan: Plan) -> bool:
    """Return whether a plan verifies, every replica is placed or refused, and the bound is one."""
    wanted = sum(model.replicas for model in scenario.models)
    refused = sum(item.replicas for item in plan.refusals)
    assert verify(scenario, plan) == ()
    assert plan.bound is not None
    assert 0 <= plan.bound.microusd_per_h <= plan.cost_microusd_per_h
    return len(plan.placement.placed) + refused == wanted


@pytest.mark.parametrize("name", HARD)
def test_it_ends_in_a_verified_plan_and_every_refusal_has_a_reason(name: str) -> None:
    scenario = HARD[name]()
    plan = make_plan(scenario, QUICK)
    assert accounted(scenario, plan)
    assert all(item.subject and item.replicas > 0 for item in plan.refusals)
    assert not plan.stopped_by_clock


@pytest.mark.parametrize("limit_ms", [1, 100, 1_000])
@pytest.mark.parametrize("name", HARD)
def test_a_clock_that_stops_anywhere_leaves_a_verified_plan(name: str, limit_ms: int) -> None:
    ticks = itertools.count()
    scenario, options = HARD[name](), SolveOptions(work=50, time_limit_ms=limit_ms)
    plan = make_plan(scenario, options, clock=lambda: next(ticks) / 50)
    assert accounted(scenario, plan)


@pytest.mark.parametrize("name", HARD)
def test_an_earlier_plan_is_no_trouble(name: str) -> None:
    scenario = HARD[name]()
    first = make_plan(scenario, QUICK)
    again = make_plan(scenario, QUICK, base=first)
    assert accounted(scenario, again)
    assert len(again.placement.placed) >= len(first.placement.placed)


def test_a_resource_that_few_models_need_does_not_hide_how_many_a_shard_may_hold() -> None:
    plain = models(300, an_option(gpu=GIB, milli=50))
    licensed = a_model("licensed", an_option(gpu=GIB, extra=(("licence", 1_000),)))
    types = (
        a_shard_type("t", max_models=2),
        a_shard_type("u", extra=(("licence", 4_000),), price=3_000_000),
    )
    plan = make_plan(a_scenario(*plain, licensed, types=types), SolveOptions(work=2))
    assert accounted(a_scenario(*plain, licensed, types=types), plan)
    assert plan.refusals == ()


@pytest.mark.parametrize("count", [300, 1_000])
def test_models_that_take_nothing_share_one_shard(count: int) -> None:
    plan = make_plan(a_scenario(*models(count, an_option())))
    assert plan.status == "optimal"
    assert len(plan.placement.shards) == 1


def test_what_takes_whole_devices_is_weighed_by_them() -> None:
    """A replica on two devices is all of a shard of two and half of one of four, however little it stores."""
    two, four = (a_shard_type(name, device_count=count) for name, count in (("two", 2), ("four", 4)))
    scenario = a_scenario(
        a_model("wide", an_option(gpu=GIB), devices_per_replica=2), a_model("small"), types=(two, four)
    )
    problem = make_problem(scenario)
    small, wide = price_shares(problem) / problem.prices  # units are in the order of names
    assert wide.tolist() == [1.0, 0.5]
    assert (small < 0.1).all()


def test_a_unit_that_fits_nowhere_leaves_no_closed_shard_behind() -> None:
    problem = make_problem(too_large_everywhere(20))
    packing = Packing(problem)
    assert insert_all(packing, range(20), make_advice(problem).shares) == list(range(20))
    assert (packing.rows, packing.cells, packing.cost) == (0, 0, 0)


@pytest.mark.parametrize("name", ["near the largest number", "every price", "zero capacities", "no models"])
def test_one_thread_gives_equal_bytes(name: str) -> None:
    plans = {canonical_json(make_plan(HARD[name](), QUICK)) for _ in range(2)}
    assert len(plans) == 1


@pytest.mark.parametrize(
    ("name", "status", "refused"),
    [
        ("a single giant", "optimal", 0),
        ("no models", "optimal", 0),
        ("nothing at all", "optimal", 0),
        ("no models and shards that are asked for", "optimal", 0),
        ("models that fit nowhere", "infeasible", 200),
        ("no shard types", "infeasible", 20),
        ("nothing costs anything", "optimal", 0),
        ("zero capacities", "optimal", 5),
        ("no room at all", "optimal", 1),
        ("one model with many replicas", "optimal", 0),
        ("a millionth beside a million USD", "optimal", 0),
    ],
)
def test_what_is_plain_to_see_is_proved(name: str, status: str, refused: int) -> None:
    plan = make_plan(HARD[name](), SolveOptions(work=60))
    assert (plan.status, sum(item.replicas for item in plan.refusals)) == (status, refused)
    assert all(item.proven for item in plan.refusals)

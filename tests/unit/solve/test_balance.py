"""Balance, the last objective: it lowers the fullest devices and pays nothing for it."""

from __future__ import annotations

from collections import Counter

import pytest

from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.solve import balance as module
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.builders import CPU, GIB, a_model, a_scenario, a_shard_type, an_option, models

BALANCED = ("placed", "cost", "balance")
FOUR = an_option(gpu=4 * GIB)


def plan_of(scenario: Scenario, base: Plan | None = None) -> Plan:
    return make_plan(scenario, SolveOptions(work=10), base=base)


def loads(plan: Plan) -> list[int]:
    """Replicas of each device in use, the fullest first."""
    return sorted(
        Counter((item.shard, item.devices) for item in plan.placement.placed).values(), reverse=True
    )


def two_shards(objective: tuple[str, ...]) -> Scenario:
    return a_scenario(*models(4, FOUR), types=(a_shard_type(min_count=2),), objective=objective)


def test_devices_share_what_one_could_hold_only_if_the_policy_says_so() -> None:
    assert loads(plan_of(two_shards(("placed", "cost")))) == [4]
    assert loads(plan_of(two_shards(BALANCED))) == [2, 2]


def test_devices_of_one_shard_share_too() -> None:
    types = (a_shard_type(device_count=4),)
    assert loads(plan_of(a_scenario(*models(4, FOUR), types=types, objective=BALANCED))) == [1, 1, 1, 1]


def test_cpu_shards_share_their_cpu() -> None:
    types = (a_shard_type(device_class=CPU, min_count=2),)
    plan = plan_of(a_scenario(*models(4, an_option(cpu=1000)), types=types, objective=BALANCED))
    assert loads(plan) == [2, 2]


def test_balance_costs_nothing_and_loses_nothing() -> None:
    before, after = plan_of(two_shards(("placed", "cost"))), plan_of(two_shards(BALANCED))
    assert after.cost_microusd_per_h == before.cost_microusd_per_h
    assert (after.status, after.refusals) == ("optimal", ())


def test_replicas_of_a_model_are_not_put_together_for_it() -> None:
    wide = a_model("wide", an_option(gpu=GIB), replicas=2)
    plan = plan_of(a_scenario(wide, *models(3, FOUR), types=(a_shard_type(min_count=2),), objective=BALANCED))
    assert len({item.shard for item in plan.placement.placed if item.model == "wide"}) == 2


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (("placed", "cost", "moves", "balance"), [4]),
        (("placed", "cost", "balance", "moves"), [2, 2]),
        (("placed", "cost", "balance"), [2, 2]),
    ],
)
def test_what_is_placed_already_moves_only_where_balance_comes_first(
    objective: tuple[str, ...], expected: list[int]
) -> None:
    base = plan_of(two_shards(("placed", "cost")))
    assert loads(base) == [4]
    assert loads(plan_of(two_shards(objective), base)) == expected


def test_fleets_that_are_too_large_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BALANCED_UNITS", 3)
    assert loads(plan_of(two_shards(BALANCED))) == [4]

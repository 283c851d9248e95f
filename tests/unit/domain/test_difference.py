"""What separates two plans, case by case."""

from __future__ import annotations

import pytest

from planner.domain.difference import Relocation, apply_diff, diff_plans
from planner.domain.placement import Placed, Shard
from planner.domain.plan import Plan, Refusal
from planner.domain.rules import Rule
from tests.support.builders import a_scenario, a_shard_type, models
from tests.support.plans import a_placement, a_plan, a_shard, on

SCENARIO = a_scenario(*models(3), types=(a_shard_type("t", price=5), a_shard_type("u", price=7)))


def plan(*items: Shard | Placed, **more: object) -> Plan:
    return a_plan(SCENARIO, *items, **more)


def test_equal_plans_have_no_difference():
    same = plan(a_shard(), on("m-000"))
    assert diff_plans(same, same).is_empty


def test_opened_closed_added_removed_moved():
    before = plan(a_shard("t"), on("m-000"), on("m-001"))
    after = plan(a_shard("u"), on("m-000", "u"), on("m-002", "u"))
    found = diff_plans(before, after)
    assert found.opened == (a_shard("u"),)
    assert found.closed == (a_shard("t"),)
    assert found.added == (on("m-002", "u"),)
    assert found.removed == (on("m-001"),)
    assert found.moved == (Relocation(before=on("m-000"), after=on("m-000", "u")),)
    assert (found.cost_before_microusd_per_h, found.cost_after_microusd_per_h) == (5, 7)
    assert not found.is_empty


@pytest.mark.parametrize("changed", [on("m-000", "t", 1), on("m-000", option=1)])
def test_another_device_or_option_is_a_move(changed):
    found = diff_plans(plan(a_shard(), on("m-000")), plan(a_shard(), changed))
    assert [item.after for item in found.moved] == [changed]
    assert (found.opened, found.closed, found.added, found.removed) == ((), (), (), ())


def test_a_shard_of_another_type_is_closed_and_opened():
    found = diff_plans(plan(a_shard("t")), plan(a_shard("t", "u")))
    assert (found.closed, found.opened) == ((a_shard("t"),), (a_shard("t", "u"),))


def test_replicas_are_told_apart():
    before = plan(a_shard(), on("m-000"), on("m-000", replica=1))
    after = plan(a_shard(), on("m-000"))
    assert diff_plans(before, after).removed == (on("m-000", replica=1),)


def test_refusals_that_came_and_went():
    small = Refusal(model="m-000", replicas=1, rule=Rule.CPU, subject="t", need=2, have=1)
    large = Refusal(model="m-000", replicas=1, rule=Rule.CPU, subject="t", need=3, have=1)
    found = diff_plans(plan(a_shard(), refusals=(small,)), plan(a_shard(), refusals=(large,)))
    assert (found.accepted, found.refused) == ((small,), (large,))
    assert not found.is_empty


def test_a_difference_of_another_plan_is_refused():
    found = diff_plans(plan(a_shard(), on("m-000")), plan(a_shard()))
    with pytest.raises(ValueError, match="m-000#0 is not there"):
        apply_diff(found, a_placement(a_shard()))

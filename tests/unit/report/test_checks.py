"""What ``verify`` looked at, and what breaks its rules as names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from planner.domain.fleet import Cluster
from planner.domain.plan import Plan, Refusal
from planner.domain.rules import Rule, Violation
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.report.checks import Check, checks_table, rule_checks
from planner.report.explain import find_subject
from planner.report.subjects import violation_names
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option
from tests.support.plans import a_plan, a_shard, everything, on


def checks_of(scenario: Scenario, plan: Plan) -> dict[Rule, Check]:
    return {item.rule: item for item in rule_checks(scenario, plan, verify(scenario, plan))}


def broken_plans() -> Iterator[tuple[Scenario, Plan]]:
    """A plan that breaks all it can, then plans with one replica on a shard where it is wrong."""
    yield overfull()
    scenario, *items = everything()
    plan = a_plan(scenario, *items)
    for index, placed in enumerate(plan.placement.placed):
        for shard in plan.placement.shards:
            moved = list(plan.placement.placed)
            moved[index] = dataclasses.replace(placed, shard=shard.name, devices=(0,))
            placement = dataclasses.replace(plan.placement, placed=tuple(sorted(moved)))
            yield scenario, dataclasses.replace(plan, placement=placement)


def overfull() -> tuple[Scenario, Plan]:
    big = an_option(gpu=20 * GIB, milli=800, cpu=900, host=2 * GIB, disk=GIB, extra=(("ports", 2_000),))
    small = a_shard_type(
        provision="existing",
        cpu_milli=1_000,
        memory_bytes=GIB,
        disk_bytes=1,
        max_models=1,
        max_count=0,
        extra=(("ports", 1_000),),
        node_selector=(("pool", "gpu"),),
    )
    scenario = a_scenario(
        a_model("a", big, tenant="red", pin="elsewhere", together="pair"),
        a_model("b", big, tenant="blue", together="pair"),
        a_model("c", big, together="pair"),
        types=(small, a_shard_type("more", min_count=1)),
        nodes=(a_node(cpu_milli=500, memory_bytes=1, pods=1, pods_in_use=1),),
        cluster=Cluster(max_ips=0, max_config_map_bytes=10),
        max_shards=0,
        isolate_tenants=True,
    )
    shard = a_shard("t", node="n", node_devices=(0,))
    plan = a_plan(scenario, shard, on("a"), on("b"), cost_microusd_per_h=7, status="optimal")
    return scenario, plan


def test_every_rule_is_counted_once_and_in_order() -> None:
    scenario, *items = everything()
    found = rule_checks(scenario, a_plan(scenario, *items), ())
    assert [item.rule for item in found] == list(Rule)
    assert len(checks_table(found).splitlines()) == len(Rule) + 1


def test_subjects_are_those_of_the_plan_and_the_scenario() -> None:
    scenario, *items = everything()
    found = {rule: item.subjects for rule, item in checks_of(scenario, a_plan(scenario, *items)).items()}
    assert found[Rule.DEVICE_MEMORY] == 4  # bought, sliced and the two of onnode
    assert found[Rule.CPU] == 7
    assert found[Rule.DISK] == 1
    assert found[Rule.DEVICE_CLASS] == 7
    assert found[Rule.SPREAD] == 5
    assert found[Rule.NODE_DEVICES] == 2
    assert found[Rule.NODE_SELECTOR] == found[Rule.NODE_PODS] == 1
    assert found[Rule.TENANTS] == found[Rule.MAX_COST] == found[Rule.IPS] == 0


def test_limits_that_are_set_are_counted() -> None:
    scenario = a_scenario(
        a_model("m"),
        types=(a_shard_type(max_count=2, max_models=5),),
        cluster=Cluster(max_ips=10),
        max_shards=3,
        isolate_tenants=True,
    )
    found = checks_of(scenario, a_plan(scenario, on("m")))
    for rule in (Rule.MAX_COUNT, Rule.MAX_MODELS, Rule.IPS, Rule.MAX_SHARDS, Rule.TENANTS):
        assert found[rule].subjects == 1, rule
    assert found[Rule.MIN_COUNT].subjects == 0


def test_what_has_no_subject_has_no_violation() -> None:
    rules: set[Rule] = set()
    for scenario, plan in broken_plans():
        broken = verify(scenario, plan)
        rules |= {violation.rule for violation in broken}
        for item in rule_checks(scenario, plan, broken):
            assert item.violations == sum(violation.rule is item.rule for violation in broken)
            assert item.subjects or not item.violations, item
    assert len(rules) >= 22, sorted(set(Rule) - rules)


def test_names_that_mean_nothing_leave_rules_unchecked() -> None:
    scenario = a_scenario(a_model("m"))
    plan = a_plan(scenario, on("m"))
    placement = dataclasses.replace(plan.placement, placed=(on("nobody"),))
    found = checks_of(scenario, dataclasses.replace(plan, placement=placement))
    assert found[Rule.DEVICE_MEMORY].subjects is None
    assert found[Rule.REFERENCE].violations == 1
    assert found[Rule.ACCOUNTED].subjects == 1
    assert "not checked" in checks_table(found.values())


# ------------------------------------------------------------------------------------------- as names


def test_what_breaks_a_rule_can_be_explained() -> None:
    kinds: set[str] = set()
    for scenario, plan in broken_plans():
        for name in violation_names(verify(scenario, plan), plan):
            kind = name.partition("/")[0]
            kinds.add(kind)
            if kind in ("model", "shard", "device"):
                assert find_subject(scenario, plan, name)[0] == kind
    assert kinds == {"device", "model", "node", "plan", "shard", "shardtype", "together"}


@pytest.mark.parametrize(
    ("rule", "subject", "name"),
    [
        (Rule.STARTABLE, "t/0", "device/t/0"),
        (Rule.HOST_MEMORY, "t", "shard/t"),
        (Rule.DEVICE_CLASS, "m#1", "model/m"),
        (Rule.TOGETHER, "pair#0", "together/pair"),
        (Rule.MAX_COUNT, "gpu", "shardtype/gpu"),
        (Rule.NODE_PODS, "n0", "node/n0"),
        (Rule.NODE_DEVICES, "n0/1", "node/n0"),
        (Rule.NODE_DEVICES, "t", "shard/t"),
        (Rule.MAX_COST, "plan", "plan/test"),
        (Rule.BOUND, "status", "plan/test"),
        (Rule.REFERENCE, "t", "shard/t"),
        (Rule.REFERENCE, "m#7", "model/m"),
        (Rule.REFERENCE, "gone", "model/gone"),
        (Rule.REFERENCE, "shards[0].devices[0].usedBytes", "plan/test"),
    ],
)
def test_a_violation_is_named_by_what_breaks_the_rule(rule: Rule, subject: str, name: str) -> None:
    refusal = Refusal(model="gone", replicas=1, rule=Rule.CPU, subject="t", need=2, have=1)
    plan = a_plan(a_scenario(a_model("m")), a_shard(), on("m"), name="test", refusals=(refusal,))
    assert list(violation_names([Violation(rule=rule, subject=subject)], plan)) == [name]


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_has_a_kind_of_subject_and_a_noun(rule: Rule) -> None:
    plan = a_plan(a_scenario(a_model("m")), on("m"))
    (name,) = violation_names([Violation(rule=rule, subject="m")], plan)
    assert "/" in name
    assert rule.value in checks_table([Check(rule=rule, subjects=2, violations=0)])

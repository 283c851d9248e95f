"""Services of transformers: where they stand, what they leave, and every rule about them in ``verify``."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from planner.domain.canonical import canonical_json, sha256_of
from planner.domain.fleet import Cluster
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Bound, Budget, Plan
from planner.domain.rules import Rule, Violation
from planner.domain.scenario import Scenario
from planner.domain.services import (
    Service,
    beside,
    possible_groups,
    stand_services,
    used_services,
    wanted_services,
    without_shards,
)
from planner.domain.verify import verify
from planner.errors import InputError
from tests.support.builders import CPU, GIB, a_model, a_node, a_scenario, a_shard_type, an_option
from tests.support.transformers import a_transformer, on_nodes, two_models, with_transformers


def a_plan(scenario: Scenario, *services: Service, node: str | None = None, **more: Any) -> Plan:
    """A plan with all models on shard ``t``, and what its shard and these services cost."""
    known = {item.name: item.price_microusd_per_h for item in scenario.transformers}
    cost = 1_000_000 + sum(known.get(item.transformer, 0) for item in services)
    devices = (0,) if node else ()
    plain: dict[str, Any] = {
        "name": scenario.name,
        "namespace": scenario.namespace,
        "scenario_sha256": sha256_of(scenario),
        "seed": 0,
        "budget": Budget(work=1),
        "stopped_by_clock": False,
        "versions": (),
        "status": "feasible",
        "placement": Placement(
            shards=(Shard(name="t", shard_type="t", node=node, node_devices=devices),),
            placed=tuple(
                Placed(model=model.name, replica=0, shard="t", devices=(0,)) for model in scenario.models
            ),
        ),
        "cost_microusd_per_h": cost,
        "bound": Bound(microusd_per_h=cost, method="test"),
        "refusals": (),
        "services": services,
    }
    return Plan(**{**plain, **more})


SERVICE = Service(group="t", transformer="scale")


def rules_of(scenario: Scenario, plan: Plan) -> list[tuple[Rule, str]]:
    return [(item.rule, item.subject) for item in verify(scenario, plan)]


# ------------------------------------------------------------------------------------------------- verify


def test_one_service_of_a_group_serves_all_models_that_name_it() -> None:
    scenario = two_models()
    assert rules_of(scenario, a_plan(scenario, SERVICE)) == []


def test_a_placed_model_needs_its_service() -> None:
    scenario = two_models()
    (broken,) = verify(scenario, a_plan(scenario))
    assert broken == Violation(
        rule=Rule.SERVICE,
        subject="t-transformer-scale",
        need=1,
        have=0,
        detail="models of group 't' name it, and it does not stand",
    )


def test_each_group_of_models_needs_a_service_of_its_own() -> None:
    types = (a_shard_type("t"), a_shard_type("u"))
    scenario = two_models(types=types)
    placement = Placement(
        shards=(Shard(name="t", shard_type="t"), Shard(name="u", shard_type="u")),
        placed=tuple(
            Placed(model=m, replica=0, shard=s, devices=(0,)) for m, s in (("a", "t"), ("b", "u"), ("c", "u"))
        ),
    )
    plan = a_plan(scenario, SERVICE, placement=placement, cost_microusd_per_h=2_100_000)
    assert rules_of(scenario, plan) == [(Rule.SERVICE, "u-transformer-scale")]


def test_no_service_stands_that_nobody_uses() -> None:
    scenario = with_transformers(two_models(), a_transformer(), a_transformer("idle"))
    plan = a_plan(scenario, Service(group="t", transformer="idle"), SERVICE)
    assert rules_of(scenario, plan) == [(Rule.SERVICE, "t-transformer-idle")]


def test_a_service_is_counted_once() -> None:
    scenario = two_models()
    assert rules_of(scenario, a_plan(scenario, SERVICE, SERVICE)) == [(Rule.SERVICE, "t-transformer-scale")]


@pytest.mark.parametrize(
    ("service", "detail"),
    [
        (Service(group="t", transformer="other"), "no transformer 'other'"),
        (Service(group="x", transformer="scale"), "no group 'x'"),
        (Service(group="t", transformer="scale", nodes=("n",)), "no node 'n'"),
    ],
)
def test_a_service_names_what_there_is(service: Service, detail: str) -> None:
    scenario = two_models()
    broken = verify(scenario, a_plan(scenario, service))
    assert [(item.rule, item.detail) for item in broken] == [(Rule.REFERENCE, detail)]


def test_a_service_has_a_node_for_each_pod_where_there_are_nodes() -> None:
    scenario = on_nodes(a_node(), transformer=a_transformer(replicas=2))
    service = Service(group="t", transformer="scale", nodes=("n",))
    (broken,) = verify(scenario, a_plan(scenario, service, node="n"))
    assert (broken.rule, broken.detail) == (Rule.REFERENCE, "is on 1 nodes instead of 2")


@pytest.mark.parametrize(
    ("room", "rule", "need", "have"),
    [
        ({"cpu_milli": 5999}, Rule.NODE_CPU, 6000, 5999),
        ({"memory_bytes": 9 * GIB - 1}, Rule.NODE_MEMORY, 9 * GIB, 9 * GIB - 1),
        ({"pods": 3, "pods_in_use": 2}, Rule.NODE_PODS, 2, 1),
    ],
)
def test_a_node_holds_shards_and_services_together(
    room: dict[str, Any], rule: Rule, need: int, have: int
) -> None:
    scenario = on_nodes(a_node("n", **room))
    service = Service(group="t", transformer="scale", nodes=("n",))
    (broken,) = verify(scenario, a_plan(scenario, service, node="n"))
    assert (broken.rule, broken.subject, broken.need, broken.have) == (rule, "n", need, have)


def test_pods_of_services_take_addresses() -> None:
    scenario = two_models(cluster=Cluster(max_ips=1))
    (broken,) = verify(scenario, a_plan(scenario, SERVICE))
    assert (broken.rule, broken.need, broken.have) == (Rule.IPS, 2, 1)


def test_services_are_part_of_the_cost_and_of_its_limit() -> None:
    scenario = two_models(max_usd_per_h_microusd=1_050_000)
    plan = a_plan(scenario, SERVICE)
    assert rules_of(scenario, plan) == [(Rule.MAX_COST, "plan")]
    free = dataclasses.replace(plan, cost_microusd_per_h=1_000_000, bound=None)
    assert rules_of(scenario, free) == [(Rule.MAX_COST, "plan"), (Rule.COST, "plan")]


# --------------------------------------------------------------------------------------- where they stand


def test_pods_stand_on_nodes_of_their_own_without_gpus_first() -> None:
    nodes = (a_node("gpu-a"), a_node("small", gpus=0, cpu_milli=2000), a_node("large", gpus=0))
    scenario = on_nodes(*nodes, transformer=a_transformer(replicas=4))
    (service,) = stand_services(scenario, wanted_services(scenario))
    assert service.nodes == ("gpu-a", "large", "large", "small")


def test_where_services_stand_does_not_depend_on_the_order_of_models() -> None:
    scenario = on_nodes(a_node("a", gpus=0), a_node("b", gpus=0))
    wanted = [("t", "scale"), ("u", "scale")]
    assert stand_services(scenario, wanted) == stand_services(scenario, reversed(wanted))


def test_a_pod_stays_where_it_stands_while_there_is_room() -> None:
    scenario = on_nodes(a_node("a", gpus=0), a_node("b"))
    earlier = Service(group="t", transformer="scale", nodes=("b",))
    assert stand_services(scenario, wanted_services(scenario), earlier=(earlier,)) == (earlier,)
    full = on_nodes(a_node("a", gpus=0), a_node("b", cpu_milli=1999))
    (service,) = stand_services(full, wanted_services(full), earlier=(earlier,))
    assert service.nodes == ("a",)


def test_a_service_that_fits_on_no_node_is_a_fault() -> None:
    scenario = on_nodes(a_node(cpu_milli=3999), transformer=a_transformer(replicas=2))
    with pytest.raises(InputError, match=r"1 of 2 pods of 2 CPU and 1Gi fit .* 't-transformer-scale'"):
        stand_services(scenario, wanted_services(scenario))


def test_services_beyond_a_limit_of_the_whole_are_a_fault() -> None:
    scenario = two_models(cluster=Cluster(max_ips=0), max_usd_per_h_microusd=50_000)
    with pytest.raises(InputError) as caught:
        stand_services(scenario, wanted_services(scenario))
    assert [fault.path for fault in caught.value.faults] == ["cluster.maxIPs", "policy.limits.maxCostPerHour"]


def test_services_leave_less_for_shards() -> None:
    scenario = on_nodes(
        a_node(cpu_milli=8000, pods_in_use=3),
        a_node("other"),
        cluster=Cluster(max_ips=5),
        max_usd_per_h_microusd=10**6,
    )
    left = beside(scenario, (Service(group="t", transformer="scale", nodes=("n",)),))
    node, other = left.nodes
    assert (node.cpu_milli, node.memory_bytes, node.pods_in_use) == (6000, 2047 * GIB, 4)
    assert other == scenario.nodes[1]
    assert (left.cluster.max_ips, left.policy.max_usd_per_h_microusd) == (4, 900_000)
    assert beside(scenario, ()) is scenario


def test_shards_leave_less_for_services() -> None:
    scenario = on_nodes(a_node(cpu_milli=8000))
    left = without_shards(scenario, a_plan(scenario, node="n").placement)
    assert (left.nodes[0].cpu_milli, left.nodes[0].pods_in_use) == (4000, 1)


# ------------------------------------------------------------------------------------------ who needs them


def test_a_model_comes_into_the_groups_that_may_hold_it() -> None:
    types = (a_shard_type("g"), a_shard_type("c", device_class=CPU), a_shard_type("other", runtime="sklearn"))
    anywhere = a_model("a", an_option(), transformer="scale")
    gpu_only = a_model("b", an_option("gpu-16", gpu=GIB), transformer="scale")
    pinned = a_model("p", an_option(), pin="c-1", transformer="scale")
    scenario = with_transformers(a_scenario(anywhere, gpu_only, pinned, types=types), a_transformer())
    assert {model.name: groups for model, _, groups in possible_groups(scenario)} == {
        "a": {"g", "c", "other"},
        "b": {"g", "other"},
        "p": {"c"},
    }


def test_used_are_the_services_of_what_is_placed() -> None:
    scenario = two_models()
    assert used_services(scenario, a_plan(scenario).placement) == (("t", "scale"),)
    assert used_services(scenario, Placement()) == ()


def test_without_transformers_the_hash_of_a_scenario_is_what_it_was() -> None:
    text = canonical_json(a_scenario(a_model()))
    assert "transformer" not in text
    assert '"together":null}' in text
    assert '"together":null,"transformer":"scale"}' in canonical_json(two_models())
    assert "services" not in canonical_json(a_plan(a_scenario(a_model())))

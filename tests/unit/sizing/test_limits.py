"""The three limits of KServe's multi-model guide, with the guide's own numbers."""

from __future__ import annotations

from typing import Any

import pytest

from planner.domain.fleet import Cluster, Node, Runtime
from planner.domain.scenario import Scenario
from planner.sizing.limits import Ceiling, serving_limits
from tests.support.builders import GIB, MIB, a_model, a_node, a_scenario, a_shard_type, an_option, models
from tests.support.plans import a_plan, a_shard, on

GB = 10**9


def the_guides(count: int = 10, **more: Any) -> Scenario:
    """Models with two replicas, and sidecars of 0.5 CPU and 0.5 GB a pod, as the guide reckons with."""
    shard_type = a_shard_type(
        replicas=2, overhead_cpu_milli=500, overhead_memory_bytes=GB // 2, memory_bytes=1024 * GIB
    )
    return a_scenario(*models(count, an_option(host=MIB), replicas=2), types=(shard_type,), **more)


def ceilings(scenario: Scenario, **more: Any) -> dict[tuple[str, int | None], Ceiling]:
    found = serving_limits(scenario, **more).ceilings
    return {(item.limit, item.pods_per_node): item for item in found}


# --------------------------------------------------------------------------------------- the guide's numbers


def test_ten_models_of_two_replicas_cost_10_cpu_and_10_gb_of_sidecars():
    alone = serving_limits(the_guides()).one_per_service
    assert (alone.models, alone.services, alone.pods) == (10, 10, 20)
    assert (alone.overhead_cpu_milli, alone.overhead_memory_bytes) == (10_000, 10 * GB)


def test_in_one_service_of_two_replicas_they_cost_a_tenth_of_a_cpu_and_of_a_gb_each():
    scenario = the_guides()
    plan = a_plan(scenario, a_shard(), *(on(model.name) for model in scenario.models))
    shared = serving_limits(scenario, plan).sharded
    assert shared is not None
    assert (shared.models, shared.services, shared.pods) == (10, 1, 2)
    assert shared.overhead_cpu_milli_per_model == 100
    assert shared.overhead_memory_bytes_per_model == GB // 10


def test_4096_addresses_hold_1024_models_of_4_pods():
    scenario = the_guides(cluster=Cluster(max_ips=4096))
    found = serving_limits(scenario, transformer_replicas=2)
    (ceiling,) = found.ceilings
    assert (ceiling.limit, ceiling.available, ceiling.one_per_service_models) == ("ips", 4096, 1024)
    assert (found.assumptions.max_ips, found.assumptions.transformer_replicas) == (4096, 2)
    assert found.one_per_service.pods == 4 * found.one_per_service.models


def test_50_nodes_hold_1000_models_at_80_usable_pods_and_1375_at_110():
    cluster = Cluster(nodes=50, usable_pods_per_node=80, max_pods_per_node=110)
    found = ceilings(the_guides(cluster=cluster), transformer_replicas=2)
    assert found["pods", 80].one_per_service_models == 1000
    assert found["pods", 110].one_per_service_models == 1375
    assert {(item.nodes, item.available) for item in found.values()} == {(50, 4000), (50, 5500)}


def test_gpus_grow_by_one_a_replica_and_are_shared_by_a_shard():
    scenario = a_scenario(*models(10, an_option(gpu=GIB), replicas=2))
    plan = a_plan(
        scenario,
        a_shard(),
        a_shard("t-1", "t"),
        *(on(model.name, "t") for model in scenario.models),
        *(on(model.name, "t-1", replica=1) for model in scenario.models),
    )
    found = serving_limits(scenario, plan)
    assert found.sharded is not None
    assert (found.one_per_service.gpus, found.sharded.gpus) == (20, 2)


# -------------------------------------------------------------------------------------------- its own cases


def test_without_a_plan_the_shards_side_is_open():
    found = serving_limits(the_guides(cluster=Cluster(max_ips=100)))
    assert found.sharded is None
    assert [item.sharded_models for item in found.ceilings] == [None]


def test_shards_hold_as_many_models_a_pod_as_the_plan_does():
    scenario = the_guides(cluster=Cluster(max_ips=100))
    plan = a_plan(scenario, a_shard(), *(on(model.name) for model in scenario.models))
    (ceiling,) = serving_limits(scenario, plan).ceilings
    assert (ceiling.one_per_service_models, ceiling.sharded_models) == (50, 500)


def test_a_plan_that_places_nothing_says_nothing_of_the_shards_ceiling():
    scenario = the_guides(cluster=Cluster(max_ips=100))
    found = serving_limits(scenario, a_plan(scenario, a_shard()))
    assert [item.sharded_models for item in found.ceilings] == [None]
    assert found.sharded is not None
    assert found.sharded.overhead_cpu_milli_per_model is None
    assert found.sharded.overhead_memory_bytes_per_model is None


def test_no_limit_no_ceiling():
    assert serving_limits(the_guides()).ceilings == ()


def test_no_models():
    found = serving_limits(the_guides(0, cluster=Cluster(max_ips=100)))
    assert found.one_per_service.pods == 0
    assert [item.one_per_service_models for item in found.ceilings] == [0]


def test_overhead_a_model_is_rounded_up():
    shard_type = a_shard_type(overhead_cpu_milli=100, overhead_memory_bytes=100)
    scenario = a_scenario(*models(3, an_option()), types=(shard_type,))
    plan = a_plan(scenario, a_shard(), *(on(model.name) for model in scenario.models))
    shared = serving_limits(scenario, plan).sharded
    assert shared is not None
    assert (shared.overhead_cpu_milli_per_model, shared.overhead_memory_bytes_per_model) == (34, 34)


def test_a_replica_pays_the_sidecars_of_the_type_that_it_is_planned_on():
    types = (a_shard_type("t", overhead_cpu_milli=100), a_shard_type("u", overhead_cpu_milli=700))
    scenario = a_scenario(a_model("m", replicas=2), types=types)
    plan = a_plan(scenario, a_shard("t"), a_shard("u"), on("m", "t"), on("m", "u", replica=1))
    assert serving_limits(scenario, plan).one_per_service.overhead_cpu_milli == 800
    assert serving_limits(scenario).one_per_service.overhead_cpu_milli == 200


@pytest.mark.parametrize(
    ("option", "devices", "gpus"),
    [(an_option(gpu=1), 1, 1), (an_option(gpu=1), 4, 4), (an_option(host=1), 1, 0), (an_option("cpu"), 1, 0)],
)
def test_a_replica_alone_holds_whole_gpus_only_if_it_uses_one(option, devices, gpus):
    types = (a_shard_type("t", device_count=4), a_shard_type("c", device_class="cpu"))
    scenario = a_scenario(a_model("m", option, devices_per_replica=devices), types=types)
    assert serving_limits(scenario).one_per_service.gpus == gpus


def test_a_model_that_no_type_serves_still_counts_its_pods():
    scenario = a_scenario(a_model("m", an_option("other", gpu=1), replicas=3))
    alone = serving_limits(scenario).one_per_service
    assert (alone.pods, alone.gpus, alone.overhead_cpu_milli) == (3, 0, 0)


def nodes_of(*pods: int | None, in_use: int = 0) -> tuple[Node, ...]:
    return tuple(
        a_node(f"n{index}", gpus=0, pods=count, pods_in_use=in_use) for index, count in enumerate(pods)
    )


@pytest.mark.parametrize(
    ("nodes", "cluster", "expected"),
    [
        (nodes_of(None, None), Cluster(), [(110, 220)]),
        (nodes_of(None, None, in_use=10), Cluster(), [(100, 200), (110, 220)]),
        (nodes_of(50, 70), Cluster(), [(None, 120)]),
        (nodes_of(50, 110, in_use=30), Cluster(usable_pods_per_node=80), [(None, 100), (None, 160)]),
        (nodes_of(20, in_use=30), Cluster(), [(0, 0), (20, 20)]),
        (nodes_of(None), Cluster(nodes=3), [(110, 330)]),
    ],
)
def test_pods_of_nodes(nodes, cluster, expected):
    found = serving_limits(the_guides(nodes=nodes, cluster=cluster))
    assert [(item.pods_per_node, item.available) for item in found.ceilings] == expected
    assert found.assumptions.nodes_from == ("scenario" if cluster.nodes is None else "cluster")
    assert found.assumptions.nodes == (cluster.nodes or len(nodes))


def test_a_type_whose_server_lacks_the_backend_is_passed_over():
    types = (
        a_shard_type("t", runtime="sklearn", overhead_cpu_milli=100),
        a_shard_type("u", overhead_cpu_milli=700),
    )
    sklearn = Runtime(name="sklearn", backends=("sklearn",))
    scenario = a_scenario(a_model("m"), types=types, runtimes=(sklearn,))
    assert serving_limits(scenario).one_per_service.overhead_cpu_milli == 700


def test_fewer_than_no_transformers_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        serving_limits(the_guides(), transformer_replicas=-1)

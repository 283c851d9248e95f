"""Shards that stay empty are closed: in an order that can be stopped anywhere, and never under anybody."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from planner.controller.objects import Mode, Style
from planner.controller.pace import Pace
from planner.controller.routing import Front
from planner.controller.writes import Write
from planner.manifests.options import ManifestOptions
from tests.support.memory_cluster import (
    NAMESPACE,
    KServe,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
)

MODES: tuple[Mode, ...] = ("kserve", "standalone")
PACE = Pace(empty_s=60.0)
EMPTY = "news-1"


def a_cluster(mode: Mode, *, gateway: bool = True, **fleet: Any) -> tuple[MemoryCluster, Run]:
    """Three models on two shards that hold two; the second is about to be empty."""
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=2, **fleet)))
    run = Run(cluster, style=style_of(mode, gateway=gateway), pace=PACE)
    for name in ("a", "b", "c"):
        cluster.put("TrainedModel", a_trained_model(name))
        run.settle(agents=loaded_agents())
    assert placement_of(cluster)["c"] == {EMPTY}
    return cluster, run


def style_of(mode: Mode, *, gateway: bool = True) -> Style:
    return Style(mode=mode, options=ManifestOptions(gateway="nginx" if gateway else "none"))


def servers(cluster: MemoryCluster) -> set[str]:
    found = [*cluster.of("InferenceService"), *cluster.of("Deployment")]
    return {name.removesuffix("-predictor") for name in found if not name.endswith("-gateway")}


def of_shard(cluster: MemoryCluster, shard: str) -> set[tuple[str, str]]:
    """What is left of a shard, its pods aside."""
    names = {shard, f"{shard}-shard", f"{shard}-predictor", f"shardpack-{shard}-0", f"modelconfig-{shard}-0"}
    return {
        (kind, name)
        for kind in cluster.objects
        if kind != "Pod"
        for name in cluster.of(kind)
        if name in names
    }


def let_pass(run: Run, seconds: float) -> None:
    end = run.now + seconds
    agents = loaded_agents()
    while run.now < end:
        run.turn(agents=agents)
        run.now += 0.5


@pytest.mark.parametrize("gateway", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_shard_that_stays_empty_goes_documents_first_and_its_server_last(mode: Mode, gateway: bool) -> None:
    cluster, run = a_cluster(mode, gateway=gateway)
    there = of_shard(cluster, EMPTY)
    cluster.remove("TrainedModel", "c")
    order: list[Write] = []
    run._broken = order.append
    let_pass(run, 55)
    assert of_shard(cluster, EMPTY) == there
    run.settle(agents=loaded_agents())
    assert of_shard(cluster, EMPTY) == set()
    gone = [write.kind for write in order if write.verb == "delete"]
    assert gone == sorted(gone, key=["ConfigMap", "Service", "Deployment", "InferenceService"].index)
    assert [told.message for told in run.told if told.reason == "ShardClosed"] == [
        "shard news-1 of type t4, which was empty for 60 s"
    ]
    (plan,) = run.engine.plans
    assert (set(plan.shards), dict(plan.closing), plan.estate.count("t4")) == ({"news"}, {}, 1)
    assert run.engine.decided["closed"] == 1
    assert placement_of(cluster) == {"a": {"news"}, "b": {"news"}}
    cluster.put("TrainedModel", a_trained_model("d"))
    run.settle(agents=loaded_agents())
    assert placement_of(cluster)["d"] == {EMPTY}


@pytest.mark.parametrize("mode", MODES)
def test_the_budget_of_a_shard_of_several_pods_goes_with_it(mode: Mode) -> None:
    cluster, run = a_cluster(mode, extra="      replicas: 2")
    assert EMPTY in cluster.of("PodDisruptionBudget")
    cluster.remove("TrainedModel", "c")
    run.settle(agents=loaded_agents())
    assert of_shard(cluster, EMPTY) == set()
    assert set(cluster.of("PodDisruptionBudget")) == {"news", "news-gateway"}


@pytest.mark.parametrize("mode", MODES)
def test_without_being_asked_to_it_stays(mode: Mode) -> None:
    cluster, _ = a_cluster(mode)
    cluster.remove("TrainedModel", "c")
    run = Run(cluster, style=style_of(mode))
    run.settle(agents=loaded_agents())
    let_pass(run, 200)
    assert servers(cluster) == {"news", EMPTY}


@pytest.mark.parametrize("mode", MODES)
def test_whoever_is_stopped_at_any_write_ends_with_the_same(mode: Mode) -> None:
    for after in range(12):
        cluster, run = a_cluster(mode)
        cluster.remove("TrainedModel", "c")
        left = iter(range(after))

        def stop(write: Write, left: Any = left) -> None:
            if next(left, None) is None:
                raise InterruptedError(write.name)

        run._broken = stop
        with contextlib.suppress(InterruptedError):
            run.settle(agents=loaded_agents())
        again = Run(cluster, style=style_of(mode), pace=PACE, now=run.now)
        again.settle(agents=loaded_agents())
        assert servers(cluster) == {"news"}
        assert of_shard(cluster, EMPTY) == set()
        assert placement_of(cluster) == {"a": {"news"}, "b": {"news"}}


def test_a_model_that_comes_while_a_shard_is_closed_is_not_deleted_by_kserve() -> None:
    for after in range(6):
        cluster, run = a_cluster("kserve")
        kserve = KServe(cluster)
        kserve.reconcile()
        cluster.remove("TrainedModel", "c")
        deletions = iter(range(after))

        def come(write: Write, cluster: MemoryCluster = cluster, left: Any = deletions) -> None:
            """Before one of the deletions somebody names the shard."""
            now = write.verb == "delete" and next(left, None) is None
            if now and write.kind != "InferenceService" and "d" not in cluster.of("TrainedModel"):
                cluster.put("TrainedModel", a_trained_model("d", parent=EMPTY))

        run._broken = come
        run.settle(agents=loaded_agents())
        kserve.reconcile()
        run.settle(agents=loaded_agents())
        assert kserve.deleted == []
        if "d" in cluster.of("TrainedModel"):
            parent = cluster.of("TrainedModel")["d"]["spec"]["inferenceService"]
            assert placement_of(cluster)["d"] == {parent}
            assert parent in cluster.of("InferenceService")


def test_a_shard_that_a_refused_or_foreign_model_names_stays() -> None:
    cluster, run = a_cluster("kserve")
    cluster.put("TrainedModel", a_trained_model("theirs", parent=EMPTY, labels={"shardpack.dev/group": "x"}))
    cluster.remove("TrainedModel", "c")
    run.watch()
    let_pass(run, 200)
    assert EMPTY in servers(cluster)
    cluster.remove("TrainedModel", "theirs")
    run.settle(agents=loaded_agents())
    assert EMPTY not in servers(cluster)


def test_no_fewer_are_left_than_a_type_asks_for() -> None:
    cluster, run = a_cluster("kserve", extra="      minCount: 2")
    for name in ("a", "b", "c"):
        cluster.remove("TrainedModel", name)
    run.watch()
    let_pass(run, 200)
    assert servers(cluster) == {"news", EMPTY}


@pytest.mark.parametrize("mode", MODES)
def test_of_an_empty_group_one_is_left_beside_kserve_the_first(mode: Mode) -> None:
    cluster, run = a_cluster(mode)
    for name in ("a", "b", "c"):
        cluster.remove("TrainedModel", name)
    run.settle(agents=loaded_agents())
    assert len(servers(cluster)) == 1
    assert mode == "standalone" or servers(cluster) == {"news"}


def test_a_shard_that_a_plan_opened_stays() -> None:
    cluster, _ = a_cluster("kserve")
    item = json.loads(json.dumps(cluster.of("InferenceService")[EMPTY]))
    del item["metadata"]["annotations"]["shardpack.dev/opened-by"]
    cluster.put("InferenceService", item)
    cluster.remove("TrainedModel", "c")
    run = Run(cluster, style=style_of("kserve"), pace=PACE)
    run.settle(agents=loaded_agents())
    let_pass(run, 200)
    assert servers(cluster) == {"news", EMPTY}


def test_a_shard_stays_as_long_as_a_gateway_may_go_there() -> None:
    cluster, run = a_cluster("kserve")
    labels = {"shardpack.dev/gateway": "news", "app.kubernetes.io/managed-by": "shardpack"}
    metadata = {"name": "gateway-pod", "namespace": NAMESPACE, "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"podIP": "127.9.9.9"}}
    cluster.put("Pod", pod)
    old = json.loads(cluster.of("ConfigMap")["news-gateway-0"]["data"]["routes-0.json"])["generation"]
    cluster.remove("TrainedModel", "c")
    run.watch()
    run.engine.hear_gateway("gateway-pod", Front(generation=old, draining=0))
    let_pass(run, 200)
    assert EMPTY in servers(cluster)
    new = json.loads(cluster.of("ConfigMap")["news-gateway-0"]["data"]["routes-0.json"])["generation"]
    assert new != old
    run.engine.hear_gateway("gateway-pod", Front(generation=new, draining=0))
    run.settle(agents=loaded_agents())
    assert EMPTY not in servers(cluster)


def test_a_fleet_that_changes_while_a_shard_is_closed_counts_it_until_it_is_gone() -> None:
    cluster, run = a_cluster("kserve", most=2)
    cluster.remove("TrainedModel", "c")
    refused: list[Write] = []

    def keep(write: Write) -> None:
        if write.verb == "delete":
            refused.append(write)
            raise InterruptedError

    run._broken = keep
    with contextlib.suppress(InterruptedError):
        run.settle(agents=loaded_agents())
    assert refused
    run._broken = lambda _: None
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=2, most=3)))
    run.watch()
    run.engine.step(run.now, "2026-01-01T00:00:00Z")
    (plan,) = run.engine.plans
    assert (set(plan.closing), plan.estate.count("t4")) == ({EMPTY}, 2)
    run.settle(agents=loaded_agents())
    assert plan.estate.count("t4") == 1
    assert servers(cluster) == {"news"}

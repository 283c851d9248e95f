"""Gateways and their routes: who answers for a model, and when an old copy may go."""

from __future__ import annotations

import json
from typing import Any

from planner.controller.objects import Style
from planner.controller.routing import Front
from planner.manifests.options import ManifestOptions
from tests.support.kubernetes_objects import core_faults
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
)

STYLE = Style(options=ManifestOptions(gateway="nginx"))


def a_cluster(count: int, **more: Any) -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    for index in range(count):
        cluster.put("TrainedModel", a_trained_model(f"m-{index:03}", **more))
    return cluster


def document(cluster: MemoryCluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.of("ConfigMap")["news-gateway-0"]["data"]["routes-0.json"])
    return found


def a_gateway_pod(cluster: MemoryCluster) -> None:
    labels = {"shardpack.dev/gateway": "news", "app.kubernetes.io/managed-by": "shardpack"}
    metadata = {"name": "gateway-pod", "namespace": NAMESPACE, "labels": labels}
    status = {"podIP": "127.9.9.9"}
    cluster.put("Pod", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})


def test_a_group_gets_a_gateway_and_every_shard_a_service() -> None:
    cluster = a_cluster(25)
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    assert set(cluster.of("Service")) == {"news-gateway", "news-shard", "news-1-shard"}
    assert set(cluster.of("Deployment")) == {"news-gateway"}
    assert set(cluster.of("PodDisruptionBudget")) == {"news-gateway"}
    objects = [
        item
        for kind in ("Service", "Deployment", "PodDisruptionBudget")
        for item in cluster.of(kind).values()
    ]
    assert [fault for item in objects for fault in core_faults(_as_sent(item))] == []
    assert document(cluster)["models"] == {name: [shard] for name, (shard,) in placement_of(cluster).items()}
    again = dict(cluster.writes)
    Run(cluster, style=STYLE).settle(agents=loaded_agents())
    assert cluster.writes == again


def test_a_model_that_is_loaded_nowhere_has_no_route_and_keeps_one_until_it_fails() -> None:
    cluster = a_cluster(1)
    run = Run(cluster, style=STYLE)
    run.settle()
    assert document(cluster)["models"] == {"m-000": []}
    for state, shards in (("Loaded", ["news"]), ("Loading", ["news"]), ("FailedToLoad", [])):
        run.settle(agents=loaded_agents(state=state))
        assert document(cluster)["models"] == {"m-000": shards}


def test_a_second_pod_on_which_a_model_fails_takes_no_route_away() -> None:
    cluster = a_cluster(1)
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    labels = {"shardpack.dev/shard": "news"}
    metadata = {"name": "news-second", "namespace": NAMESPACE, "labels": labels}
    status = {"podIP": "127.9.9.9"}
    cluster.put("Pod", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})
    run.watch()
    run.engine.hear("news-second", {"m-000": ("DownloadFailed", "no such bucket")})
    run.settle()
    assert document(cluster)["models"] == {"m-000": ["news"]}
    conditions = cluster.of("TrainedModel")["m-000"]["status"]["conditions"]
    assert ("Loaded", "DownloadFailed") in {(item["type"], item["reason"]) for item in conditions}
    run.engine.hear("news-pod", {"m-000": ("FailedToLoad", "no memory")})
    run.settle()
    assert document(cluster)["models"] == {"m-000": []}


def a_move(style: Style = STYLE) -> tuple[MemoryCluster, Run]:
    """Model b on its way from news to news-1, where no agent has said that it is loaded."""
    cluster = a_cluster(0)
    for name in ("a", "b"):
        cluster.put("TrainedModel", a_trained_model(name, memory="6Gi"))
    run = Run(cluster, style=style)
    run.settle(agents=loaded_agents())
    if style.options.gateway == "nginx":
        a_gateway_pod(cluster)
    run.watch()
    changed = json.loads(json.dumps(cluster.of("TrainedModel")["b"]))
    changed["spec"]["model"]["memory"] = "9Gi"
    cluster.put("TrainedModel", changed)
    run.settle(agents=loaded_agents(["news"]))
    assert placement_of(cluster)["b"] == {"news", "news-1"}
    return cluster, run


def test_both_copies_answer_then_the_new_one_and_then_the_old_one_goes() -> None:
    cluster, run = a_move()
    assert document(cluster)["models"]["b"] == ["news"]
    old = document(cluster)["generation"]
    _turns(run, Front(generation=old, draining=0))
    assert document(cluster)["models"]["b"] == ["news-1", "news"]
    both = document(cluster)["generation"]
    _turns(run, Front(generation=both, draining=0))
    assert document(cluster)["models"]["b"] == ["news-1"]
    new = document(cluster)["generation"]
    for front in (Front(generation=both, draining=0), Front(generation=new, draining=2)):
        _turns(run, front)
        assert placement_of(cluster)["b"] == {"news", "news-1"}
    _turns(run, Front(generation=new, draining=0))
    assert placement_of(cluster)["b"] == {"news-1"}
    assert document(cluster)["models"]["b"] == ["news-1"]


def test_routes_leave_no_old_copy_out_before_a_new_one_is_reached() -> None:
    cluster, run = a_move()
    _ready(cluster, "news-1-pod", "False")
    _follow(run)
    assert document(cluster)["models"]["b"] == ["news-1", "news"]
    assert placement_of(cluster)["b"] == {"news", "news-1"}
    _ready(cluster, "news-1-pod", "True")
    _follow(run)
    assert document(cluster)["models"]["b"] == ["news-1"]
    assert placement_of(cluster)["b"] == {"news-1"}


def test_without_a_gateway_no_old_copy_goes_before_the_new_pod_is_ready() -> None:
    cluster, run = a_move(Style())
    _ready(cluster, "news-1-pod", "False")
    for _ in range(100):
        run.turn(agents=loaded_agents())
        run.now += 0.1
    assert placement_of(cluster)["b"] == {"news", "news-1"}
    _ready(cluster, "news-1-pod", "True")
    run.settle(agents=loaded_agents())
    assert placement_of(cluster)["b"] == {"news-1"}


def test_routes_go_back_to_both_where_the_new_copy_is_lost_before_the_old_one_goes() -> None:
    cluster, run = a_move()
    _turns(run, Front(generation=document(cluster)["generation"], draining=0))
    _turns(run, Front(generation=document(cluster)["generation"], draining=0))
    assert document(cluster)["models"]["b"] == ["news-1"]
    told = {"b": ("FailedToLoad", "gone")}
    for _ in range(50):
        run.engine.hear("news-1-pod", told)
        run.turn()
        run.now += 0.1
    assert document(cluster)["models"]["b"] == ["news"]
    assert placement_of(cluster)["b"] == {"news", "news-1"}
    _follow(run)
    assert placement_of(cluster)["b"] == {"news-1"}


def test_routes_that_somebody_changed_are_put_right() -> None:
    cluster = a_cluster(3)
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    before = document(cluster)
    broken = json.loads(json.dumps(cluster.of("ConfigMap")["news-gateway-0"]))
    broken["data"] = {"routes-0.json": "?"}
    cluster.put("ConfigMap", broken)
    cluster.remove("Service", "news-gateway")
    run.settle(agents=loaded_agents())
    assert document(cluster) == before
    assert "news-gateway" in cluster.of("Service")


def _ready(cluster: MemoryCluster, pod: str, status: str) -> None:
    item = json.loads(json.dumps(cluster.of("Pod")[pod]))
    item["status"]["conditions"] = [{"type": "Ready", "status": status}]
    cluster.put("Pod", item)


def _follow(run: Run) -> None:
    """Let time go by in which the gateway goes by whatever routes there are."""
    for _ in range(300):
        generation = document(run.cluster)["generation"]
        run.engine.hear_gateway("gateway-pod", Front(generation=generation, draining=0))
        run.turn(agents=loaded_agents())
        run.now += 0.1


def _turns(run: Run, front: Front) -> None:
    """Let ten seconds go by in which the gateway says the same."""
    for _ in range(100):
        run.engine.hear_gateway("gateway-pod", front)
        run.turn(agents=loaded_agents())
        run.now += 0.1


def _as_sent(item: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        key: value for key, value in item["metadata"].items() if key not in ("uid", "resourceVersion")
    }
    return {**item, "metadata": metadata}

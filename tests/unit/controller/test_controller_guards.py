"""What keeps a model served while controllers stop, pods end, agents lie and fleets change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planner.controller.objects import Style
from planner.controller.pace import Pace
from planner.controller.routing import Front
from planner.manifests.options import ManifestOptions
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

NGINX = Style(options=ManifestOptions(gateway="nginx"))


def a_pair(style: Style | None = None, **fleet: Any) -> tuple[MemoryCluster, Run]:
    """Two models that fill a shard together, both loaded."""
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(**fleet)))
    for name in ("a", "b"):
        cluster.put("TrainedModel", a_trained_model(name, memory="6Gi"))
    run = Run(cluster, style=style)
    run.settle(agents=loaded_agents())
    return cluster, run


def ask(cluster: MemoryCluster, name: str, memory: str) -> None:
    changed = json.loads(json.dumps(cluster.of("TrainedModel")[name]))
    changed["spec"]["model"]["memory"] = memory
    cluster.put("TrainedModel", changed)


def a_gateway_pod(cluster: MemoryCluster, name: str, **status: str) -> None:
    labels = {"shardpack.dev/gateway": "news", "app.kubernetes.io/managed-by": "shardpack"}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    item = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "status": {"podIP": "127.9.9.9", **status},
    }
    cluster.put("Pod", item)


def routes(cluster: MemoryCluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.of("ConfigMap")["news-gateway-0"]["data"]["routes-0.json"])
    return found


def turns(run: Run, *fronts: str, seconds: int = 10) -> None:
    """Let time go by in which gateways, that agree with the routes, and agents say the same."""
    for _ in range(seconds * 5):
        for pod in fronts:
            generation = routes(run.cluster)["generation"]
            run.engine.hear_gateway(pod, Front(generation=generation, draining=0))
        run.turn(agents=loaded_agents())
        run.now += 0.2


def test_who_starts_between_parent_and_routes_keeps_the_copy_that_requests_go_to() -> None:
    cluster, run = a_pair(NGINX)
    ask(cluster, "b", "9Gi")
    run.settle(agents=loaded_agents(["news"]))
    assert routes(cluster)["models"]["b"] == ["news"]
    run.turn(
        agents=loaded_agents()
    )  # the new copy is loaded: the parent changes at once, routes wait for quiet
    assert cluster.of("TrainedModel")["b"]["spec"]["inferenceService"] == "news-1"
    assert routes(cluster)["models"]["b"] == ["news"]
    again = Run(cluster, style=NGINX, now=run.now)
    again.settle()  # no agent has been asked yet
    assert placement_of(cluster)["b"] == {"news", "news-1"}
    assert routes(cluster)["models"]["b"] == ["news"]
    again.settle(agents=loaded_agents())
    assert placement_of(cluster)["b"] == {"news-1"}
    assert routes(cluster)["models"]["b"] == ["news-1"]
    assert "shardpack.dev/leaving" not in cluster.of("TrainedModel")["b"]["metadata"]["annotations"]


def test_nothing_is_written_to_a_model_whose_server_is_not_there() -> None:
    cluster, run = a_pair()
    cluster.remove("InferenceService", "news")
    cluster.remove("Pod", "news-pod")
    before = dict(cluster.writes)
    run.watch()
    for _ in range(100):
        step = run.engine.step(run.now, "2026-01-01T00:00:00Z")
        assert [write.kind for write in step.writes] in ([], ["InferenceService"])
        for write in step.writes:
            run.engine.missed(write, "failed", None, run.now)
        run.now += 1.0
    assert cluster.writes == before
    run.settle()
    told = cluster.of("TrainedModel")["a"]["status"]["conditions"]
    assert [item["status"] for item in told if item["type"] == "Loaded"] == ["Unknown"]


def test_a_write_that_finds_no_model_unloads_none() -> None:
    cluster, run = a_pair()
    before, told = placement_of(cluster), loaded_agents(state="FailedToLoad")
    run.watch()
    told(run)
    step = run.engine.step(run.now, "2026-01-01T00:00:00Z")
    assert {write.target for write in step.writes} == {("TrainedModel", "a"), ("TrainedModel", "b")}
    for write in step.writes:
        run.engine.missed(write, "gone", None, run.now)
    run.settle(agents=told)
    assert placement_of(cluster) == before
    for name in before:
        conditions = cluster.of("TrainedModel")[name]["status"]["conditions"]
        assert [item["reason"] for item in conditions if item["type"] == "Loaded"] == ["FailedToLoad"]


def test_what_was_told_before_a_model_came_back_does_not_end_its_move() -> None:
    cluster, run = a_pair()
    ask(cluster, "b", "9Gi")
    run.settle(agents=loaded_agents())
    assert placement_of(cluster)["b"] == {"news-1"}
    ask(cluster, "a", "12Gi")
    cluster.put("TrainedModel", a_trained_model("c", memory="4Gi"))
    run.settle(agents=loaded_agents())
    assert placement_of(cluster)["c"] == {"news-1"}
    run.engine.hear("news-pod", {"a": ("Loaded", ""), "b": ("Loaded", "")})  # asked before it had let b go
    assert run.engine.scene.hearing.copy_state("b", "news").state == "Loaded"
    cluster.remove("TrainedModel", "a")
    run.settle()
    ask(cluster, "b", "12Gi")
    run.settle()
    assert placement_of(cluster)["b"] == {"news", "news-1"}
    assert cluster.of("TrainedModel")["b"]["spec"]["inferenceService"] == "news-1"


def test_a_move_that_another_follows_is_not_over_when_the_first_was() -> None:
    cluster, run = a_pair(NGINX)
    a_gateway_pod(cluster, "one")
    ask(cluster, "b", "9Gi")
    run.settle(agents=loaded_agents(["news"]))
    for _ in range(20):  # the gateway does not follow: the old copy stays
        run.turn(agents=loaded_agents())
        run.now += 0.2
    cluster.put("TrainedModel", a_trained_model("c", memory="4Gi"))
    run.turn(agents=loaded_agents())
    ask(cluster, "b", "12Gi")
    run.settle(agents=loaded_agents(["news", "news-1"]))
    assert placement_of(cluster)["b"] == {"news", "news-1", "news-2"}
    assert cluster.of("TrainedModel")["b"]["spec"]["inferenceService"] == "news-1"
    again = Run(cluster, style=NGINX, now=run.now)
    turns(again, "one")
    assert placement_of(cluster)["b"] == {"news-2"}


def test_a_gateway_that_has_said_nothing_keeps_the_old_copy_and_one_that_was_evicted_does_not() -> None:
    cluster, run = a_pair(NGINX)
    for pod in ("one", "two"):
        a_gateway_pod(cluster, pod)
    ask(cluster, "b", "9Gi")
    turns(run, "one")
    assert placement_of(cluster)["b"] == {"news", "news-1"}
    run.engine.hear_gateway("two", Front(generation="of long ago", draining=0))
    a_gateway_pod(cluster, "two", phase="Failed")
    turns(run, "one")
    assert placement_of(cluster)["b"] == {"news-1"}


def test_a_pod_that_was_evicted_speaks_for_its_shard_no_more() -> None:
    cluster, run = a_pair()
    metadata = {"name": "evicted", "namespace": NAMESPACE, "labels": {"shardpack.dev/shard": "news"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"podIP": "127.3.3.3"}}
    cluster.put("Pod", pod)
    run.watch()
    run.engine.hear("evicted", {"a": ("Loading", "")})
    assert run.engine.scene.hearing.copy_state("a", "news").state == "Loading"
    cluster.put("Pod", {**pod, "status": {"podIP": "127.3.3.3", "phase": "Failed"}})
    run.watch()
    run.engine.hear("evicted", {"a": ("Loading", "")})  # was under way
    assert run.engine.scene.hearing.copy_state("a", "news").state == "Loaded"


def test_a_fleet_without_the_backend_of_a_model_is_not_taken() -> None:
    catalogue = "  catalog: {{runtimes: [{{name: triton}}], backends: [{}]}}"
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(extra=catalogue.format("{name: ours}"))))
    cluster.put("TrainedModel", a_trained_model("a", says={"backend": "ours"}))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    assert placement_of(cluster) == {"a": {"news"}}
    cluster.put("ConfigMap", fleet_map(a_fleet_text(extra=catalogue.format(""))))
    run.settle(agents=loaded_agents())
    assert placement_of(cluster) == {"a": {"news"}}
    assert [item.message for item in run.told if item.reason == "BadFleet"] == [
        "fleet: model a is placed, and its backend 'ours' is not there any more"
    ]


def test_a_fleet_that_is_not_taken_is_not_taken_by_who_starts_anew_either() -> None:
    cluster, _ = a_pair()
    other = a_fleet_text().replace("t4", "t5").replace("nvidia-t5, count: 1", "nvidia-t4, count: 2")
    cluster.put("ConfigMap", fleet_map(other))
    before = dict(cluster.writes)
    again = Run(cluster)
    again.settle(agents=loaded_agents())
    assert [item.message for item in again.told if item.reason == "BadFleet"] == [
        "fleet: shard news is open, and its type 't4' is not there any more"
    ]
    assert cluster.writes == before
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    again.settle(agents=loaded_agents())
    assert [plan.shards["news"].shard_type for plan in again.engine.plans] == ["t4"]
    assert cluster.writes == before


def test_who_has_another_key_is_no_fellow_any_more() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=1)))
    cluster.put("TrainedModel", a_trained_model("a", says={"together": "old", "replicas": 2}))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    assert placement_of(cluster) == {"a": {"news", "news-1"}}
    cluster.put("TrainedModel", a_trained_model("a", says={"together": "new", "replicas": 2}))
    cluster.put("TrainedModel", a_trained_model("b", says={"together": "old"}))
    run.settle(agents=loaded_agents())
    assert placement_of(cluster) == {"a": {"news", "news-1"}, "b": {"news-2"}}


def test_neighbours_that_come_and_go_write_nothing_anew_about_who_is_refused() -> None:
    cluster, run = a_pair(most=1)
    cluster.put("TrainedModel", a_trained_model("giant", memory="14Gi"))
    run.settle(agents=loaded_agents())
    before, told = cluster.writes["TrainedModel", "giant", "status"], len(_about(run, "giant"))
    assert (before, told) == (1, 1)
    sentences = {run.engine.refusal("giant")}
    for number in range(10):
        ask(cluster, "b", f"{1000 + 100 * number}Mi")
        for _ in range(15):
            run.turn(agents=loaded_agents())
            run.now += 0.1
        sentences.add(run.engine.refusal("giant"))
    assert len(sentences) > 5
    run.settle(agents=loaded_agents())
    assert len(_about(run, "giant")) == told
    assert cluster.writes["TrainedModel", "giant", "status"] == before
    _start_anew(cluster, run)


def test_who_is_refused_for_another_reason_later_is_told_so_and_not_by_who_starts_anew() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=2, most=1)))
    cluster.put("TrainedModel", a_trained_model("a", memory="9Gi"))
    cluster.put("TrainedModel", a_trained_model("giant", memory="10Gi"))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    assert "models a shard" not in _assigned(cluster, "a" if "a" not in placement_of(cluster) else "giant")
    (refused,) = {"a", "giant"} - placement_of(cluster).keys()
    cluster.put("TrainedModel", a_trained_model("small", memory="1Mi"))
    run.settle(agents=loaded_agents())
    assert "models a shard" in _assigned(cluster, refused)
    assert len(_about(run, refused)) == 1, "no other event"
    _start_anew(cluster, run)


def _start_anew(cluster: MemoryCluster, run: Run) -> None:
    """A controller that starts finds nothing to write."""
    before = cluster.writes.copy()
    Run(cluster, now=run.now).settle(agents=loaded_agents())
    assert cluster.writes == before


def _assigned(cluster: MemoryCluster, name: str) -> str:
    conditions = cluster.of("TrainedModel")[name]["status"]["conditions"]
    (found,) = (item for item in conditions if item["type"] == "Assigned")
    return str(found["message"])


def test_stale_entries_that_a_full_step_did_not_reach_are_taken_out_later() -> None:
    cluster, run = a_pair()
    ask(cluster, "b", "9Gi")
    run.settle(agents=loaded_agents())
    for shard, left in (("news", "b"), ("news-1", "a")):
        text = json.dumps([{"modelName": left, "modelSpec": {}}])
        metadata = {"name": f"modelconfig-{shard}-0", "namespace": NAMESPACE}
        cluster.put(
            "ConfigMap",
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"models.json": text}},
        )
    slow = Run(cluster, pace=Pace(at_once=1))
    slow.settle(agents=loaded_agents())
    for shard in ("news", "news-1"):
        assert cluster.of("ConfigMap")[f"modelconfig-{shard}-0"]["data"]["models.json"] == "[]"


@pytest.mark.parametrize("text", ["{", "5", "[5]", "[{}]", "[" * 100_000], ids=lambda text: text[:4])
def test_entries_that_are_not_as_kserve_writes_them_are_left_alone(text: str) -> None:
    cluster, run = a_pair()
    metadata = {"name": "modelconfig-news-0", "namespace": NAMESPACE}
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"models.json": text}}
    cluster.put("ConfigMap", item)
    ask(cluster, "b", "9Gi")
    run.settle(agents=loaded_agents())
    assert placement_of(cluster)["b"] == {"news-1"}
    assert cluster.of("ConfigMap")["modelconfig-news-0"]["data"]["models.json"] == text


def test_routes_without_room_stop_no_controller() -> None:
    cluster = MemoryCluster()
    text = a_fleet_text(max_models=1, extra="  cluster: {maxConfigMapBytes: 1024}")
    cluster.put("ConfigMap", fleet_map(text))
    for number in range(40):
        cluster.put("TrainedModel", a_trained_model(f"m-{number:03}"))
    run = Run(cluster, style=NGINX)
    run.settle(agents=loaded_agents())
    assert len(placement_of(cluster)) == 40


def _about(run: Run, name: str) -> list[str]:
    return [item.message for item in run.told if item.name == name]

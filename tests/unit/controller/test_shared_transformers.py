"""Models that name a transformer: it stands and counts once a group, and their requests pass through it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from planner.controller.fitting import fit
from planner.controller.objects import Mode, Style
from planner.controller.pace import Pace
from planner.controller.writes import Write
from planner.domain.verify import verify_placement
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
MODES: tuple[Mode, ...] = ("kserve", "standalone")
NAMES = ("scale", "tokens", "words")


def transformers(*names: str, image: str = "registry.example/x:1", replicas: int = 1, cpu: int = 1) -> str:
    rows = [
        f"    - {{name: {name}, image: '{image}', replicas: {replicas}, "
        f"resources: {{cpu: {cpu}, memory: 1Gi}}, pricePerHour: 0.1}}"
        for name in names
    ]
    return "\n".join(["  transformers:", *rows])


def on_nodes(*, cpu: int, shard_cpu: int = 6, replicas: int = 1) -> str:
    """A fleet on two nodes of 8 CPU, one of them with a GPU."""
    text = a_fleet_text(extra=transformers("scale", cpu=cpu, replicas=replicas))
    nodes = """\
  nodes:
    - {name: gpu, allocatable: {cpu: "8", memory: 128Gi}, devices: [{class: nvidia-t4}]}
    - {name: plain, allocatable: {cpu: "8", memory: 64Gi}}
"""
    return text.replace('cpu: "8", memory: 64Gi}', f'cpu: "{shard_cpu}", memory: 64Gi}}') + nodes


def a_cluster(fleet: str, models: dict[str, str | None]) -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(fleet))
    for name, transformer in models.items():
        says = {"transformer": transformer} if transformer else None
        cluster.put("TrainedModel", a_trained_model(name, says=says))
    return cluster


def document(cluster: MemoryCluster, group: str = "news") -> dict[str, Any]:
    item = cluster.of("ConfigMap")[f"{group}-gateway-0"]
    found: dict[str, Any] = json.loads(item["data"]["routes-0.json"])
    return found


def standing(cluster: MemoryCluster, kind: str = "Deployment") -> set[str]:
    return {name for name in cluster.of(kind) if "-transformer-" in name}


def is_legal(run: Run) -> None:
    for plan in run.engine.plans:
        scenario, placement = plan.placement()
        assert verify_placement(scenario, placement, plan.standing.services) == ()


def condition(cluster: MemoryCluster, name: str) -> dict[str, Any]:
    conditions = cluster.of("TrainedModel")[name]["status"]["conditions"]
    (found,) = (item for item in conditions if item["type"] == "Assigned")
    assert isinstance(found, dict)
    return found


def through(cluster: MemoryCluster, name: str) -> dict[str, str]:
    """The conditions of a model that depend on its transformer."""
    conditions = cluster.of("TrainedModel")[name]["status"]["conditions"]
    return {
        item["type"]: item["status"] for item in conditions if item["type"] in ("Ready", "TransformerReady")
    }


@pytest.mark.parametrize("mode", MODES)
def test_sixty_models_with_three_transformers_have_each_of_them_once(mode: Mode) -> None:
    models: dict[str, str | None] = {f"m-{number:02}": NAMES[number % 3] for number in range(60)}
    cluster = a_cluster(a_fleet_text(extra=transformers(*NAMES)), {**models, "plain": None})
    style = Style(mode=mode, options=STYLE.options)
    run = Run(cluster, style=style)
    run.settle(agents=loaded_agents())
    for kind in ("Deployment", "Service"):
        assert standing(cluster, kind) == {f"news-transformer-{name}" for name in NAMES}
        assert [fault for item in cluster.of(kind).values() for fault in core_faults(_as_sent(item))] == []
    routes = document(cluster)
    assert routes["through"] == {name: f"news-transformer-{item}" for name, item in models.items()}
    assert set(routes["services"]) == standing(cluster)
    assert routes["models"] == {name: [shard] for name, (shard,) in placement_of(cluster).items()}
    ports = [port["port"] for port in cluster.of("Service")["news-gateway"]["spec"]["ports"]]
    assert ports == [80, 8081]
    is_legal(run)
    before = dict(cluster.writes)
    again = Run(cluster, style=style)
    again.settle(agents=loaded_agents())
    assert cluster.writes == before
    is_legal(again)


def test_a_transformer_stands_once_in_each_group() -> None:
    more = a_fleet_text(extra=transformers("scale")).replace(
        "  transformers:",
        "    - {name: l4, runtime: triton, devices: {class: nvidia-l4, count: 1}, group: sport,\n"
        '       resources: {cpu: "8", memory: 64Gi}}\n  transformers:',
    )
    cluster = a_cluster(more, {"a": "scale", "b": "scale"})
    cluster.put("TrainedModel", a_trained_model("c", parent="sport", says={"transformer": "scale"}))
    cluster.put("TrainedModel", a_trained_model("d", parent="sport"))
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    assert standing(cluster) == {"news-transformer-scale", "sport-transformer-scale"}
    assert document(cluster, "sport")["through"] == {"c": "sport-transformer-scale"}
    is_legal(run)


def test_its_pods_take_their_room_on_nodes_and_it_is_told_where_they_are() -> None:
    cluster = a_cluster(on_nodes(cpu=3, replicas=2), {"a": "scale", "b": "scale"})
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    told = cluster.of("Deployment")["news-transformer-scale"]["metadata"]["annotations"]
    assert told["shardpack.dev/nodes"] == "plain,plain", "the shard has 6 of the other's 8 CPU"
    is_legal(run)
    again = Run(cluster, style=STYLE)
    again.settle(agents=loaded_agents())
    (plan,) = again.engine.plans
    assert [service.nodes for service in plan.standing.services] == [("plain", "plain")]


def test_a_model_whose_transformer_has_no_room_is_refused_and_served_when_there_is_some() -> None:
    cluster = a_cluster(on_nodes(cpu=9), {"a": "scale", "b": None})
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    assert set(placement_of(cluster)) == {"b"}
    assert "no room for transformer scale" in condition(cluster, "a")["message"]
    assert standing(cluster) == set()
    cluster.put("ConfigMap", fleet_map(on_nodes(cpu=3)))
    run.settle(agents=loaded_agents())
    assert set(placement_of(cluster)) == {"a", "b"}
    is_legal(run)


def test_a_shard_is_not_opened_in_the_room_of_a_transformer() -> None:
    text = (
        on_nodes(cpu=8, replicas=1, shard_cpu=6)
        .replace("- {name: plain", "- {name: more")
        .replace('cpu: "8", memory: 64Gi}}', 'cpu: "8", memory: 64Gi}, devices: [{class: nvidia-t4}]}')
    )
    cluster = a_cluster(text, {f"m-{number:02}": "scale" for number in range(25)})
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    assert len(placement_of(cluster)) == 20
    assert len(cluster.of("InferenceService")) == 1
    is_legal(run)


def test_without_gateways_of_ours_nobody_passes_through() -> None:
    cluster = a_cluster(a_fleet_text(extra=transformers("scale")), {"a": "scale", "b": None})
    Run(cluster).settle(agents=loaded_agents())
    assert set(placement_of(cluster)) == {"b"}
    assert "--gateway nginx" in condition(cluster, "a")["message"]


def test_another_image_takes_the_place_of_the_first_and_nothing_else_changes() -> None:
    cluster = a_cluster(a_fleet_text(extra=transformers("scale")), {"a": "scale"})
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    cluster.put(
        "ConfigMap", fleet_map(a_fleet_text(extra=transformers("scale", image="registry.example/x:2")))
    )
    before = dict(cluster.writes)
    run.settle(agents=loaded_agents())
    assert {key for key in cluster.writes if cluster.writes[key] != before.get(key, 0)} == {
        ("ConfigMap", "fleet.in-force", "patch"),
        ("Deployment", "news-transformer-scale", "patch"),
    }
    pod = cluster.of("Deployment")["news-transformer-scale"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/x:2"


def test_the_budget_goes_with_the_second_pod() -> None:
    cluster = a_cluster(a_fleet_text(extra=transformers("scale", replicas=2)), {"a": "scale"})
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    budgets = cluster.of("PodDisruptionBudget")
    assert "news-transformer-scale" in budgets
    cluster.put("ConfigMap", fleet_map(a_fleet_text(extra=transformers("scale"))))
    run.settle(agents=loaded_agents())
    assert "news-transformer-scale" not in budgets
    assert cluster.of("Deployment")["news-transformer-scale"]["spec"]["replicas"] == 1
    cluster.put("ConfigMap", fleet_map(a_fleet_text(extra=transformers("scale", replicas=3))))
    run.settle(agents=loaded_agents())
    assert "news-transformer-scale" in budgets


@pytest.mark.parametrize("mode", MODES)
def test_a_model_without_a_pod_of_its_transformer_is_told_so_if_that_lasts(mode: Mode) -> None:
    cluster = a_cluster(a_fleet_text(extra=transformers("scale")), {"a": "scale", "b": None})
    pace = Pace(status_s=30.0)
    run = Run(cluster, style=Style(mode=mode, options=STYLE.options), pace=pace)
    run.settle(agents=loaded_agents())
    kinds = {"TransformerReady", "Ready"} if mode == "standalone" else {"TransformerReady"}
    assert through(cluster, "a") == dict.fromkeys(kinds, "True")
    pod = cluster.of("Pod")["news-transformer-scale-pod"]
    away = {**pod, "status": {**pod["status"], "conditions": [{"type": "Ready", "status": "False"}]}}
    before = dict(cluster.writes)
    cluster.put("Pod", away)
    run.turn(agents=loaded_agents())
    cluster.put("Pod", pod)
    run.settle(agents=loaded_agents())
    assert cluster.writes == before
    cluster.put("Pod", away)
    run.settle(agents=loaded_agents())
    assert set(through(cluster, "a").values()) == {"False"}
    assert set(through(cluster, "b").values()) <= {"True"}
    cluster.put("Pod", pod)
    run.turn(agents=loaded_agents())
    assert set(through(cluster, "a").values()) == {"True"}
    assert cluster.writes["TrainedModel", "a", "status"] == before["TrainedModel", "a", "status"] + 2
    assert cluster.writes["TrainedModel", "b", "status"] == before["TrainedModel", "b", "status"]


def test_gateways_listen_for_transformers_as_soon_as_there_are_any() -> None:
    cluster = a_cluster(a_fleet_text(), {"a": None})
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    assert [port["port"] for port in cluster.of("Service")["news-gateway"]["spec"]["ports"]] == [80]
    cluster.put("ConfigMap", fleet_map(a_fleet_text(extra=transformers("scale"))))
    run.settle(agents=loaded_agents())
    assert [port["port"] for port in cluster.of("Service")["news-gateway"]["spec"]["ports"]] == [80, 8081]
    pod = cluster.of("Deployment")["news-gateway"]["spec"]["template"]["spec"]
    assert "--direct-port=8081" in pod["containers"][0]["args"]
    assert cluster.writes["Deployment", "news-gateway", "patch"] == 1


def test_a_document_without_a_transformer_that_models_name_is_not_taken() -> None:
    cluster = a_cluster(a_fleet_text(extra=transformers("scale", "tokens")), {"a": "scale"})
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    cluster.put("ConfigMap", fleet_map(a_fleet_text(extra=transformers("tokens"))))
    run.settle(agents=loaded_agents())
    (told,) = (item for item in run.told if item.reason == "BadFleet")
    assert "models of group news pass through transformer 'scale'" in told.message
    assert document(cluster)["through"] == {"a": "news-transformer-scale"}
    again = Run(cluster, style=STYLE)
    again.settle(agents=loaded_agents())
    assert document(cluster)["through"] == {"a": "news-transformer-scale"}
    assert standing(cluster) == {"news-transformer-scale"}, "models still pass through it"


def test_a_model_that_cannot_be_read_any_more_still_passes_through_its_transformer() -> None:
    cluster = a_cluster(a_fleet_text(extra=transformers("scale")), {"a": "scale"})
    Run(cluster, style=STYLE).settle(agents=loaded_agents())
    broken = json.loads(json.dumps(cluster.of("TrainedModel")["a"]))
    broken["metadata"]["annotations"]["shardpack.dev/model"] = "{"
    cluster.put("TrainedModel", broken)
    Run(cluster, style=STYLE, pace=Pace(empty_s=10.0)).settle(agents=loaded_agents())
    assert document(cluster)["through"] == {"a": "news-transformer-scale"}
    assert standing(cluster) == {"news-transformer-scale"}


def test_what_a_model_passes_through_may_change_while_it_stays_where_it_is() -> None:
    cluster = a_cluster(a_fleet_text(extra=transformers("scale", "tokens")), {"a": "scale"})
    run = Run(cluster, style=STYLE)
    run.settle(agents=loaded_agents())
    where = placement_of(cluster)
    for said, through in (({"transformer": "tokens"}, {"a": "news-transformer-tokens"}), ({}, None)):
        changed = json.loads(json.dumps(cluster.of("TrainedModel")["a"]))
        changed["metadata"]["annotations"]["shardpack.dev/model"] = json.dumps(said)
        cluster.put("TrainedModel", changed)
        run.settle(agents=loaded_agents())
        assert document(cluster).get("through") == through
        assert placement_of(cluster) == where
        (plan,) = run.engine.plans
        assert not any(copy.leaving for copy in plan.copies("a"))


@pytest.mark.parametrize("after", range(5))
def test_a_transformer_that_nobody_names_any_more_goes_wherever_the_controller_is_stopped(after: int) -> None:
    pace = Pace(empty_s=30.0)
    cluster = a_cluster(a_fleet_text(extra=transformers("scale", replicas=2)), {"a": "scale", "b": None})
    run = Run(cluster, style=STYLE, pace=pace)
    run.settle(agents=loaded_agents())
    assert "news-transformer-scale" in cluster.of("PodDisruptionBudget")
    cluster.remove("TrainedModel", "a")
    left = iter(range(after))

    def stop(write: Write) -> None:
        if write.verb == "delete" and next(left, None) is None:
            raise InterruptedError(write.name)

    run._broken = stop
    with contextlib.suppress(InterruptedError):
        run.settle(agents=loaded_agents())
    Run(cluster, style=STYLE, pace=pace, now=run.now).settle(agents=loaded_agents())
    for kind in ("Deployment", "Service", "PodDisruptionBudget"):
        assert standing(cluster, kind) == set()
        assert "news-gateway" in cluster.of(kind)


def test_fit_says_what_the_controller_would_do() -> None:
    cluster = a_cluster(on_nodes(cpu=9), {})
    Run(cluster, style=STYLE).settle(agents=loaded_agents())
    objects = {kind: list(items.values()) for kind, items in cluster.objects.items()}
    item = a_trained_model("a", says={"transformer": "scale"})
    verdict = fit(objects, item, namespace=NAMESPACE, style=STYLE)
    assert "no room for transformer scale" in verdict.refusal
    roomy = {**objects, "ConfigMap": [fleet_map(on_nodes(cpu=2))]}
    assert fit(roomy, item, namespace=NAMESPACE, style=STYLE).fits


def _as_sent(item: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        key: value for key, value in item["metadata"].items() if key not in ("uid", "resourceVersion")
    }
    return {**item, "metadata": metadata}

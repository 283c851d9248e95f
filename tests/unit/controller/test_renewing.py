"""Servers that a new document would open otherwise: told of, and replaced one after the other where asked."""

from __future__ import annotations

from typing import Any

import pytest

from planner.controller.objects import Mode, Renew, Style
from planner.controller.pace import Pace
from planner.controller.writes import Write
from planner.manifests.options import ManifestOptions
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    placement_of,
)

MODES: tuple[Mode, ...] = ("kserve", "standalone")
SMALLER = a_fleet_text(max_models=2)
LARGER = SMALLER.replace("memory: 64Gi", "memory: 96Gi")
TWICE = SMALLER.replace("group: news", "group: news\n      replicas: 2")


class Kubelet:
    """Pods as servers ask for them: new ones are ready only when they are let, and then former ones go."""

    def __init__(self, cluster: MemoryCluster, *, broken: str = "") -> None:
        self._cluster = cluster
        self.broken = broken
        self.at_once = 0

    def __call__(self, run: Run) -> None:
        starting, pods = 0, self._cluster.of("Pod")
        for shard, server in _servers(self._cluster).items():
            labels = _pod_labels(server)
            here = {name for name, pod in pods.items() if _shard_of(pod) == shard}
            mark = labels.get("shardpack.dev/template", "")
            wanted = {f"{shard}.{mark}.{number}" for number in range(_replicas(server))}
            waiting = {name for name in wanted & here if not _is_ready(pods[name])}
            starting += bool(waiting and here - wanted)
            for name in sorted(wanted - here):
                self._put(name, labels, ready=False)
            for name in sorted(waiting if self.broken != shard else ()):
                self._put(name, labels, ready=True)
            for name in sorted(here - wanted if all(_is_ready(pods[name]) for name in wanted) else ()):
                self._cluster.remove("Pod", name)
        self.at_once = max(self.at_once, starting)
        run.watch()
        for name, pod in pods.items():
            placed = placement_of(self._cluster).items()
            run.engine.hear(name, {model: ("Loaded", "") for model, on in placed if _shard_of(pod) in on})

    def _put(self, name: str, labels: dict[str, str], *, ready: bool) -> None:
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
        status = {"podIP": "127.1.1.1", "conditions": conditions}
        self._cluster.put("Pod", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})


def _servers(cluster: MemoryCluster) -> dict[str, Any]:
    found = {**cluster.of("InferenceService"), **cluster.of("Deployment")}
    return {item["metadata"]["labels"]["shardpack.dev/shard"]: item for item in found.values()}


def _pod_labels(server: dict[str, Any]) -> dict[str, str]:
    spec = server["spec"]
    found: dict[str, str] = spec["predictor"]["labels"] if "predictor" in spec else _template(spec)["labels"]
    return found


def _template(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["template"]["metadata"]
    return found


def _shard_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["labels"]["shardpack.dev/shard"])


def _replicas(server: dict[str, Any]) -> int:
    spec = server["spec"]
    return int(spec["predictor"]["minReplicas"] if "predictor" in spec else spec["replicas"])


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(item["status"] == "True" for item in pod.get("status", {}).get("conditions", ()))


def memory_of(server: dict[str, Any]) -> str:
    spec = server["spec"]
    if "predictor" in spec:
        return str(spec["predictor"]["triton"]["resources"]["limits"]["memory"])
    return str(spec["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"])


def three_shards(mode: Mode, renew: Renew, text: str = SMALLER) -> tuple[MemoryCluster, Run, Kubelet]:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(text))
    run = Run(cluster, style=Style(mode=mode, renew=renew))
    kubelet = Kubelet(cluster)
    for name in ("a", "b", "c", "d", "e"):
        cluster.put("TrainedModel", a_trained_model(name))
    let_pass(run, kubelet, 30)
    return cluster, run, kubelet


def let_pass(run: Run, kubelet: Kubelet, seconds: float) -> None:
    end = run.now + seconds
    while run.now < end:
        run.turn(agents=kubelet)
        run.now += 0.5


def events(run: Run, reason: str) -> list[str]:
    return [told.message for told in run.told if told.reason == reason]


@pytest.mark.parametrize("mode", MODES)
def test_without_being_asked_to_it_is_only_told(mode: Mode) -> None:
    cluster, run, kubelet = three_shards(mode, "never")
    before = {name: memory_of(item) for name, item in _servers(cluster).items()}
    assert run.engine.outdated == 0
    cluster.put("ConfigMap", fleet_map(LARGER))
    let_pass(run, kubelet, 60)
    assert {name: memory_of(item) for name, item in _servers(cluster).items()} == before
    assert run.engine.outdated == 3
    assert events(run, "Outdated") == [
        f"shard {name} runs with another template than a new one would: it stays until its server is "
        "deleted, or --renew-servers is rolling"
        for name in ("news", "news-1", "news-2")
    ]
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=2)))
    let_pass(run, kubelet, 5)
    assert run.engine.outdated == 0


@pytest.mark.parametrize("mode", MODES)
def test_one_after_the_other_when_its_pod_is_ready(mode: Mode) -> None:
    cluster, run, kubelet = three_shards(mode, "rolling")
    (before,) = {memory_of(item) for item in _servers(cluster).values()}
    cluster.put("ConfigMap", fleet_map(LARGER))
    let_pass(run, kubelet, 60)
    (after,) = {memory_of(item) for item in _servers(cluster).values()}
    assert after != before
    assert (kubelet.at_once, run.engine.outdated) == (1, 0)
    assert [text.split()[1] for text in events(run, "Renewed")] == ["news", "news-1", "news-2"]
    written = cluster.writes.copy()
    fresh = Run(cluster, style=run.engine.scene.style, now=run.now)
    let_pass(fresh, kubelet, 10)
    assert cluster.writes == written


def test_where_the_first_does_not_become_ready_the_others_stay() -> None:
    cluster, run, kubelet = three_shards("kserve", "rolling")
    kubelet.broken = "news"
    cluster.put("ConfigMap", fleet_map(LARGER))
    let_pass(run, kubelet, 60)
    assert events(run, "Renewed") == ["shard news gets the template that a new one would have"]
    assert run.engine.outdated == 2
    fresh = Run(cluster, style=run.engine.scene.style, now=run.now)
    let_pass(fresh, kubelet, 30)
    assert events(fresh, "Renewed") == [], "nor does who starts anew"
    cluster.put("ConfigMap", fleet_map(LARGER.replace("96Gi", "80Gi")))  # a document that mends it
    let_pass(fresh, kubelet, 30)
    assert events(fresh, "Renewed") == ["shard news gets the template that a new one would have"]
    kubelet.broken = ""
    let_pass(fresh, kubelet, 60)
    assert fresh.engine.outdated == 0


@pytest.mark.parametrize("renew", ["rolling", "all"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("before", "after"), [(SMALLER, TWICE), (TWICE, SMALLER)])
def test_another_number_of_pods_is_another_template(
    mode: Mode, renew: Renew, before: str, after: str
) -> None:
    cluster, run, kubelet = three_shards(mode, renew, before)
    cluster.put("ConfigMap", fleet_map(after))
    let_pass(run, kubelet, 60)
    assert run.engine.outdated == 0
    assert [text.split()[1] for text in events(run, "Renewed")] == ["news", "news-1", "news-2"]
    assert {_replicas(server) for server in _servers(cluster).values()} == {2 if after == TWICE else 1}


@pytest.mark.parametrize("mode", MODES)
def test_it_is_told_once_and_when_it_is_done(mode: Mode) -> None:
    cluster, run, kubelet = three_shards(mode, "rolling")
    cluster.put("ConfigMap", fleet_map(LARGER))
    tried: list[Write] = []
    run.refused = lambda write: write.verb == "rewrite" and not tried.append(write)
    let_pass(run, kubelet, 120)
    assert events(run, "Renewed") == []
    assert 5 < len(tried) < 12, "ever less often"
    run.refused = lambda _: False
    let_pass(run, kubelet, 120)
    assert [text.split()[1] for text in events(run, "Renewed")] == ["news", "news-1", "news-2"]


@pytest.mark.parametrize("mode", MODES)
def test_a_server_of_ours_without_a_mark_may_have_any_template(mode: Mode) -> None:
    cluster, run, kubelet = three_shards(mode, "rolling")
    for item in _servers(cluster).values():
        del item["metadata"]["labels"]["shardpack.dev/template"]
    del _servers(cluster)["news"]["metadata"]["annotations"]["shardpack.dev/opened-by"]
    fresh = Run(cluster, style=run.engine.scene.style, now=run.now)
    let_pass(fresh, kubelet, 60)
    assert fresh.engine.outdated == 0
    assert [text.split()[1] for text in events(fresh, "Renewed")] == ["news-1", "news-2"], "news is a plan's"
    written = cluster.writes.copy()
    let_pass(Run(cluster, style=run.engine.scene.style, now=run.now), kubelet, 10)
    assert cluster.writes == written


def test_what_models_ask_for_makes_no_server_outdated() -> None:
    cluster, run, kubelet = three_shards("standalone", "rolling")
    cluster.put("TrainedModel", a_trained_model("f", uri="pvc://claim/f"))
    cluster.remove("TrainedModel", "a")
    let_pass(run, kubelet, 60)
    assert run.engine.outdated == 0


def test_another_option_of_the_controller_counts() -> None:
    cluster, run, kubelet = three_shards("kserve", "rolling")
    options = ManifestOptions(agent_image="registry.example/agent:2")
    fresh = Run(cluster, style=Style(options=options, renew="rolling"), now=run.now)
    let_pass(fresh, kubelet, 60)
    images = {item["spec"]["predictor"]["containers"][0]["image"] for item in _servers(cluster).values()}
    assert images == {"registry.example/agent:2"}


def test_one_on_a_node_is_replaced_only_where_models_may_be_away() -> None:
    text = a_fleet_text(max_models=2, extra=NODES).replace("      group: news", "      group: news\n" + HERE)
    for renew, replaced in (("rolling", False), ("all", True)):
        cluster = MemoryCluster()
        cluster.put("ConfigMap", fleet_map(text))
        run, kubelet = Run(cluster, style=Style(renew=renew), pace=Pace()), Kubelet(cluster)
        cluster.put("TrainedModel", a_trained_model("a"))
        let_pass(run, kubelet, 10)
        cluster.put("ConfigMap", fleet_map(text.replace("memory: 64Gi", "memory: 48Gi")))
        let_pass(run, kubelet, 20)
        assert bool(events(run, "Renewed")) is replaced
        assert run.engine.outdated == (0 if replaced else 1)


HERE = "      provision: existing"
NODES = """  nodes:
    - {name: n1, allocatable: {cpu: "16", memory: 128Gi}, devices: [{class: nvidia-t4}]}"""


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("class: nvidia-t4", "class: nvidia-l4", "class of devices"),
        ("count: 1", "count: 2", "number of devices"),
    ],
)
def test_what_is_under_models_is_not_changed(old: str, new: str, what: str) -> None:
    cluster, run, kubelet = three_shards("kserve", "rolling")
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=2).replace(old, new)))
    let_pass(run, kubelet, 5)
    (told,) = events(run, "BadFleet")
    assert told.startswith(f"fleet: shard news is open, and its type 't4' has another {what} now: ")

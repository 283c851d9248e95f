"""A plan that follows documents says what ``fit`` says of the whole cluster, and is left as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from planner.controller.fitting import fit
from planner.controller.following import MOST_REPLICAS, Follower
from planner.controller.objects import Mode, Style
from planner.controller.world import KINDS
from planner.manifests.options import ManifestOptions
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
)

MODES: tuple[Mode, ...] = ("kserve", "standalone")


class Following:
    """A follower that is shown what happens in a cluster."""

    def __init__(self, cluster: MemoryCluster, mode: Mode = "kserve", *, style: Style | None = None) -> None:
        self.cluster, self.style = cluster, style or Style(mode=mode)
        self.follower = Follower(NAMESPACE, style=self.style)
        self._position = cluster.position
        for kind in KINDS:
            for item in cluster.of(kind).values():
                self.follower.see(kind, item)
        self.catch_up()

    def catch_up(self) -> None:
        changes, self._position = self.cluster.changes_since(self._position)
        for kind, name, item, uid in changes:
            if item is None:
                self.follower.lose(kind, name, uid)
            else:
                self.follower.see(kind, item)
        while self.follower.catch_up(3):
            pass

    def places(self) -> Iterator[tuple[str, int, str, tuple[int, ...]]]:
        for plan in self.follower.plans:
            for placed in plan.placement()[1].placed:
                yield placed.model, placed.replica, placed.shard, placed.devices


def a_cluster(count: int, mode: Mode = "kserve", **fleet: Any) -> tuple[MemoryCluster, Run]:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(**fleet)))
    for index in range(count):
        cluster.put("TrainedModel", a_trained_model(f"m-{index:03}"))
    run = Run(cluster, style=Style(mode=mode))
    run.settle(agents=loaded_agents())
    return cluster, run


def changed(item: dict[str, Any], **spec: Any) -> dict[str, Any]:
    fresh: dict[str, Any] = json.loads(json.dumps(item))
    fresh["spec"]["model"].update(spec)
    return fresh


def agrees(following: Following, item: dict[str, Any]) -> None:
    cluster = following.cluster
    before = sorted(following.places())
    objects = {kind: cluster.of(kind).values() for kind in KINDS}
    wanted = fit(objects, item, namespace=NAMESPACE, style=following.style)
    assert following.follower.judge(item) == wanted
    assert sorted(following.places()) == before
    assert following.follower.judge(item) == wanted


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("memory", ["100Mi", "9Gi", "99Gi"])
def test_it_judges_as_fit_does(mode: Mode, memory: str) -> None:
    cluster, _ = a_cluster(38, mode, most=3)
    agrees(Following(cluster, mode), a_trained_model("new", memory=memory))


def test_a_model_that_changes_is_judged_in_its_own_place() -> None:
    cluster, _ = a_cluster(5, most=1)
    following = Following(cluster)
    for memory in ("200Mi", "9Gi", "99Gi"):
        agrees(following, changed(cluster.of("TrainedModel")["m-002"], memory=memory))


def test_replicas_open_shards_of_their_own_and_these_are_taken_back() -> None:
    cluster, _ = a_cluster(3)
    following = Following(cluster)
    agrees(following, a_trained_model("wide", says={"replicas": 4}))
    (plan,) = following.follower.plans
    assert list(plan.shards) == ["news"]
    verdict = following.follower.judge(a_trained_model("wide", says={"replicas": 4}))
    assert verdict is not None
    assert [place.shard for place in verdict.places if place.is_new] == ["news-1", "news-2", "news-3"]


def test_it_follows_what_is_written_deleted_and_moved() -> None:
    cluster, run = a_cluster(30)
    following = Following(cluster)
    for index in range(30, 50):
        cluster.put("TrainedModel", a_trained_model(f"m-{index:03}", memory="300Mi"))
    run.settle(agents=loaded_agents())
    for index in range(0, 50, 7):
        cluster.remove("TrainedModel", f"m-{index:03}")
    cluster.put("TrainedModel", changed(cluster.of("TrainedModel")["m-001"], memory="9Gi"))
    run.settle(agents=loaded_agents())
    following.catch_up()
    (plan,) = run.engine.plans
    said = plan.placement()[1].placed
    assert sorted(following.places()) == [(one.model, one.replica, one.shard, one.devices) for one in said]
    agrees(following, a_trained_model("new", memory="2Gi"))


def test_models_that_no_document_names_yet_take_room() -> None:
    cluster, _ = a_cluster(18, most=1)
    following = Following(cluster)
    for name, fits in (("one", True), ("two", True), ("three", False)):
        verdict = following.follower.judge(a_trained_model(name))
        assert verdict is not None
        assert verdict.fits is fits
        cluster.put("TrainedModel", a_trained_model(name))
        following.catch_up()
    cluster.remove("TrainedModel", "one")
    following.catch_up()
    last = following.follower.judge(a_trained_model("four"))
    assert last is not None
    assert last.fits


def test_a_shard_that_is_gone_is_gone_from_the_plan() -> None:
    cluster, run = a_cluster(30)
    following = Following(cluster)
    (plan,) = following.follower.plans
    assert set(plan.shards) == {"news", "news-1"}
    for kind in ("InferenceService", "ConfigMap"):
        for name in [name for name in cluster.of(kind) if "news-1" in name]:
            cluster.remove(kind, name)
    following.catch_up()
    (plan,) = following.follower.plans
    assert set(plan.shards) == {"news"}
    run.settle(agents=loaded_agents())
    following.catch_up()
    assert {shard for _, _, shard, _ in following.places()} == {"news", "news-1"}


def test_what_was_only_tried_leaves_nothing_behind() -> None:
    cluster, _ = a_cluster(20, most=1)
    following = Following(cluster)
    (plan,) = following.follower.plans
    before = len(plan._placers["news"]._models)
    for number in range(50):
        following.follower.judge(a_trained_model(f"x-{number}", memory="1Gi"))
    assert len(plan._placers["news"]._models) == before


def test_very_many_replicas_are_not_judged() -> None:
    cluster, _ = a_cluster(1)
    item = a_trained_model("m", says={"replicas": MOST_REPLICAS + 1})
    assert Following(cluster).follower.judge(item) is None


def test_only_another_wish_is_new() -> None:
    cluster, _ = a_cluster(1)
    follower = Following(cluster).follower
    item = cluster.of("TrainedModel")["m-000"]
    assert follower.is_new(item, None)
    assert not follower.is_new(item, item)
    moved = json.loads(json.dumps(item))
    moved["spec"]["inferenceService"] = "news-1"
    moved["metadata"]["annotations"]["shardpack.dev/leaving"] = "news"
    assert not follower.is_new(moved, item)
    assert follower.is_new(changed(item, memory="2Gi"), item)
    going = changed(item, memory="2Gi")
    going["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert not follower.is_new(going, item)


TRANSFORMERS = """\
  transformers:
    - {name: scale, image: 'registry.example/x:1', resources: {cpu: 1, memory: 1Gi}}
    - {name: large, image: 'registry.example/x:1', resources: {cpu: 7, memory: 1Gi}}
  nodes:
    - {name: gpu, allocatable: {cpu: "16", memory: 128Gi}, devices: [{class: nvidia-t4}]}
    - {name: plain, allocatable: {cpu: "2", memory: 64Gi}}
"""


@pytest.mark.parametrize("gateway", ["none", "nginx"])
def test_what_passes_through_transformers_is_judged_as_fit_does(gateway: Any) -> None:
    style = Style(options=ManifestOptions(gateway=gateway))
    cluster = MemoryCluster()
    text = a_fleet_text(extra="      provision: existing\n" + TRANSFORMERS).replace("pricePerHour: 0.5", "")
    cluster.put("ConfigMap", fleet_map(text))
    cluster.put("TrainedModel", a_trained_model("m", says={"transformer": "scale"}))
    run = Run(cluster, style=style)
    run.settle(agents=loaded_agents())
    following = Following(cluster, style=style)
    (plan,) = following.follower.plans
    (theirs,) = run.engine.plans
    assert plan.standing.services == theirs.standing.services
    for name in ("scale", "large"):
        agrees(following, a_trained_model("new", says={"transformer": name}))
        assert plan.standing.services == theirs.standing.services
    cluster.remove("TrainedModel", "m")
    for name in [name for name in cluster.of("Deployment") if "transformer" in name]:
        cluster.remove("Deployment", name)
    following.catch_up()
    assert plan.standing.services == ()

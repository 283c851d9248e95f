"""What the controller writes, and does not, as models come, change, move and go."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from planner.controller.objects import Mode, Style
from planner.domain.verify import verify_placement
from tests.support.memory_cluster import (
    KServe,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
    run_pods,
)

MODES: tuple[Mode, ...] = ("kserve", "standalone")


def a_cluster(count: int, *, fleet: str | None = None, **more: Any) -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(fleet or a_fleet_text()))
    for index in range(count):
        cluster.put("TrainedModel", a_trained_model(f"m-{index:03}", **more))
    return cluster


def model(cluster: MemoryCluster, name: str) -> dict[str, Any]:
    return cluster.of("TrainedModel")[name]


def condition(cluster: MemoryCluster, name: str, kind: str) -> dict[str, Any]:
    (found,) = (item for item in model(cluster, name)["status"]["conditions"] if item["type"] == kind)
    assert isinstance(found, dict)
    return found


def servers(cluster: MemoryCluster) -> set[str]:
    return {
        item["metadata"]["labels"]["shardpack.dev/shard"]
        for kind in ("InferenceService", "Deployment")
        for item in cluster.of(kind).values()
    }


def agree(cluster: MemoryCluster, run: Run) -> None:
    """Documents, TrainedModels, servers and plan say the same, and the plan is legal."""
    (plan,) = run.engine.plans
    scenario, placement = plan.placement()
    assert verify_placement(scenario, placement) == ()
    assert placement_of(cluster) == {
        name: {copy.placed.shard for copy in plan.copies(name)} for name in plan.models()
    }
    assert servers(cluster) == set(plan.shards)
    for name in plan.models():
        assert model(cluster, name)["spec"]["inferenceService"] == plan.parent(name)


@pytest.mark.parametrize("mode", MODES)
def test_fifty_models_on_shards_that_hold_twenty_take_three(mode: Mode) -> None:
    cluster = a_cluster(50)
    run = Run(cluster, style=Style(mode=mode))
    run.settle(agents=loaded_agents())
    assert servers(cluster) == {"news", "news-1", "news-2"}
    assert len(placement_of(cluster)) == 50
    agree(cluster, run)
    for name in cluster.of("TrainedModel"):
        assert condition(cluster, name, "Assigned")["status"] == "True"
        assert condition(cluster, name, "Loaded")["message"] == "1 of 1 replica loaded"
    assert max(cluster.writes.values()) == 1


@pytest.mark.parametrize("mode", MODES)
def test_who_starts_anew_writes_nothing(mode: Mode) -> None:
    cluster = a_cluster(50)
    Run(cluster, style=Style(mode=mode)).settle(agents=loaded_agents())
    before = dict(cluster.writes)
    again = Run(cluster, style=Style(mode=mode))
    again.settle(agents=loaded_agents())
    assert cluster.writes == before
    assert [plan.wishes for plan in again.engine.plans] == [{}]
    agree(cluster, again)


@pytest.mark.parametrize("mode", MODES)
def test_who_starts_anew_takes_back_nothing_before_agents_have_spoken(mode: Mode) -> None:
    cluster = a_cluster(50)
    Run(cluster, style=Style(mode=mode)).settle(agents=loaded_agents())
    before = dict(cluster.writes)
    again = Run(cluster, style=Style(mode=mode))
    for _ in range(3):  # pods are there, and nobody was asked yet
        again.turn()
    assert cluster.writes == before
    again.settle(agents=loaded_agents())
    assert cluster.writes == before


def test_what_is_not_ours_is_never_touched() -> None:
    cluster = a_cluster(0)
    cluster.put("TrainedModel", a_trained_model("theirs", parent="other"))
    cluster.put(
        "TrainedModel", a_trained_model("labelled", parent="other", labels={"shardpack.dev/group": "news"})
    )
    cluster.put("TrainedModel", a_trained_model("elsewhere", labels={"shardpack.dev/group": "sports"}))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    touched = {name for kind, name, _ in cluster.writes if kind == "TrainedModel"}
    assert touched == {"labelled"}
    assert model(cluster, "labelled")["spec"]["inferenceService"] == "news"


def test_a_status_is_written_when_assigned_and_when_loaded_and_not_between() -> None:
    cluster = a_cluster(1)
    run = Run(cluster)
    run.settle()
    assert condition(cluster, "m-000", "Loaded")["reason"] == "Pending"
    for state in ("Downloading", "Loading"):
        loaded_agents(state=state)(run)
        run.turn()
    run.settle(agents=loaded_agents())
    assert condition(cluster, "m-000", "Loaded")["status"] == "True"
    assert cluster.writes["TrainedModel", "m-000", "status"] == 2


def test_a_state_that_lasts_is_told_and_a_failure_at_once() -> None:
    cluster = a_cluster(1)
    run = Run(cluster)
    run.settle()
    run.settle(agents=loaded_agents(state="Downloading"))
    assert condition(cluster, "m-000", "Loaded")["reason"] == "Downloading"
    assert run.now > 30
    since = run.now
    run.settle(agents=loaded_agents(state="FailedToLoad"))
    assert condition(cluster, "m-000", "Loaded")["status"] == "False"
    assert run.now < since + 5


@pytest.mark.parametrize("mode", MODES)
def test_a_model_that_goes_leaves_the_documents_before_it_is_gone(mode: Mode) -> None:
    cluster = a_cluster(3)
    run = Run(cluster, style=Style(mode=mode))
    run.settle(agents=loaded_agents())
    cluster.remove("TrainedModel", "m-001")
    run.settle(agents=loaded_agents())
    assert set(cluster.of("TrainedModel")) == {"m-000", "m-002"}
    assert set(placement_of(cluster)) == {"m-000", "m-002"}


def test_another_storage_uri_is_another_document_and_nothing_else() -> None:
    cluster = a_cluster(3)
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    before = Counter(cluster.writes)
    cluster.put("TrainedModel", _changed(model(cluster, "m-001"), storageUri="s3://models/v2"))
    run.settle(agents=loaded_agents())
    assert Counter(cluster.writes) - before == {("ConfigMap", "shardpack-news-0", "patch"): 1}
    document = json.loads(cluster.of("ConfigMap")["shardpack-news-0"]["data"]["placement-0.json"])
    assert document["models"]["m-001"]["storageUri"] == "s3://models/v2"


def test_more_memory_stays_where_it_fits() -> None:
    cluster = a_cluster(3)
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    cluster.put("TrainedModel", _changed(model(cluster, "m-001"), memory="2Gi"))
    run.settle(agents=loaded_agents())
    agree(cluster, run)
    assert servers(cluster) == {"news"}


@pytest.mark.parametrize("mode", MODES)
def test_more_memory_than_its_shard_has_is_a_move_in_which_both_copies_are_there(mode: Mode) -> None:
    cluster = a_cluster(0)
    kserve = KServe(cluster)
    for name in ("a", "b"):
        cluster.put("TrainedModel", a_trained_model(name, memory="6Gi"))
    run = Run(cluster, style=Style(mode=mode))
    run.settle(agents=loaded_agents())
    if mode == "kserve":
        kserve.reconcile()
        run.settle(agents=loaded_agents())
    assert servers(cluster) == {"news"}
    cluster.put("TrainedModel", _changed(model(cluster, "b"), memory="9Gi"))
    run.settle(agents=loaded_agents(["news"]))
    assert placement_of(cluster)["b"] == {"news", "news-1"}
    assert model(cluster, "b")["spec"]["inferenceService"] == "news"
    assert model(cluster, "b")["metadata"]["annotations"]["shardpack.dev/leaving"] == "news"
    run.settle(agents=loaded_agents())
    if mode == "kserve":
        assert kserve.models("news") == {"a"} or "b" in kserve.models("news")
        kserve.reconcile()
        run.settle(agents=loaded_agents())
        assert kserve.models("news") == {"a"}
        assert kserve.models("news-1") == {"b"}
        assert kserve.deleted == []
    assert placement_of(cluster) == {"a": {"news"}, "b": {"news-1"}}
    assert model(cluster, "b")["spec"]["inferenceService"] == "news-1"
    assert "shardpack.dev/leaving" not in model(cluster, "b")["metadata"]["annotations"]
    agree(cluster, run)


def test_a_controller_that_starts_in_a_move_ends_it() -> None:
    cluster = a_cluster(0)
    for name in ("a", "b"):
        cluster.put("TrainedModel", a_trained_model(name, memory="6Gi"))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    cluster.put("TrainedModel", _changed(model(cluster, "b"), memory="9Gi"))
    run.settle(agents=loaded_agents(["news"]))
    again = Run(cluster, now=run.now)
    again.settle(agents=loaded_agents(["news"]))
    assert placement_of(cluster)["b"] == {"news", "news-1"}
    again.settle(agents=loaded_agents())
    assert placement_of(cluster) == {"a": {"news"}, "b": {"news-1"}}
    agree(cluster, again)


def test_a_change_that_fits_nowhere_leaves_the_model_where_it_is_and_says_why() -> None:
    cluster = a_cluster(0, fleet=a_fleet_text(most=1))
    for name in ("a", "b"):
        cluster.put("TrainedModel", a_trained_model(name, memory="6Gi"))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    before = placement_of(cluster)
    cluster.put("TrainedModel", _changed(model(cluster, "b"), memory="9Gi"))
    run.settle(agents=loaded_agents())
    assert placement_of(cluster) == before
    told = condition(cluster, "b", "Assigned")
    assert told["reason"] == "NoRoom"
    assert "needs 9Gi" in told["message"]
    document = json.loads(cluster.of("ConfigMap")["shardpack-news-0"]["data"]["placement-0.json"])
    assert document["models"]["b"]["memoryBytes"] == 6 * 2**30


def test_what_was_refused_is_placed_when_something_goes() -> None:
    cluster = a_cluster(21, fleet=a_fleet_text(most=1))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    (refused,) = set(cluster.of("TrainedModel")) - set(placement_of(cluster))
    assert condition(cluster, refused, "Assigned")["status"] == "False"
    gone = next(iter(placement_of(cluster)))
    cluster.remove("TrainedModel", gone)
    run.settle(agents=loaded_agents())
    assert refused in placement_of(cluster)
    assert condition(cluster, refused, "Assigned")["status"] == "True"


def test_a_larger_fleet_takes_what_was_refused() -> None:
    cluster = a_cluster(30, fleet=a_fleet_text(most=1))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    cluster.put("ConfigMap", fleet_map(a_fleet_text(most=2)))
    run.settle(agents=loaded_agents())
    assert len(placement_of(cluster)) == 30
    agree(cluster, run)


def test_a_fleet_with_faults_is_told_and_the_last_good_one_goes_on() -> None:
    cluster = a_cluster(3)
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    cluster.put("ConfigMap", fleet_map(a_fleet_text().replace("t4", "t5").replace("nvidia-t5", "nvidia-t4")))
    cluster.put("TrainedModel", a_trained_model("late"))
    run.settle(agents=loaded_agents())
    assert [told.message for told in run.told if told.reason == "BadFleet"] == [
        "fleet: shard news is open, and its type 't4' is not there any more"
    ]
    assert "late" in placement_of(cluster)


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_was_deleted_is_made_again_and_models_stay(mode: Mode) -> None:
    cluster = a_cluster(25)
    kserve = KServe(cluster)
    run = Run(cluster, style=Style(mode=mode))
    run.settle(agents=loaded_agents())
    before = placement_of(cluster)
    kind, name = ("InferenceService", "news") if mode == "kserve" else ("Deployment", "news-predictor")
    cluster.remove(kind, name)
    run.settle(agents=loaded_agents())
    if mode == "kserve":
        kserve.reconcile()
    assert servers(cluster) == {"news", "news-1"}
    assert placement_of(cluster) == before
    assert len(cluster.of("TrainedModel")) == 25


def test_while_a_server_ends_nothing_is_written_for_it_and_nothing_spins() -> None:
    cluster = a_cluster(25)
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    held = json.loads(json.dumps(cluster.of("InferenceService")["news"]))
    held["metadata"]["finalizers"] = ["inferenceservice.finalizers"]
    cluster.put("InferenceService", held)
    cluster.remove("InferenceService", "news")
    gone = next(name for name, on in placement_of(cluster).items() if on == {"news"})
    cluster.remove("TrainedModel", gone)
    before = Counter(cluster.writes)
    end = run.now + 60
    turns = 0
    while run.now < end:
        run.turn(agents=loaded_agents())
        run.now = max(run.wake or end, run.now + 0.001)
        turns += 1
    assert turns < 40
    assert Counter(cluster.writes) - before == {}
    free = json.loads(json.dumps(cluster.of("InferenceService")["news"]))
    del free["metadata"]["finalizers"]
    cluster.put("InferenceService", free)
    cluster.remove("InferenceService", "news")
    run.settle(agents=loaded_agents())
    assert set(placement_of(cluster)) == set(cluster.of("TrainedModel"))
    assert servers(cluster) == {"news", "news-1"}


def test_what_was_held_back_or_failed_for_a_model_that_goes_is_forgotten() -> None:
    cluster = a_cluster(2)
    run = Run(cluster)
    run.settle()
    loaded_agents(state="Downloading")(run)  # held back for a while
    run.turn()
    changed = _changed(model(cluster, "m-001"))
    changed["metadata"]["annotations"]["shardpack.dev/replica-shards"] = "nowhere"
    cluster.put("TrainedModel", changed)
    run.watch()
    step = run.engine.step(run.now, "now")
    (write,) = (write for write in step.writes if write.target == ("TrainedModel", "m-001"))
    run.engine.missed(write, "failed", None, run.now)
    for name in ("m-000", "m-001"):
        cluster.remove("TrainedModel", name)
    run.settle(agents=loaded_agents())
    run.now += 100
    run.turn()
    assert run.wake is None


def test_documents_that_somebody_changed_or_deleted_are_put_right() -> None:
    cluster = a_cluster(25)
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    before = placement_of(cluster)
    broken = json.loads(json.dumps(cluster.of("ConfigMap")["shardpack-news-0"]))
    broken["data"] = {"placement-0.json": "{}", "more": "x"}
    cluster.put("ConfigMap", broken)
    cluster.remove("ConfigMap", "shardpack-news-1-0")
    run.settle(agents=loaded_agents())
    assert placement_of(cluster) == before
    assert "more" not in cluster.of("ConfigMap")["shardpack-news-0"]["data"]


def test_replicas_are_on_shards_of_their_own_and_counted() -> None:
    cluster = a_cluster(1, says={"replicas": 3})
    run = Run(cluster)
    run.settle()
    assert len(placement_of(cluster)["m-000"]) == 3
    assert (
        model(cluster, "m-000")["metadata"]["annotations"]["shardpack.dev/replica-shards"] == "news-1,news-2"
    )
    run.settle(agents=loaded_agents(["news-1"]))
    assert condition(cluster, "m-000", "Loaded")["message"].startswith("1 of 3 replicas loaded")
    fewer = _changed(model(cluster, "m-000"))
    fewer["metadata"]["annotations"]["shardpack.dev/model"] = json.dumps({"replicas": 1})
    cluster.put("TrainedModel", fewer)
    run.settle(agents=loaded_agents())
    assert placement_of(cluster)["m-000"] == {"news"}
    assert "shardpack.dev/replica-shards" not in model(cluster, "m-000")["metadata"]["annotations"]
    agree(cluster, run)


def test_what_cannot_be_read_is_refused_with_the_fault() -> None:
    cluster = a_cluster(0)
    cluster.put("TrainedModel", a_trained_model("odd", says={"replicas": "many"}))
    unknown = a_trained_model("unknown")
    unknown["spec"]["model"]["framework"] = "cobol"
    cluster.put("TrainedModel", unknown)
    Run(cluster).settle(agents=loaded_agents())
    assert condition(cluster, "odd", "Assigned")["reason"] == "BadModel"
    assert "replicas" in condition(cluster, "odd", "Assigned")["message"]
    assert "'cobol' is not known" in condition(cluster, "unknown", "Assigned")["message"]


def test_models_that_have_to_be_together_share_a_shard() -> None:
    cluster = a_cluster(18)
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    for name in ("x", "y"):
        cluster.put("TrainedModel", a_trained_model(name, says={"together": "pair"}))
        run.settle(agents=loaded_agents())
    assert placement_of(cluster)["x"] == placement_of(cluster)["y"]


def test_a_write_that_fails_is_tried_again_and_nothing_that_follows_it_goes_before() -> None:
    cluster = a_cluster(25)
    failures: Counter[tuple[str, str]] = Counter()

    class DownError(Exception):
        pass

    run = Run(cluster)
    apply = cluster.apply

    def failing(write: Any) -> Any:
        if write.kind == "InferenceService" and failures[write.target] < 3:
            failures[write.target] += 1
            raise DownError
        if write.kind == "TrainedModel" and "spec" in write.body:
            assert write.body["spec"]["inferenceService"] in servers(cluster)
        return apply(write)

    for _ in range(200):
        run.watch()
        step = run.engine.step(run.now, "now")
        for write in step.writes:
            try:
                run.engine.wrote(write, failing(write), run.now)
            except DownError:
                run.engine.missed(write, "failed", None, run.now)
        run.now += 0.1
    assert sum(failures.values()) == 6
    assert len(placement_of(cluster)) == 25
    run_pods(cluster)


NODES = """\
  nodes:
    - {name: n-1, allocatable: {cpu: "64", memory: 256Gi}, devices: [{class: nvidia-t4}, {class: nvidia-t4}]}
    - {name: n-2, allocatable: {cpu: "64", memory: 256Gi}, devices: [{class: nvidia-t4}]}
"""


@pytest.mark.parametrize("mode", MODES)
def test_shards_on_nodes_keep_their_devices_when_the_controller_starts_anew(mode: Mode) -> None:
    cluster = a_cluster(40, fleet=a_fleet_text(extra=NODES))
    for name, cordoned in (("n-1", False), ("n-2", True)):
        node = {"metadata": {"name": name}, "spec": {"unschedulable": cordoned}}
        cluster.put("Node", {"apiVersion": "v1", "kind": "Node", **node})
    cluster.put("TrainedModel", a_trained_model("late"))
    run = Run(cluster, style=Style(mode=mode))
    run.settle(agents=loaded_agents())
    (plan,) = run.engine.plans
    assert {(shard.node, shard.node_devices) for shard in plan.shards.values()} == {
        ("n-1", (0,)),
        ("n-1", (1,)),
    }
    before = dict(cluster.writes)
    again = Run(cluster, style=Style(mode=mode), now=run.now)
    again.settle(agents=loaded_agents())
    assert cluster.writes == before
    (same,) = again.engine.plans
    assert same.shards == plan.shards
    cluster.put("Node", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n-2"}})
    again.settle(agents=loaded_agents())
    assert len(placement_of(cluster)) == 41
    agree(cluster, again)


def test_without_kserve_only_servers_whose_pod_is_known_are_opened() -> None:
    cluster = a_cluster(1, fleet=a_fleet_text().replace("runtime: triton", "runtime: mlserver"))
    run = Run(cluster, style=Style(mode="standalone"))
    run.settle()
    assert cluster.of("Deployment") == {}
    assert [told.reason for told in run.told] == ["BadFleet"]
    assert "'mlserver' cannot be opened here, only triton" in run.told[0].message


def _changed(item: dict[str, Any], **fields: str) -> dict[str, Any]:
    fresh: dict[str, Any] = json.loads(json.dumps(item))
    fresh["spec"]["model"].update(fields)
    return fresh

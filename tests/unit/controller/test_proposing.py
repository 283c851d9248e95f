"""What is proposed for a cluster as it stands, and as what it is published."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from planner.controller.measuring import Measure
from planner.controller.objects import Style
from planner.controller.proposal_document import (
    SUMMARY_KEY,
    TEXT_KEY,
    config_map,
    files_of,
    group_summary,
    group_text,
    one_line,
    read_figures,
)
from planner.controller.proposing import Proposal, Situation, propose, read_situations, read_world
from planner.controller.views import Object
from planner.controller.world import KINDS
from planner.domain.canonical import sha256_of
from planner.domain.fleet import DeviceClass, Node, NodeDevice
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.manifests.options import ManifestOptions
from planner.scenario.load import parse_scenario
from planner.scenario.plan_file import parse_plan
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.kubernetes_objects import core_faults
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
)

STAMP = "2030-01-01T00:00:00Z"
GIB = 2**30

Nodes = Callable[[Sequence[DeviceClass]], Sequence[Node]]


def solved(scenario: Scenario, now: Plan) -> Plan:
    return make_plan(scenario, SolveOptions(work=20), base=now)


def situations(cluster: MemoryCluster, **more: Any) -> tuple[tuple[Situation, ...], tuple[str, ...]]:
    world = read_world({kind: cluster.of(kind).values() for kind in KINDS})
    return read_situations(world, namespace=NAMESPACE, **more)


def the_proposal(cluster: MemoryCluster, **more: Any) -> Proposal:
    ((situation,), faults) = situations(cluster, **more)
    assert faults == ()
    proposal = propose(situation, solved)
    assert verify(situation.scenario, proposal.plan) == ()
    return proposal


def settled(items: Sequence[Object], fleet: str | None = None) -> tuple[MemoryCluster, Run]:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(fleet or a_fleet_text()))
    for item in items:
        cluster.put("TrainedModel", item)
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    return cluster, run


def models(count: int, **more: Any) -> list[Object]:
    return [a_trained_model(f"m-{index:02}", **more) for index in range(count)]


def half_empty() -> MemoryCluster:
    """Three shards of twenty, of whose models every third is left."""
    cluster, run = settled(models(60))
    for index in range(60):
        if index % 3:
            cluster.remove("TrainedModel", f"m-{index:02}")
    run.settle(agents=loaded_agents())
    return cluster


def test_shards_that_are_not_needed_any_more_are_found() -> None:
    found = group_summary(the_proposal(half_empty()))
    assert (found["group"], found["models"]) == ("news", 20)
    assert (found["now"]["usdPerHour"], found["now"]["shards"]) == ("1.5", 3)
    assert (found["proposed"]["usdPerHour"], found["proposed"]["boundUsdPerHour"]) == ("0.5", "0.5")
    assert found["changes"]["shardsClosed"] == 2
    assert 12 <= found["changes"]["moves"] <= 14
    assert found["proposed"]["gapRatio"] == 0


def without(name: str) -> Callable[[Scenario, Plan], Plan]:
    """A solver that closes a shard wherever no pin keeps it."""

    def make(scenario: Scenario, now: Plan) -> Plan:
        if any(model.pin is not None for model in scenario.models):
            return solved(scenario, now)
        placed = tuple(item for item in now.placement.placed if item.shard != name)
        shards = tuple(shard for shard in now.placement.shards if shard.name != name)
        return dataclasses.replace(
            now, placement=dataclasses.replace(now.placement, shards=shards, placed=placed)
        )

    return make


def test_the_shard_by_whose_name_models_come_is_kept_beside_kserve() -> None:
    cluster = half_empty()
    ((situation,), _) = situations(cluster)
    proposal = propose(situation, without("news"))
    assert verify(situation.scenario, proposal.plan) == ()
    assert [shard.name for shard in proposal.plan.placement.shards] == ["news"]
    assert proposal.remarks == ()
    ((elsewhere,), _) = situations(cluster, style=Style(mode="standalone"))
    plan = propose(elsewhere, without("news")).plan
    assert "news" not in {shard.name for shard in plan.placement.shards}, "there the last is kept, whichever"


def test_an_empty_shard_by_whose_name_models_come_is_kept_and_paid() -> None:
    cluster, run = settled(models(25))
    for index in range(25):
        name = f"m-{index:02}"
        if cluster.of("TrainedModel")[name]["spec"]["inferenceService"] == "news":
            cluster.remove("TrainedModel", name)
    run.settle(agents=loaded_agents())
    ((situation,), _) = situations(cluster)
    plan = propose(situation, without("news")).plan
    assert verify(situation.scenario, plan) == ()
    assert [shard.name for shard in plan.placement.shards] == ["news", "news-1"]
    assert plan.cost_microusd_per_h == 1_000_000


def test_what_stands_well_is_left_alone() -> None:
    cluster, _ = settled(models(15))
    proposal = the_proposal(cluster)
    assert proposal.difference.is_empty
    assert one_line(proposal) == "group news: 0.5 USD/h as now, 1 shard instead of 1, 0 moves"


def test_models_without_a_place_are_told() -> None:
    cluster, _ = settled([*models(1), a_trained_model("giant", memory="99Gi")])
    proposal = the_proposal(cluster)
    assert group_summary(proposal)["proposed"]["unplacedReplicas"] == 1
    assert one_line(proposal).endswith("; 1 replica without a place")
    assert "giant" in group_text(proposal)


def test_a_faulty_wish_is_planned_as_it_was_placed_or_left_out() -> None:
    cluster, _ = settled(models(2))
    item = json.loads(json.dumps(cluster.of("TrainedModel")["m-00"]))
    item["metadata"]["annotations"]["shardpack.dev/model"] = "{"
    cluster.put("TrainedModel", item)
    bad = a_trained_model("new")
    bad["metadata"]["annotations"]["shardpack.dev/model"] = "["
    cluster.put("TrainedModel", bad)
    ((situation,), _) = situations(cluster)
    assert [model.name for model in situation.scenario.models] == ["m-00", "m-01"]
    assert len(situation.now.placement.placed) == 2
    assert sorted(
        text.partition(": not JSON")[0].partition(": annotation")[0] for text in situation.remarks
    ) == [
        "model m-00: it is planned as it was placed",
        "model new: it is left out",
    ]


def read_again(proposal: Proposal) -> Scenario:
    """The scenario that the commands read; they take plan and present for plans of the very same one."""
    texts = {file.name: file.text for file in files_of(proposal)}
    read = parse_scenario(texts["news.scenario.json"], file="s")
    assert sha256_of(read) == proposal.plan.scenario_sha256
    return read


@pytest.mark.parametrize("stands", [False, True])
def test_models_that_contradict_each_other_are_planned_by_themselves(stands: bool) -> None:
    cluster, run = settled(models(2))
    for name, replicas in (("a", 2), ("b", 1), ("c", 2)):
        says = {"together": "k", "replicas": replicas}
        cluster.put("TrainedModel", a_trained_model(name, says=says))
    if stands:
        run.settle(agents=loaded_agents())
    proposal = the_proposal(cluster)
    together = {model.name: model.together for model in read_again(proposal).models}
    assert together == {"a": "k", "b": None, "c": "k", "m-00": None, "m-01": None}
    (remark,) = proposal.remarks
    assert remark.startswith("model b: it is planned by itself: replicas: models together as 'k' need equal")


def test_what_only_the_document_as_a_whole_forbids_is_told() -> None:
    fleet = a_fleet_text(extra="  policy: {spread: zone}")
    cluster, _ = settled([*models(1), a_trained_model("two", says={"replicas": 2})], fleet)
    ((situation,), _) = situations(cluster)
    (remark,) = situation.remarks
    assert remark.startswith("the files of group news are refused: spec.policy.spread: no shard")


def test_devices_that_only_a_model_names_are_of_the_document() -> None:
    footprints = [{"class": name, "gpuMemory": "1Gi"} for name in ("nvidia-t4", "nvidia-l4")]
    cluster, _ = settled([a_trained_model("m", says={"footprints": footprints})])
    scenario = read_again(the_proposal(cluster))
    assert [item.name for item in scenario.device_classes] == ["nvidia-l4", "nvidia-t4"]


def test_a_bad_fleet_is_a_fault_and_others_are_planned() -> None:
    cluster, _ = settled(models(2))
    cluster.put("ConfigMap", fleet_map("kind: Scenario", "bad"))
    found, faults = situations(cluster)
    assert len(found) == 1
    (fault,) = faults
    assert fault.startswith("fleet bad: ")


# ---------------------------------------------------------------------------------------------- measures


def measure(model: str, measured_bytes: int, **where: str) -> Measure:
    facts = {"shard": "news", "pod": "news-pod", "device": "0", **where}
    return Measure(model=model, measured_bytes=measured_bytes, **facts)


def test_a_model_that_takes_more_is_moved_before_it_breaks_something() -> None:
    cluster, _ = settled(models(3, memory="4Gi"))
    ((before,), _) = situations(cluster)
    assert before.broken == 0
    measures = [measure("m-00", 8 * GIB), measure("m-01", 9 * GIB)]
    ((situation,), _) = situations(cluster, measures=measures)
    assert [(item.model, item.declared_bytes) for item in situation.revisions] == [
        ("m-00", 4 * GIB),
        ("m-01", 4 * GIB),
    ]
    assert situation.broken > 0
    proposal = propose(situation, solved)
    assert len(proposal.plan.placement.shards) == 2
    assert "broken rule" in one_line(proposal)
    assert "measured: m-01 takes" in group_text(proposal)


def test_the_base_of_a_backend_is_nobodys_footprint() -> None:
    cluster, _ = settled(models(2, memory="1Gi"))
    ((plain,), _) = situations(cluster)
    base = plain.scenario.backends[0].device_base_bytes
    assert base > 0
    ((first,), _) = situations(cluster, measures=[measure("m-00", GIB + base), measure("m-01", GIB)])
    assert first.revisions == ()
    both = [measure("m-00", GIB + base), measure("m-01", GIB + base)]
    ((second,), _) = situations(cluster, measures=both)
    assert [item.model for item in second.revisions] == ["m-01"]


def test_smaller_figures_count_only_where_they_are_trusted() -> None:
    cluster, _ = settled(models(1, memory="4Gi"))
    measures = [measure("m-00", GIB)]
    ((careful,), _) = situations(cluster, measures=measures)
    ((trusting,), _) = situations(cluster, measures=measures, trust="use")
    ((deaf,), _) = situations(cluster, measures=[measure("m-00", 8 * GIB)], trust="ignore")
    assert careful.revisions == deaf.revisions == ()
    (item,) = trusting.revisions
    assert item.measured_bytes == GIB
    (model,) = trusting.scenario.models
    assert (model.footprints[0].source, model.footprints[0].steady_bytes.p95) == ("measured", GIB)


def test_figures_of_strangers_are_passed_over() -> None:
    cluster, _ = settled(models(1))
    measures = [measure("who", GIB), measure("m-00", 9 * GIB, shard="elsewhere")]
    ((situation,), _) = situations(cluster, measures=measures)
    assert situation.revisions == ()


# ------------------------------------------------------------------------------------------------- nodes


def a_fleet_on_nodes(groups: Sequence[str] = ("news",)) -> str:
    types = [
        f"    - {{name: {group}-t4, runtime: triton, devices: {{class: nvidia-t4, count: 1}}, "
        f'resources: {{cpu: "2", memory: 16Gi}}, provision: existing, group: {group}}}'
        for group in groups
    ]
    nodes = [
        f'    - {{name: {name}, allocatable: {{cpu: "16", memory: 64Gi, pods: 50}}, '
        "devices: [{class: nvidia-t4}, {class: nvidia-t4}]}"
        for name in ("a", "b")
    ]
    head = [
        "apiVersion: shardpack.dev/v1alpha1",
        "kind: Scenario",
        f"metadata: {{name: f, namespace: {NAMESPACE}}}",
    ]
    return "\n".join([*head, "spec:", "  shardTypes:", *types, "  nodes:", *nodes, ""])


def there(*names: str, devices: int = 2) -> Nodes:
    found = tuple(
        Node(
            name=name,
            cpu_milli=16_000,
            memory_bytes=64 * GIB,
            pods=50,
            devices=(NodeDevice(device_class="nvidia-t4"),) * devices,
        )
        for name in names
    )
    return lambda classes: found


def nodes_of(plan: Plan) -> set[str | None]:
    return {shard.node for shard in plan.placement.shards}


def test_a_node_that_takes_no_pods_is_emptied() -> None:
    cluster, _ = settled(models(3), a_fleet_on_nodes())
    ((situation,), _) = situations(cluster, nodes=there("a", "b"))
    (node,) = nodes_of(situation.now)
    assert situation.broken == 0
    other = "b" if node == "a" else "a"
    ((situation,), _) = situations(cluster, nodes=there(other))
    assert situation.broken > 0
    assert situation.remarks == (f"node {node} takes no pods now: it is planned to be emptied",)
    proposal = propose(situation, solved)
    assert nodes_of(proposal.plan) == {other}
    assert not proposal.plan.refusals


def test_gpus_that_others_have_are_not_planned_on() -> None:
    cluster, _ = settled(models(3), a_fleet_on_nodes())
    ((situation,), _) = situations(cluster, nodes=there("a", "b", devices=1))
    assert situation.broken == 0  # the one that we have is not the one that others were given
    assert len(situation.remarks) == 2
    free = [
        device for node in situation.scenario.nodes for device in node.devices if not device.foreign_bytes
    ]
    assert len(free) == 2


def test_groups_do_not_plan_on_each_others_devices() -> None:
    items = [
        a_trained_model(f"{group}-{number}", parent=group, memory="9Gi")
        for group in ("one", "two")
        for number in range(2)
    ]
    cluster, _ = settled(items, a_fleet_on_nodes(("one", "two")))
    found, _ = situations(cluster)
    assert [item.group for item in found] == ["one", "two"]
    for item in found:
        proposal = propose(item, solved)
        assert item.broken == 0
        assert not proposal.plan.refusals
        assert len(item.scenario.shard_types) == 1
    taken = [
        sum(device.foreign_bytes > 0 for node in item.scenario.nodes for device in node.devices)
        for item in found
    ]
    assert taken == [2, 2]


def test_transformers_stay_where_they_stand() -> None:
    rows = "".join(
        f"\n    - {{name: {name}, image: 'x:1', resources: {{cpu: 1, memory: 1Gi}}, pricePerHour: 0.1}}"
        for name in ("scale", "idle")
    )
    style = Style(options=ManifestOptions(gateway="nginx"))
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(extra=f"  transformers:{rows}")))
    for item in models(3, says={"transformer": "scale"}):
        cluster.put("TrainedModel", item)
    Run(cluster, style=style).settle(agents=loaded_agents())
    ((situation,), _) = situations(cluster, style=style)
    assert [item.transformer for item in situation.now.services] == ["scale"]
    assert [item.name for item in situation.scenario.transformers] == ["scale"]
    assert (situation.broken, group_summary(propose(situation, solved))["now"]["usdPerHour"]) == (0, "0.6")
    assert propose(situation, solved).difference.is_empty


# ----------------------------------------------------------------------------------------------- documents


def test_files_are_what_the_commands_read() -> None:
    proposal = the_proposal(half_empty())
    scenario = proposal.situation.scenario
    texts = {file.name: file.text for file in files_of(proposal)}
    assert sorted(texts) == ["news.now.json", "news.plan.json", "news.scenario.json"]
    read = parse_scenario(texts["news.scenario.json"], file="s")
    assert sha256_of(read) == sha256_of(scenario) == proposal.plan.scenario_sha256
    assert parse_plan(texts["news.plan.json"], file="p").placement == proposal.plan.placement
    assert parse_plan(texts["news.now.json"], file="n").placement == proposal.situation.now.placement


def test_what_is_published_is_valid_whole_and_the_same_twice() -> None:
    proposal = the_proposal(half_empty())
    item = config_map([proposal], ["fleet x: bad"], namespace=NAMESPACE, stamp=STAMP)
    assert core_faults(item) == []
    again = config_map([the_proposal(half_empty())], ["fleet x: bad"], namespace=NAMESPACE, stamp=STAMP)
    assert item == again
    plan = gzip.decompress(base64.b64decode(item["binaryData"]["news.plan.json.gz"])).decode()
    assert parse_plan(plan, file="p").placement == proposal.plan.placement
    assert item["data"][TEXT_KEY].startswith("fleet x: bad\n\ngroup news: 0.5 instead of 1.5 USD/h")
    (figures,) = read_figures(item["data"])
    assert (figures.cost_now, figures.cost, figures.bound, figures.shards_closed) == (1.5, 0.5, 0.5, 2)
    assert figures.at == 1_893_456_000.0


@pytest.mark.parametrize("room", [0, 1_500])
def test_what_has_no_room_is_named(room: int) -> None:
    proposal = the_proposal(half_empty())
    item = config_map([proposal], (), namespace=NAMESPACE, stamp=STAMP, max_files_bytes=room)
    left_out = json.loads(item["data"][SUMMARY_KEY])["leftOut"]
    assert len(item["binaryData"]) + len(left_out) == 3
    assert left_out
    assert sum(len(base64.b64decode(text)) for text in item["binaryData"].values()) <= room


def test_long_texts_are_cut() -> None:
    proposal = the_proposal(half_empty())
    assert group_text(proposal, most_lines=2).count("\n~ model") <= 2
    many = dataclasses.replace(proposal, remarks=("x" * 5_000,) * 40)
    item = config_map([many], (), namespace=NAMESPACE, stamp=STAMP)
    text = item["data"][TEXT_KEY]
    assert len(text.encode()) <= 100_100
    assert text.endswith("(cut at 100,000 bytes)\n")


def test_an_empty_map_says_nothing_and_another_is_refused() -> None:
    assert read_figures({}) == ()
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_figures({SUMMARY_KEY: '{"at": "x", "groups": []}'})

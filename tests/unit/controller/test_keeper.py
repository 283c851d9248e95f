"""What is in force goes into the cluster first; where it cannot, all that does not depend on it goes on."""

from __future__ import annotations

import pytest

from planner.controller.following import Follower
from planner.controller.objects import Mode, Style
from planner.controller.pace import Pace
from planner.controller.world import KINDS
from planner.controller.writes import Write
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

MODES: tuple[Mode, ...] = ("kserve", "standalone")
NEWS = a_fleet_text(max_models=2)
SPORTS = NEWS.replace("name: t4", "name: s4").replace("group: news", "group: sports")
BOTH = NEWS + SPORTS.split("shardTypes:\n")[1]
STYLE = Style(options=ManifestOptions(gateway="nginx"))


def a_cluster(style: Style = STYLE, **documents: str) -> tuple[MemoryCluster, Run]:
    cluster = MemoryCluster()
    for name, text in documents.items():
        cluster.put("ConfigMap", fleet_map(text, name))
    run = Run(cluster, style=style, pace=Pace(empty_s=60.0))
    cluster.put("TrainedModel", a_trained_model("n"))
    run.settle(agents=loaded_agents())
    return cluster, run


def again(cluster: MemoryCluster, run: Run) -> Run:
    fresh = Run(cluster, style=run.engine.scene.style, pace=run.engine.scene.pace, now=run.now)
    fresh.refused = run.refused
    return fresh


def let_pass(run: Run, seconds: float = 60.0) -> None:
    end, agents = run.now + seconds, loaded_agents()
    while run.now < end:
        run.turn(agents=agents)
        run.now += 0.5


def objects_of(cluster: MemoryCluster, word: str) -> list[str]:
    kinds = ("InferenceService", "Deployment", "Service", "ConfigMap")
    return [name for kind in kinds for name in cluster.of(kind) if word in name and not _is_keep(name)]


def servers(cluster: MemoryCluster) -> set[str]:
    found = [*cluster.of("InferenceService"), *cluster.of("Deployment")]
    return {name.removesuffix("-predictor") for name in found if not name.endswith("-gateway")}


def kept(cluster: MemoryCluster) -> set[str]:
    return {name for name in cluster.of("ConfigMap") if _is_keep(name)}


def _is_keep(name: str) -> bool:
    return name.endswith(".in-force")


def refuse(write: Write) -> bool:
    return _is_keep(write.name)


def told(run: Run, reason: str = "NotKept") -> list[tuple[str, str]]:
    return [(item.name, item.message) for item in run.told if item.reason == reason]


@pytest.mark.parametrize("mode", MODES)
def test_where_one_cannot_be_kept_the_rest_goes_on(mode: Mode) -> None:
    cluster, run = a_cluster(Style(mode=mode), fleet=NEWS)
    cluster.put("ConfigMap", fleet_map(f"{NEWS}# a comment\n"))
    cluster.put("ConfigMap", fleet_map(SPORTS, "other"))
    tried: list[float] = []
    run.refused = lambda write: write.name == "fleet.in-force" and not tried.append(run.now)
    for name in ("b", "c"):
        cluster.put("TrainedModel", a_trained_model(name))
    cluster.put("TrainedModel", a_trained_model("s", parent="sports"))
    for server in ("news", "news-predictor"):
        for kind in ("InferenceService", "Deployment"):
            if server in cluster.of(kind):
                cluster.remove(kind, server)
    let_pass(run, 100)
    assert servers(cluster) == {"news", "sports"}, "the one that was there again; none that is new"
    assert placement_of(cluster).keys() == {"n", "b", "s"}
    for name in ("b", "s"):
        assert cluster.of("TrainedModel")[name]["status"]["conditions"]
    ((name, message),) = told(run)
    assert name == "fleet"
    assert message == (
        "nothing new is opened until what is in force is kept: "
        "fleet.in-force cannot be written, and is tried again"
    )
    assert 5 < len(tried) < 12, "ever less often"
    run.refused = lambda _: False
    let_pass(run)
    assert servers(cluster) == {"news", "news-1", "sports"}
    assert placement_of(cluster).keys() == {"n", "b", "c", "s"}


def test_nothing_is_there_that_nobody_knows_of_after_a_restart() -> None:
    cluster, run = a_cluster(fleet=NEWS)
    run.refused = refuse
    cluster.put("ConfigMap", fleet_map(BOTH))
    cluster.put("TrainedModel", a_trained_model("s", parent="sports"))
    let_pass(run)
    assert objects_of(cluster, "sports") == []
    cluster.put("ConfigMap", fleet_map(NEWS))
    run = again(cluster, run)
    let_pass(run)
    assert objects_of(cluster, "sports") == []
    cluster.put("ConfigMap", fleet_map(BOTH))
    run.refused = lambda _: False
    let_pass(run)
    assert {"sports", "sports-gateway", "sports-shard", "shardpack-sports-0"} <= set(objects_of(cluster, "s"))


def test_what_knows_a_group_goes_when_another_does() -> None:
    """A group is handed over to a document that cannot be kept and loses it again."""
    cluster, run = a_cluster(fleet=BOTH)
    cluster.put("TrainedModel", a_trained_model("s", parent="sports"))
    run.settle(agents=loaded_agents())
    run.refused = lambda write: write.name == "new.in-force"
    cluster.put("ConfigMap", fleet_map(NEWS))
    cluster.put("ConfigMap", fleet_map(SPORTS, "new"))
    let_pass(run)
    assert {plan.fleet.source for plan in run.engine.plans} == {"fleet", "new"}
    cluster.remove("ConfigMap", "new")
    run = again(cluster, run)
    let_pass(run)
    ((source, left),) = ((plan.fleet.source, plan.fleet.released) for plan in run.engine.plans)
    assert (source, left) == ("fleet", {"sports"})
    cluster.remove("TrainedModel", "s")
    let_pass(run, 200)
    assert objects_of(cluster, "sports") == []
    run.refused = lambda _: False
    let_pass(run)
    assert {name: cluster.of("ConfigMap")[name]["data"] for name in kept(cluster)} == {
        "fleet.in-force": {"scenario.yaml": NEWS}
    }


def test_what_is_kept_of_an_ended_document_goes_last() -> None:
    cluster, run = a_cluster(fleet=NEWS)
    run.refused = lambda write: write.name == "new.in-force"
    cluster.remove("ConfigMap", "fleet")
    cluster.put("ConfigMap", fleet_map(NEWS, "new"))
    let_pass(run)
    assert kept(cluster) == {"fleet.in-force"}
    run.refused = lambda _: False
    let_pass(run)
    assert kept(cluster) == {"new.in-force"}
    assert placement_of(cluster) == {"n": {"news"}}


def test_what_is_somebody_elses_is_not_written_over() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(NEWS))
    theirs = {"metadata": {"name": "fleet.in-force", "namespace": "models"}, "data": {"theirs": "yes"}}
    cluster.put("ConfigMap", {"apiVersion": "v1", "kind": "ConfigMap", **theirs})
    run = Run(cluster)
    let_pass(run)
    assert cluster.of("ConfigMap")["fleet.in-force"]["data"] == {"theirs": "yes"}
    assert servers(cluster) == set()
    ((name, message),) = told(run)
    assert name == "fleet"
    assert message.endswith("fleet.in-force is somebody else's; delete it, or call the document otherwise")
    cluster.remove("ConfigMap", "fleet.in-force")
    let_pass(run)
    assert cluster.of("ConfigMap")["fleet.in-force"]["data"] == {"scenario.yaml": NEWS}
    assert servers(cluster) == {"news"}


def test_a_document_is_not_called_like_what_is_kept_of_another() -> None:
    cluster, run = a_cluster(fleet=NEWS)
    cluster.put("ConfigMap", fleet_map(SPORTS, "other.in-force"))
    let_pass(run)
    assert told(run, "BadFleet") == [
        (
            "other.in-force",
            "other.in-force: has a name that ends in .in-force, as the controller's own have",
        )
    ]
    assert cluster.of("ConfigMap")["other.in-force"]["data"] == {"scenario.yaml": SPORTS}
    assert servers(cluster) == {"news"}


def test_what_is_kept_and_has_faults_is_not_written_over() -> None:
    cluster, run = a_cluster(fleet=BOTH)
    cluster.put("TrainedModel", a_trained_model("s", parent="sports"))
    let_pass(run)
    cluster.put("ConfigMap", fleet_map(NEWS))
    let_pass(run)
    keep = cluster.of("ConfigMap")["fleet.in-force"]
    before = {**keep, "data": {**keep["data"], "released.yaml": "of: another release\n"}}
    cluster.put("ConfigMap", before)
    run = again(cluster, run)
    for name in ("b", "c"):
        cluster.put("TrainedModel", a_trained_model(name))
    let_pass(run)
    assert cluster.of("ConfigMap")["fleet.in-force"]["data"] == before["data"]
    assert servers(cluster) == {"news", "sports"}
    assert {plan.fleet.source for plan in run.engine.plans} == {"fleet"}
    assert told(run, "BadFleet")[0][0] == "fleet"
    ((_, message),) = told(run)
    assert message.endswith(
        "fleet.in-force has faults; delete it to go on without what it says of released groups"
    )
    follower = Follower(NAMESPACE)
    for kind in KINDS:
        for item in cluster.of(kind).values():
            follower.see(kind, item)
    while follower.catch_up(100):
        pass
    assert follower.groups == ("news",), "who only follows goes by the document, too"
    cluster.remove("ConfigMap", "fleet.in-force")
    let_pass(run)
    assert cluster.of("ConfigMap")["fleet.in-force"]["data"] == {"scenario.yaml": NEWS}
    assert servers(cluster) == {"news", "news-1", "sports"}

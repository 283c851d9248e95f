"""Which of several fleet documents has a group, and when another one gets it."""

from __future__ import annotations

import pytest

from tests.support.memory_cluster import (
    STAMP,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
)


def of_group(group: str, *, most: int | None = None) -> str:
    return a_fleet_text(most=most).replace("group: news", f"group: {group}")


def owners(run: Run) -> dict[str, str]:
    return {group: plan.fleet.source for plan in run.engine.plans for group in plan.fleet.groups}


def refusals(run: Run, name: str) -> list[str]:
    return [told.message for told in run.told if told.reason == "BadFleet" and told.name == name]


def test_a_group_that_is_let_go_is_taken_up() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(of_group("news", most=0), "b-first"))
    run = Run(cluster)
    cluster.put("ConfigMap", fleet_map(of_group("news"), "a-waits"))
    cluster.put("TrainedModel", a_trained_model("m"))
    run.settle()
    assert owners(run) == {"news": "b-first"}
    assert len(refusals(run, "a-waits")) == 1
    cluster.put("ConfigMap", fleet_map(of_group("weather", most=0), "b-first"))
    run.settle(agents=loaded_agents())
    assert owners(run) == {"news": "a-waits", "weather": "b-first"}
    assert placement_of(cluster) == {"m": {"news"}}
    assert len(refusals(run, "a-waits")) == 1


def test_of_two_that_wait_the_older_one_gets_it() -> None:
    cluster = MemoryCluster()
    for name in ("m-first", "z-second", "a-third"):
        cluster.put("ConfigMap", fleet_map(of_group("news", most=0), name))
    run = Run(cluster)
    run.settle()
    cluster.put("ConfigMap", fleet_map(of_group("weather", most=0), "m-first"))
    run.settle()
    assert owners(run) == {"news": "z-second", "weather": "m-first"}


def test_a_document_that_is_gone_leaves_its_group_to_another() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(of_group("news"), "old"))
    run = Run(cluster)
    cluster.put("TrainedModel", a_trained_model("m"))
    run.settle(agents=loaded_agents())
    cluster.remove("ConfigMap", "old")
    run.settle(agents=loaded_agents())
    assert owners(run) == {"news": "old"}  # nobody else wants it: what is there stays
    written = cluster.writes.copy()
    cluster.put("ConfigMap", fleet_map(of_group("news"), "new"))
    run.settle(agents=loaded_agents())
    assert owners(run) == {"news": "new"}
    assert {name for _, name, _ in cluster.writes - written} == {"old.in-force", "new.in-force"}
    cluster.put("ConfigMap", fleet_map(of_group("news"), "old"))
    run.settle(agents=loaded_agents())
    assert owners(run) == {"news": "new"}
    assert refusals(run, "old") == ["old: group 'news' is of fleet 'new' already"]


def test_one_that_waits_inherits_beside_its_own_group() -> None:
    both = a_fleet_text().replace("group: news", "group: sports").replace("name: t4", "name: own")
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(of_group("news"), "a"))
    cluster.put("ConfigMap", fleet_map(both, "b"))
    run = Run(cluster)
    cluster.put("TrainedModel", a_trained_model("m"))
    cluster.put("TrainedModel", a_trained_model("s", parent="sports"))
    run.settle(agents=loaded_agents())
    types = of_group("news").split("shardTypes:\n")[1]
    cluster.put("ConfigMap", fleet_map(both.rstrip() + "\n" + types, "b"))
    run.settle(agents=loaded_agents())
    assert owners(run) == {"news": "a", "sports": "b"}
    cluster.remove("ConfigMap", "a")
    run.settle(agents=loaded_agents())
    assert owners(run) == {"news": "b", "sports": "b"}
    assert placement_of(cluster) == {"m": {"news"}, "s": {"sports"}}


def test_one_that_has_not_all_that_is_open_does_not_inherit() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(of_group("news"), "a"))
    run = Run(cluster)
    cluster.put("TrainedModel", a_trained_model("m"))
    run.settle(agents=loaded_agents())
    cluster.remove("ConfigMap", "a")
    cluster.put("ConfigMap", fleet_map(of_group("news").replace("name: t4", "name: other"), "b"))
    run.settle(agents=loaded_agents())
    assert owners(run) == {"news": "a"}
    (told,) = refusals(run, "b")
    assert told == "b: shard news is open, and its type 't4' is not there any more"


def test_without_its_label_a_document_is_gone() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(of_group("news"), "a"))
    cluster.put("ConfigMap", fleet_map(of_group("news"), "b"))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    bare = fleet_map(of_group("news"), "a")
    bare["metadata"]["labels"] = {}
    cluster.put("ConfigMap", bare)
    run.settle(agents=loaded_agents())
    assert owners(run) == {"news": "b"}


def test_a_restart_leaves_a_group_to_whom_it_belongs() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(of_group("news"), "z"))
    run = Run(cluster)
    run.settle(agents=loaded_agents())
    cluster.put("ConfigMap", fleet_map(of_group("news", most=0), "a"))
    run.settle(agents=loaded_agents())
    assert owners(run) == {"news": "z"}
    assert owners(again(cluster, run)) == {"news": "z"}


@pytest.mark.parametrize(("first", "second"), [("news", "news-1"), ("news-1", "news")])
def test_a_group_called_like_a_shard_of_another_documents_is_refused(first: str, second: str) -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(of_group(first), "b"))
    run = Run(cluster)
    cluster.put("ConfigMap", fleet_map(of_group(second), "a"))
    run.settle(agents=loaded_agents())
    assert owners(run) == {first: "b"}
    (told,) = refusals(run, "a")
    assert told == f"a: group {second!r} and {first!r} name shards alike, and that is of fleet 'b' already"
    assert owners(again(cluster, run)) == {first: "b"}


def test_many_empty_shards_are_opened_step_by_step() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(of_group("news") + "      minCount: 300\n", "a"))
    cluster.put("ConfigMap", fleet_map(of_group("sports"), "b"))
    engine = Run(cluster).engine
    first = engine.step(0.0, STAMP)
    before = {plan.fleet.source: len(plan.shards) for plan in engine.plans}
    assert before["a"] < 300
    assert before["b"] == 1
    assert first.wake == 0.0  # at once
    engine.step(0.0, STAMP)
    assert {plan.fleet.source: len(plan.shards) for plan in engine.plans} == {"a": 300, "b": 1}


def again(cluster: MemoryCluster, run: Run) -> Run:
    """A controller that starts on what is there."""
    fresh = Run(cluster, now=run.now)
    fresh.settle(agents=loaded_agents())
    return fresh

"""What several pods of a shard say together: those that are asked, and those that start."""

from __future__ import annotations

from typing import Any

import pytest

from planner.controller.hearing import Hearing
from planner.controller.objects import Mode, Style
from planner.controller.views import PodView
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
)


def a_pod(name: str, *, ready: bool = True) -> PodView:
    return PodView(name=name, shard="news", gateway=None, address="127.1.1.1", deleting=False, ready=ready)


def test_a_pod_that_is_not_asked_yet_leaves_a_model_answered() -> None:
    hearing = Hearing()
    hearing.hear(a_pod("old"), {"m": ("Loaded", "its code chooses its GPU")})
    hearing.hear(a_pod("new", ready=False), {"m": ("Downloading", "3 of 7")})
    found = hearing.copy_state("m", "news")
    assert (found.state, found.answers) == ("Downloading", True)
    assert found.message == "its code chooses its GPU"


def test_a_pod_that_is_asked_and_has_not_got_a_model_does_not_answer() -> None:
    hearing = Hearing()
    hearing.hear(a_pod("one"), {"m": ("Loaded", "")})
    hearing.hear(a_pod("two"), {"m": ("Loading", "")})
    assert not hearing.copy_state("m", "news").answers


@pytest.mark.parametrize(("state", "answers"), [("Loaded", True), ("Loading", False)])
def test_where_nobody_is_asked_all_count(state: str, answers: bool) -> None:
    hearing = Hearing()
    hearing.hear(a_pod("one", ready=False), {"m": ("Loaded", "")})
    hearing.hear(a_pod("two", ready=False), {"m": (state, "")})
    assert hearing.copy_state("m", "news").answers is answers
    assert not hearing.copy_state("m", "sports").answers


def test_a_pod_that_gets_ready_says_something_new_of_all_its_models() -> None:
    hearing = Hearing()
    states = {"m": ("FailedToLoad", "no"), "n": ("Loaded", "")}
    assert hearing.hear(a_pod("one", ready=False), states) == {"m", "n"}
    assert hearing.hear(a_pod("one", ready=False), states) == set()
    assert hearing.hear(a_pod("one"), states) == {"m", "n"}


@pytest.mark.parametrize("mode", ["kserve", "standalone"])
def test_a_second_pod_that_takes_long_writes_no_status_and_one_that_fails_does(mode: Mode) -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    cluster.put("TrainedModel", a_trained_model("m"))
    run = Run(cluster, style=Style(mode=mode))
    run.settle(agents=loaded_agents())
    before = cluster.of("TrainedModel")["m"]["status"]["conditions"]
    a_starting_pod(cluster)
    for state in ("Pending", "Downloading", "Loading"):
        run.watch()
        run.engine.hear("second", {"m": (state, "")})
        run.settle(agents=loaded_agents())
        run.now += 60.0  # longer than states between may last unsaid
    assert cluster.of("TrainedModel")["m"]["status"]["conditions"] == before
    run.engine.hear("second", {"m": ("FailedToLoad", "no such backend")})
    run.settle(agents=loaded_agents())
    after = {item["type"]: item for item in cluster.of("TrainedModel")["m"]["status"]["conditions"]}
    assert (after["Loaded"]["status"], after["Loaded"]["reason"]) == ("False", "FailedToLoad")
    assert "Ready" not in after or after["Ready"]["status"] == "True"


def a_starting_pod(cluster: MemoryCluster) -> None:
    metadata = {"name": "second", "namespace": NAMESPACE, "labels": {"shardpack.dev/shard": "news"}}
    conditions: list[dict[str, Any]] = [{"type": "Ready", "status": "False"}]
    status = {"podIP": "127.3.3.3", "phase": "Running", "conditions": conditions}
    cluster.put("Pod", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})

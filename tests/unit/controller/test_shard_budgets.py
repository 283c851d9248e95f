"""Shards of several pods lose one at a time: the controller writes their budgets, and keeps them."""

from __future__ import annotations

import pytest

from planner.controller.objects import Mode, Style
from tests.support.kubernetes_objects import core_faults
from tests.support.memory_cluster import (
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
)

MODES: tuple[Mode, ...] = ("kserve", "standalone")


def run_on(replicas: int, mode: Mode) -> tuple[MemoryCluster, Run]:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(extra=f"      replicas: {replicas}")))
    cluster.put("TrainedModel", a_trained_model("m"))
    run = Run(cluster, style=Style(mode=mode))
    run.settle(agents=loaded_agents())
    return cluster, run


@pytest.mark.parametrize("mode", MODES)
def test_a_shard_of_three_pods_keeps_two(mode: Mode) -> None:
    cluster, _ = run_on(3, mode)
    (budget,) = cluster.of("PodDisruptionBudget").values()
    assert core_faults(budget) == []
    assert budget["spec"] == {
        "minAvailable": 2,
        "selector": {"matchLabels": {"shardpack.dev/shard": "news"}},
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_shard_of_one_pod_has_none(mode: Mode) -> None:
    cluster, _ = run_on(1, mode)
    assert cluster.of("PodDisruptionBudget") == {}


def test_one_that_is_deleted_comes_back_and_the_server_stays() -> None:
    cluster, run = run_on(2, "kserve")
    cluster.remove("PodDisruptionBudget", "news")
    run.settle(agents=loaded_agents())
    assert list(cluster.of("PodDisruptionBudget")) == ["news"]
    assert cluster.writes["InferenceService", "news", "create"] == 1

"""What 10,000 models that come at once, or one after the other, make the controller write."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from planner.domain.verify import verify_placement
from tests.support.memory_cluster import (
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
)

pytestmark = pytest.mark.timeout(600)

COUNT, PER_SHARD = 10_000, 400
ARRIVALS_PER_S = 500


def _cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=PER_SHARD)))
    return cluster


def _models() -> list[dict[str, object]]:
    rng = random.Random(7)
    return [a_trained_model(f"m-{index:05}", memory=f"{rng.randint(5, 40)}Mi") for index in range(COUNT)]


def _check(cluster: MemoryCluster, run: Run) -> None:
    (plan,) = run.engine.plans
    scenario, placement = plan.placement()
    assert verify_placement(scenario, placement) == ()
    assert len(placement_of(cluster)) == COUNT
    parents = {name: item["spec"]["inferenceService"] for name, item in cluster.of("TrainedModel").items()}
    assert {name: {parent} for name, parent in parents.items()} == placement_of(cluster)
    most: Counter[tuple[str, str]] = Counter()
    for (kind, _, verb), count in cluster.writes.items():
        most[kind, verb] = max(most[kind, verb], count)
    assert most["TrainedModel", "patch"] == 1
    assert most["TrainedModel", "status"] <= 2
    assert most["InferenceService", "create"] == 1
    documents = Counter(
        name for (kind, name, _), count in cluster.writes.items() for _ in range(count) if kind == "ConfigMap"
    )
    assert max(documents.values()) <= 2


def test_ten_thousand_at_once() -> None:
    cluster = _cluster()
    for item in _models():
        cluster.put("TrainedModel", item)
    run = Run(cluster)
    run.settle()
    run.settle(agents=loaded_agents())
    _check(cluster, run)


def test_ten_thousand_one_after_the_other() -> None:
    cluster = _cluster()
    run = Run(cluster)
    run.settle()
    step = 1 / ARRIVALS_PER_S
    for index, item in enumerate(_models()):
        cluster.put("TrainedModel", item)
        run.now += step
        if index % 5 == 0:
            run.turn()
    run.settle()
    run.settle(agents=loaded_agents())
    _check(cluster, run)

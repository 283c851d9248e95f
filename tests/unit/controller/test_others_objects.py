"""What others have made, and what no fleet is taken for: nothing of it is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planner.controller.objects import Mode, Style
from planner.manifests.options import ManifestOptions
from tests.support.memory_cluster import (
    NAMESPACE,
    KServe,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
)

NGINX = Style(options=ManifestOptions(gateway="nginx"))
STANDALONE = Style(mode="standalone")


def a_server(kind: str, name: str) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "theirs"}}}


def a_stock_service(*models: str) -> tuple[MemoryCluster, KServe]:
    """An InferenceService ``news`` of somebody else's, and KServe that serves models on it."""
    cluster = MemoryCluster()
    cluster.put("InferenceService", a_server("InferenceService", "news"))
    for name in models:
        cluster.put("TrainedModel", a_trained_model(name))
    kserve = KServe(cluster)
    kserve.reconcile()
    return cluster, kserve


def parents(cluster: MemoryCluster) -> dict[str, str]:
    return {name: item["spec"]["inferenceService"] for name, item in cluster.of("TrainedModel").items()}


def test_a_stock_server_of_the_groups_name_serves_until_ours_does_and_keeps_what_it_has() -> None:
    cluster, kserve = a_stock_service("a", "b")
    assert kserve.models("news") == {"a", "b"}
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    run = Run(cluster)
    run.settle()
    assert placement_of(cluster) == {"a": {"news-1"}, "b": {"news-1"}}
    assert parents(cluster) == {"a": "news", "b": "news"}
    kserve.reconcile()
    run.settle(agents=loaded_agents())
    assert parents(cluster) == {"a": "news-1", "b": "news-1"}
    kserve.reconcile()
    run.settle(agents=loaded_agents())
    assert kserve.models("news") == {"a", "b"}
    assert kserve.models("news-1") == {"a", "b"}
    assert kserve.deleted == []


def test_who_starts_anew_while_a_stock_server_serves_goes_on_waiting() -> None:
    cluster, _ = a_stock_service("a")
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    Run(cluster).settle()
    again = Run(cluster)
    again.settle()
    assert parents(cluster) == {"a": "news"}
    again.settle(agents=loaded_agents())
    assert parents(cluster) == {"a": "news-1"}


def test_a_stock_server_that_goes_holds_nobody_any_more() -> None:
    cluster, _ = a_stock_service("a")
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    run = Run(cluster)
    run.settle()
    cluster.remove("InferenceService", "news")
    run.settle()
    assert parents(cluster) == {"a": "news-1"}


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_a_shard_is_not_called_what_somebody_else_has_called_a_predictor(kind: str) -> None:
    cluster = MemoryCluster()
    cluster.put(kind, a_server(kind, "news-predictor"))
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    cluster.put("TrainedModel", a_trained_model("a"))
    Run(cluster, style=STANDALONE).settle(agents=loaded_agents())
    assert placement_of(cluster) == {"a": {"news-1"}}
    assert "news-1-predictor" in cluster.of("Deployment")
    assert ("Deployment", "news-predictor", "create") not in cluster.writes


@pytest.mark.parametrize(
    ("mode", "kind", "name"),
    [
        ("kserve", "InferenceService", "news"),
        ("standalone", "Deployment", "news-predictor"),
    ],
)
def test_a_server_that_somebody_else_puts_in_the_place_of_ours_is_not_taken_for_it(
    mode: Mode, kind: str, name: str
) -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    run = Run(cluster, style=Style(mode=mode))
    run.settle(agents=loaded_agents())
    cluster.remove(kind, name)
    cluster.put(kind, a_server(kind, name))
    cluster.put("TrainedModel", a_trained_model("a"))
    run.watch()
    for _ in range(50):
        run.turn()
        run.now += 0.2
    assert placement_of(cluster) == {}
    assert not any(kind == "TrainedModel" for kind, _, _ in cluster.writes)


# ------------------------------------------------------------------------------- fleets that are not taken


def a_model_that_goes(text: str, *, kept: bool = False) -> tuple[MemoryCluster, Run]:
    """A model is served; a controller starts with another fleet document, and the model is deleted.

    Whether the first controller has kept the document is to be said.
    """
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    for name in ("a", "b"):
        cluster.put("TrainedModel", a_trained_model(name))
    Run(cluster, style=STANDALONE).settle(agents=loaded_agents())
    cluster.put("ConfigMap", fleet_map(text))
    if not kept:
        cluster.remove("ConfigMap", "fleet.in-force")
    run = Run(cluster, style=STANDALONE)
    run.settle(agents=loaded_agents())
    cluster.remove("TrainedModel", "a")
    run.settle(agents=loaded_agents())
    return cluster, run


def test_a_model_whose_fleet_is_not_taken_is_not_gone_before_it_is_unloaded() -> None:
    cluster, run = a_model_that_goes("kind: Nothing")
    assert placement_of(cluster) == {"a": {"news"}, "b": {"news"}}
    assert "a" in cluster.of("TrainedModel")
    assert [told.reason for told in run.told if told.kind == "TrainedModel"] == ["StillServed"]
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    run.settle(agents=loaded_agents())
    assert set(placement_of(cluster)) == set(cluster.of("TrainedModel")) == {"b"}


def test_who_starts_on_a_faulty_document_goes_by_the_one_before() -> None:
    cluster, run = a_model_that_goes("kind: Nothing", kept=True)
    assert set(placement_of(cluster)) == set(cluster.of("TrainedModel")) == {"b"}
    assert [told.reason for told in run.told if told.kind == "ConfigMap"] == ["BadFleet", "FleetRead"]
    cluster.put("TrainedModel", a_trained_model("c"))
    run.settle(agents=loaded_agents())
    assert placement_of(cluster)["c"] == {"news"}


def test_a_model_whose_fleet_is_gone_for_good_is_let_go() -> None:
    cluster, run = a_model_that_goes("kind: Nothing")
    cluster.remove("ConfigMap", "fleet")
    run.settle(agents=loaded_agents())
    assert set(cluster.of("TrainedModel")) == {"b"}


def test_a_model_that_was_deleted_while_nobody_looked_leaves_the_documents_first() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    for name in ("a", "b"):
        cluster.put("TrainedModel", a_trained_model(name))
    Run(cluster, style=STANDALONE).settle(agents=loaded_agents())
    cluster.remove("TrainedModel", "a")
    named: list[bool] = []

    def look(write: Any) -> None:
        if write.target == ("TrainedModel", "a"):
            named.append("a" in placement_of(cluster))

    Run(cluster, style=STANDALONE, broken=look).settle(agents=loaded_agents())
    assert set(cluster.of("TrainedModel")) == {"b"}
    assert named == [False]


# ----------------------------------------------------------------------------------- what may not be created


def test_a_gateway_that_cannot_be_created_is_tried_ever_less_often() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    cluster.put("TrainedModel", a_trained_model("a"))
    run, agents = Run(cluster, style=NGINX), loaded_agents()
    steps, tries = 0, 0
    while run.now < 120:
        run.watch()
        agents(run)
        step = run.engine.step(run.now, "2026-01-01T00:00:00Z")
        steps += 1
        for write in step.writes:
            if write.kind in ("Deployment", "Service", "PodDisruptionBudget"):
                tries += write.kind == "Deployment"
                run.engine.missed(write, "failed", None, run.now)
            else:
                run.engine.wrote(write, cluster.apply(write), run.now)
        if not step.writes:
            run.now = max(run.now + 0.01, min(120.0, step.wake or 120.0))
    assert 5 <= tries <= 12
    assert steps < 100
    routes = json.loads(cluster.of("ConfigMap")["news-gateway-0"]["data"]["routes-0.json"])
    assert routes["models"] == {"a": ["news"]}
    run.settle(agents=agents)
    assert "news-gateway" in cluster.of("Deployment")

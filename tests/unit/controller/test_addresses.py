"""The address that a TrainedModel says it is asked at: one that answers, or none."""

from __future__ import annotations

from typing import Any

import pytest

from planner.controller.objects import Mode, Style
from planner.manifests.options import GatewayKind, ManifestOptions
from tests.support.memory_cluster import (
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
)

GATEWAY = "http://news-gateway.models.svc/v2/models/m/infer"
MODES: tuple[Mode, ...] = ("kserve", "standalone")


def served(
    mode: Mode, gateway: GatewayKind, *, says: dict[str, Any] | None = None
) -> tuple[MemoryCluster, Run]:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    cluster.put("TrainedModel", a_trained_model("m", says=says))
    run = Run(cluster, style=Style(mode=mode, options=ManifestOptions(gateway=gateway)))
    run.settle(agents=loaded_agents())
    return cluster, run


def told(cluster: MemoryCluster) -> tuple[str | None, str | None, str | None]:
    item = cluster.of("TrainedModel")["m"]
    status = item["status"]
    annotation = item["metadata"]["annotations"].get("shardpack.dev/url")
    return annotation, status.get("url"), (status.get("address") or {}).get("url")


@pytest.mark.parametrize("mode", MODES)
def test_a_gateway_is_the_address(mode: Mode) -> None:
    cluster, _ = served(mode, "nginx")
    status = GATEWAY if mode == "standalone" else None
    assert told(cluster) == (GATEWAY, status, status)


def test_beside_kserve_without_a_gateway_no_address_is_ours() -> None:
    cluster, _ = served("kserve", "none")
    assert told(cluster) == (None, None, None)


def test_without_both_it_is_the_service_of_the_one_shard() -> None:
    cluster, run = served("standalone", "none")
    (url,) = set(told(cluster)[1:])
    assert url == "http://news-predictor.models.svc/v2/models/m/infer"
    assert "news-predictor" in cluster.of("Service")
    assert told(cluster)[0] is None
    written = cluster.writes.copy()
    again = Run(cluster, style=Style(mode="standalone"), now=run.now)
    again.settle(agents=loaded_agents())
    assert cluster.writes == written


def test_several_shards_have_no_one_address() -> None:
    cluster, _ = served("standalone", "none", says={"replicas": 2})
    assert told(cluster) == (None, None, None)


def test_a_gateway_that_is_given_up_is_named_no_more() -> None:
    cluster, run = served("standalone", "nginx")
    Run(cluster, style=Style(mode="standalone"), now=run.now).settle(agents=loaded_agents())
    url = "http://news-predictor.models.svc/v2/models/m/infer"
    assert told(cluster) == (None, url, url)


def test_after_a_move_it_is_the_new_shard() -> None:
    cluster, run = served("standalone", "none")
    cluster.put("TrainedModel", a_trained_model("other", memory="6Gi"))
    run.settle(agents=loaded_agents())
    larger = cluster.of("TrainedModel")["m"]
    spec = {**larger["spec"], "model": {**larger["spec"]["model"], "memory": "9Gi"}}
    cluster.put("TrainedModel", {**larger, "spec": spec})
    run.settle(agents=loaded_agents())
    shard = cluster.of("TrainedModel")["m"]["spec"]["inferenceService"]
    assert shard != "news"
    assert told(cluster)[1] == f"http://{shard}-predictor.models.svc/v2/models/m/infer"


def test_many_shards_are_told_in_one_order_by_who_starts_anew_too() -> None:
    cluster, run = served("kserve", "none", says={"replicas": 12})
    written = cluster.writes.copy()
    Run(cluster, now=run.now).settle(agents=loaded_agents())
    assert cluster.writes == written

"""More documents than pods were made to mount: they are made to mount all, and nothing else changes."""

from __future__ import annotations

from typing import Any

from planner.controller.objects import Style
from planner.controller.writes import Write
from planner.manifests.gateway import ROUTES
from planner.manifests.options import ManifestOptions
from tests.support.memory_cluster import (
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
)

NGINX = Style(options=ManifestOptions(gateway="nginx"))
SMALL = "  cluster: {maxConfigMapBytes: 6000}"


def mounted(item: dict[str, Any], volume: str) -> set[str]:
    spec = item["spec"]
    pod = spec["predictor"] if "predictor" in spec else spec["template"]["spec"]
    (found,) = (one for one in pod["volumes"] if one["name"] == volume)
    return {source["configMap"]["name"] for source in found["projected"]["sources"]}


def a_long_name(number: int) -> str:
    return f"m-{number:03}-{'x' * 57}"


def many_models(count: int) -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=None, extra=SMALL)))
    for number in range(count):
        cluster.put("TrainedModel", a_trained_model(a_long_name(number), memory="1Mi", uri="s3://m"))
    return cluster


def routes(cluster: MemoryCluster) -> set[str]:
    return {name for name in cluster.of("ConfigMap") if name.startswith("news-gateway-")}


def test_a_gateway_mounts_the_ninth_document_of_its_routes() -> None:
    cluster = many_models(100)
    run = Run(cluster, style=NGINX)
    run.settle(agents=loaded_agents())
    before = cluster.of("Deployment")["news-gateway"]
    assert len(mounted(before, ROUTES)) == 8
    for number in range(100, 620):
        cluster.put("TrainedModel", a_trained_model(a_long_name(number), memory="1Mi", uri="s3://m"))
    run.settle(agents=loaded_agents())
    after = cluster.of("Deployment")["news-gateway"]
    assert len(routes(cluster)) > 8
    assert routes(cluster) <= mounted(after, ROUTES)
    assert cluster.writes["Deployment", "news-gateway", "patch"] == 1
    assert _without_volumes(after) == _without_volumes(before)
    writes = dict(cluster.writes)
    Run(cluster, style=NGINX).settle(agents=loaded_agents())
    assert cluster.writes == writes


def test_a_shard_never_has_more_documents_than_it_mounts() -> None:
    """The shortest names and places there are: nothing makes documents longer beside ``models.json``."""
    cluster = MemoryCluster()
    small = "  cluster: {maxConfigMapBytes: 10000}"
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=None, extra=small)))
    for number in range(200):
        cluster.put("TrainedModel", a_trained_model(f"m{number}", memory="1Mi", uri="s3://m"))
    Run(cluster).settle(agents=loaded_agents())
    assert set(cluster.of("InferenceService")) > {"news"}, "the first is full"
    there = {name for name in cluster.of("ConfigMap") if name.startswith("shardpack-news-")}
    assert {f"shardpack-news-{chunk}" for chunk in (0, 1, 2)} <= there
    for name in ("news", "news-1"):
        ours = {f"shardpack-{name}-{chunk}" for chunk in range(len(there))} & there
        assert ours <= mounted(cluster.of("InferenceService")[name], "shardpack-configs")


def test_where_it_may_not_be_written_it_is_tried_ever_less_often() -> None:
    cluster = many_models(100)
    run = Run(cluster, style=NGINX)
    run.settle(agents=loaded_agents())
    for number in range(100, 620):
        cluster.put("TrainedModel", a_trained_model(a_long_name(number), memory="1Mi", uri="s3://m"))
    agents, tries = loaded_agents(), 0
    end = run.now + 120
    while run.now < end:
        run.watch()
        agents(run)
        step = run.engine.step(run.now, "2026-01-01T00:00:00Z")
        for write in step.writes:
            if _is_gateway(write):
                tries += 1
                run.engine.missed(write, "failed", None, run.now)
            else:
                run.engine.wrote(write, cluster.apply(write), run.now)
        run.now = min(end, max(run.now + 0.01, step.wake or run.now + 1.0))
    assert 4 <= tries <= 12


def _is_gateway(write: Write) -> bool:
    return write.target == ("Deployment", "news-gateway")


def _without_volumes(item: dict[str, Any]) -> dict[str, Any]:
    pod = item["spec"]["template"]["spec"]
    template = {**item["spec"]["template"], "spec": {key: pod[key] for key in pod if key != "volumes"}}
    return {**item["spec"], "template": template}

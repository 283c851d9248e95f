"""A plan that was applied while no controller ran: the one that starts goes on from it."""

from __future__ import annotations

import yaml

from planner.controller.fleet import read_fleet
from planner.controller.objects import Style
from planner.controller.views import read_config_map, read_model
from planner.controller.wishes import wish_of
from planner.domain.placement import Placed, Shard
from planner.domain.scenario import Scenario
from planner.manifests import render_plan
from planner.scenario.load import parse_scenario
from tests.support.kubernetes_objects import objects_in
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    fleet_map,
    loaded_agents,
    placement_of,
)
from tests.support.plans import a_plan

MODELS = [
    {
        "name": f"m-{index}",
        "backend": "onnxruntime",
        "framework": "onnx",
        "storageUri": f"s3://models/m-{index}",
        "replicas": 2 if index == 0 else 1,
        "footprints": [{"class": "nvidia-t4", "gpuMemory": "3Gi", "memory": "1Gi"}],
    }
    for index in range(4)
]


def a_planned_scenario() -> Scenario:
    """A fleet with models, as it is planned."""
    fleet = yaml.safe_load(a_fleet_text())
    fleet["spec"]["models"] = MODELS
    return parse_scenario(yaml.safe_dump(fleet), file="scenario")


def test_a_rendered_model_asks_for_what_was_planned() -> None:
    scenario = a_planned_scenario()
    shards = tuple(Shard(name=name, shard_type="t4") for name in ("news", "news-1"))
    placed = [Placed(model="m-0", replica=1, shard="news-1", devices=(0,))]
    placed += [Placed(model=model.name, replica=0, shard="news", devices=(0,)) for model in scenario.models]
    fleet = read_fleet(read_config_map(fleet_map(a_fleet_text())), namespace=NAMESPACE)
    asked = [
        wish_of(read_model(item), fleet, "news")
        for file in render_plan(a_plan(scenario, *shards, *placed), scenario)
        for item in objects_in(file.text)
        if item["kind"] == "TrainedModel"
    ]
    assert sorted(asked, key=lambda model: model.name) == list(scenario.models)


def test_what_a_plan_places_stays_where_it_is() -> None:
    scenario = a_planned_scenario()
    shards = tuple(Shard(name=name, shard_type="t4") for name in ("news", "news-1", "news-2"))
    where = {
        ("m-0", 0): "news-2",
        ("m-0", 1): "news",
        ("m-1", 0): "news",
        ("m-2", 0): "news-1",
        ("m-3", 0): "news-1",
    }
    placed = tuple(
        Placed(model=model, replica=replica, shard=shard, devices=(0,))
        for (model, replica), shard in sorted(where.items())
    )
    plan = a_plan(scenario, *shards, *placed)
    cluster = MemoryCluster()
    for file in render_plan(plan, scenario):
        for item in objects_in(file.text):
            if item["kind"] in cluster.objects:
                cluster.put(item["kind"], item)
    cluster.put("ConfigMap", fleet_map(a_fleet_text()))
    before = placement_of(cluster)
    assert before["m-0"] == {"news", "news-2"}
    run = Run(cluster, style=Style())
    run.settle(agents=loaded_agents())
    assert placement_of(cluster) == before
    touched = {(kind, name) for kind, name, _ in cluster.writes if kind != "TrainedModel"}
    assert touched == {("ConfigMap", "fleet.in-force")}
    parents = {name: item["spec"]["inferenceService"] for name, item in cluster.of("TrainedModel").items()}
    assert parents == {"m-0": "news-2", "m-1": "news", "m-2": "news-1", "m-3": "news-1"}

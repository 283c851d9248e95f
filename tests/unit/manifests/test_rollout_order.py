"""In which order objects are applied and deleted, and what belongs to a scenario."""

from __future__ import annotations

from typing import Any

import pytest

from planner.errors import InputError
from planner.manifests.rollout import (
    in_order_of_deletion,
    namespaces_of,
    prune_selector,
    stages,
    still_named,
)


def item(
    kind: str, name: str = "x", *, scenario: str | None = "news", api_version: str = "v1"
) -> dict[str, Any]:
    labels = {"shardpack.dev/scenario": scenario} if scenario else {}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "n", "labels": labels},
    }


def test_models_come_last_and_what_shards_need_comes_before_them() -> None:
    kinds = ["TrainedModel", "InferenceService", "Secret", "ConfigMap", "Namespace", "Deployment"]
    found = [[one["kind"] for one in stage] for stage in stages(map(item, kinds))]
    assert found == [
        ["Namespace"],
        ["Secret", "ConfigMap"],
        ["InferenceService", "Deployment"],
        ["TrainedModel"],
    ]


def test_models_are_deleted_first_and_what_pods_mount_after_the_pods() -> None:
    kserve = "serving.kserve.io"
    objects = [
        item("ConfigMap"),
        item("InferenceService", api_version=f"{kserve}/v1beta1"),
        item("TrainedModel", api_version=f"{kserve}/v1alpha1"),
    ]
    found = [one["kind"] for stage in in_order_of_deletion(objects) for one in stage]
    assert found == ["TrainedModel", "InferenceService", "ConfigMap"]


def test_the_selector_names_us_and_the_scenario() -> None:
    selector = prune_selector([item("Namespace", scenario=None), item("ConfigMap")])
    assert selector == "app.kubernetes.io/managed-by=shardpack,shardpack.dev/scenario=news"


@pytest.mark.parametrize(
    ("scenarios", "message"),
    [((None,), "of no scenario"), (("a", "b"), r"of several scenarios \(a, b\)")],
)
def test_without_exactly_one_scenario_nothing_can_be_pruned(
    scenarios: tuple[str | None, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prune_selector([item("ConfigMap", scenario=scenario) for scenario in scenarios])


def test_namespaces_are_those_of_the_objects() -> None:
    objects = [item("ConfigMap"), {"kind": "Namespace", "metadata": {"name": "n"}}]
    assert namespaces_of(objects) == ("n",)


def a_server(shard: str, kind: str = "InferenceService") -> dict[str, Any]:
    found = item(kind, shard if kind == "InferenceService" else f"{shard}-predictor")
    found["metadata"]["labels"]["shardpack.dev/shard"] = shard
    return found


def a_model(name: str, shard: str) -> dict[str, Any]:
    return {**item("TrainedModel", name, scenario=None), "spec": {"inferenceService": shard}}


@pytest.mark.parametrize("kind", ["InferenceService", "Deployment"])
def test_a_shard_that_somebody_elses_model_names_is_told(kind: str) -> None:
    stale = [a_server("news-1", kind), item("ConfigMap", "shardpack-news-1-0")]
    live = [a_model("theirs", "news-1"), a_model("other", "news")]
    assert still_named(stale, [], live) == {"news-1": ("theirs",)}


def test_a_model_that_goes_too_or_that_the_plan_takes_elsewhere_keeps_no_shard() -> None:
    stale = [a_server("news-1"), a_model("goes", "news-1")]
    live = [a_model("goes", "news-1"), a_model("moves", "news-1")]
    assert still_named(stale, [a_model("moves", "news")], live) == {}


def test_a_shard_of_the_name_in_another_namespace_is_another() -> None:
    elsewhere = a_model("theirs", "news-1")
    elsewhere["metadata"]["namespace"] = "other"
    assert still_named([a_server("news-1")], [], [elsewhere]) == {}

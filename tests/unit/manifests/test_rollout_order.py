"""In which order objects are applied and deleted, and what belongs to a scenario."""

from __future__ import annotations

from typing import Any

import pytest

from planner.errors import InputError
from planner.manifests.rollout import in_order_of_deletion, namespaces_of, prune_selector, stages


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

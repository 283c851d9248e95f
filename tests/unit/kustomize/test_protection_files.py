"""Who may call what the controller opens: the shipped policies are those that plans are rendered with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from planner.manifests.names import LABEL_MANAGED_BY, LABEL_SCENARIO, MANAGED_BY
from planner.manifests.protection import network_policies
from tests.support.kubernetes_objects import core_faults

FOLDER = Path(__file__).parents[3] / "kustomize" / "controller"
ITEMS: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "protection.yaml").read_text()))


def spec_of(kind: str, name: str) -> Any:
    (found,) = (item["spec"] for item in ITEMS if (item["kind"], item["metadata"]["name"]) == (kind, name))
    return found


def test_policies_are_those_of_plans() -> None:
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_SCENARIO: "shardpack"}
    for item in network_policies(namespace="models", labels=labels, transformers=True):
        wanted = {**item["spec"], "podSelector": {**item["spec"]["podSelector"]}}
        wanted["podSelector"]["matchLabels"] = {LABEL_MANAGED_BY: MANAGED_BY}  # whatever fleet they are of
        assert spec_of("NetworkPolicy", item["metadata"]["name"]) == wanted


def test_they_are_valid_for_kubernetes() -> None:
    assert [fault for item in ITEMS for fault in core_faults(item)] == []


def test_the_controller_is_under_its_own_policy_only() -> None:
    (deployment,) = yaml.safe_load_all((FOLDER / "deployment.yaml").read_text())
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    over_it = [
        item["metadata"]["name"]
        for item in ITEMS
        if item["kind"] == "NetworkPolicy"
        and item["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        and all(one["key"] in labels for one in item["spec"]["podSelector"].get("matchExpressions", ()))
    ]
    assert over_it == ["shardpack-controller"]

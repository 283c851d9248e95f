"""Who may call the pods of a plan, and how many of them may go at once."""

from __future__ import annotations

from typing import Any

from planner.manifests import ManifestOptions, render_plan
from tests.support.kubernetes_objects import core_faults, objects_in
from tests.support.plans import a_plan, everything

Object = dict[str, Any]


def rendered(**options: Any) -> list[Object]:
    scenario, *items = everything()
    files = render_plan(a_plan(scenario, *items), scenario, options=ManifestOptions(**options))
    return [item for file in files for item in objects_in(file.text)]


def of_kind(items: list[Object], kind: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item for item in items if item["kind"] == kind}


def selects(selector: Object, labels: dict[str, str]) -> bool:
    exists = all(item["key"] in labels for item in selector.get("matchExpressions", ()))
    return exists and selector.get("matchLabels", {}).items() <= labels.items()


def test_a_shard_of_several_pods_loses_one_at_a_time():
    budgets = of_kind(rendered(), "PodDisruptionBudget")
    (budget,) = budgets.values()
    assert (budget["metadata"]["name"], budget["spec"]["minAvailable"]) == ("bought", 1)
    for name, service in of_kind(rendered(), "InferenceService").items():
        labels = service["spec"]["predictor"]["labels"]
        assert selects(budget["spec"]["selector"], labels) == (name == "bought")


def test_policies_are_written_on_demand_and_valid():
    assert of_kind(rendered(), "NetworkPolicy") == {}
    items = rendered(network_policies=True, gateway="nginx")
    policies = of_kind(items, "NetworkPolicy")
    assert len(policies) == 2
    for item in (*policies.values(), *of_kind(items, "PodDisruptionBudget").values()):
        assert core_faults(item) == []
        assert item["metadata"]["labels"]


def test_each_pod_is_under_one_policy():
    items = rendered(network_policies=True, gateway="nginx")
    selectors = {name: item["spec"]["podSelector"] for name, item in of_kind(items, "NetworkPolicy").items()}
    for service in of_kind(items, "InferenceService").values():
        labels = service["spec"]["predictor"]["labels"]
        assert [name for name, found in selectors.items() if selects(found, labels)] == ["test-shards"]
    for deployment in of_kind(items, "Deployment").values():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert [name for name, found in selectors.items() if selects(found, labels)] == ["test-gateways"]


def test_the_ports_that_load_models_are_open_inside_only():
    spec = of_kind(rendered(network_policies=True), "NetworkPolicy")["test-shards"]["spec"]
    open_to_all = {port["port"] for rule in spec["ingress"] if "from" not in rule for port in rule["ports"]}
    inside = {port["port"] for rule in spec["ingress"] if "from" in rule for port in rule["ports"]}
    assert (inside, open_to_all) == ({8080, 9000}, {8002, 9082})
    assert [rule["from"] for rule in spec["ingress"] if "from" in rule] == [[{"podSelector": {}}]]

"""A shard without KServe: what an API server would take, and that it is the same pod."""

from __future__ import annotations

from typing import Any

from planner.manifests.contents import shard_contents
from planner.manifests.deployment import deployment, service
from planner.manifests.inferenceservice import inference_service
from planner.manifests.options import ManifestOptions
from tests.support.kubernetes_objects import core_faults
from tests.support.plans import a_plan, everything


def objects() -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    scenario, *items = everything()
    plan = a_plan(scenario, *items)
    options = ManifestOptions(triton_image="triton:1")
    return [
        (
            deployment(contents, scenario, spread="node", documents=1, options=options),
            service(contents, scenario),
            inference_service(contents, plan, spread="node", documents=1, options=options),
        )
        for contents in shard_contents(plan, scenario)
    ]


def test_both_are_valid_for_kubernetes() -> None:
    assert [
        fault for pods, front, _ in objects() for item in (pods, front) for fault in core_faults(item)
    ] == []


def test_the_service_leads_to_the_pods() -> None:
    for pods, front, _ in objects():
        labels = pods["spec"]["template"]["metadata"]["labels"]
        assert front["spec"]["selector"].items() <= labels.items()
        assert pods["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert front["metadata"]["name"] == pods["metadata"]["name"]
        ports = {port["targetPort"] for port in front["spec"]["ports"]}
        (server,) = (
            item for item in pods["spec"]["template"]["spec"]["containers"] if item["name"] == "server"
        )
        assert ports <= {port["containerPort"] for port in server["ports"]}


def test_it_is_the_pod_of_the_inference_service() -> None:
    for pods, _, kserve in objects():
        pod, predictor = pods["spec"]["template"]["spec"], kserve["spec"]["predictor"]
        for field in (
            "volumes",
            "nodeSelector",
            "tolerations",
            "affinity",
            "initContainers",
            "serviceAccountName",
        ):
            assert pod.get(field) == predictor.get(field)
        assert pod["containers"][1] == predictor["containers"][0]
        assert pods["metadata"]["labels"] == kserve["metadata"]["labels"]
        if "triton" in predictor:
            assert pod["containers"][0]["resources"] == predictor["triton"]["resources"]
            assert set(predictor["triton"]["args"]) < set(pod["containers"][0]["args"])
            assert pod["containers"][0]["image"] == "triton:1"

"""Transformers of a plan as objects: one Deployment and Service each, and the ways to and from them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from agent.gateway.cli import main as gateway_command
from agent.routes import read_routes
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.errors import InputError
from planner.manifests import ManifestOptions, render_plan
from planner.manifests.gateway import DIRECT_PORT
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.builders import a_node
from tests.support.kubernetes_objects import core_faults, objects_in
from tests.support.transformers import a_transformer, on_nodes, two_models, with_transformers

Object = dict[str, Any]
NGINX = ManifestOptions(gateway="nginx", network_policies=True)


def rendered(scenario: Scenario, plan: Plan | None = None, options: ManifestOptions = NGINX) -> list[Object]:
    files = render_plan(plan or make_plan(scenario, SolveOptions(work=1)), scenario, options=options)
    return [item for file in files for item in objects_in(file.text)]


def of_kind(items: list[Object], kind: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item for item in items if item["kind"] == kind}


def pod_of(deployment: Object) -> Object:
    found: Object = deployment["spec"]["template"]["spec"]
    return found


def test_a_transformer_is_one_deployment_and_service() -> None:
    transformer = a_transformer(args=("--times=2",), env=(("LEVEL", "info"),), replicas=3)
    items = rendered(with_transformers(two_models(), transformer))
    deployment = of_kind(items, "Deployment")["t-transformer-scale"]
    (container,) = pod_of(deployment)["containers"]
    assert deployment["spec"]["replicas"] == 3
    assert (container["image"], container["args"]) == ("registry.example/scale:1", ["--times=2"])
    assert {item["name"]: item["value"] for item in container["env"]} == {
        "PREDICTOR_URL": "http://t-gateway.models.svc:8081",
        "PREDICTOR_HOST": "t-gateway.models.svc:8081",
        "LEVEL": "info",
    }
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "1Gi"}
    assert pod_of(deployment)["securityContext"]["runAsNonRoot"]
    assert of_kind(items, "PodDisruptionBudget")["t-transformer-scale"]["spec"]["maxUnavailable"] == 1
    service = of_kind(items, "Service")["t-transformer-scale"]["spec"]
    assert service["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert [fault for item in items if "." not in item["apiVersion"] for fault in core_faults(item)] == []


def test_the_gateway_leads_to_transformers_and_has_a_port_for_them() -> None:
    items = rendered(two_models())
    routes = read_routes(of_kind(items, "ConfigMap")["t-gateway-0"]["data"])
    assert routes.services == (("t-transformer-scale", "t-transformer-scale.models.svc:80"),)
    assert dict(routes.through) == dict.fromkeys(("a", "b"), "t-transformer-scale")
    ports = {item["name"]: item["port"] for item in of_kind(items, "Service")["t-gateway"]["spec"]["ports"]}
    assert ports == {"http": 80, "direct": DIRECT_PORT}
    (container,) = pod_of(of_kind(items, "Deployment")["t-gateway"])["containers"]
    parsed = gateway_command.make_context("gateway", list(container["args"]))
    assert parsed.params["direct_port"] == DIRECT_PORT


def test_pods_stand_on_the_nodes_of_the_plan() -> None:
    nodes = (a_node("gpu", labels=(("kubernetes.io/hostname", "gpu.example"),)), a_node("b", gpus=0))
    scenario = on_nodes(*nodes, transformer=a_transformer(replicas=2))
    deployment = of_kind(rendered(scenario), "Deployment")["t-transformer-scale"]
    affinity = pod_of(deployment)["affinity"]
    terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["b", "gpu.example"]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert pod_of(deployment)["tolerations"]


def test_transformers_alone_reach_the_port_past_them() -> None:
    policies = of_kind(rendered(two_models()), "NetworkPolicy")
    everyone, direct = policies["test-gateways"]["spec"]["ingress"]
    assert "from" not in everyone
    assert [item["port"] for item in direct["ports"]] == [DIRECT_PORT]
    (peer,) = direct["from"]
    assert peer["podSelector"]["matchExpressions"][0]["key"] == "shardpack.dev/transformer"
    assert policies["test-transformers"]["spec"]["ingress"][0]["from"] == [{"podSelector": {}}]


@pytest.mark.parametrize(
    "options", [ManifestOptions(), ManifestOptions(gateway="httproute", gateway_parent="infra/public")]
)
def test_transformers_need_a_gateway_of_ours(options: ManifestOptions) -> None:
    with pytest.raises(InputError, match="choose nginx"):
        rendered(two_models(), options=options)


def test_without_services_nothing_of_them_is_written() -> None:
    scenario = dataclasses.replace(two_models(), models=two_models().models[2:], transformers=())
    items = rendered(scenario)
    assert "direct" not in str(items)
    assert "transformer" not in str(items)

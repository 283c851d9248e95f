"""The stable address of a group: what its objects say, and that an API server would take them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.gateway.cli import main as gateway_command
from agent.routes import read_routes
from planner.domain.placement import Placed, Shard
from planner.domain.scenario import Scenario
from planner.errors import InputError
from planner.manifests import ManifestOptions, render_plan
from planner.manifests.gateway import gateway_objects
from planner.manifests.routes import gateway_url, group_routes
from planner.manifests.routes_http import http_routes
from tests.support.builders import a_model, a_scenario, a_shard_type
from tests.support.kubernetes_objects import core_faults, objects_in
from tests.support.plans import a_plan, a_shard, everything, on

Object = dict[str, Any]
NGINX = ManifestOptions(gateway="nginx")
HTTPROUTE = ManifestOptions(gateway="httproute", gateway_parent="infra/public")


def rendered(scenario: Scenario, *items: Shard | Placed, options: ManifestOptions = NGINX) -> list[Object]:
    files = render_plan(a_plan(scenario, *items), scenario, options=options)
    return [item for file in files for item in objects_in(file.text)]


def of_kind(items: list[Object], kind: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item for item in items if item["kind"] == kind}


def two_models() -> tuple[Any, ...]:
    return (a_scenario(a_model("m"), a_model("n")), a_shard(), on("m"), on("n"))


def test_core_objects_are_valid_for_kubernetes():
    items = rendered(*everything())
    core = [item for item in items if "." not in item["apiVersion"]]
    assert {"ConfigMap", "Deployment", "PodDisruptionBudget", "Service"} <= {item["kind"] for item in core}
    assert [fault for item in core for fault in core_faults(item)] == []


def test_without_a_gateway_nothing_of_it_is_written():
    kinds = {item["kind"] for item in rendered(*everything(), options=ManifestOptions())}
    assert not kinds & {"Deployment", "Service", "HTTPRoute"}


def test_every_model_is_routed_to_all_its_shards():
    scenario, *items = everything()
    found = of_kind(rendered(scenario, *items), "ConfigMap")
    routes = {
        name: read_routes(item["data"])
        for name, item in found.items()
        if any(key.startswith("routes-") for key in item["data"])
    }
    placed: dict[str, set[str]] = {}
    for item in items:
        if isinstance(item, Placed):
            placed.setdefault(item.model, set()).add(item.shard)
    routed: dict[str, set[str]] = {}
    for group in routes.values():
        for model, shards in group.models:
            routed.setdefault(model, set()).update(shards)
    assert routed == placed
    assert set(of_kind(rendered(scenario, *items), "Deployment")) == {
        f"{routes[name].group}-gateway" for name in routes
    }


def test_a_shards_service_leads_to_the_pods_of_its_inference_service():
    items = rendered(*two_models())
    service = of_kind(items, "Service")["t-shard"]
    predictor = of_kind(items, "InferenceService")["t"]["spec"]["predictor"]
    assert service["spec"]["selector"].items() <= predictor["labels"].items()
    (text,) = of_kind(items, "ConfigMap")["t-gateway-0"]["data"].values()
    assert json.loads(text)["shards"] == {"t": "t-shard.models.svc:80"}


def test_the_gateways_service_and_budget_select_its_pods():
    items = rendered(*two_models())
    deployment = of_kind(items, "Deployment")["t-gateway"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for kind in ("Service", "PodDisruptionBudget"):
        selector = of_kind(items, kind)["t-gateway"]["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= labels.items()
    service, shard = (of_kind(items, "Service")[name]["spec"] for name in ("t-gateway", "t-shard"))
    assert not shard["selector"].items() <= labels.items()
    assert service["ports"][0]["port"] == 80


def test_the_gateway_takes_its_arguments():
    deployment = of_kind(rendered(*two_models()), "Deployment")["t-gateway"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    context = gateway_command.make_context("shardpack-gateway", list(container["args"]))
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert context.params["leave"] + 2 * context.params["drain"] < grace
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(context.params["config_dir"]), str(context.params["work_dir"])} == mounted
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_more_documents_change_no_pod_until_there_are_nine():
    one, eight, nine = (
        gateway_objects("g", namespace="ns", labels={}, documents=documents, options=NGINX)[0]
        for documents in (1, 8, 9)
    )
    assert one == eight != nine


def test_names_that_would_be_shared_are_refused():
    types = (a_shard_type("t"), a_shard_type("u", group="t-gateway"))
    scenario = a_scenario(a_model("m"), a_model("n"), types=types)
    shards = (a_shard("t"), a_shard("t-gateway", shard_type="u"))
    with pytest.raises(InputError, match=r"shards\.t-gateway: .* would share a name"):
        rendered(scenario, *shards, on("m", "t"), on("n", "t-gateway"))


def test_addresses_are_stable():
    assert gateway_url("news", "models", "m") == "http://news-gateway.models.svc/v2/models/m/infer"


# ------------------------------------------------------------------------------------------------ HTTPRoutes


def routes_over(models: int, shards: int) -> tuple[Object, ...]:
    placed = {f"m{number}": (f"s{number % shards}",) for number in range(models)}
    routes = group_routes("g", namespace="ns", models={**placed, "waits": ()})
    return http_routes(routes, parent="gw", namespace="ns", labels={})


@pytest.mark.parametrize(("models", "shards"), [(1, 1), (64, 1), (65, 1), (129, 1), (1000, 7), (500, 40)])
def test_http_routes_keep_the_limits_and_route_everything(models, shards):
    found = routes_over(models, shards)
    routed: dict[str, list[str]] = {}
    for item in found:
        rules = item["spec"]["rules"]
        assert 1 <= len(rules) <= 16
        assert sum(len(rule["matches"]) for rule in rules) <= 128
        for rule in rules:
            assert 1 <= len(rule["matches"]) <= 64
            for match in rule["matches"]:
                backends = [backend["name"] for backend in rule["backendRefs"]]
                routed[match["path"]["value"]] = backends
    assert routed == {f"/v2/models/m{n}": [f"s{n % shards}-shard"] for n in range(models)}
    assert len({item["metadata"]["name"] for item in found}) == len(found)


def test_http_routes_are_attached_to_their_gateway():
    items = rendered(*two_models(), options=HTTPROUTE)
    (route,) = of_kind(items, "HTTPRoute").values()
    assert route["spec"]["parentRefs"] == [{"namespace": "infra", "name": "public"}]
    assert set(of_kind(items, "Service")) == {"t-shard"}
    assert not of_kind(items, "Deployment")


def test_http_routes_need_a_gateway():
    with pytest.raises(InputError, match="need the name of the Gateway"):
        rendered(*two_models(), options=ManifestOptions(gateway="httproute"))


def test_more_shards_than_a_rule_has_backends_are_refused():
    routes = group_routes("g", namespace="ns", models={"m": [f"s{number}" for number in range(17)]})
    with pytest.raises(ValueError, match="17 shards"):
        http_routes(routes, parent="gw", namespace="ns", labels={})

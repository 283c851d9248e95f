"""``manifests --gateway``: what is written, and which options go together."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import Files, Run


def names(run: Run, *arguments: str) -> set[str]:
    return set(run("manifests", *arguments, "--out", "-", "-o", "name").stdout.splitlines())


def test_a_gateway_is_written_on_demand(files: Files, run: Run, planned: str) -> None:
    without = names(run, files.scenario, planned)
    nginx = names(run, files.scenario, planned, "--gateway", "nginx")
    assert without < nginx
    assert {
        "deployment.apps/news-gateway",
        "service/news-gateway",
        "service/news-shard",
        "configmap/news-gateway-0",
        "poddisruptionbudget.policy/news-gateway",
    } <= nginx - without


def test_http_routes_are_written_on_demand(files: Files, run: Run, planned: str) -> None:
    arguments = (files.scenario, planned, "--gateway", "httproute", "--gateway-parent", "infra/public")
    assert "httproute.gateway.networking.k8s.io/news-gateway-0" in names(run, *arguments)


def test_the_folder_has_the_gateway(files: Files, run: Run, planned: str) -> None:
    out = files.path("with-gateway")
    assert run("manifests", files.scenario, planned, "--gateway", "nginx", "--out", out).exit_code == 0
    listed = (Path(out) / "kustomization.yaml").read_text()
    for path in ("gateways/news/configmaps.yaml", "gateways/news/gateway.yaml", "shards/news/service.yaml"):
        assert (Path(out) / path).is_file()
        assert path in listed


def test_network_policies_are_written_on_demand(files: Files, run: Run, planned: str) -> None:
    more = names(run, files.scenario, planned, "--network-policy") - names(run, files.scenario, planned)
    assert more == {
        "networkpolicy.networking.k8s.io/news-gateways",
        "networkpolicy.networking.k8s.io/news-shards",
    }


@pytest.mark.parametrize("wrong", [("--gateway", "httproute"), ("--gateway-parent", "public")])
def test_a_parent_and_http_routes_go_together(files: Files, run: Run, planned: str, wrong) -> None:
    found = run("manifests", files.scenario, planned, "--out", "-", *wrong)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "go together" in found.stderr

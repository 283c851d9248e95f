"""Alerts and dashboard ask for metrics that there are, by labels and states that these have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agent.actions import Unload
from agent.gateway.loop import GatewayState
from agent.gateway.metrics import metrics_text
from agent.memory import DeviceMemory, Memory
from agent.metrics import Metrics as AgentMetrics
from agent.observed import Seen
from agent.outcomes import Failed
from agent.status import STATES, Snapshot
from planner.controller.metrics import Metrics as ControllerMetrics
from planner.controller.views import read_config_map
from planner.controller.webhook import OUTCOMES as REVIEWS
from planner.controller.webhook import WebhookMetrics
from planner.manifests.gateway import gateway_objects
from planner.manifests.names import LABEL_MANAGED_BY, MANAGED_BY
from planner.manifests.options import ManifestOptions
from tests.support.agent_models import copy, desired, row, target

FOLDER = Path(__file__).parents[3] / "kustomize" / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["spec"]["groups"]
    for rule in group["rules"]
]
FROM_THE_SCRAPE = {"namespace", "pod", "le"}
OUTCOMES = {"done", "failed", *REVIEWS}
FAILED = Failed(state="FailedToLoad", reason="x", message="y", retry="rarely")


def panels() -> Iterator[dict[str, Any]]:
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> list[Any]:
    found = [(rule["alert"], rule["expr"]) for rule in RULES]
    found += [(panel["title"], item["expr"]) for panel in panels() for item in panel["targets"]]
    return [
        pytest.param(expression, id=f"{name}-{number}") for number, (name, expression) in enumerate(found)
    ]


def agent_text() -> str:
    held = target("m")
    snapshot = Snapshot(
        desired=desired(held.model),
        document_fault=None,
        targets={"m": held},
        models={"m": Seen(installed=copy(loaded_on=held), row=row("READY"))},
        running={},
        since={"m": ("Loaded", 0.0)},
        observed_generation="g",
        ready=True,
        live=True,
        server=None,
        server_since=None,
    )
    gpu = DeviceMemory(
        uuid="GPU-a", index=0, total_bytes=100, reserved_bytes=10, used_bytes=50, server_bytes=30
    )
    memory = Memory(devices=(gpu,), server_resident_bytes=5)
    metrics = AgentMetrics(snapshot=lambda: snapshot, memory=lambda: memory, most_models=10)
    metrics.count(Unload(name="m", devices=()), FAILED)
    return metrics.text().decode()


def controller_text() -> str:
    now = {"usdPerHour": "1.5", "brokenRules": 0}
    proposed = {"usdPerHour": "1", "boundUsdPerHour": "0.5", "unplacedReplicas": 0}
    changes = dict.fromkeys(("moves", "shardsOpened", "shardsClosed"), 1)
    group = {"group": "news", "now": now, "proposed": proposed, "changes": changes}
    told = json.dumps({"at": "2030-01-01T00:00:00Z", "groups": [group]})
    metadata = {"name": "shardpack-proposal", "labels": {"shardpack.dev/role": "proposal"}}
    view = read_config_map({"metadata": metadata, "data": {"proposal.json": told}})
    metrics = ControllerMetrics()
    metrics.proposals.look({view.name: view})
    return generate_latest(metrics.registry).decode()


@cache
def exported() -> dict[str, set[str]]:
    """Return the labels of every time series that there is, by name."""
    webhook_text = generate_latest(WebhookMetrics().registry).decode()
    texts = [agent_text(), metrics_text(GatewayState)().decode(), controller_text(), webhook_text]
    found: dict[str, set[str]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
            for suffix in suffixes.get(family.type, [""]):
                found.setdefault(family.name + suffix, set())
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def selectors(expression: str) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


@pytest.mark.parametrize("expression", expressions())
def test_expressions_ask_for_what_there_is(expression: str) -> None:
    found = selectors(expression.replace("$namespace", "n"))
    assert found
    for selector in found:
        assert selector.name in exported()
        for matcher in selector.matchers.matchers:
            if matcher.name == "state":
                assert set(matcher.value.split("|")) <= set(STATES)
            if matcher.name == "outcome":
                assert set(matcher.value.split("|")) <= OUTCOMES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_name_labels_that_are_left(rule: dict[str, Any]) -> None:
    text = " ".join(rule["annotations"].values())
    named = set(re.findall(r"\$labels\.([a-z_]+)", text))
    by = re.search(r"^(?:sum|max) by \(([a-z_, ]+)\)", rule["expr"])
    grouped = re.search(r"histogram_quantile\(.*by \(([a-z_, ]+)\)", rule["expr"])
    kept = by or grouped
    if kept is not None:
        assert named <= set(kept[1].split(", "))
        return
    labels = set.union(*(exported()[selector.name] for selector in selectors(rule["expr"])))
    assert named <= labels | FROM_THE_SCRAPE


def test_every_alert_says_what_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")


def test_the_dashboard_has_no_panel_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_what_is_scraped_has_the_label_and_the_port() -> None:
    spec = yaml.safe_load((FOLDER / "podmonitors.yaml").read_text())["spec"]
    assert spec["selector"]["matchLabels"] == {LABEL_MANAGED_BY: MANAGED_BY}
    deployment, *_ = gateway_objects(
        "g", namespace="n", labels={}, documents=1, options=ManifestOptions(gateway="nginx")
    )
    pod = deployment["spec"]["template"]
    assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
    assert {endpoint["port"] for endpoint in spec["podMetricsEndpoints"]} <= ports


def test_the_kustomization_names_all_files() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    named = {*listed["resources"], *listed["configMapGenerator"][0]["files"], "kustomization.yaml"}
    assert named == {path.name for path in FOLDER.iterdir()}

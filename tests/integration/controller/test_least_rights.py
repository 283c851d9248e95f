"""The controller with the rights that docs/controller.md lists, and no others."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from planner.cluster import Kube, Resource, connect
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    INFERENCE_SERVICES,
    SERVICES,
    TRAINED_MODELS,
)
from planner.controller.objects import Mode, Style
from planner.manifests.options import ManifestOptions
from tests.support.controllers import PACE, all_loaded, documents, eventually, running
from tests.support.memory_cluster import a_trained_model
from tests.support.standing_in import Agents

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("no_elses_cluster")]

GUIDE = Path(__file__).parents[3] / "docs" / "controller.md"
RBAC = "rbac.authorization.k8s.io"
GROUPS = {
    "trainedmodels": "serving.kserve.io",
    "trainedmodels/status": "serving.kserve.io",
    "inferenceservices": "serving.kserve.io",
    "deployments": "apps",
    "poddisruptionbudgets": "policy",
    "leases": "coordination.k8s.io",
    "events": "events.k8s.io",
}


def listed_rules() -> list[dict[str, Any]]:
    """The table of the guide, as rules of a role."""
    text = GUIDE.read_text(encoding="utf-8").partition("## What it may do in the cluster")[2]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|$", text.partition("No Secrets.")[0], flags=re.MULTILINE)
    rules = []
    for what, verbs in rows:
        first, *parts = verbs.split("; ")
        rules += [_rule(name, first) for name in re.findall(r"`([a-z/]+)`", what)]
        rules += [_rule(*re.fullmatch(r"`(.*)` (.*)", part).groups()) for part in parts]  # type: ignore[union-attr]
    return rules


def _rule(resource: str, verbs: str) -> dict[str, Any]:
    return {"apiGroups": [GROUPS.get(resource, "")], "resources": [resource], "verbs": verbs.split(", ")}


def _names(kube: Kube, namespace: str, resource: Resource) -> list[str]:
    return [item["metadata"]["name"] for item in kube.list(resource, namespace=namespace).items]


def _is_second(name: str) -> bool:
    return name.startswith("news-1")


def _with_rights(here: Here, folder: Path, rules: list[dict[str, Any]]) -> Kube:
    """Return a client that may do what rules say."""
    kube, namespace, name = here.kube, here.namespace, "shardpack-controller"
    path = here.account(name, folder)
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    for kind, plural in (("Role", "roles"), ("ClusterRole", "clusterroles")):
        wide = kind == "ClusterRole"
        metadata = {"name": name} if wide else {"name": name, "namespace": namespace}
        mine = [rule for rule in rules if (rule["resources"] == ["nodes"]) == wide]
        reference = {"apiGroup": RBAC, "kind": kind, "name": name}
        resource = Resource(group=RBAC, version="v1", plural=plural, kind=kind, namespaced=not wide)
        binding = Resource(
            group=RBAC,
            version="v1",
            plural=plural[:-1] + "bindings",
            kind=f"{kind}Binding",
            namespaced=not wide,
        )
        head = {"apiVersion": f"{RBAC}/v1", "metadata": metadata}
        kube.apply(resource, {**head, "kind": kind, "rules": mine})
        kube.apply(binding, {**head, "kind": f"{kind}Binding", "roleRef": reference, "subjects": [subject]})
    return connect(kubeconfig=path)


@pytest.mark.parametrize("mode", ["kserve", "standalone"])
def test_what_the_guide_lists_is_enough(here: Here, tmp_path: Path, mode: Mode) -> None:
    kube, namespace = here.kube, here.namespace
    rules = listed_rules()
    assert len(rules) >= 11
    limited = _with_rights(here, tmp_path, rules)
    style = Style(mode=mode, options=ManifestOptions(gateway="nginx"))
    pace = dataclasses.replace(PACE, empty_s=1.0)
    with Agents(kube, namespace), running(limited, namespace, style=style, pace=pace) as (controller,):
        servers = INFERENCE_SERVICES if mode == "kserve" else DEPLOYMENTS
        eventually(lambda: kube.list(servers, namespace=namespace).items)
        for index in range(25):
            kube.create(TRAINED_MODELS, a_trained_model(f"m-{index:02}", namespace=namespace))
        eventually(lambda: all_loaded(kube, namespace, 25))
        placed = documents(kube, namespace)
        gone = [name for name, shards in placed.items() if shards == {"news-1"}]
        for name in gone:
            kube.delete(TRAINED_MODELS, name, namespace=namespace)
        eventually(lambda: all_loaded(kube, namespace, 25 - len(gone)))
        eventually(lambda: not any(map(_is_second, _names(kube, namespace, servers))))
        eventually(lambda: not any(map(_is_second, _names(kube, namespace, SERVICES))))
        samples = [one for metric in controller.metrics.writes.collect() for one in metric.samples]
        assert not [one for one in samples if one.labels.get("outcome") == "failed" and one.value]
    limited.close()


def test_with_a_role_that_lacks_a_deletion_no_shard_is_half_closed(here: Here, tmp_path: Path) -> None:
    kube, namespace = here.kube, here.namespace
    rules = listed_rules()
    for rule in rules:
        if rule["resources"] == ["services"]:
            rule["verbs"].remove("delete")
    limited = _with_rights(here, tmp_path, rules)
    style, pace = Style(options=ManifestOptions(gateway="nginx")), dataclasses.replace(PACE, empty_s=0.2)
    with Agents(kube, namespace), running(limited, namespace, style=style, pace=pace):
        eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=namespace).items)
        for name in ("a", "b"):
            kube.create(TRAINED_MODELS, a_trained_model(name, memory="9Gi", namespace=namespace))
        eventually(lambda: all_loaded(kube, namespace, 2))
        events = kube.list(EVENTS, namespace=namespace).items
        (told,) = (item for item in events if item["reason"] == "NothingCloses")
        assert told["note"].endswith("the controller may not delete services")
        kube.delete(TRAINED_MODELS, "b", namespace=namespace)
        eventually(lambda: documents(kube, namespace) == {"a": {"news"}})
        time.sleep(2.0)
        assert "news-1" in _names(kube, namespace, INFERENCE_SERVICES)
        assert "news-1-shard" in _names(kube, namespace, SERVICES)
        assert "shardpack-news-1-0" in _names(kube, namespace, CONFIG_MAPS)
    limited.close()

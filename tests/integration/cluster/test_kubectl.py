"""kubectl as a second opinion: on the server, and on what ``apply`` and ``manifests`` write."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from planner.cli.app import cli
from planner.manifests import ManifestOptions, render_plan, write_manifests
from tests.support.api_server.fixtures import TestCluster
from tests.support.plans import a_plan, everything

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")

Kubectl = Callable[..., subprocess.CompletedProcess[str]]

LABELS = {"app": "web"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "a", "image": "one", "env": [{"name": "X", "value": "1"}]}]},
        },
    },
}


@pytest.fixture
def kubectl(cluster: TestCluster, tmp_path: Path) -> Kubectl:
    """Runs kubectl in the test's namespace; an exit code other than the expected one fails the test."""

    def run(*arguments: str, code: int = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        base = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "--cache-dir", str(tmp_path / "cache")]
        done = subprocess.run(
            [*base, "-n", cluster.namespace, *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done

    return run


def test_objects_are_made_shown_labelled_patched_and_deleted(kubectl: Kubectl) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    kubectl("label", "cm", "a", "color=red")
    kubectl("patch", "cm", "a", "--type", "merge", "-p", '{"data":{"y":"2"}}')
    kubectl("patch", "cm", "a", "--type", "json", "-p", '[{"op":"remove","path":"/data/x"}]')
    found = json.loads(kubectl("get", "cm", "-l", "color=red", "-o", "json").stdout)["items"]
    assert [(item["metadata"]["name"], item["data"]) for item in found] == [("a", {"y": "2"})]
    kubectl("delete", "cm", "a")
    assert "NotFound" in kubectl("get", "cm", "a", code=1).stderr


def test_an_apply_by_the_client_merges_lists_by_their_keys(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps(DEPLOYMENT))
    kubectl("set", "env", "deployment/web", "Y=2")
    more = json.loads(json.dumps(DEPLOYMENT))
    (container,) = more["spec"]["template"]["spec"]["containers"]
    container["image"] = "two"
    more["spec"]["template"]["spec"]["containers"].append({"name": "b", "image": "three"})
    kubectl("apply", "-f", "-", stdin=json.dumps(more))

    def containers() -> list[dict[str, object]]:
        found = json.loads(kubectl("get", "deploy", "web", "-o", "json").stdout)
        listed: list[dict[str, object]] = found["spec"]["template"]["spec"]["containers"]
        return listed

    first, second = sorted(containers(), key=lambda item: str(item["name"]))
    assert (first["image"], second["image"]) == ("two", "three")
    assert first["env"] == [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]
    kubectl("apply", "-f", "-", stdin=json.dumps(DEPLOYMENT))
    assert [item["name"] for item in containers()] == ["a"]


def test_an_unknown_field_is_refused_by_the_server(kubectl: Kubectl) -> None:
    bad = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicsa": 3}}  # type: ignore[dict-item]
    done = kubectl("apply", "-f", "-", stdin=json.dumps(bad), code=1)
    assert 'unknown field "spec.replicsa"' in done.stderr


def test_what_kubectl_applies_is_what_apply_would(
    cluster: TestCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    """The folder as README says it is applied; then neither of the two finds a difference."""
    cluster.need("serving.kserve.io/v1alpha1", "TrainedModel")
    scenario, *items = everything()
    files = render_plan(a_plan(scenario, *items), scenario, options=ManifestOptions(gateway="nginx"))
    folder = tmp_path / "deploy"
    write_manifests(files, folder)
    for path in folder.rglob("*.yaml"):
        documents = list(yaml.safe_load_all(path.read_text()))
        for item in documents:
            if item["kind"] == "Namespace":
                item["metadata"]["name"] = cluster.namespace
            elif item["kind"] != "Kustomization":
                item["metadata"]["namespace"] = cluster.namespace
        path.write_text(yaml.safe_dump_all(documents))
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(folder))
    ours = ["apply", str(folder), "--kubeconfig", str(cluster.kubeconfig)]
    difference = CliRunner().invoke(cli, [*ours, "--diff"])
    assert (difference.exit_code, difference.stdout) == (0, ""), difference.stderr
    applied = CliRunner().invoke(cli, ours)
    assert applied.exit_code == 0, applied.stderr
    kubectl("diff", "--server-side", "--force-conflicts", "-k", str(folder))

"""The kustomizations that install the controller: valid, and enough for it to do its work."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from planner.cli.controlling import controller as controller_command
from planner.cluster import connect
from planner.cluster.resources import DEPLOYMENTS, INFERENCE_SERVICES, TRAINED_MODELS
from planner.controller.objects import Mode, Style
from planner.manifests.options import ManifestOptions
from tests.support.controllers import all_loaded, eventually, running
from tests.support.kubernetes_objects import core_faults, objects_in
from tests.support.memory_cluster import NAMESPACE, a_trained_model
from tests.support.standing_in import Agents, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("no_elses_cluster"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl builds the kustomization"),
]

ROOT = Path(__file__).parents[3] / "kustomize"
FOLDERS: dict[Mode, str] = {"kserve": "controller", "standalone": "standalone"}
ACCOUNT = "shardpack-controller"
Object = dict[str, Any]
Build = Callable[..., list[Object]]


@pytest.fixture
def built(tmp_path: Path) -> Build:
    """Build an overlay as people write it: in a namespace of theirs, with images of theirs."""

    def build(mode: Mode, namespace: str = NAMESPACE) -> list[Object]:
        overlay = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace,
            "patches": [_named_after(namespace)],
            "resources": [f"kustomize/{FOLDERS[mode]}"],
            "images": [{"name": "shardpack", "newName": "registry.example/shardpack"}],
        }
        shutil.copytree(ROOT, tmp_path / "kustomize", dirs_exist_ok=True)
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        command = ["kubectl", "kustomize", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return objects_in(done.stdout)

    return build


def _named_after(namespace: str) -> Object:
    target = {"kind": "ClusterRoleBinding", "name": "shardpack-nodes"}
    name = {"op": "replace", "path": "/metadata/name", "value": f"shardpack-nodes-{namespace}"}
    return {"target": target, "patch": yaml.safe_dump([name])}


def the_deployment(items: list[Object]) -> Object:
    (found,) = (item for item in items if item["kind"] == "Deployment")
    return found


@pytest.mark.parametrize("mode", FOLDERS)
def test_objects_are_valid_for_kubernetes(built: Build, mode: Mode) -> None:
    assert [fault for item in built(mode) for fault in core_faults(item)] == []


@pytest.mark.parametrize("mode", FOLDERS)
def test_overlays_of_two_namespaces_share_nothing_but_what_is_the_same(built: Build, mode: Mode) -> None:
    one, other = built(mode, "one"), built(mode, "other")
    known = {_key(item): item for item in one}
    shared = [item for item in other if _key(item) in known]
    assert [(item["kind"], known[_key(item)] == item) for item in shared] == [("ClusterRole", True)]
    (binding,) = (item for item in other if item["kind"] == "ClusterRoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "other"}]


def _key(item: Object) -> tuple[str, str, str | None]:
    return item["kind"], item["metadata"]["name"], item["metadata"].get("namespace")


@pytest.mark.parametrize("mode", FOLDERS)
def test_the_controller_takes_its_arguments(built: Build, mode: Mode) -> None:
    (container,) = the_deployment(built(mode))["spec"]["template"]["spec"]["containers"]
    command, *arguments = container["args"]
    assert command == controller_command.name
    context = controller_command.make_context(command, arguments, parent=click.Context(click.Command("x")))
    assert (context.params["mode"], context.params["gateway"]) == (mode, "nginx")
    (port,) = container["ports"]
    assert (context.params["metrics_port"], context.params["address"]) == (port["containerPort"], "0.0.0.0")


def test_monitoring_finds_it(built: Build) -> None:
    monitor = yaml.safe_load((ROOT / "monitoring" / "podmonitors.yaml").read_text())["spec"]
    pod = the_deployment(built("kserve"))["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in pod["spec"]["containers"][0]["ports"]}


@pytest.mark.parametrize("mode", FOLDERS)
def test_what_it_may_do_is_enough(
    here: Here, built: Build, tmp_path: Path, mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = here.account(ACCOUNT, tmp_path)
    for item in built(mode, here.namespace):
        if item["apiVersion"].startswith("rbac."):
            here.kube.apply(here.kube.resource_of(item["apiVersion"], item["kind"]), item)
    style = Style(mode=mode, options=ManifestOptions(gateway="nginx"))
    servers = INFERENCE_SERVICES if mode == "kserve" else DEPLOYMENTS
    kube = connect(kubeconfig=path)
    with ExitStack() as stack:
        stack.callback(kube.close)
        stack.enter_context(Agents(here.kube, here.namespace))
        if mode == "kserve":
            stack.enter_context(KServeStandIn(here.kube, here.namespace))
        stack.enter_context(running(kube, here.namespace, style=style))
        eventually(lambda: here.kube.list(servers, namespace=here.namespace).items)
        for number in range(5):
            here.kube.create(TRAINED_MODELS, a_trained_model(f"m-{number}", namespace=here.namespace))
        eventually(lambda: all_loaded(here.kube, here.namespace, 5))
        here.kube.delete(TRAINED_MODELS, "m-0", namespace=here.namespace)
        eventually(lambda: all_loaded(here.kube, here.namespace, 4))
        names = {
            item["metadata"]["name"] for item in here.kube.list(DEPLOYMENTS, namespace=here.namespace).items
        }
    assert any(name.endswith("-gateway") for name in names)
    assert "forbidden" not in caplog.text.lower()

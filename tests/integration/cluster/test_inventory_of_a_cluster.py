"""``shardpack inventory kube``: a cluster's nodes as a fleet that is planned on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from planner.cli.app import cli
from planner.cluster import connect
from planner.cluster.resources import NODES, PODS
from tests.support.api_server.server import ApiServer

SCENARIO = """\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {name: news, namespace: models}
spec:
  include: [fleet.yaml]
  shardTypes:
    - name: t4
      runtime: triton
      provision: existing
      devices: {class: nvidia-t4, count: 1}
      resources: {cpu: "2", memory: 8Gi}
      group: news
  models:
    - name: sports
      backend: onnxruntime
      storageUri: s3://m/sports
      replicas: 2
      footprints: [{class: nvidia-t4, gpuMemory: 1Gi, cpu: 100m, memory: 1Gi}]
"""


@pytest.fixture
def kubeconfig(api_server: ApiServer, tmp_path: Path) -> str:
    """A cluster of two nodes with two T4 each, one of which another pod has, and a third that is cordoned."""
    path = api_server.kubeconfig(tmp_path)
    kube = connect(kubeconfig=path)
    for name in ("gpu-a", "gpu-b", "gpu-c"):
        body = {"metadata": {"name": name, "labels": {"nvidia.com/gpu.product": "Tesla-T4"}}}
        kube.create(NODES, {**body, "spec": {"unschedulable": name == "gpu-c"}})
        status = {
            "allocatable": {"cpu": "7910m", "memory": "31870476Ki", "pods": "110", "nvidia.com/gpu": "2"},
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        kube.patch(NODES, name, {"status": status}, subresource="status")
        kube.patch(NODES, name, {"spec": {"taints": None}})  # as a cluster does when a node is ready
    requests = {"cpu": "500m", "memory": "100Mi", "nvidia.com/gpu": "1"}
    resources = {"requests": requests, "limits": {"nvidia.com/gpu": "1"}}
    spec = {"nodeName": "gpu-b", "containers": [{"name": "c", "image": "i", "resources": resources}]}
    kube.create(PODS, {"metadata": {"name": "other", "namespace": "default"}, "spec": spec})
    return str(path)


def test_a_fleet_that_was_read_is_planned_on(kubeconfig: str, tmp_path: Path) -> None:
    found = CliRunner().invoke(cli, ["inventory", "kube", "--kubeconfig", kubeconfig])
    assert found.exit_code == 0, found.stderr
    assert found.stderr.splitlines() == [
        "gpu-b: 1 of 2 nvidia.com/gpu are given to other pods",
        "gpu-c: is cordoned: it is left out",
    ]
    nodes = yaml.safe_load(found.stdout)["spec"]["nodes"]
    assert [(node["name"], len(node["devices"])) for node in nodes] == [("gpu-a", 2), ("gpu-b", 1)]
    assert nodes[1]["allocatable"] == {"cpu": "7410m", "memory": "31768076Ki", "pods": 110}
    assert nodes[1]["podsInUse"] == 1
    (tmp_path / "fleet.yaml").write_text(found.stdout)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO)
    planned = CliRunner().invoke(cli, ["plan", str(scenario), "-o", "json", "-q"])
    assert planned.exit_code == 0, planned.stderr
    placed = {shard["node"] for shard in yaml.safe_load(planned.stdout)["shards"]}
    assert placed <= {"gpu-a", "gpu-b"}


def test_tables_and_names(kubeconfig: str) -> None:
    arguments = ["inventory", "kube", "--kubeconfig", kubeconfig, "-q"]
    table = CliRunner().invoke(cli, [*arguments, "-o", "wide"])
    assert table.exit_code == 0
    assert table.stderr == ""
    assert table.stdout.splitlines()[2].split()[:5] == ["gpu-b", "7410m", "30.3Gi", "1", "x"]
    assert "1 of 110" in table.stdout
    names = CliRunner().invoke(cli, [*arguments, "-o", "name", "-l", "nvidia.com/gpu.product=Tesla-T4"])
    assert names.stdout == "node/gpu-a\nnode/gpu-b\n"
    none = CliRunner().invoke(cli, [*arguments[:-1], "-o", "name", "-l", "pool=other"])
    assert (none.exit_code, none.stdout) == (0, "")
    assert none.stderr == "there is no node that shards may go to\n"


def test_a_selector_that_the_server_does_not_take_is_bad_input(kubeconfig: str) -> None:
    found = CliRunner().invoke(cli, ["inventory", "kube", "--kubeconfig", kubeconfig, "-l", "a b"])
    assert found.exit_code == 2
    assert found.stderr.startswith("--selector: ")

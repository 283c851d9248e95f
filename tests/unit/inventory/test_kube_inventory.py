"""Nodes and pods as Kubernetes has them, as a fleet."""

from __future__ import annotations

from typing import Any

import pytest

from planner.inventory.kube import KubeInventory, kube_inventory
from planner.inventory.requests import requested
from planner.scenario.catalogue import shipped_catalogue
from tests.support.builders import GIB, MIB

Object = dict[str, Any]
T4 = {"nvidia.com/gpu.product": "Tesla-T4", "nvidia.com/gpu.memory": "15360"}


def node(
    name: str = "n",
    *,
    labels: dict[str, str] | None = None,
    ready: bool = True,
    cordoned: bool = False,
    taints: tuple[str, ...] = (),
) -> Object:
    """A node; GPUS says which devices it has, by its name."""
    allocatable = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    spec: Object = {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec | ({"unschedulable": True} if cordoned else {}),
        "status": {
            "allocatable": allocatable | GPUS.get(name, {}),
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
        },
    }


GPUS: dict[str, dict[str, str]] = {
    "two-t4": {"nvidia.com/gpu": "2"},
    "mixed": {"nvidia.com/gpu": "1", "nvidia.com/mig-1g.5gb": "3", "nvidia.com/mig-2g.10gb": "1"},
    "single": {"nvidia.com/gpu": "7"},
    "shared": {"nvidia.com/gpu": "8"},
    "renamed": {"nvidia.com/gpu.shared": "8", "nvidia.com/gpu": "0"},
}


def pod(
    name: str, *, on: str | None = "n", ours: bool = False, phase: str = "Running", **requests: str
) -> Object:
    labels = {"app.kubernetes.io/managed-by": "shardpack"} if ours else {}
    resources = {"requests": {key.replace("gpu", "nvidia.com/gpu"): value for key, value in requests.items()}}
    spec = {"nodeName": on, "containers": [{"name": "c", "resources": resources}]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": phase}}


def read(nodes: list[Object], pods: list[Object] | None = None, **options: Any) -> KubeInventory:
    classes = shipped_catalogue().device_classes.values()
    return kube_inventory(nodes, pods or [], catalogue=classes, **options)


def devices(found: KubeInventory) -> list[str]:
    return [device.device_class for device in found.nodes[0].devices]


def test_what_other_pods_request_is_taken_off_and_what_ours_do_is_not() -> None:
    pods = [
        pod("a", cpu="1500m", memory="1Gi"),
        pod("b", cpu="250m"),
        pod("ours", ours=True, cpu="4", memory="16Gi"),
        pod("done", phase="Succeeded", cpu="4"),
        pod("elsewhere", on="m", cpu="4"),
        pod("nowhere", on=None, cpu="4"),
    ]
    (found,) = read([node()], pods).nodes
    assert (found.cpu_milli, found.memory_bytes) == (8000 - 1750, 31 * GIB)
    assert (found.pods, found.pods_in_use) == (110, 2)


def test_a_node_that_is_overcommitted_has_nothing_left() -> None:
    (found,) = read([node()], [pod("a", cpu="9", memory="64Gi")]).nodes
    assert (found.cpu_milli, found.memory_bytes) == (0, 0)


def test_gpus_are_of_the_catalogues_class_and_those_of_other_pods_are_left_out() -> None:
    found = read([node("two-t4", labels=T4)], [pod("a", on="two-t4", gpu="1")])
    assert devices(found) == ["nvidia-t4"]
    assert [item.name for item in found.device_classes] == ["nvidia-t4"]
    assert [str(remark.text) for remark in found.remarks] == ["1 of 2 nvidia.com/gpu are given to other pods"]


def test_gpus_of_pods_of_ours_are_there_to_be_planned() -> None:
    found = read([node("two-t4", labels=T4)], [pod("a", on="two-t4", ours=True, gpu="1")])
    assert devices(found) == ["nvidia-t4", "nvidia-t4"]
    assert not found.remarks


def test_mig_instances_of_the_mixed_strategy_are_resources_of_their_own() -> None:
    labels = {
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
        "nvidia.com/mig-1g.5gb.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb",
        "nvidia.com/mig-2g.10gb.product": "NVIDIA-A100-SXM4-40GB-MIG-2g.10gb",
    }
    found = read([node("mixed", labels=labels)])
    names = {item.name: (item.product, item.mig_profile) for item in found.device_classes}
    assert [names[name] for name in devices(found)] == [
        ("NVIDIA-A100-SXM4-40GB", None),
        *[("NVIDIA-A100-SXM4-40GB", "1g.5gb")] * 3,
        ("NVIDIA-A100-SXM4-40GB", "2g.10gb"),
    ]


def test_mig_instances_of_the_single_strategy_stand_in_the_product() -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"}
    found = read([node("single", labels=labels)])
    (kind,) = found.device_classes
    assert (kind.product, kind.mig_profile) == ("NVIDIA-A100-SXM4-40GB", "1g.5gb")
    assert len(devices(found)) == 7


@pytest.mark.parametrize(("name", "product"), [("shared", "Tesla-T4-SHARED"), ("renamed", "Tesla-T4")])
def test_shares_of_a_gpu_are_one_gpu(name: str, product: str) -> None:
    labels = {"nvidia.com/gpu.product": product, "nvidia.com/gpu.replicas": "4"}
    assert devices(read([node(name, labels=labels)])) == ["nvidia-t4", "nvidia-t4"]


def test_each_share_that_is_taken_may_be_of_another_gpu() -> None:
    labels = {"nvidia.com/gpu.product": "Tesla-T4-SHARED", "nvidia.com/gpu.replicas": "4"}
    assert devices(read([node("shared", labels=labels)], [pod("a", on="shared", gpu="1")])) == ["nvidia-t4"]
    assert devices(read([node("shared", labels=labels)], [pod("a", on="shared", gpu="2")])) == []


def test_a_gpu_that_the_catalogue_does_not_know_is_as_large_as_its_label_says() -> None:
    labels = {"nvidia.com/gpu.product": "Odd-GPU-9", "nvidia.com/gpu.memory": "1000"}
    found = read([node("two-t4", labels=labels)])
    (kind,) = found.device_classes
    assert (kind.name, kind.memory_bytes) == ("nvidia-odd-gpu-9", 1000 * MIB)
    assert devices(found) == ["nvidia-odd-gpu-9"] * 2


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({}, "2 nvidia.com/gpu left out: no label nvidia.com/gpu.product says what they are"),
        ({"nvidia.com/gpu.product": "Odd-GPU-9"}, "the catalogue does not know Odd-GPU-9, and no label"),
    ],
)
def test_a_gpu_of_which_nothing_is_known_is_left_out_and_told(labels: dict[str, str], text: str) -> None:
    found = read([node("two-t4", labels=labels)])
    assert devices(found) == []
    assert text in found.remarks[0].text


def test_nodes_that_no_shard_can_go_to_are_left_out_and_told() -> None:
    nodes = [
        node("a", ready=False),
        node("b", cordoned=True),
        node("c", taints=("node-role.kubernetes.io/control-plane",)),
        node("d", taints=("nvidia.com/gpu",)),
        node("e", taints=("dedicated",)),
        {"metadata": {"name": "f"}, "status": {"conditions": node("f")["status"]["conditions"]}},
    ]
    found = read(nodes, tolerated=["dedicated"])
    assert [item.name for item in found.nodes] == ["d", "e"]
    assert [(remark.node, remark.text) for remark in found.remarks] == [
        ("a", "is not ready: it is left out"),
        ("b", "is cordoned: it is left out"),
        ("c", "has the taint node-role.kubernetes.io/control-plane: it is left out"),
        ("f", "does not say how much CPU and memory it has: it is left out"),
    ]


def test_labels_that_selectors_need_are_kept_and_hundreds_of_others_are_not() -> None:
    labels = {
        "kubernetes.io/hostname": "n",
        "topology.kubernetes.io/zone": "a",
        "pool": "gpu",
        "feature.node.kubernetes.io/cpu-cpuid.AVX": "true",
        "beta.kubernetes.io/arch": "amd64",
        "nvidia.com/cuda.driver.major": "570",
        **T4,
    }
    (found,) = read([node("two-t4", labels=labels)]).nodes
    assert found.zone == "a"
    assert dict(found.labels) == {
        "kubernetes.io/hostname": "n",
        "nvidia.com/gpu.product": "Tesla-T4",
        "pool": "gpu",
        "topology.kubernetes.io/zone": "a",
    }


def container(cpu: str, **further: Any) -> Object:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **further}


@pytest.mark.parametrize(
    ("spec", "cpu_milli"),
    [
        ({"containers": [container("100m"), container("200m")]}, 300),
        ({"containers": [container("100m")], "initContainers": [container("1")]}, 1000),
        (
            {
                "containers": [container("100m")],
                "initContainers": [container("50m", restartPolicy="Always"), container("1")],
            },
            1050,
        ),
        (
            {"containers": [container("100m")], "initContainers": [container("2", restartPolicy="Always")]},
            2100,
        ),
        ({"containers": [container("100m")], "overhead": {"cpu": "10m"}}, 110),
        ({"containers": [container("100m")], "resources": {"requests": {"cpu": "3"}}}, 3000),
        ({"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}, 2000),
        ({"containers": [{"name": "c"}]}, 0),
    ],
)
def test_what_a_pod_requests_is_added_up_as_the_scheduler_does(spec: Object, cpu_milli: int) -> None:
    assert requested({"spec": spec}).cpu_milli == cpu_milli

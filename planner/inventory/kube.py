"""A cluster's nodes as Kubernetes tells them: what shards may use of each, and which GPUs.

What a device is called comes from the labels of NVIDIA's GPU feature discovery (``nvidia.com/gpu.product``,
``nvidia.com/mig-1g.5gb.product`` and so on, in the MIG strategies ``single`` and ``mixed``), how many there
are from what the device plugin offers as allocatable. Kubernetes does not say which GPU a pod was given, nor
any UUID: of the devices of a kind, so many are left out as other pods have been given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planner.domain.fleet import DeviceClass, Node, NodeDevice
from planner.inventory.requests import Amounts, amounts, requested
from planner.units import parse_bytes, parse_milli

if TYPE_CHECKING:
    from planner.cluster import Kube

Object = dict[str, Any]

GPU_PRODUCT = "nvidia.com/gpu.product"
_GPU, _GPU_SHARED, _MIG = "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_OURS = "shardpack"
_ZONE = "topology.kubernetes.io/zone"
_SHARED = "-SHARED"
"""What feature discovery appends to the product of a GPU that is shared out."""
_PRODUCT_OF_MIG = re.compile(r"(?P<product>.+)-MIG-(?P<profile>\d+g\..+)")
_MIB = 2**20

TOLERATED = ("nvidia.com/gpu",)
"""Taints that keep no shard away: Kubernetes' ExtendedResourceToleration lets pods that ask for GPUs pass."""

# Labels that name a node's hardware in dozens of ways, and that no node selector of a shard needs.
_NOISE = re.compile(r"(beta\.kubernetes\.io|feature\.node\.kubernetes\.io|nvidia\.com)/.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something of the cluster that is not in the fleet: of which node, and what."""

    node: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeInventory:
    """What a cluster has for shards.

    Parameters
    ----------
    nodes
        Nodes that shards may go to, sorted by name.
    device_classes
        The classes that their devices are of, sorted by name: the catalogue's where it knows the product.
    remarks
        What was left out, and why, by node.
    """

    nodes: tuple[Node, ...]
    device_classes: tuple[DeviceClass, ...]
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of device of one node: its resource, what feature discovery calls it, and how many are free."""

    resource: str
    product: str
    mig_profile: str | None
    memory_bytes: int | None
    free: int


def read_kube(
    kube: Kube, *, catalogue: Iterable[DeviceClass], labels: str | None = None, tolerated: Sequence[str] = ()
) -> KubeInventory:
    """Return what a cluster has for shards now.

    Parameters
    ----------
    kube
        The cluster.
    catalogue
        Device classes to recognise products by.
    labels
        Only nodes with these labels, as kubectl's ``-l``; None takes all.
    tolerated
        Further keys of taints that keep no shard away.

    Raises
    ------
    ClusterError
        Nodes or pods cannot be listed.
    """
    from planner.cluster.resources import NODES, PODS

    nodes = kube.list(NODES, labels=labels).items
    pods = kube.list(PODS, fields="status.phase!=Succeeded,status.phase!=Failed").items
    return kube_inventory(nodes, pods, catalogue=catalogue, tolerated=tolerated)


def kube_inventory(
    nodes: Iterable[Object],
    pods: Iterable[Object],
    *,
    catalogue: Iterable[DeviceClass],
    tolerated: Sequence[str] = (),
) -> KubeInventory:
    """Return what nodes have for shards, beside what other pods than shards of ours have requested."""
    given = _given(pods)
    known = {(item.product, item.mig_profile): item for item in catalogue if item.kind == "gpu"}
    used: dict[str, DeviceClass] = {}
    found: list[Node] = []
    remarks: list[Remark] = []
    for node in sorted(nodes, key=lambda item: str(item["metadata"]["name"])):
        name = node["metadata"]["name"]
        closed = _closed(node, (*TOLERATED, *tolerated))
        if closed is not None:
            remarks.append(Remark(node=name, text=f"{closed}: it is left out"))
            continue
        others = given.get(name, Amounts())
        devices: list[NodeDevice] = []
        for kind in _kinds(node, others, remarks):
            device_class = _class_of(kind, known)
            if device_class is None:
                remarks.append(Remark(node=name, text=_unknown_text(kind)))
                continue
            used[device_class.name] = device_class
            devices.extend(NodeDevice(device_class=device_class.name) for _ in range(kind.free))
        found.append(_node(node, others, tuple(devices)))
    classes = tuple(used[name] for name in sorted(used))
    return KubeInventory(nodes=tuple(found), device_classes=classes, remarks=tuple(remarks))


def _given(pods: Iterable[Object]) -> dict[str, Amounts]:
    """Return what pods other than shards of ours have been given, by node."""
    found: dict[str, Amounts] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        ours = (pod["metadata"].get("labels") or {}).get(_MANAGED_BY) == _OURS
        if node and not ended and not ours:
            found[node] = found.get(node, Amounts()) + requested(pod)
    return found


def _closed(node: Object, tolerated: Sequence[str]) -> str | None:
    """Return why no shard can go to a node; None if one can."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    if not any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
        return "is not ready"
    spec = node.get("spec") or {}
    if spec.get("unschedulable"):
        return "is cordoned"
    for taint in spec.get("taints") or ():
        if taint["effect"] != "PreferNoSchedule" and taint["key"] not in tolerated:
            return f"has the taint {taint['key']}"
    if not {"cpu", "memory"} <= (node["status"].get("allocatable") or {}).keys():
        return "does not say how much CPU and memory it has"
    return None


def _node(node: Object, others: Amounts, devices: tuple[NodeDevice, ...]) -> Node:
    labels = node["metadata"].get("labels") or {}
    allocatable = node["status"]["allocatable"]
    kept = ((key, value) for key, value in labels.items() if key == GPU_PRODUCT or not _NOISE.fullmatch(key))
    return Node(
        name=node["metadata"]["name"],
        zone=labels.get(_ZONE),
        cpu_milli=max(0, parse_milli(allocatable["cpu"]) - others.cpu_milli),
        memory_bytes=max(0, parse_bytes(allocatable["memory"]) - others.memory_bytes),
        pods=int(allocatable["pods"]) if "pods" in allocatable else None,
        pods_in_use=others.pods,
        devices=devices,
        labels=tuple(sorted(kept)),
    )


# ---------------------------------------------------------------------------------------------------- devices


def _kinds(node: Object, others: Amounts, remarks: list[Remark]) -> Iterator[_Kind]:
    """Yield the kinds of devices of a node of which some are free; remark on the others."""
    labels = node["metadata"].get("labels") or {}
    for resource, count in sorted(amounts(node["status"]["allocatable"]).devices.items()):
        taken = others.devices.get(resource, 0)
        free = _free(resource, count, taken, labels)
        if taken and free < count:
            text = f"{taken:,} of {count:,} {resource} are given to other pods"
            remarks.append(Remark(node=node["metadata"]["name"], text=text))
        if free:
            yield _kind(resource, labels, free)


def _free(resource: str, count: int, taken: int, labels: Mapping[str, str]) -> int:
    """Return how many whole devices are free. Of shared ones each share that is taken may be of another."""
    if resource not in (_GPU, _GPU_SHARED):
        return max(0, count - taken)
    shares = max(1, int(labels.get("nvidia.com/gpu.replicas") or 1))
    shared = resource == _GPU_SHARED or labels.get(GPU_PRODUCT, "").endswith(_SHARED)
    return max(0, (count // shares if shared else count) - taken)


def _kind(resource: str, labels: Mapping[str, str], free: int) -> _Kind:
    mig = resource.startswith(_MIG)
    prefix = resource if mig else _GPU
    label = labels.get(f"{prefix}.product") or labels.get(GPU_PRODUCT) or ""
    product = label.removesuffix(_SHARED)
    cut = _PRODUCT_OF_MIG.fullmatch(product)
    profile = cut["profile"] if cut else None
    if mig and profile is None:
        profile = resource.removeprefix(_MIG)
    memory = labels.get(f"{prefix}.memory", "")
    return _Kind(
        resource=resource,
        product=cut["product"] if cut else product,
        mig_profile=_profile(profile),
        memory_bytes=int(memory) * _MIB if memory.isdigit() else None,
        free=free,
    )


def _profile(name: str | None) -> str | None:
    """Return a profile as NVML names it: a resource cannot have the ``+`` of ``1g.10gb+me``."""
    return None if name is None else re.sub(r"^(\d+g\.\d+gb)\.(.+)$", r"\1+\2", name)


def _class_of(kind: _Kind, known: dict[tuple[str | None, str | None], DeviceClass]) -> DeviceClass | None:
    """Return the class of a kind of devices: the catalogue's, or one by its labels; None without any."""
    if not kind.product:
        return None
    for product in (kind.product, f"NVIDIA-{kind.product}"):  # older drivers left the vendor out
        if (product, kind.mig_profile) in known:
            return known[(product, kind.mig_profile)]
    if kind.memory_bytes is None:
        return None
    words = [kind.product, *((kind.mig_profile,) if kind.mig_profile else ())]
    name = re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower()).strip("-.")
    found = DeviceClass(
        name=name if name.startswith("nvidia-") else f"nvidia-{name}",
        kind="gpu",
        memory_bytes=kind.memory_bytes,
        product=kind.product,
        mig_profile=kind.mig_profile,
        source=f"label {kind.resource}.memory of GPU feature discovery; what the driver keeps is not in it",
    )
    known[(kind.product, kind.mig_profile)] = found
    return found


def _unknown_text(kind: _Kind) -> str:
    what = f"{kind.free:,} {kind.resource} left out"
    if not kind.product:
        return f"{what}: no label {GPU_PRODUCT} says what they are (is GPU feature discovery running?)"
    return f"{what}: the catalogue does not know {kind.product}, and no label says how much memory it has"
